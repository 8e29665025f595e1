"""Objects that are defects -> what they say of the parts they lie on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.boxes import common_of
from edge.see.select import select
from edge.types import Array, Instances

REACH_PX = 4.0  # frame pixels between the box of a defect and that of its part: a chip is beside what is left of it


def laid_on_parts(instances: Instances, parts: int) -> Instances:
    """Return the objects of the first `parts` classes, with the area of every defect on the part that it lies on.

    An object of class `parts` + d is a defect of class d. It belongs to the part whose mask is nearest to its centre,
    of those whose boxes it touches; one that lies on nothing says nothing.
    """
    flawed = instances.classes >= parts
    if not flawed.any():
        return instances
    whole = select(instances, np.flatnonzero(~flawed))
    areas = whole.defects_px.copy()
    widened = instances.boxes[flawed] + np.asarray([-REACH_PX, -REACH_PX, REACH_PX, REACH_PX], np.float32)
    touches = common_of(widened, whole.boxes) > 0
    cells: dict[int, Array] = {}  # of the parts in question, each found once
    for i, near in zip(np.flatnonzero(flawed).tolist(), touches, strict=True):
        gaps = {}
        for row in np.flatnonzero(near).tolist():
            if row not in cells:
                cells[row] = _cells(whole, row)
            gaps[row] = float(((cells[row] - instances.centers[i]) ** 2).sum(axis=1).min(initial=np.inf))
        if gaps:
            areas[min(gaps, key=gaps.__getitem__), instances.classes[i] - parts] += instances.areas_px[i]
    return replace(whole, defects_px=areas)


def _cells(instances: Instances, row: int) -> Array:
    """Return (n, 2) x, y in frame pixels of the middles of the cells of an object's mask."""
    mask, box = instances.masks[row], instances.boxes[row]
    unit = (box[2:] - box[:2]) / mask.shape[::-1]
    return np.asarray(box[:2] + (np.argwhere(mask)[:, ::-1] + 0.5) * unit)
