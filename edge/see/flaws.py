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
    for i, near in zip(np.flatnonzero(flawed).tolist(), touches, strict=True):
        if near.any():
            gaps = {row: _gap(whole, row, instances.centers[i]) for row in np.flatnonzero(near).tolist()}
            areas[min(gaps, key=lambda row: gaps[row]), instances.classes[i] - parts] += instances.areas_px[i]
    return replace(whole, defects_px=areas)


def _gap(instances: Instances, row: int, point: Array) -> float:
    """Return the distance in frame pixels from `point` (2,) to the nearest cell of an object's mask."""
    x0, y0, x1, y1 = instances.boxes[row].tolist()
    mask = instances.masks[row]
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return float("inf")
    height, width = mask.shape
    gap_x = x0 + (xs + 0.5) * ((x1 - x0) / width) - point[0]
    gap_y = y0 + (ys + 0.5) * ((y1 - y0) / height) - point[1]
    return float(np.sqrt((gap_x**2 + gap_y**2).min()))
