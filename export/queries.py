"""What is put after networks whose queries find one object each ("queries"): RF-DETR-Seg and its like.

Outputs: boxes [1, q, 4], centre and size as shares of the input; logits [1, q, C], each class by itself (sigmoid);
mask logits [1, q, h, w]. As in RF-DETR's `PostProcess` (rfdetr 1.11, `models/postprocess.py`) the best pairs of query
and class are taken, so that a query may give two objects; nothing is suppressed.
"""

from __future__ import annotations

import numpy as np

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, integers, real
from export.heads import Meaning, needs_floats
from export.load import Net
from export.objects import TOP_K, Numbers, corners, numbered, object_classes, planes
from export.recipe import Instance


def queries_meaning(net: Net, source: Instance) -> Meaning:
    """Return how the network is read; raises `ModelError` where its outputs do not fit the recipe.

    RF-DETR has one logit more than classes, the last, which no training ever raises: it is left out unless it is named.
    """
    boxes, logits, masks = _outputs(net)
    needs_floats(net, (boxes, logits, masks))
    (_, queries, count), (_, _, *size) = net.outputs[logits], net.outputs[masks]
    named = len(source.classes)
    if named not in {count, count - 1}:
        raise ModelError(
            f"model {net.path}: output {logits!r} is {list(net.outputs[logits])}, the recipe names {named} classes; "
            f"name {count - 1}, or {count} with the last one, which RF-DETR leaves unused"
        )
    parts, numbers = object_classes(net, source, background=False)
    k = min(source.top_k or TOP_K, queries * named)
    head = bundle.Head("prototypes", nms=False, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        outputs, rows = _best_pairs(graph, graph.part(f"net/{logits}", 2, 0, named), queries * named, k, numbers)
        found = graph.op("Gather", graph.op("Squeeze", f"net/{boxes}", integers(0)), rows, axis=0)
        chosen = graph.op("Gather", graph.op("Squeeze", f"net/{masks}", integers(0)), rows, axis=0)
        outputs["boxes"] = _in_pixels(graph, found, net)
        return outputs | planes(graph, chosen, k, (size[0], size[1]), net)

    return Meaning(head, parts, attach, sensitive=(boxes, logits))


def _best_pairs(graph: Builder, logits: str, pairs: int, k: int, numbers: Numbers) -> tuple[Outputs, str]:
    """Return scores and classes of the `k` best of `pairs` (query, class), and the queries (k,) they are of."""
    count = np.asarray(len(numbers), np.int64)
    flat = graph.reshape(graph.op("Sigmoid", logits), pairs)
    best = graph.op("TopK", flat, integers(k), outputs=2, axis=0)
    rows = graph.op("Div", f"{best}_1", count)
    classes = graph.op("Sub", f"{best}_1", graph.op("Mul", rows, count))
    return {"scores": best, "classes": numbered(graph, classes, numbers)}, rows


def _in_pixels(graph: Builder, shares: str, net: Net) -> str:
    """Return corners (k, 4) in canvas pixels, clipped to the canvas, of boxes that are shares of it."""
    height, width = net.size
    full = np.asarray([width, height, width, height], np.float64)
    boxes = graph.op("Mul", corners(graph, shares), real(full))
    return graph.op("Min", graph.op("Max", boxes, real(0.0)), real(full))


def _outputs(net: Net) -> tuple[str, str, str]:
    """Return the names of boxes, logits and masks."""
    lists = [name for name, shape in net.outputs.items() if len(shape) == 3]
    masks = [name for name, shape in net.outputs.items() if len(shape) == 4]
    boxes = [name for name in lists if net.outputs[name][2] == 4]
    if len(boxes) == 2:  # four classes: the name has to tell
        boxes = [name for name in boxes if "box" in name or "det" in name]
    rows = {net.outputs[name][1] for name in (*lists, *masks)}
    if len(lists) != 2 or len(masks) != 1 or len(boxes) != 1 or len(rows) != 1:
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in net.outputs.items())
        raise ModelError(
            f'model {net.path}: head "queries" reads boxes [1, q, 4], logits [1, q, C] and masks [1, q, h, w], this '
            f'model gives {shapes}; export the segmentation variant (where C is 4 too, call the boxes "boxes")'
        )
    (logits,) = [name for name in lists if name not in boxes]
    return boxes[0], logits, masks[0]
