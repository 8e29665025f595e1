"""Foreign files: each that cannot be used ends in one line that names the thing, the value and the fix."""

from __future__ import annotations

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
        (folder, "is not a file"),
        (cut_short, "is not an ONNX"),
        (external_data, "tensor 'w0' keeps its data in another file; save the model as one file"),
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
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain="own")]
    path = save(tmp_path / "net.onnx", nodes, {}, {"y": (1, 3, SIZE, SIZE)})
    model = onnx.load(str(path))
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, str(path))
    assert [node.op_type for node in load_net(path).model.graph.node] == ["Add"]
