"""The semantic network a second time at a smaller input: exported, measured, or refused with the fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.bundle import open_bundle, read_engine
from edge.engines import open_engine
from edge.errors import ConfigError
from edge.types import Array
from export.build import export_bundle
from export.candidate import candidate
from export.cli import main
from export.coarse import coarse_candidate
from export.errors import ModelError
from export.recipe import Semantic
from tests.export.nets import SIZE, rewritten, save

HALF, LESS = SIZE // 2, SIZE * 3 // 4
COARSE = ('head = "logits"', f'head = "logits"\ncoarse_size = [{LESS}, {LESS}]')


def test_the_bundle_has_the_network_twice_and_both_are_calibrated(recipe: Path, tmp_path: Path) -> None:
    bundle = export_bundle(rewritten(recipe, COARSE), tmp_path / "out")
    models = bundle.manifest.models
    semantic, coarse = models["semantic"], models["coarse"]
    assert (semantic.input.shape, coarse.input.shape) == ((SIZE, SIZE, 3), (LESS, LESS, 3))
    assert [spec.shape for spec in coarse.outputs] == [(LESS // 2, LESS // 2)] * 2
    assert [engine.file for engine in coarse.engines] == ["coarse.int8.onnx", "coarse.float32.onnx"]
    picture = np.full((LESS, LESS, 3), 230, np.uint8)
    for file in coarse.engines:
        engine = open_engine(read_engine(bundle, file), coarse, file, 1)
        assert (engine.infer({"image": picture})["labels"][1:-1, 1:-1] == 1).all()
        engine.close()
    assert bundle.manifest.calibration["coarse_pictures"] == bundle.manifest.calibration["semantic_pictures"]
    assert bundle.manifest.calibration["coarse_method"] == "minmax"


def test_the_report_says_what_the_coarse_model_is_worth(recipe: Path, tmp_path: Path) -> None:
    quality = export_bundle(rewritten(recipe, COARSE), tmp_path / "out").manifest.quality
    assert 0.6 < quality["semantic_miou_agreement_coarse"] < quality["semantic_miou_agreement"]
    assert quality["instance_objects_coarse"] == 3
    assert 0.7 < quality["instance_pq_agreement_coarse"] < quality["instance_pq_agreement"]
    report = json.loads((tmp_path / "out.report" / "report.json").read_text())
    assert report["figures"]["coarse_int8_ms"] > 0
    assert {file["role"] for file in report["files"]} == {"semantic", "coarse", "instance"}
    assert "coarse semantic model" in (tmp_path / "out.report" / "report.html").read_text()


def test_a_model_that_runs_as_given_is_compared_at_its_smaller_input_all_the_same(recipe: Path, tmp_path: Path) -> None:
    text = rewritten(recipe, COARSE).read_text().replace('color = "bgr"', 'color = "bgr"\nprecision = ["float32"]')
    recipe.write_text(text)
    quality = export_bundle(recipe, tmp_path / "out").manifest.quality
    assert "semantic_miou_agreement" not in quality
    assert {"semantic_miou_agreement_coarse", "instance_pq_agreement_coarse"} < quality.keys()


@pytest.mark.parametrize("size", [(SIZE, SIZE), (2 * SIZE, HALF), (HALF, 2 * SIZE)])
def test_a_size_that_is_not_smaller_is_refused(recipe: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    rewritten(recipe, (COARSE[0], f"{COARSE[0]}\ncoarse_size = {list(size)}"))
    with pytest.raises(ConfigError, match=r"semantic.coarse_size: is .*, the input is .* give a smaller size"):
        export_bundle(recipe, tmp_path / "out")


def skip_net(path: Path) -> Path:
    """Write a network of stride 4 whose last layers go up again and are added to finer ones."""
    weight = np.full((3, 3, 3, 3), 1 / 27, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["half"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["half", "w"], ["quarter"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Resize", ["quarter", "", "twice"], ["up"], mode="nearest"),
        helper.make_node("Add", ["up", "half"], ["logits"]),
    ]
    weights: dict[str, Array] = {"w": weight, "twice": np.asarray([1, 1, 2, 2], np.float32)}
    return save(path, nodes, weights, {"logits": (1, 3, HALF, HALF)})


def sized_net(path: Path) -> Path:
    """Write a network that resizes its logits to a size of their own."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["half"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Resize", ["half", "", "", "size"], ["logits"], mode="nearest"),
    ]
    weights: dict[str, Array] = {
        "w": np.full((3, 3, 3, 3), 1 / 27, np.float32),
        "size": np.asarray([1, 3, SIZE, SIZE], np.int64),
    }
    return save(path, nodes, weights, {"logits": (1, 3, SIZE, SIZE)})


def flat_net(path: Path) -> Path:
    """Write a network with a layer that knows how many pixels there are."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["row"]),
        helper.make_node("Reshape", ["row", "square"], ["logits"]),
    ]
    weights: dict[str, Array] = {
        "flat": np.asarray([1, 3 * SIZE * SIZE], np.int64),
        "square": np.asarray([1, 3, SIZE, SIZE], np.int64),
    }
    return save(path, nodes, weights, {"logits": (1, 3, SIZE, SIZE)})


@pytest.mark.parametrize(
    ("net", "size", "said"),
    [
        (skip_net, 18, "does not work at it: .* give multiples of the network's largest stride"),
        (flat_net, 16, "does not work at it: .* or remove coarse_size"),
        (sized_net, 16, "a layer of the graph has a size of its own; export the model with sizes left open"),
    ],
)
def test_a_graph_that_cannot_take_the_size_is_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], net: Callable[[Path], Path], size: int, said: str
) -> None:
    net(tmp_path / "semantic.onnx")
    rewritten(recipe, (COARSE[0], f"{COARSE[0]}\ncoarse_size = [{size}, {size}]"))
    with pytest.raises(ModelError, match=rf"semantic.coarse_size: is \[{size}, {size}\], and .*{said}"):
        export_bundle(recipe, tmp_path / "out")
    assert main([str(recipe), "--out", str(tmp_path / "out")]) != 0
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_a_graph_whose_skips_fit_again_is_taken(tmp_path: Path) -> None:
    net = skip_net(tmp_path / "semantic.onnx")
    source = Semantic(model=net, head="logits", classes=["a", "b", "c"], coarse_size=(20, 16))
    assert coarse_candidate(candidate("semantic", source), source).model.input.shape == (16, 20, 3)


def test_a_network_of_open_sizes_takes_both(recipe: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tmp_path / "semantic.onnx"))
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, str(tmp_path / "semantic.onnx"))
    sizes = f'head = "logits"\ninput_size = [{SIZE}, {SIZE}]\ncoarse_size = [{HALF}, 24]'
    export_bundle(rewritten(recipe, ('head = "logits"', sizes)), tmp_path / "out")
    models = open_bundle(tmp_path / "out").manifest.models
    assert (models["semantic"].input.shape, models["coarse"].input.shape) == ((SIZE, SIZE, 3), (24, HALF, 3))
