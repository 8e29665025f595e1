"""Foreign files: each that cannot be used ends in one line that names the thing, the value and the fix."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export import load
from export.errors import ModelError
from export.load import load_net
from tests.export.nets import SIZE, save, semantic_net


def text(path: Path) -> None:
    path.write_text("this is no model\n" * 100)


def checkpoint(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"archive/data.pkl" * 10)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.mkdir()


def cut_short(path: Path) -> None:
    semantic_net(path)
    path.write_bytes(path.read_bytes()[:-100])


def external_data(path: Path) -> None:
    semantic_net(path)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="weights", size_threshold=0)
    (path.parent / "weights").unlink()  # it must not even be looked for


def with_function(path: Path, body: list[onnx.NodeProto], calls: int = 1) -> onnx.ModelProto:
    """Write a network that calls a function of its own one or more times, and return it."""
    names = ["x", *(f"t{i}" for i in range(1, calls)), "y"]
    nodes = [helper.make_node("Own", [a], [b], domain="own") for a, b in itertools.pairwise(names)]
    model = onnx.load(str(save(path, nodes, {}, {"y": (1, 3, SIZE, SIZE)})))
    model.functions.append(helper.make_function("own", "Own", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, str(path))
    return model


def elsewhere(axes: int = 1) -> onnx.TensorProto:
    """Return a tensor whose data is in another file."""
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1] * axes)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor


def external_data_in_a_function(path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=elsewhere()))
    with_function(path, [constant, helper.make_node("Add", ["a", "c"], ["b"])])


def external_sparse_data(path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"], name="thin")
    sparse = onnx.SparseTensorProto(values=elsewhere(), dims=[4])
    kind = onnx.AttributeProto.SPARSE_TENSOR
    constant.attribute.append(onnx.AttributeProto(name="sparse_value", type=kind, sparse_tensor=sparse))
    save(path, [constant, helper.make_node("Add", ["x", "c"], ["y"])], {}, {"y": (1, 3, SIZE, SIZE)})


def too_many_nodes(path: Path) -> None:
    names = ["x", *map(str, range(20_000)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    save(path, nodes, {}, {"y": (1, 3, SIZE, SIZE)})


def too_many_nodes_in_functions(path: Path) -> None:
    """Write ten functions, each of ten calls of the one before: ten thousand million nodes."""
    model = with_function(path, [helper.make_node("Relu", ["a"], ["b"])])
    opsets = [helper.make_opsetid("own", 1)]
    for level in range(10):
        inner = "Own" if level == 0 else f"Own{level - 1}"
        names = ["a", *map(str, range(9)), "b"]
        body = [helper.make_node(inner, [a], [b], domain="own") for a, b in itertools.pairwise(names)]
        model.functions.append(helper.make_function("own", f"Own{level}", ["a"], ["b"], body, opsets))
    model.graph.node[0].op_type = "Own9"
    onnx.save(model, str(path))


def function_that_calls_itself(path: Path) -> None:
    with_function(path, [helper.make_node("Own", ["a"], ["b"], domain="own")])


def functions_in_functions(path: Path, deep: int) -> None:
    model = with_function(path, [helper.make_node("Relu", ["a"], ["b"])])
    opsets = [helper.make_opsetid("own", 1)]
    for level in range(deep):
        inner = "Own" if level == 0 else f"Own{level - 1}"
        body = [helper.make_node(inner, ["a"], ["b"], domain="own")]
        model.functions.append(helper.make_function("own", f"Own{level}", ["a"], ["b"], body, opsets))
    model.graph.node[0].op_type = f"Own{deep - 1}"
    onnx.save(model, str(path))


def deep_functions(path: Path) -> None:
    functions_in_functions(path, 150)


def very_deep_functions(path: Path) -> None:
    functions_in_functions(path, 3000)


def with_weight(path: Path, value: float) -> None:
    weights = {"w": np.asarray([1, 0, value], np.float32).reshape(1, 3, 1, 1)}
    save(path, [helper.make_node("Conv", ["x", "w"], ["y"])], weights, {"y": (1, 1, SIZE, SIZE)})


def no_number(path: Path) -> None:
    with_weight(path, np.nan)


def infinite_weight(path: Path) -> None:
    with_weight(path, -np.inf)


def short_weight(path: Path) -> None:
    model = onnx.load(str(semantic_net(path)))
    model.graph.initializer[0].raw_data = b"abc"
    onnx.save(model, str(path))


def name_in_another_code(path: Path) -> None:
    path.write_bytes(semantic_net(path).read_bytes().replace(b"relu_body", b"rel\xfc_body"))


def tensor_in_another_code(path: Path) -> None:
    path.write_bytes(semantic_net(path).read_bytes().replace(b"logits", b"l\xf6gits"))


def too_many_axes(path: Path) -> None:
    weights = {"w": np.ones([1] * 9, np.float32)}
    save(path, [helper.make_node("Add", ["x", "w"], ["y"])], weights, {"y": (1,) * 9})


def too_many_axes_inside(path: Path) -> None:
    weights = {"shape": np.asarray([1] * 7 + [3, SIZE, SIZE]), "back": np.asarray([1, 3, SIZE, SIZE])}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["wide"]),
        helper.make_node("Reshape", ["wide", "back"], ["y"]),
    ]
    save(path, nodes, weights, {"y": (1, 3, SIZE, SIZE)})


def custom_operator(path: Path) -> None:
    save(path, [helper.make_node("Conv", ["x"], ["y"], name="mine", domain="com.example")], {}, {"y": (1, 3, 4, 4)})


def loop(path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])], "body", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    weights = {"yes": np.ones((), np.bool_)}
    save(path, [helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)], weights, {"y": (1,)})


def two_inputs(path: Path) -> None:
    model = onnx.load(str(semantic_net(path)))
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]))
    onnx.save(model, str(path))


def open_size(path: Path) -> None:
    save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, {"y": (1, 3, SIZE, SIZE)}, shape=(1, 3, "height", "width"))


def many_pictures(path: Path) -> None:
    save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, {"y": (4, 3, 8, 8)}, shape=(4, 3, 8, 8))


def half_floats(path: Path) -> None:
    kind, shape = TensorProto.FLOAT16, (1, 3, 8, 8)
    save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, {"y": shape}, shape=shape, dtype=kind, output_type=kind)


def open_output(path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    save(path, nodes, {}, {"y": (4, "found")}, output_type=TensorProto.INT64)


def contradiction(path: Path) -> None:
    save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, {"y": (1, 3, SIZE, 7)})


def ancient(path: Path) -> None:
    semantic_net(path, opset=6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text, "is not an ONNX"),
        (empty, "is not an ONNX"),
        (checkpoint, "is a PyTorch checkpoint; .*never is here: export the model to ONNX"),
        (folder, "is not a file"),
        (cut_short, "is not an ONNX"),
        (external_data, "tensor 'w0' keeps its data in another file; save the model as one file"),
        (external_data_in_a_function, "tensor 'hidden' keeps its data in another file"),
        (external_sparse_data, "tensor 'hidden' keeps its data in another file"),
        (too_many_nodes, "has more than 20000 nodes; an edge device needs a smaller model"),
        (too_many_nodes_in_functions, "has more than 20000 nodes"),
        (function_that_calls_itself, "has more than 20000 nodes"),
        (deep_functions, "functions cannot be written out: .*depth exceeds limit"),
        (very_deep_functions, "has functions nested more than 100 deep"),
        (no_number, "tensor 'w' holds NaN or infinite values; export weights that work"),
        (infinite_weight, "tensor 'w' holds NaN or infinite values"),
        (short_weight, "tensor 'w0' does not fit its shape"),
        (name_in_another_code, r"the name b'rel\\xfc_body' is no UTF-8; export the model again"),
        (tensor_in_another_code, r"the name b'l\\xf6gits' is no UTF-8"),
        (too_many_axes, "tensor 'w' has 9 axes, at most 8 are taken"),
        (too_many_axes_inside, "tensor 'wide' has 10 axes, at most 8 are taken"),
        (custom_operator, "node 'mine' is com.example::Conv"),
        (loop, "branches or loops"),
        (two_inputs, "needs one input, the picture; it has x, state"),
        (open_size, r"input 'x' is \[1, 3, height, width\]; set input_size = \[width, height\] in the recipe"),
        (many_pictures, r"input 'x' is \[4, 3, 8, 8\]; needs \[1, 3, h, w\]"),
        (half_floats, "input 'x' is FLOAT16; export the model with a float32 or uint8 input"),
        (open_output, "output 'y' is .* fixed sizes"),
        (contradiction, "is not a valid ONNX model"),
        (ancient, "opset 6 is too old"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(ModelError, match=said) as caught:
        load_net(path)
    assert str(caught.value).startswith(f"model {path}: ")
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx: cannot be read: No such file"):
        load_net(tmp_path / "nothing.onnx")


def test_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "FILE_LIMIT_BYTES", 1000)
    with pytest.raises(ModelError, match="an edge device needs a smaller model"):
        load_net(semantic_net(tmp_path / "net.onnx"))


def test_input_size_fills_what_is_open(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    save(path, nodes, {}, {"y": ("b", 3, "h", "w")}, shape=("b", 3, "h", "w"))
    net = load_net(path, (48, 16))
    assert net.shape == (1, 3, 16, 48)
    assert net.outputs == {"y": (1, 3, 16, 48)}
    with pytest.raises(ModelError, match="differs"):
        load_net(semantic_net(path), (48, 16))


def test_own_functions_are_inlined(tmp_path: Path) -> None:
    with_function(tmp_path / "net.onnx", [helper.make_node("Add", ["a", "a"], ["b"])], calls=3)
    assert [node.op_type for node in load_net(tmp_path / "net.onnx").model.graph.node] == ["Add"] * 3


def test_a_bound_may_be_infinite(tmp_path: Path) -> None:
    weights = {"low": np.zeros((), np.float32), "high": np.full((), np.inf, np.float32)}
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"])]
    assert load_net(save(tmp_path / "net.onnx", nodes, weights, {"y": (1, 3, SIZE, SIZE)})).kinds == {"y": "FLOAT"}


def test_what_only_inlining_shows_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    semantic_net(tmp_path / "net.onnx")

    def standard(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
        model.graph.initializer.append(elsewhere())
        return model

    monkeypatch.setattr(load, "_standard", standard)
    with pytest.raises(ModelError, match="tensor 'hidden' keeps its data in another file"):
        load_net(tmp_path / "net.onnx")


def test_where_every_axis_is_open_channels_come_first(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    shape = ("batch_size", "num_channels", "height", "width")
    path = save(tmp_path / "net.onnx", nodes, {}, {"y": shape}, shape=shape)
    assert load_net(path, (24, 16)).shape == (1, 3, 16, 24)
    with pytest.raises(ModelError, match=r"\[batch_size, num_channels, height, width\]; set input_size"):
        load_net(path)
