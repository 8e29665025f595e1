"""How long and wide the defects of each object are, by the pixels of the defect map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.feret import feret_diameters, hull_of
from edge.types import Array

FEWEST = 6  # pixels of a class on one object below which they are noise


def flaw_sizes(points: Array, owners: Array, kinds: Array, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (n, d, 2) the largest and the smallest Feret diameter of what each object has of each defect class.

    `points` (k, 2) are pixels x, y, `owners` (k,) the objects they belong to, -1 for none, `kinds` (k,) their classes
    from 1 on; `shape` is (n, d). All pixels of a class are one defect; 0 where there are too few.
    """
    found = np.zeros((*shape, 2), np.float32)
    kept = owners >= 0
    points, groups = points[kept], owners[kept].astype(np.int64) * shape[1] + kinds[kept] - 1
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups, minlength=shape[0] * shape[1])
    ends = np.cumsum(counts)
    for group in np.flatnonzero(counts >= FEWEST).tolist():
        mine = points[order[ends[group] - counts[group] : ends[group]]]
        longest, narrowest = feret_diameters(hull_of(mine))
        found[divmod(group, shape[1])] = longest + 1, narrowest + 1
    return found
