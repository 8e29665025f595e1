"""Which object a small thing belongs to: a screw or a scratch to the part that it lies on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.boxes import common_of
from edge.types import Array, Boxes, Instances


def holders_of(
    boxes: Boxes, centers: npt.NDArray[np.float32], instances: Instances, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return (k,) which of the instances `rows` (n,) each thing belongs to, as a place in `rows`; -1: to none.

    Things have `boxes` (k, 4) and `centers` (k, 2), frame pixels. A thing belongs to the one whose mask is nearest to
    its centre, of those whose boxes its box touches.
    """
    touches = common_of(boxes, instances.boxes[rows]) > 0
    found = np.where(touches.any(axis=1), touches.argmax(axis=1) if len(rows) else 0, -1)
    cells: dict[int, Array] = {}  # of the objects in question, each found once
    for k in np.flatnonzero(np.count_nonzero(touches, axis=1) > 1).tolist():
        gaps = {}
        for place in np.flatnonzero(touches[k]).tolist():
            if place not in cells:
                cells[place] = _cells(instances, int(rows[place]))
            gaps[place] = float(((cells[place] - centers[k]) ** 2).sum(axis=1).min(initial=np.inf))
        found[k] = min(gaps, key=gaps.__getitem__)
    return found


def _cells(instances: Instances, row: int) -> Array:
    """Return (n, 2) x, y in frame pixels of the middles of the cells of an object's mask."""
    mask, box = instances.masks[row], instances.boxes[row]
    unit = (box[2:] - box[:2]) / mask.shape[::-1]
    return np.asarray(box[:2] + (np.argwhere(mask)[:, ::-1] + 0.5) * unit)
