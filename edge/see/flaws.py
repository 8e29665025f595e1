"""Objects that are defects -> what they say of the parts they lie on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.belonging import holders_of
from edge.see.select import select
from edge.types import Instances

REACH_PX = 4.0  # frame pixels between the box of a defect and that of its part: a chip is beside what is left of it


def laid_on_parts(instances: Instances, parts: int, *, counted: bool = False) -> Instances:
    """Return the objects of the first `parts` classes, with the area of every defect on the part that it lies on.

    An object of class `parts` + d is a defect of class d. It belongs to the part whose mask is nearest to its centre,
    of those whose boxes it touches; one that lies on nothing says nothing. `counted` says that the number of defects
    of each class is wanted too.
    """
    flawed = instances.classes >= parts
    if not flawed.any() and not counted:
        return instances
    whole = select(instances, np.flatnonzero(~flawed))
    widened = instances.boxes[flawed] + np.asarray([-REACH_PX, -REACH_PX, REACH_PX, REACH_PX], np.float32)
    holders = holders_of(widened, instances.centers[flawed], whole, np.arange(len(whole)))
    lies = holders >= 0
    at = holders[lies], instances.classes[flawed][lies] - parts
    areas, counts = whole.defects_px.copy(), np.zeros(whole.defects_px.shape, np.int32)
    np.add.at(areas, at, instances.areas_px[flawed][lies])
    np.add.at(counts, at, 1)
    return replace(whole, defects_px=areas, flaw_counts=counts if counted else None)
