"""FP16 graphs: valid, close to float, and run on a CPU so that what FP16 cannot hold is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.types import Array
from export.half import half, too_large, widened
from tests.export.nets import pictures, semantic, semantic_net

STEPS: dict[
    str, tuple[dict[str, Any], tuple[Any, ...]]
] = {  # operators of a chain on (1, 4, 6, 6): attributes, and constants behind the first input
    "Relu": ({}, ()),
    "Sigmoid": ({}, ()),
    "Add": ({}, (np.float32(0.25),)),
    "Mul": ({}, (np.full((4, 1, 1), 1.5, np.float32),)),
    "Clip": ({}, (np.float32(-2), np.float32(2))),
    "Conv": ({}, (np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1), np.ones(4, np.float32))),
    "Softmax": ({"axis": 1}, ()),
    "CumSum": ({}, (np.asarray(1),)),
    "Pow": ({}, (np.float32(1),)),
    "Expand": ({}, (np.asarray([1, 4, 6, 6]),)),
    "Resize": ({"mode": "nearest"}, (np.zeros(0, np.float32), np.ones(4, np.float32))),
}


def chain(kinds: list[str]) -> onnx.ModelProto:
    """Return a canonical graph: a picture, a network of `kinds` one after another, its result and what it is from."""
    constants: list[onnx.TensorProto] = []
    nodes = [
        helper.make_node("Cast", ["image"], ["pre/x"], name="pre/x", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pre/x", "pre/gain"], ["net/0"], name="pre/gain"),
    ]
    constants.append(numpy_helper.from_array(np.float32(1 / 255), "pre/gain"))
    for number, kind in enumerate(kinds):
        attributes, values = STEPS[kind]
        names = [f"net/c{number}_{i}" for i in range(len(values))]
        constants += [numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, values, strict=True)]
        name = f"net/{number + 1}"
        nodes.append(helper.make_node(kind, [f"net/{number}", *names], [name], name=name, **attributes))
    nodes.append(helper.make_node("Identity", [f"net/{len(kinds)}"], ["post/out"], name="post/out"))
    nodes.append(helper.make_node("Add", ["post/out", "net/0"], ["result"], name="post/sum"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def run(data: bytes, picture: Array) -> Array:
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    result = session.run(None, {"image": picture})[0]
    return np.asarray(result)


def kinds_of(model: onnx.ModelProto) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in [*model.graph.value_info, *model.graph.output]}


@settings(max_examples=20, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6),
    kept=st.sets(st.integers(1, 6)),
    seed=st.integers(0, 99),
)
def test_any_chain_stays_valid_and_close(kinds: list[str], kept: set[int], seed: int) -> None:
    model = chain(kinds)
    picture = np.random.default_rng(seed).integers(0, 256, (1, 4, 6, 6), dtype=np.uint8)
    names = {f"net/{number}" for number in kept}
    made = half(model, names)
    expected = run(model.SerializeToString(), picture)
    found = run(widened(made.SerializeToString()), picture)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.01)
    types = kinds_of(made)
    for number, kind in enumerate(kinds):
        wanted = f"net/{number + 1}" not in names and kind not in {"CumSum", "Pow"}
        name = f"net/{number + 1}" if number + 1 < len(kinds) else "post/out"
        name = name if name in types else f"net/{number + 1}"  # a name that was dropped with its Identity
        assert (types[name] == TensorProto.FLOAT16) == wanted, (kind, name)


def test_inputs_and_outputs_stay_as_they_are(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    made = half(found.graph)
    before, after = found.graph.graph, made.graph
    assert [v.SerializeToString() for v in after.input] == [v.SerializeToString() for v in before.input]
    assert [v.SerializeToString() for v in after.output] == [v.SerializeToString() for v in before.output]
    weights = {t.name: t.data_type for t in after.initializer}
    assert weights["net/w1/half"] == TensorProto.FLOAT16
    assert "net/w1" not in weights
    picture = pictures(1)[0]
    same = [run(data, picture) for data in (found.files["float32"], widened(made.SerializeToString()))]
    assert (same[0] == same[1]).mean() > 0.99


def test_what_is_too_large_is_seen_and_kept_out() -> None:
    model = chain(["Mul", "Mul", "Mul"])
    for tensor, value in zip(("net/c0_0", "net/c1_0", "net/c2_0"), (1e3, 1e3, 1e-6), strict=True):
        place = next(t for t in model.graph.initializer if t.name == tensor)
        place.CopyFrom(numpy_helper.from_array(np.full((4, 1, 1), value, np.float32), tensor))
    picture = np.full((1, 4, 6, 6), 255, np.uint8)
    made = half(model).SerializeToString()
    assert np.isfinite(run(made, picture)).all()  # onnxruntime computes in float32 and hides it
    assert not np.isfinite(run(widened(made), picture)).any()
    names = too_large(model, {"net/1": 1e3, "net/2": 1e6, "net/3": 1.0})
    assert names == ["net/2", "net/3"]
    np.testing.assert_allclose(run(widened(half(model, names).SerializeToString()), picture), 2.0, rtol=1e-3)
    assert too_large(model, {"net/1": float("nan")}) == ["net/1", "net/2"]


@pytest.mark.parametrize("value", [1e-9, 1e6])
def test_number_that_fp16_has_not_keeps_its_node_float(value: float) -> None:
    model = chain(["Add", "Relu"])
    place = next(t for t in model.graph.initializer if t.name == "net/c0_0")
    place.CopyFrom(numpy_helper.from_array(np.float32(value), "net/c0_0"))
    types = kinds_of(half(model))
    assert types["net/1"] == TensorProto.FLOAT


def test_network_output_that_is_an_output_of_the_graph() -> None:
    model = chain(["Relu"])
    model.graph.node.pop()
    model.graph.node.pop()
    model.graph.node[-1].output[0] = "result"
    del model.graph.value_info[:]
    made = half(onnx.shape_inference.infer_shapes(model))
    assert kinds_of(made)["result"] == TensorProto.FLOAT
    assert kinds_of(made)["result/inner"] == TensorProto.FLOAT16


def test_what_has_a_type_of_its_own_stays_float() -> None:
    made = half(chain(["Resize"]))
    (node,) = (node for node in made.graph.node if node.op_type == "Resize")
    weights = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    assert [weights[name] for name in node.input[1:]] == [TensorProto.FLOAT] * 2  # roi and scales
    assert kinds_of(made)[node.input[0]] == TensorProto.FLOAT16
