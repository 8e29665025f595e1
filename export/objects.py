"""What heads share that give a list of objects: the numbers of classes, and boxes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, real
from export.heads import MOST_CLASSES
from export.load import Net
from export.recipe import Instance

Numbers: TypeAlias = npt.NDArray[np.int32]  # (C,) number in the bundle of each class of the network

TOP_K = 100  # objects per canvas where each has a mask plane of its own
STRIDE = bundle.PROTOTYPE_STRIDE


def object_classes(net: Net, source: Instance, *, background: bool) -> tuple[list[str], Numbers]:
    """Return the manifest's classes, and the number there of each of the network's; defects come after all others.

    `background` is whether the network's first class is the background where the recipe does not say. Raises
    `ModelError` where the names do not fit.
    """
    names = source.classes
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ModelError(f"model {net.path}: names {min(doubled)!r} twice; set instance.classes in the recipe")
    has_background = background if source.background is None else source.background
    classes = list(names) if has_background else ["background", *names]
    if len(classes) > MOST_CLASSES:
        raise ModelError(f"model {net.path}: has {len(classes)} classes, at most {MOST_CLASSES} fit into a byte")
    parts = _parts(net, classes, source.defects)
    order = [i for i, name in enumerate(classes) if name not in source.defects]
    order += [classes.index(name, 1) for name in source.defects]
    return parts, np.argsort(order).astype(np.int32)[len(classes) - len(names) :]


def _parts(net: Net, classes: list[str], defects: list[str]) -> list[str]:
    """Return those of `classes` that are no defects; raises `ModelError` where a defect is none of them."""
    unknown = [name for name in defects if name not in classes[1:]]
    if unknown:
        raise ModelError(
            f"model {net.path}: instance.defects names {unknown[0]!r}, which is none of its classes "
            f"({', '.join(classes[1:])}); this head finds defects as objects of their own"
        )
    parts = [name for name in classes if name not in defects]
    if len(parts) == 1:  # the background
        raise ModelError(f"model {net.path}: instance.defects names all of its classes; leave out those of parts")
    return parts


def numbered(graph: Builder, classes: str, numbers: Numbers) -> str:
    """Return uint8 numbers in the bundle, by a table over the network's classes (k,); TensorRT gathers no bytes."""
    return graph.cast(graph.op("Gather", graph.constant(numbers), classes, axis=0), np.uint8)


def corners(graph: Builder, boxes: str) -> str:
    """Return (k, 4) x0, y0, x1, y1 of boxes (k, 4) that are centre and size."""
    center, half = graph.part(boxes, 1, 0, 2), graph.op("Mul", graph.part(boxes, 1, 2, 4), real(0.5))
    return graph.op("Concat", graph.op("Sub", center, half), graph.op("Add", center, half), axis=1)


def planes(graph: Builder, masks: str, k: int, shape: tuple[int, int], net: Net) -> Outputs:
    """Return masks (k, h, w) of `shape`, positive inside, as `k` prototypes of which each object has one.

    They are brought to a quarter of the input, bilinear between the centres of pixels; the device does the rest of the
    way. One plane for each object is less to hand over than the features that it was made of.
    """
    rows, columns = net.size[0] // STRIDE, net.size[1] // STRIDE
    if shape != (rows, columns):
        masks = graph.reshape(graph.resized(graph.reshape(masks, 1, k, *shape), 1, k, rows, columns), k, rows, columns)
    return {"coefficients": graph.constant(np.eye(k, dtype=np.float32)), "prototypes": masks}
