"""What is put after networks that give a small mask for each box ("box-masks"): torchvision's Mask R-CNN.

Outputs: boxes [n, 4], corners in pixels; scores [n], best first; labels [n], integers, 0 = background; masks
[n, 1, s, s], probabilities inside the box. Suppression is in the network (He et al. 2017, Mask R-CNN, section 3).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, integers, real
from export.heads import Meaning, needs_floats
from export.load import Net
from export.objects import STRIDE, TOP_K, numbered, object_classes, planes
from export.recipe import Instance

INSIDE = 0.5  # probability above which a pixel is the object's


def box_masks_meaning(net: Net, source: Instance) -> Meaning:
    """Return how the network is read; raises `ModelError` where its outputs do not fit the recipe."""
    boxes, scores, labels, masks = _outputs(net)
    needs_floats(net, (boxes, scores, masks))
    (count,), side = net.outputs[scores], net.outputs[masks][-1]
    parts, numbers = object_classes(net, source, background=True)
    k = min(source.top_k or TOP_K, count)
    head = bundle.Head("prototypes", nms=False, score=source.score, iou=source.iou)

    def attach(graph: Builder) -> Outputs:
        # reshaped, for behind a suppression nothing else says how long a list is
        shapes = {boxes: (k, 4), scores: (k,), labels: (k,), masks: (k, 1, side, side)}
        first = {name: graph.reshape(graph.part(f"net/{name}", 0, 0, k), *shapes[name]) for name in shapes}
        # clipped as floats, as TensorRT clips nothing else
        known = graph.op("Clip", graph.cast(first[labels], np.float32), real(0.0), real(len(numbers) - 1.0))
        rows, columns = net.size[0] // STRIDE, net.size[1] // STRIDE
        pasted = _pasted(graph, first[masks], first[boxes], (k, side, rows, columns))
        classes = numbered(graph, graph.cast(known, np.int32), numbers)
        found = {"boxes": first[boxes], "scores": first[scores], "classes": classes}
        return found | planes(graph, pasted, k, (rows, columns), net)

    return Meaning(head, parts, attach, sensitive=(boxes, scores))


def _pasted(graph: Builder, masks: str, boxes: str, sizes: tuple[int, int, int, int]) -> str:
    """Return (k, rows, columns), each small mask less `INSIDE` laid on its box, at every `STRIDE`-th pixel's centre.

    As torchvision's `paste_masks_in_image`: a border of one cell of zeros is put round the mask, the box grows with
    it, and its corners lose their fractions.
    """
    k, side, rows, columns = sizes
    padded = graph.op("Pad", masks, integers(0, 0, 1, 1, 0, 0, 1, 1))
    low, high = graph.part(boxes, 1, 0, 2), graph.part(boxes, 1, 2, 4)
    center = graph.op("Mul", graph.op("Add", low, high), real(0.5))
    half = graph.op("Mul", graph.op("Sub", high, low), real(0.5 * (side + 2) / side))
    first = _cut(graph, graph.op("Sub", center, half))
    last = _cut(graph, graph.op("Add", center, half))
    extent = graph.op("Max", graph.op("Add", graph.op("Sub", last, first), real(1.0)), real(1.0))
    axes = []
    for axis, count in enumerate((columns, rows)):
        low, size = (graph.reshape(graph.part(each, 1, axis, axis + 1), k, 1) for each in (first, extent))
        away = graph.op("Div", graph.op("Sub", real(_centers(count)), low), size)
        axes.append(graph.op("Sub", graph.op("Mul", away, real(2.0)), real(1.0)))  # -1 to 1 over the box
    spread = integers(k, rows, columns, 1)
    x = graph.op("Expand", graph.reshape(axes[0], k, 1, columns, 1), spread)
    y = graph.op("Expand", graph.reshape(axes[1], k, rows, 1, 1), spread)
    sampled = graph.op("GridSample", padded, graph.op("Concat", x, y, axis=3), mode="bilinear", align_corners=0)
    return graph.op("Sub", graph.reshape(sampled, k, rows, columns), real(INSIDE))


def _cut(graph: Builder, values: str) -> str:
    """Return floats without their fractions, as a cast to whole numbers leaves them."""
    return graph.cast(graph.cast(values, np.int32), np.float32)


def _centers(count: int) -> npt.NDArray[np.float64]:
    """Return (1, n) the centres of cells in canvas pixels."""
    return (np.arange(count, dtype=np.float64)[None] + 0.5) * STRIDE


def _outputs(net: Net) -> tuple[str, str, str, str]:
    """Return the names of boxes, scores, labels and masks."""
    floats = {len(shape): name for name, shape in net.outputs.items() if net.kinds[name] == "FLOAT"}
    whole = [name for name, kind in net.kinds.items() if kind in {"INT32", "INT64"}]
    names = [floats.get(2, ""), floats.get(1, ""), *whole, floats.get(4, "")]
    counts = {net.outputs[name][0] for name in names if name}
    shapes = ", ".join(f"{name} {net.kinds[name]} {list(shape)}" for name, shape in net.outputs.items())
    if len(net.outputs) != 4 or len(names) != 4 or "" in names or len(counts) != 1:
        raise ModelError(
            f'model {net.path}: head "box-masks" reads boxes [n, 4], scores [n], labels [n] and masks [n, 1, s, s], '
            f"this model gives {shapes}; export.from_torch gives that of a torchvision Mask R-CNN"
        )
    return names[0], names[1], names[2], names[3]
