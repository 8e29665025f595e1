"""What is put after YOLO-style segmentation networks ("yolo", "yolo-end2end"): boxes, coefficients, prototypes."""

from __future__ import annotations

import numpy as np

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, integers, real
from export.heads import Meaning, needs_floats
from export.load import Net
from export.objects import Numbers, corners, numbered, object_classes
from export.recipe import Instance

TOP_K = 256  # boxes per canvas, before non-maximum suppression on the device


def yolo_meaning(net: Net, source: Instance) -> Meaning:
    """Return how the network is read; raises `ModelError` where its outputs do not fit the recipe."""
    rows, masks = _yolo_outputs(net)
    needs_floats(net, (rows, masks))
    end_to_end = source.head == "yolo-end2end"
    coefficients = net.outputs[masks][1]
    _check_yolo(net, rows, len(source.classes), coefficients, end_to_end)
    parts, numbers = object_classes(net, source, background=False)
    head = bundle.Head("prototypes", nms=not end_to_end, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        find = _end_to_end_rows if end_to_end else _dense_rows
        k = min(source.top_k or TOP_K, net.outputs[rows][1 if end_to_end else 2])
        outputs = find(graph, f"net/{rows}", net.outputs[rows], k, coefficients, numbers)
        return outputs | {"prototypes": graph.op("Squeeze", f"net/{masks}", integers(0))}

    return Meaning(head, parts, attach)


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


def _dense_rows(
    graph: Builder, rows: str, shape: tuple[int, ...], k: int, coefficients: int, numbers: Numbers
) -> Outputs:
    """Read [1, 4 + C + m, n]: centre, size, C scores (0..1), m coefficients; the k best of n by their best class."""
    count = shape[1] - 4 - coefficients
    table = graph.op("Squeeze", rows, integers(0))
    scores = graph.highest(graph.part(table, 0, 4, 4 + count), 0, keepdims=False)
    best = graph.op("TopK", scores, integers(k), outputs=2, axis=0)
    chosen = graph.op("Transpose", graph.op("Gather", table, f"{best}_1", axis=1), perm=[1, 0])
    best_class = graph.op("ArgMax", graph.part(chosen, 1, 4, 4 + count), axis=1, keepdims=0)
    return {
        "boxes": corners(graph, chosen),
        "scores": best,
        "classes": numbered(graph, best_class, numbers),
        "coefficients": graph.part(chosen, 1, 4 + count, shape[1]),
    }


def _end_to_end_rows(
    graph: Builder, rows: str, shape: tuple[int, ...], k: int, coefficients: int, numbers: Numbers
) -> Outputs:
    """Read [1, n, 6 + m]: corners, score, class, m coefficients; the k best of n."""
    table = graph.op("Squeeze", rows, integers(0))
    best = graph.op("TopK", graph.reshape(graph.part(table, 1, 4, 5), shape[1]), integers(k), outputs=2, axis=0)
    chosen = graph.op("Gather", table, f"{best}_1", axis=0)
    best_class = graph.op("Clip", graph.reshape(graph.part(chosen, 1, 5, 6), k), real(0.0), real(len(numbers) - 1.0))
    return {
        "boxes": graph.part(chosen, 1, 0, 4),
        "scores": best,
        "classes": numbered(graph, graph.cast(best_class, np.int32), numbers),
        "coefficients": graph.part(chosen, 1, 6, 6 + coefficients),
    }
