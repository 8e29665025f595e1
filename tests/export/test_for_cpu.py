"""Graphs that are rewritten for the CPU give the same results, and are left alone where they would not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from edge.engines.ort import OrtEngine
from edge.types import Array
from export.candidate import Candidate, measure, quantized
from export.for_cpu import for_cpu
from tests.export.nets import SIZE, engine_of, pictures, save, semantic

ACTIVATIONS = {
    "none": [],
    "relu": [helper.make_node("Relu", ["c"], ["a"], name="relu")],
    "silu": [
        helper.make_node("Sigmoid", ["c"], ["s"], name="sigmoid"),
        helper.make_node("Mul", ["c", "s"], ["a"], name="mul"),
    ],
}


def stem_net(path: Path, kernel: tuple[int, int], pads: list[int], activation: str, *, bias: bool = True) -> Path:
    """Write a first convolution of stride 2, an activation and a second convolution."""
    random = np.random.default_rng(0)
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    last = "a" if ACTIVATIONS[activation] else "c"
    nodes = [
        helper.make_node("Conv", inputs, ["c"], name="stem", strides=[2, 2], pads=pads),
        *ACTIVATIONS[activation],
        helper.make_node("Conv", [last, "v"], ["logits"], name="head"),
    ]
    weights: dict[str, Array] = {
        "w": random.normal(0, 0.5, (5, 3, *kernel)).astype(np.float32),
        "v": random.normal(0, 1, (3, 5, 1, 1)).astype(np.float32),
    }
    if bias:
        weights["b"] = random.normal(0, 0.5, 5).astype(np.float32)
    rows, columns = ((SIZE + pads[i] + pads[i + 2] - kernel[i]) // 2 + 1 for i in (0, 1))
    return save(path, nodes, weights, {"logits": (1, 3, rows, columns)})


def rewritten(found: Candidate) -> onnx.ModelProto:
    return for_cpu(found.graph, [node.name for node in found.graph.graph.node])


def same(found: Candidate, graph: onnx.ModelProto) -> bool:
    """Return whether a graph gives what the candidate's own gives, up to what another order of sums makes."""
    here, there = engine_of(found), OrtEngine("rewritten", graph.SerializeToString(), 1)
    for picture in pictures(2):
        first, second = (engine.infer({"image": picture}) for engine in (here, there))
        if (first["labels"] != second["labels"]).mean() > 0.002:
            return False
        if np.abs(first["confidence"].astype(int) - second["confidence"]).max() > 1:
            return False
    return True


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize(
    ("kernel", "pads"), [((3, 3), [1, 1, 1, 1]), ((3, 3), [0, 0, 1, 1]), ((1, 2), [0, 0, 0, 0]), ((5, 3), [2, 1, 2, 1])]
)
def test_a_wide_first_convolution_gives_the_same(
    tmp_path: Path, kernel: tuple[int, int], pads: list[int], color: str, activation: str
) -> None:
    path = stem_net(tmp_path / "net.onnx", kernel, pads, activation, bias=activation != "none")
    found = semantic(path, classes=list("abc"), color=color, mean=[0.2, 0.5, 0.7], std=[0.2, 0.4, 0.3])
    graph = rewritten(found)
    (stem,) = [node for node in graph.graph.node if node.name == "net/stem"]
    (weight,) = [tensor for tensor in graph.graph.initializer if tensor.name == stem.input[1]]
    assert list(weight.dims[:2]) == [10, 12]
    assert not [node for node in graph.graph.node if node.op_type == "Gather"]
    assert same(found, graph)


@pytest.mark.parametrize(("kernel", "pads"), [((5, 5), [2, 2, 2, 2]), ((3, 3), [0, 0, 0, 0])])
def test_what_would_not_pay_or_not_fit_is_left_alone(tmp_path: Path, kernel: tuple[int, int], pads: list[int]) -> None:
    found = semantic(stem_net(tmp_path / "net.onnx", kernel, pads, "relu"), classes=list("abc"))
    assert [n.op_type for n in rewritten(found).graph.node] == [n.op_type for n in found.graph.graph.node]


def test_what_stays_float_is_left_alone(tmp_path: Path) -> None:
    path = stem_net(tmp_path / "net.onnx", (3, 3), [1, 1, 1, 1], "relu")
    found = semantic(path, classes=list("abc"), exclude=["stem"])
    graph = measure(found, pictures(2), "cpu").graph
    assert [n.op_type for n in graph.graph.node] == [n.op_type for n in found.graph.graph.node]


def resize_net(path: Path, factors: tuple[int, int], where: str, how: str, mode: str = "nearest") -> Path:
    """Write a convolution of stride 4, a Resize and a second convolution."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["small"], name="stem", strides=[4, 4]),
        helper.make_node(
            "Resize", ["small", "", "factors"], ["large"], name="up",
            mode=mode, coordinate_transformation_mode=where, nearest_mode=how,
        ),
        helper.make_node("Conv", ["large", "v"], ["logits"], name="head"),
    ]  # fmt: skip
    weights: dict[str, Array] = {
        "w": random.normal(0, 0.5, (5, 3, 4, 4)).astype(np.float32),
        "v": random.normal(0, 1, (3, 5, 1, 1)).astype(np.float32),
        "factors": np.asarray([1, 1, *factors], np.float32),
    }
    return save(path, nodes, weights, {"logits": (1, 3, *(SIZE // 4 * factor for factor in factors))})


@settings(max_examples=25, deadline=None)
@given(
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    where=st.sampled_from(["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]),
    how=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
)
def test_a_resize_is_tiled_only_where_that_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, factors: tuple[int, int], where: str, how: str
) -> None:
    path = resize_net(tmp_path_factory.mktemp("net") / "net.onnx", factors, where, how)
    found = semantic(path, classes=list("abc"))
    graph = rewritten(found)
    kinds = [node.op_type for node in graph.graph.node]
    assert ("Tile" in kinds) != ("Resize" in kinds) or factors == (1, 1)
    if where == "asymmetric" and how == "floor":
        assert "Resize" not in kinds
    assert same(found, graph)


def test_other_modes_stay(tmp_path: Path) -> None:
    found = semantic(resize_net(tmp_path / "n.onnx", (2, 2), "half_pixel", "floor", "linear"), classes=list("abc"))
    assert "Tile" not in [node.op_type for node in rewritten(found).graph.node]


def test_tiles_carry_the_bytes_they_get(tmp_path: Path) -> None:
    """Not a value is rounded twice: the steps before and behind are the same, and onnxruntime moves bytes."""
    found = semantic(resize_net(tmp_path / "net.onnx", (2, 2), "asymmetric", "floor"), classes=list("abc"))
    data = quantized(found, measure(found, pictures(12), "cpu"), "percentile")
    graph = onnx.load_model_from_string(data).graph
    made = {name: node for node in graph.node for name in node.output}
    tiles = [node for node in graph.node if node.op_type == "Tile"]
    assert len(tiles) == 2
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for tile in tiles:
        before = made[tile.input[0]]
        (behind,) = [node for node in graph.node if tile.output[0] in node.input]
        assert (before.op_type, behind.op_type) == ("DequantizeLinear", "QuantizeLinear")
        assert values[before.input[1]] == values[behind.input[1]]
        assert values[before.input[2]] == values[behind.input[2]]
