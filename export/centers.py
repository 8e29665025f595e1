"""What is put after a network that finds centres and votes for them ("centers")."""

from __future__ import annotations

import numpy as np

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, integers, real
from export.heads import Meaning, best_class, classes_of, needs_floats
from export.load import Net
from export.recipe import Instance

TOP_K = 64  # peaks per canvas
TIE_BREAK = 0.05  # logit units between the first and the last cell of a heat map, see `_peaks`


def centers_meaning(net: Net, source: Instance) -> Meaning:
    """Return how the network is read; raises `ModelError` where its outputs do not fit the recipe."""
    stride = _stride(net, source)
    classes, shift = classes_of(source, default=True)
    head = bundle.Head("centers", stride, source.offset_px, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        outputs = {
            "peaks": _peaks(graph, net.outputs["heatmap"], net.size, source),
            "labels": best_class(graph, "net/logits", 1, shift),
            "offsets": _offsets(graph, source.offset_px),
        }
        return outputs | ({"defects": best_class(graph, "net/defects", 1)} if source.defects else {})

    return Meaning(head, classes, attach, sensitive=("heatmap",))


def _stride(net: Net, source: Instance) -> int:
    """Check every output of a "centers" network; return canvas pixels per cell of its labels."""
    needed = ["heatmap", "offsets", "logits", *(["defects"] if source.defects else [])]
    for name in needed:
        if name not in net.outputs:
            names = ", ".join(net.outputs)
            raise ModelError(
                f"model {net.path}: head 'centers' needs output {name!r}, the model has {names}; rename its outputs"
            )
    needs_floats(net, needed)
    (height, width), (_, _, rows, columns) = net.size, _four(net, "logits")
    stride = height // rows
    expected = {
        "heatmap": (1, 1, *_four(net, "heatmap")[2:]),
        "offsets": (1, 2, rows, columns),
        "logits": (1, len(source.classes), height // stride, width // stride),
        "defects": (1, len(source.defects) + 1, height, width),
    }
    for name in needed:
        if net.outputs[name] != expected[name]:
            raise ModelError(
                f"model {net.path}: output {name!r} is {list(net.outputs[name])}, the recipe and the input want "
                f"{list(expected[name])}; correct classes, background or defects"
            )
    return stride


def _four(net: Net, name: str) -> tuple[int, int, int, int]:
    shape = net.outputs[name]
    strides = {divmod(size, cells) for size, cells in zip(net.size, shape[2:], strict=False)}
    if len(shape) != 4 or len(strides) > 1 or any(rest for _, rest in strides):  # the same whole number both ways
        raise ModelError(f"model {net.path}: output {name!r} is {list(shape)}; needs [1, C, h / n, w / n]")
    return shape[0], shape[1], shape[2], shape[3]


def _peaks(graph: Builder, shape: tuple[int, ...], size: tuple[int, int], source: Instance) -> str:
    """Return (k, 3) int16: x, y of cell centres in canvas pixels and score 0..255, best first.

    A quantized heat map has plateaus. A slope of `TIE_BREAK` over the whole map, used for the comparison only, leaves
    one peak of each.
    """
    _, _, rows, columns = shape
    count, stride, window = rows * columns, size[0] // rows, source.peak_window
    slope = np.linspace(0, TIE_BREAK, count).reshape(shape)
    tilted = graph.op("Add", "net/heatmap", real(slope))
    pads = [window // 2] * 4
    highest = graph.op("MaxPool", tilted, kernel_shape=[window, window], pads=pads, strides=[1, 1])
    score = graph.op("Round", graph.op("Mul", graph.op("Sigmoid", "net/heatmap"), real(255.0)))
    # GreaterOrEqual, as Equal of floats is one of the operators that TensorRT once did without
    lone = graph.op("Where", graph.op("GreaterOrEqual", tilted, highest), score, real(0.0))
    k = min(source.top_k or TOP_K, count)
    best = graph.op("TopK", graph.reshape(lone, count), integers(k), outputs=2, axis=0)
    index = f"{best}_1"
    row = graph.op("Div", index, integers(columns))
    column = graph.op("Sub", index, graph.op("Mul", row, integers(columns)))
    cells = graph.op("Concat", *(graph.reshape(cell, k, 1) for cell in (column, row)), axis=1)
    pixels = graph.op("Add", graph.op("Mul", cells, integers(stride)), integers(stride // 2))
    return graph.op("Concat", graph.cast(pixels, np.int16), graph.cast(graph.reshape(best, k, 1), np.int16), axis=1)


def _offsets(graph: Builder, unit_px: float) -> str:
    """Return (2, h, w) int8: dx, dy in units of `unit_px` canvas pixels."""
    units = "net/offsets" if unit_px == 1.0 else graph.op("Mul", "net/offsets", real(1.0 / unit_px))
    clipped = graph.op("Clip", graph.op("Round", units), real(-128.0), real(127.0))
    return graph.cast(graph.op("Squeeze", clipped, integers(0)), np.int8)
