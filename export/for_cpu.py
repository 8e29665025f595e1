"""Changes to a float graph that leave its results alone and let its INT8 copy pay on a CPU.

onnxruntime's INT8 kernels are channels-last. Two things that cost little in float cost a third of a small network
there: a first convolution whose rows are gathered three bytes at a time, and a nearest Resize, which has no fast path
for bytes. Both become moves of longer runs of bytes. On the belt's semantic network (480x272, two cores) the first
convolution takes 0.38 ms instead of 0.89, and all Resizes together 0.2 instead of 0.85.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge.types import Array
from export.graph import INPUT, NET, PRE, Builder, finished, integers
from export.quantize import ACTIVATIONS
from export.rewrite import text_of, whole_of

COLUMNS = 4  # of the picture that one position of the wide first convolution takes in
STRIDE = 2
WIDEST = 3  # kernel of a first convolution for which that pays; at 5 the wider kernel costs what the copies save
PIXEL_OPS = {"Cast", "Transpose", "Gather", "Reshape", "Mul", "Add"}  # between the picture and the network


def for_cpu(model: onnx.ModelProto, chosen: Collection[str]) -> onnx.ModelProto:
    """Return a copy of a canonical float graph that gives the same results and quantizes to a faster one.

    `chosen` are the names of the nodes that are to be quantized; what stays float is left as it is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = _Editor(copy)
    _widen_stem(graph, chosen)
    for node in list(copy.graph.node):
        if node.op_type == "Resize" and node.name in chosen:
            _tile(graph, node)
    del copy.graph.value_info[:]
    return finished(copy)


class _Editor:
    """A graph that is being changed, with what its tensors are."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opset = int(model.opset_import[0].version)
        values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.graph.node if tensor in node.input]

    def array(self, name: str) -> Array | None:
        """Return a constant, or None where it is none."""
        return numpy_helper.to_array(self.weights[name]) if name in self.weights else None

    def put(self, place: onnx.NodeProto, *builders: Builder) -> None:
        """Insert what `builders` hold before the node `place`."""
        index = list(self.graph.node).index(place)
        for builder in builders:
            for node in builder.nodes:
                self.graph.node.insert(index, node)
                index += 1
            self.graph.initializer.extend(builder.constants)


def _widen_stem(graph: _Editor, chosen: Collection[str]) -> None:
    """Let the first convolution take in `COLUMNS` columns at a position and give all columns of the result they make.

    Rows of `COLUMNS` pixels become channels, for which channels-last bytes need no move; the kernel is the same one at
    every offset, zeros beside it. Colours are swapped in the kernel, not in the picture.
    """
    found = _stem(graph)
    if found is None or found[1].name not in chosen:
        return
    before, stem = found
    _, _, height, width = graph.shapes[stem.input[0]]
    flipped = any(node.op_type == "Gather" for node in before)
    blocks = Builder(f"{PRE}blocks/", graph.opset)
    x = blocks.reshape(blocks.cast(INPUT, np.float32), 1, height, width // COLUMNS, 3 * COLUMNS)
    x = blocks.op("Transpose", x, perm=[0, 3, 1, 2])
    for node in before:
        if node.op_type in {"Mul", "Add"}:
            x = blocks.op(node.op_type, x, _per_block(graph.array(node.input[1]), flipped))
    wide = _wide_stem(graph, stem, x, flipped)
    graph.put(before[0], blocks)
    graph.put(stem, wide)
    for node in (*before, stem):
        graph.graph.node.remove(node)


def _stem(graph: _Editor) -> tuple[list[onnx.NodeProto], onnx.NodeProto] | None:
    """Return the nodes between the picture and the one convolution that reads it, and that convolution."""
    before: list[onnx.NodeProto] = []
    tensor = INPUT
    while len(readers := graph.readers(tensor)) == 1:
        (node,) = readers
        if not node.name.startswith(PRE):
            return (before, node) if _widens(graph, node) and before[0].op_type == "Cast" else None
        if node.op_type not in PIXEL_OPS:
            return None
        before.append(node)
        tensor = node.output[0]
    return None


def _widens(graph: _Editor, node: onnx.NodeProto) -> bool:
    """Return whether a node is a convolution of a picture with three channels that can take several columns."""
    kernel = graph.array(node.input[1]) if node.op_type == "Conv" else None
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[3] > WIDEST:
        return False
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or found.get("group", 1) != 1:
        return False
    if list(found.get("strides", [])) != [STRIDE] * 2 or set(found.get("dilations", [1])) != {1}:
        return False
    width, given = graph.shapes[node.input[0]][3], graph.shapes[node.output[0]][3]
    return bool(width % COLUMNS == 0 and given * STRIDE == width)


def _per_block(value: Array | None, flipped: bool) -> Array:
    """Return gains or offsets, one or (3, 1, 1), for the channels of a block, whose colours are the picture's."""
    if value is None or value.size == 1:
        return np.asarray(0.0 if value is None else value.reshape(()), np.float32)
    return np.tile(value[::-1] if flipped else value, (COLUMNS, 1, 1))


def _wide_stem(graph: _Editor, stem: onnx.NodeProto, x: str, flipped: bool) -> Builder:
    """Return the wide convolution of `x`, and the moves that give its result the shape it had.

    An activation behind the convolution stays right behind it: the two are one kernel.
    """
    kernel = np.asarray(graph.array(stem.input[1]))
    pads = next((list(a.ints) for a in stem.attribute if a.name == "pads"), [0] * 4)
    wide, left, right = _wide_kernel(kernel[:, ::-1] if flipped else kernel, pads[1])
    new = Builder(f"{stem.name}/wide/", graph.opset)
    inputs = [x, new.constant(wide)]
    if len(stem.input) > 2:
        inputs.append(new.constant(np.tile(np.asarray(graph.array(stem.input[2])), COLUMNS // STRIDE)))
    result = stem.output[0]
    _, channels, rows, columns = graph.shapes[result]
    new.nodes.append(
        helper.make_node(
            "Conv", inputs, [f"{result}/wide"], name=stem.name, kernel_shape=list(wide.shape[2:]),
            pads=[pads[0], left, pads[2], right], strides=[STRIDE, 1],
        )
    )  # fmt: skip
    tensor, readers = f"{result}/wide", graph.readers(result)
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS:
        behind = onnx.NodeProto()
        behind.CopyFrom(readers[0])
        graph.graph.node.remove(readers[0])
        result = behind.output[0]
        behind.input[0], behind.output[0] = tensor, f"{result}/wide"
        tensor = behind.output[0]
        new.nodes.append(behind)
    tensor = new.op("Transpose", tensor, perm=[0, 2, 3, 1])
    tensor = new.op("Transpose", new.reshape(tensor, 1, rows, columns, channels), perm=[0, 3, 1, 2])
    new.nodes[-1].output[0] = result
    return new


def _wide_kernel(kernel: Array, left: int) -> tuple[Array, int, int]:
    """Return the kernel over blocks of `COLUMNS` columns, and how many blocks of padding it needs left and right.

    `kernel` is (n, 3, h, w) and `left` its padding; the result is (m * n, `COLUMNS` * 3, h, w'), with m columns of the
    result in a block.
    """
    number, colours, height, width = kernel.shape
    places = COLUMNS // STRIDE
    first, last = -left, (places - 1) * STRIDE - left + width - 1  # columns, counted from the block's own first
    before, behind = -(first // COLUMNS), last // COLUMNS
    wide = np.zeros((places, number, COLUMNS, colours, height, before + behind + 1), np.float32)
    for place in range(places):
        for column in range(width):
            at = place * STRIDE - left + column
            wide[place, :, at % COLUMNS, :, :, before + at // COLUMNS] = kernel[:, :, :, column]
    return wide.reshape(places * number, COLUMNS * colours, height, -1), before, behind


def _tile(graph: _Editor, node: onnx.NodeProto) -> None:
    """Write a nearest Resize by whole factors as repeated runs: channels-last, a column is a run, and so is a row."""
    small, large = graph.shapes.get(node.input[0], []), graph.shapes.get(node.output[0], [])
    if len(small) != 4 or small[:2] != large[:2] or not node.name.startswith(NET):
        return
    if any(large[axis] % small[axis] for axis in (2, 3)) or not _repeats(node, small, large):
        return
    (_, channels, rows, columns), (down, across) = small, (large[2] // small[2], large[3] // small[3])
    new = Builder(f"{node.name}/", graph.opset)
    x = new.op("Transpose", node.input[0], perm=[0, 2, 3, 1])
    x = new.op("Tile", x, integers(1, 1, 1, across))
    x = new.op("Tile", new.reshape(x, 1, rows, across * columns * channels), integers(1, 1, down))
    new.op("Transpose", new.reshape(x, 1, large[2], large[3], channels), perm=[0, 3, 1, 2])
    new.nodes[-1].output[0] = node.output[0]
    graph.put(node, new)
    graph.graph.node.remove(node)


def _repeats(node: onnx.NodeProto, small: list[int], large: list[int]) -> bool:
    """Return whether a Resize gives every pixel `factor` times in a row, and nothing else, along both axes."""
    if text_of(node, "mode", "nearest") != "nearest" or whole_of(node, "antialias", 0):
        return False
    where = text_of(node, "coordinate_transformation_mode", "half_pixel")
    how = text_of(node, "nearest_mode", "round_prefer_floor")
    return all(_repeated(size, out // size, where, how) for size, out in zip(small[2:], large[2:], strict=True))


def _repeated(size: int, factor: int, where: str, how: str) -> bool:
    """Return whether output i of `size` * `factor` is input i // `factor`, as ONNX defines Resize."""
    i = np.arange(size * factor)
    if where == "asymmetric":
        x = i / factor
    elif where in {"half_pixel", "pytorch_half_pixel"} and size * factor > 1:
        x = (i + 0.5) / factor - 0.5
    else:
        return False
    nearest = {
        "floor": np.floor(x),
        "ceil": np.ceil(x),
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
    }
    return how in nearest and bool((nearest[how].clip(0, size - 1) == i // factor).all())
