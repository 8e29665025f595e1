"""What a recipe leaves out is read from the file: the head from its outputs, classes and pixels from its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.errors import ConfigError, FoveateError
from edge.types import Array
from export.candidate import Candidate, candidate
from export.errors import ModelError
from export.graph import normalization
from export.metadata import Told, tell
from export.recipe import Appearance, Instance, Semantic, load_recipe
from tests.export.nets import SIZE, box_masks_net, bright_net, constant_net, engine_of, save, semantic_net

HALF, QUARTER = SIZE // 2, SIZE // 4
ABC = ["a", "b", "c"]


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def taken(path: Path, role: str = "semantic", **keys: object) -> Candidate:
    """Take a file in with nothing said of it but `keys`."""
    if role == "semantic":
        return candidate("semantic", Semantic(model=path, **keys))  # type: ignore[arg-type]
    return candidate("instance", Instance(model=path, **keys))  # type: ignore[arg-type]


def with_metadata(path: Path, **entries: str) -> Path:
    model = onnx.load(str(path))
    helper.set_model_props(model, entries)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        ({"rows": zeros(1, 4 + 3 + 4, 21), "masks": zeros(1, 4, QUARTER, QUARTER)}, "yolo"),
        ({"rows": zeros(1, 30, 6 + 4), "masks": zeros(1, 4, QUARTER, QUARTER)}, "yolo-end2end"),
        ({"dets": zeros(1, 9, 4), "labels": zeros(1, 9, 3), "masks": zeros(1, 9, QUARTER, QUARTER)}, "queries"),
        (
            {
                "heatmap": zeros(1, 1, QUARTER, QUARTER),
                "offsets": zeros(1, 2, HALF, HALF),
                "logits": zeros(1, 3, HALF, HALF),
            },
            "centers",
        ),
    ],
)
def test_heads_of_instance_models_are_seen_in_their_outputs(tmp_path: Path, raw: dict[str, Array], head: str) -> None:
    found = taken(constant_net(tmp_path / "net.onnx", raw), "instance", classes=ABC)
    assert found.source.head == head
    assert found.model.head.family == ("centers" if head == "centers" else "prototypes")
    assert found.model.head.nms == (head in {"centers", "yolo"})


def test_masks_of_boxes_are_known_by_their_whole_numbers(tmp_path: Path) -> None:
    boxes = np.tile(np.asarray([2, 2, 12, 12], np.float32), (6, 1))
    path = box_masks_net(tmp_path / "net.onnx", boxes, zeros(6), np.ones(6, np.int64), zeros(6, 1, 8, 8))
    found = taken(path, "instance", classes=ABC)
    assert (found.source.head, found.model.classes) == ("box-masks", ABC)


def test_logits_and_maps_of_numbers_are_told_apart(tmp_path: Path) -> None:
    assert taken(semantic_net(tmp_path / "a.onnx"), classes=ABC).source.head == "logits"
    nodes = [helper.make_node("ArgMax", ["x"], ["labels"], axis=1, keepdims=0)]
    path = save(tmp_path / "b.onnx", nodes, {}, {"labels": (1, SIZE, SIZE)}, output_type=TensorProto.INT64)
    assert taken(path, classes=ABC).source.head == "argmax"


def test_one_plane_of_floats_is_not_guessed_at(tmp_path: Path) -> None:
    path = constant_net(tmp_path / "net.onnx", {"mask": zeros(1, 1, HALF, HALF)})
    with pytest.raises(ModelError, match=r'could be read as "argmax", "binary"; set semantic\.head'):
        taken(path, classes=["no", "yes"])


@pytest.mark.parametrize(
    ("role", "raw", "said"),
    [
        ("semantic", {"vector": zeros(1, 7)}, "fits no head; a semantic model gives logits"),
        ("semantic", {"a": zeros(1, 3, 4, 4), "b": zeros(1, 3, 4, 4)}, r"several outputs, .*set semantic\.output"),
        ("instance", {"boxes": zeros(1, 9, 7)}, r"fits no head; docs/export\.md has the layouts"),
        ("instance", {"a": zeros(1, 9, 5), "b": zeros(1, 9, 6), "c": zeros(1, 9, 8, 8)}, "fits no head"),
    ],
)
def test_outputs_that_fit_no_head_are_listed(tmp_path: Path, role: str, raw: dict[str, Array], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        taken(constant_net(tmp_path / "net.onnx", raw), role, classes=ABC)


def test_rows_that_could_be_either_are_not_guessed_at(tmp_path: Path) -> None:
    raw = {"rows": zeros(1, 4 + 3 + 4, 6 + 4), "masks": zeros(1, 4, QUARTER, QUARTER)}
    path = constant_net(tmp_path / "net.onnx", raw)
    with pytest.raises(ModelError, match='could be read as "yolo", "yolo-end2end"'):
        taken(path, "instance", classes=ABC)
    assert taken(path, "instance", classes=ABC, head="yolo").source.head == "yolo"


def test_the_output_for_training_is_left_and_another_can_be_named(tmp_path: Path) -> None:
    high = np.stack([np.full((4, 4), -1.0), np.full((4, 4), 1.0)])[None].astype(np.float32)
    path = constant_net(tmp_path / "net.onnx", {"aux": -high, "out": high})
    assert taken(path, classes=["no", "yes"]).source == taken(path, classes=["no", "yes"], output="out").source
    with pytest.raises(ModelError, match="has no output 'in'"):
        taken(path, classes=["no", "yes"], output="in")


def test_ultralytics_names_its_classes(tmp_path: Path) -> None:
    rows = {"rows": zeros(1, 4 + 2 + 4, 21), "masks": zeros(1, 4, QUARTER, QUARTER)}
    path = with_metadata(constant_net(tmp_path / "net.onnx", rows), names="{0: 'nut', 1: 'bolt'}", task="segment")
    assert taken(path, "instance").model.classes == ["background", "nut", "bolt"]
    assert taken(path, "instance", classes=["x", "y"]).model.classes == ["background", "x", "y"]
    path = with_metadata(semantic_net(tmp_path / "s.onnx"), names="{0: 'Background', 1: 'road', 2: 'sky'}")
    assert taken(path).model.classes == ["Background", "road", "sky"]
    path = with_metadata(path, names="{0: 'car', 1: 'road', 2: 'sky'}")
    assert taken(path).model.classes == ["background", "car", "road", "sky"]


@pytest.mark.parametrize("names", ["", "{", "{1: 'a'}", "{}", "__import__('os')", "(" * 5000])
def test_names_that_are_none_are_asked_for(tmp_path: Path, names: str) -> None:
    path = with_metadata(semantic_net(tmp_path / "net.onnx"), names=names)
    with pytest.raises(ModelError, match=r"names no classes; set semantic\.classes"):
        taken(path)


def told(path: Path, **what: object) -> Path:
    """Write our own entry into a file."""
    model = onnx.load(str(path))
    tell(model, Told(**what))  # type: ignore[arg-type]
    onnx.save(model, str(path))
    return path


def test_a_file_of_from_torch_says_how_it_is_read(tmp_path: Path) -> None:
    what: dict[str, Any] = {"classes": ABC, "color": "bgr", "mean": [0.1, 0.2, 0.3], "std": 0.5, "head": "logits"}
    found = taken(told(semantic_net(tmp_path / "net.onnx"), **what))
    plain = taken(semantic_net(tmp_path / "plain.onnx"), **what)
    assert found.files == plain.files
    assert np.allclose(normalization(found.source)[1], [-0.2, -0.4, -0.6])


def test_what_the_recipe_states_goes_before_the_file(tmp_path: Path) -> None:
    told(bright_net(tmp_path / "net.onnx"), classes=ABC, color="bgr", mean=0.5, std=0.5)
    recipe = tmp_path / "recipe.toml"
    head = 'name = "n"\nversion = "1"\n[semantic]\nmodel = "net.onnx"\nprecision = ["float32"]\n'
    recipe.write_text(head + 'color = "rgb"\nmean = 0.0\n')
    source = load_recipe(recipe).semantic
    assert source is not None
    found = candidate("semantic", source).source
    assert (found.color, found.mean, found.std, found.classes) == ("rgb", 0.0, 0.5, ABC)
    recipe.write_text(head + 'stated = ["mean"]\n')
    with pytest.raises(ConfigError, match=r"semantic\.stated: is no key of a recipe"):
        load_recipe(recipe)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{", "metadata entry 'foveate' is not valid"),
        ('{"clases": ["a"]}', "unknown field `clases`"),
        ('{"classes": ["a", "b", "c"], "std": 0}', r"its metadata\.std: is 0"),
        ('{"classes": ["a", "a", "c"]}', "'a' is named twice"),
        ('{"classes": ["a", "b", "c"], "head": "centers"}', "its metadata: Invalid enum value 'centers'"),
        ("[" * 100_000, "metadata entry 'foveate' is not valid"),
    ],
)
def test_metadata_is_checked_like_a_recipe(tmp_path: Path, entry: str, said: str) -> None:
    path = with_metadata(semantic_net(tmp_path / "net.onnx"), foveate=entry)
    with pytest.raises(FoveateError, match=said):
        taken(path)


def test_ultralytics_label_maps_are_letterboxed(tmp_path: Path) -> None:
    path = with_metadata(semantic_net(tmp_path / "net.onnx"), names="{0: 'a', 1: 'b', 2: 'c'}", task="semantic")
    assert taken(path).model.fit == "letterbox"
    assert taken(path, stated=["fit"]).model.fit == "stretch"


def test_bytes_are_not_normalised_by_metadata(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["logits"], to=TensorProto.FLOAT)]
    shape = (1, 3, SIZE, SIZE)
    path = save(tmp_path / "net.onnx", nodes, {}, {"logits": shape}, shape=shape, dtype=TensorProto.UINT8)
    found = taken(told(path, classes=ABC, mean=0.5, std=0.5))
    assert (found.source.mean, found.source.std) == (0.0, 1.0)


def test_hugging_face_logits_are_enlarged(tmp_path: Path) -> None:
    model = onnx.load(str(semantic_net(tmp_path / "net.onnx")))
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixel_values"
    onnx.save(model, str(tmp_path / "net.onnx"))
    keys: tuple[list[str], list[str]] = ([], ["enlarge"])
    found = [taken(tmp_path / "net.onnx", classes=ABC, stated=stated).model for stated in keys]
    sizes = [next(spec.shape for spec in model.outputs) for model in found]
    assert sizes == [(SIZE, SIZE), (HALF, HALF)]


def test_what_is_told_survives_the_file(tmp_path: Path) -> None:
    path = told(semantic_net(tmp_path / "net.onnx"), classes=["ä", "b", "c"], mean=[1, 2, 3])
    (entry,) = [each.value for each in onnx.load(str(path)).metadata_props if each.key == "foveate"]
    assert json.loads(entry) == {"classes": ["ä", "b", "c"], "mean": [1, 2, 3]}


def test_one_class_of_ultralytics_has_the_background_below_it(tmp_path: Path) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["labels"], axis=1, keepdims=0)]
    path = save(tmp_path / "net.onnx", nodes, {}, {"labels": (1, SIZE, SIZE)}, output_type=TensorProto.INT64)
    found = taken(with_metadata(path, names="{0: 'crack'}", task="semantic"))
    assert found.model.classes == ["background", "crack"]
    assert engine_of(found).infer({"image": np.zeros((SIZE, SIZE, 3), np.uint8)})["labels"].max() == 0


def test_an_appearance_model_takes_no_classes_from_its_file(tmp_path: Path) -> None:
    path = constant_net(tmp_path / "net.onnx", {"vector": np.ones((1, 8), np.float32)})
    found = candidate("appearance", Appearance(model=with_metadata(path, names="{0: 'person'}")))
    assert found.model.classes == []
