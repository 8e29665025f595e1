"""What is put after a network: raw outputs -> the outputs of `docs/bundle.md`, one function per head."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Head, Outputs, integers, real
from export.load import Net
from export.recipe import Instance, Semantic

TOP_K_CENTERS, TOP_K_YOLO = 64, 256
MOST_CLASSES = 255  # class numbers are bytes
TIE_BREAK = 0.05  # logit units between the first and the last cell of a heat map, see `_peaks`


@dataclass(frozen=True)
class Meaning:
    """How the raw outputs of one network are read."""

    head: bundle.Head
    classes: list[str]  # as in the manifest: classes[0] is the background
    attach: Head
    sensitive: tuple[str, ...] = ()  # raw outputs whose last layers must stay float


def semantic_meaning(net: Net, source: Semantic) -> Meaning:
    """Return how a semantic network is read; raises `ModelError` where its outputs do not fit the recipe."""
    (name, shape), *others = net.outputs.items()
    if others:
        names = ", ".join(net.outputs)
        raise ModelError(f"model {net.path}: a semantic model has one output, this one {names}; cut the others off")
    classes, shift = _classes(source, default=True)
    if source.head == "argmax":
        _map_shape(net, name, shape)
        return Meaning(bundle.Head("labels"), classes, lambda graph: _labels(graph, net, shift))
    axis = _class_axis(net, name, shape, len(source.classes))
    return Meaning(bundle.Head("labels"), classes, lambda graph: _argmax(graph, net, axis, shift), sensitive=(name,))


def instance_meaning(net: Net, source: Instance) -> Meaning:
    """Return how an instance network is read; raises `ModelError` where its outputs do not fit the recipe."""
    if source.defects and source.head != "centers":
        raise ModelError(f"model {net.path}: head {source.head!r} has no defect map; remove instance.defects")
    return _centers_meaning(net, source) if source.head == "centers" else _yolo_meaning(net, source)


def _classes(source: Semantic | Instance, default: bool) -> tuple[list[str], int]:
    """Return the manifest's classes and what has to be added to the model's class numbers."""
    has_background = default if source.background is None else source.background
    names = source.classes if has_background else ["background", *source.classes]
    if len(names) > MOST_CLASSES:
        raise ModelError(f"model {source.model}: has {len(names)} classes, at most {MOST_CLASSES} fit into a byte")
    return list(names), 0 if has_background else 1


# labels


def _map_shape(net: Net, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (h, w) of a label map with or without axes of size 1."""
    sizes = [size for size in shape if size != 1]
    if len(sizes) != 2:
        raise ModelError(f'model {net.path}: output {name!r} is {list(shape)}, no label map; set head = "logits"')
    return sizes[0], sizes[1]


def _class_axis(net: Net, name: str, shape: tuple[int, ...], classes: int) -> int:
    """Return 1 for [1, C, h, w] and 3 for [1, h, w, C]."""
    found = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == classes]
    if not found:
        raise ModelError(
            f"model {net.path}: output {name!r} is {list(shape)}, the recipe names {classes} classes; "
            "name every class of the model, its background included (or background = false if it has none)"
        )
    return found[0] if net.channels_first or len(found) == 1 else found[-1]


def _labels(graph: Builder, net: Net, shift: int) -> Outputs:
    (name, shape), *_ = net.outputs.items()
    numbers = graph.cast(graph.reshape(f"net/{name}", *_map_shape(net, name, shape)), np.uint8)
    return {"labels": _shifted(graph, numbers, shift)}


def _argmax(graph: Builder, net: Net, axis: int, shift: int) -> Outputs:
    (name, _), *_ = net.outputs.items()
    return {
        "labels": _best(graph, f"net/{name}", axis, shift),
        "confidence": _confidence(graph, f"net/{name}", axis),
    }


def _best(graph: Builder, logits: str, axis: int, shift: int = 0) -> str:
    """Return (h, w) uint8, the class with the highest logit.

    ArgMax is the fastest of five ways tried on the CPU (0.3 ms for 5 classes at 240x136, 0.8 ms for 21 at 257x257;
    comparing planes pairwise takes 1.2 and 3.7 times as long).
    """
    best = graph.op("ArgMax", logits, axis=axis, keepdims=0)
    plane = graph.op("Squeeze", best, integers(0))
    return _shifted(graph, graph.cast(plane, np.uint8), shift)


def _shifted(graph: Builder, numbers: str, shift: int) -> str:
    # no uint8 Add in TensorRT, so the detour over float; the map is small
    if not shift:
        return numbers
    return graph.cast(graph.op("Add", graph.cast(numbers, np.float32), real(shift)), np.uint8)


def _confidence(graph: Builder, logits: str, axis: int) -> str:
    """Return (h, w) uint8, 255 x the softmax of the best class.

    That is 255 / sum(exp(logit - highest)): one tenth of the time that Softmax across channels takes on the CPU.
    """
    below = graph.op("Sub", logits, graph.highest(logits, axis, keepdims=True))
    total = graph.op("ReduceSum", graph.op("Exp", below), integers(axis), keepdims=0)
    share = graph.op("Div", real(255.0), graph.op("Squeeze", total, integers(0)))
    return graph.cast(graph.op("Round", share), np.uint8)


# centers


def _centers_meaning(net: Net, source: Instance) -> Meaning:
    stride = _centers_stride(net, source)
    classes, shift = _classes(source, default=True)
    head = bundle.Head("centers", stride, source.offset_px, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        outputs = {
            "peaks": _peaks(graph, net.outputs["heatmap"], net.size, source),
            "labels": _best(graph, "net/logits", 1, shift),
            "offsets": _offsets(graph, source.offset_px),
        }
        return outputs | ({"defects": _best(graph, "net/defects", 1)} if source.defects else {})

    return Meaning(head, classes, attach, sensitive=("heatmap",))


def _centers_stride(net: Net, source: Instance) -> int:
    """Check every output of a "centers" network; return canvas pixels per cell of its labels."""
    needed = ["heatmap", "offsets", "logits", *(["defects"] if source.defects else [])]
    for name in needed:
        if name not in net.outputs:
            names = ", ".join(net.outputs)
            raise ModelError(
                f"model {net.path}: head 'centers' needs output {name!r}, the model has {names}; rename its outputs"
            )
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
    if len(shape) != 4 or shape[2] > net.size[0] or net.size[0] % shape[2]:
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
    k = min(source.top_k or TOP_K_CENTERS, count)
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


# prototypes


def _yolo_meaning(net: Net, source: Instance) -> Meaning:
    rows, masks = _yolo_outputs(net)
    end_to_end = source.head == "yolo-end2end"
    source_classes = source.classes or _classes_of_file(net)
    coefficients = net.outputs[masks][1]
    _check_yolo(net, rows, len(source_classes), coefficients, end_to_end)
    classes = ["background", *source_classes] if not source.background else list(source_classes)
    if len(classes) > MOST_CLASSES:
        raise ModelError(f"model {net.path}: has {len(classes)} classes, at most {MOST_CLASSES} fit into a byte")
    shift = 0 if source.background else 1
    head = bundle.Head("prototypes", nms=not end_to_end, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        find = _end_to_end_rows if end_to_end else _dense_rows
        k = min(source.top_k or TOP_K_YOLO, net.outputs[rows][1 if end_to_end else 2])
        outputs = find(graph, f"net/{rows}", net.outputs[rows], k, coefficients, shift)
        return outputs | {"prototypes": graph.op("Squeeze", f"net/{masks}", integers(0))}

    return Meaning(head, classes, attach)


def _yolo_outputs(net: Net) -> tuple[str, str]:
    """Return the names of the detections [1, ., .] and of the prototypes [1, m, h, w]."""
    by_rank = {len(shape): name for name, shape in net.outputs.items()}
    if set(by_rank) != {3, 4} or len(net.outputs) != 2:
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in net.outputs.items())
        raise ModelError(
            f"model {net.path}: a YOLO segmentation model has detections [1, ., .] and prototypes [1, m, h, w], "
            f"this one {shapes}; export the segmentation variant without NMS"
        )
    return by_rank[3], by_rank[4]


def _check_yolo(net: Net, rows: str, classes: int, coefficients: int, end_to_end: bool) -> None:
    shape = net.outputs[rows]
    width, expected = (shape[2], 6 + coefficients) if end_to_end else (shape[1], 4 + classes + coefficients)
    if width != expected:
        if end_to_end:
            fix = 'use head = "yolo" for a model with dense output'
        else:
            fix = f'it has {max(width - 4 - coefficients, 0)} classes; name each (or use "yolo-end2end")'
        raise ModelError(f"model {net.path}: output {rows!r} is {list(shape)}, needs {expected} values per box; {fix}")


def _classes_of_file(net: Net) -> list[str]:
    """Return the class names in the metadata that Ultralytics writes: ``{0: 'person', 1: ...}``."""
    text = next((entry.value for entry in net.model.metadata_props if entry.key == "names"), "")
    try:
        names = ast.literal_eval(text)
        return [str(names[i]) for i in range(len(names))]
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ModelError(f"model {net.path}: names no classes; set instance.classes in the recipe") from error


def _dense_rows(
    graph: Builder, rows: str, shape: tuple[int, ...], k: int, coefficients: int, shift: int
) -> Outputs:
    """Read [1, 4 + C + m, n]: centre, size, C scores (0..1), m coefficients; the k best of n by their best class."""
    count = shape[1] - 4 - coefficients
    table = graph.op("Squeeze", rows, integers(0))
    scores = graph.highest(graph.part(table, 0, 4, 4 + count), 0, keepdims=False)
    best = graph.op("TopK", scores, integers(k), outputs=2, axis=0)
    chosen = graph.op("Transpose", graph.op("Gather", table, f"{best}_1", axis=1), perm=[1, 0])
    center, half = graph.part(chosen, 1, 0, 2), graph.op("Mul", graph.part(chosen, 1, 2, 4), real(0.5))
    number = graph.op("ArgMax", graph.part(chosen, 1, 4, 4 + count), axis=1, keepdims=0)
    return {
        "boxes": graph.op("Concat", graph.op("Sub", center, half), graph.op("Add", center, half), axis=1),
        "scores": best,
        "classes": _shifted(graph, graph.cast(number, np.uint8), shift),
        "coefficients": graph.part(chosen, 1, 4 + count, shape[1]),
    }


def _end_to_end_rows(
    graph: Builder, rows: str, shape: tuple[int, ...], k: int, coefficients: int, shift: int
) -> Outputs:
    """Read [1, n, 6 + m]: corners, score, class, m coefficients; the k best of n."""
    table = graph.op("Squeeze", rows, integers(0))
    best = graph.op("TopK", graph.reshape(graph.part(table, 1, 4, 5), shape[1]), integers(k), outputs=2, axis=0)
    chosen = graph.op("Gather", table, f"{best}_1", axis=0)
    number = graph.op("Add", graph.reshape(graph.part(chosen, 1, 5, 6), k), real(shift))
    return {
        "boxes": graph.part(chosen, 1, 0, 4),
        "scores": best,
        "classes": graph.cast(number, np.uint8),
        "coefficients": graph.part(chosen, 1, 6, 6 + coefficients),
    }
