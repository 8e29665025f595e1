"""Changes to a float graph that leave its results alone and make it faster."""

from __future__ import annotations

import onnx

from export.graph import POST, Builder, finished, integers

# order of block rows, block columns and channels among the input's channels
CHANNELS_OUTSIDE, CHANNELS_INSIDE = "CRD", "DCR"


def argmax_before_shuffle(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let ArgMax over classes come before the DepthToSpace in front of it, and shuffle one map instead of all.

    For 5 classes at 320x320 this takes 1.0 ms instead of 2.0 ms on two CPU cores.
    """
    graph = model.graph
    producer = {name: node for node in graph.node for name in node.output}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    for best in [node for node in graph.node if node.op_type == "ArgMax"]:
        shuffle = producer.get(best.input[0])
        if shuffle is None or shuffle.op_type != "DepthToSpace" or whole_of(best, "axis", 0) != 1:
            continue
        if sum(shuffle.output[0] in node.input for node in graph.node) == 1 and shuffle.input[0] in shapes:
            _swap(graph, shuffle, best, shapes[shuffle.input[0]], model.opset_import[0].version)
    return finished(model)


def _swap(graph: onnx.GraphProto, shuffle: onnx.NodeProto, best: onnx.NodeProto, shape: list[int], opset: int) -> None:
    """Replace DepthToSpace -> ArgMax; `shape` is (1, C * b * b, h, w), the result (1, h * b, w * b) as before."""
    block = whole_of(shuffle, "blocksize", 1)
    _, channels, rows, columns = shape
    classes = channels // block**2
    outside = text_of(shuffle, "mode", CHANNELS_INSIDE) == CHANNELS_OUTSIDE
    new = Builder(f"{POST}{best.name.rpartition('/')[2]}/", opset)
    # four axes at the most: TensorRT 10 takes an ArgMax along the last four only
    grouped = (classes, block**2) if outside else (block**2, classes)
    chosen = new.op("ArgMax", new.reshape(shuffle.input[0], *grouped, rows, columns), axis=1 - outside, keepdims=0)
    spread = new.op("Transpose", new.reshape(chosen, block, block, rows, columns), perm=[2, 0, 3, 1])
    new.name(new.op("Reshape", spread, integers(*_result_shape(best, rows * block, columns * block))), best.output[0])
    place = list(graph.node).index(best)
    graph.node.remove(best)
    graph.node.remove(shuffle)
    for node in reversed(new.nodes):
        graph.node.insert(place - 1, node)
    graph.initializer.extend(new.constants)


def _result_shape(best: onnx.NodeProto, rows: int, columns: int) -> tuple[int, ...]:
    return (1, 1, rows, columns) if whole_of(best, "keepdims", 1) else (1, rows, columns)


def whole_of(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return a whole number among the attributes of a node."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def text_of(node: onnx.NodeProto, name: str, default: str) -> str:
    """Return a text among the attributes of a node."""
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), default)
