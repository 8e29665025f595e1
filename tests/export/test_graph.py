"""The canonical graph before and after a semantic network, against NumPy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge.errors import ConfigError
from edge.types import Array, Image
from export.errors import ModelError
from tests.export.nets import SIZE, constant_net, engine_of, identity_net, pictures, save, semantic, semantic_net

reuse = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
channels = st.one_of(st.floats(-2, 2, width=32), st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3))


def prepared(image: Image, color: str, scale: float, mean: object, std: object) -> npt.NDArray[np.float64]:
    """Return (h, w, 3), what a recipe says that the network gets."""
    planes = image[..., ::-1] if color == "rgb" else image
    return np.asarray((planes * scale - np.asarray(mean)) / np.asarray(std))


def softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


@reuse
@given(
    color=st.sampled_from(["bgr", "rgb"]),
    scale=st.floats(1 / 512, 1, width=32),
    mean=channels,
    std=st.floats(0.25, 4, width=32),
    channels_first=st.booleans(),
)
def test_preprocessing_is_what_the_recipe_says(
    tmp_path: Path, color: str, scale: float, mean: object, std: float, channels_first: bool
) -> None:
    path = identity_net(tmp_path / "net.onnx", channels_first=channels_first)
    keys = {"classes": ["a", "b", "c"], "color": color, "scale": scale, "mean": mean, "std": std}
    found = semantic(path, **keys)
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    outputs = engine_of(found).infer({"image": image})
    expected = prepared(image, color, scale, mean, std)
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-4  # float32 and float64 may break ties differently
    assert np.array_equal(outputs["labels"][clear], expected.argmax(axis=-1)[clear])
    confidence = softmax(expected).max(axis=-1) * 255
    assert np.abs(outputs["confidence"] - confidence).max() <= 0.51


def test_graph_is_canonical(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=["background", "a", "b"])
    model = onnx.load_model_from_string(found.files["float32"])
    assert model.ir_version == 10
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert [value.name for value in model.graph.input] == ["image"]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} <= {"pre", "net", "post"}
    assert found.model.input.shape == (SIZE, SIZE, 3)
    assert {(spec.name, spec.shape, spec.dtype) for spec in found.model.outputs} == {
        ("labels", (SIZE // 2, SIZE // 2), "uint8"),
        ("confidence", (SIZE // 2, SIZE // 2), "uint8"),
    }


def test_export_is_the_same_every_time(tmp_path: Path) -> None:
    path = semantic_net(tmp_path / "net.onnx")
    first, second = (semantic(path, classes=["background", "a", "b"]).files["float32"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_opsets_give_the_same_labels(tmp_path: Path, opset: int) -> None:
    expected = semantic(semantic_net(tmp_path / "17.onnx"), classes=list("abc"))
    found = semantic(semantic_net(tmp_path / "net.onnx", opset=opset), classes=list("abc"))
    assert onnx.load_model_from_string(found.files["float32"]).opset_import[0].version == max(17, opset)
    for picture in pictures(2):
        labels = engine_of(expected).infer({"image": picture})["labels"]
        assert np.array_equal(engine_of(found).infer({"image": picture})["labels"], labels)


def test_model_without_background_counts_from_one(tmp_path: Path) -> None:
    logits = np.zeros((1, 2, 4, 4), np.float32)
    logits[0, 1, 0] = 1
    found = semantic(constant_net(tmp_path / "net.onnx", {"logits": logits}), classes=["a", "b"], background=False)
    labels = engine_of(found).infer({"image": pictures(1)[0]})["labels"]
    assert found.model.classes == ["background", "a", "b"]
    assert np.array_equal(labels[0], [2] * 4)
    assert np.array_equal(labels[1:], np.ones((3, 4)))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
def test_argmax_head_takes_label_maps(tmp_path: Path, kind: int) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["f"], ["labels"], axis=3, keepdims=0),
    ]
    shape = (1, SIZE, SIZE, 3)
    path = save(
        tmp_path / "net.onnx", nodes, {}, {"labels": shape[:3]}, shape=shape, dtype=kind, output_type=TensorProto.INT64
    )
    found = semantic(path, head="argmax", classes=["red", "green", "blue"], color="rgb")
    picture = pictures(1)[0]
    outputs = engine_of(found).infer({"image": picture})
    assert set(outputs) == {"labels"}
    assert np.array_equal(outputs["labels"], picture[..., ::-1].argmax(axis=-1))


def test_bytes_are_not_normalised_twice(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["logits"], to=TensorProto.FLOAT)]
    shape = (1, 3, SIZE, SIZE)
    path = save(tmp_path / "net.onnx", nodes, {}, {"logits": shape}, dtype=TensorProto.UINT8)
    with pytest.raises(ConfigError, match="takes bytes and normalises itself"):
        semantic(path, classes=list("abc"), mean=0.5)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.STRING, TensorProto.DOUBLE])
def test_logits_that_are_not_float_are_named(tmp_path: Path, kind: int) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["scores"], to=kind)]
    net = save(tmp_path / "net.onnx", nodes, {}, {"scores": (1, 3, SIZE, SIZE)}, output_type=kind)
    name = TensorProto.DataType.Name(kind)
    with pytest.raises(ModelError, match=rf"net\.onnx: output 'scores' is {name}, this head needs FLOAT; export"):
        semantic(net, classes=list("abc"))


def test_a_label_map_of_texts_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["grey"], ["labels"], to=TensorProto.STRING)]
    nodes = [helper.make_node("ReduceMean", ["x"], ["grey"], axes=[1]), *nodes]
    shape = (1, 1, SIZE, SIZE)
    net = save(tmp_path / "net.onnx", nodes, {}, {"labels": shape}, output_type=TensorProto.STRING)
    with pytest.raises(ModelError, match="output 'labels' is STRING; export class numbers"):
        semantic(net, head="argmax", classes=list("abc"))


def test_wrong_number_of_classes_names_both(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'logits' is \[1, 3, 16, 16\], the recipe names 4 classes"):
        semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abcd"))


@reuse
@given(seed=st.integers(0, 2**32 - 1), enlarge=st.booleans())
def test_logits_are_enlarged_before_the_best_class_is_taken(tmp_path: Path, seed: int, enlarge: bool) -> None:
    logits = np.random.default_rng(seed).normal(0, 1, (1, 4, 8, 8)).astype(np.float32)
    found = semantic(constant_net(tmp_path / "net.onnx", {"logits": logits}), classes=list("abcd"), enlarge=enlarge)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    planes = [cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for each in logits[0]]
    expected = np.stack(planes if enlarge else list(logits[0]))
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    assert np.array_equal(outputs["labels"][clear], expected.argmax(axis=0)[clear])
    confidence = softmax(expected.transpose(1, 2, 0)).max(axis=-1) * 255
    assert np.abs(outputs["confidence"] - confidence).max() <= 0.52


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 8, 8), (1, 8, 8, 1)])
def test_one_plane_is_a_class_where_it_is_above_zero(tmp_path: Path, shape: tuple[int, ...]) -> None:
    plane = np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)
    path = constant_net(tmp_path / "net.onnx", {"mask": plane})
    found = semantic(path, head="binary", classes=["crack"], background=False)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    share = 1 / (1 + np.exp(-plane.reshape(8, 8).astype(np.float64)))
    assert found.model.classes == ["background", "crack"]
    assert np.array_equal(outputs["labels"], share > 0.5)
    assert np.abs(outputs["confidence"] - np.maximum(share, 1 - share) * 255).max() <= 0.51
    with pytest.raises(ModelError, match='"binary" tells one class from the background, the recipe has 3 with it'):
        semantic(path, head="binary", classes=list("abc"))


def test_shares_are_taken_for_what_they_are(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["shares"], axis=1)]
    path = save(tmp_path / "net.onnx", nodes, {}, {"shares": (1, 3, SIZE, SIZE)})
    picture = pictures(1)[0]
    outputs = engine_of(semantic(path, classes=list("abc"), scale=0.02)).infer({"image": picture})
    assert np.abs(outputs["confidence"] - softmax(picture * 0.02).max(axis=-1) * 255).max() <= 0.51
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]), helper.make_node("Sigmoid", ["m"], ["share"])]
    path = save(tmp_path / "one.onnx", nodes, {}, {"share": (1, 1, SIZE, SIZE)})
    found = semantic(path, head="binary", classes=["no", "yes"], scale=0.02, mean=2.0)
    outputs = engine_of(found).infer({"image": picture})
    share = 1 / (1 + np.exp(2.0 - picture.mean(axis=-1) * 0.02))
    clear = np.abs(share - 0.5) > 1e-5
    assert np.array_equal(outputs["labels"][clear], (share > 0.5)[clear])
    assert np.abs(outputs["confidence"] - np.maximum(share, 1 - share) * 255).max() <= 0.51
