"""What follows from the truth of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.belt.scene import Ids


def boxes_of(ids: Ids) -> dict[int, NDArray[Any]]:
    """Return part id -> bounding box x0, y0, x1, y1 (half-open, px)."""
    ys, xs = np.nonzero(ids)
    order = np.argsort(ids[ys, xs], kind="stable")
    ys, xs = ys[order], xs[order]
    found, starts = np.unique(ids[ys, xs], return_index=True)
    if not len(found):
        return {}
    low = [np.minimum.reduceat(axis, starts) for axis in (xs, ys)]
    high = [np.maximum.reduceat(axis, starts) + 1 for axis in (xs, ys)]
    return dict(zip(found.tolist(), np.stack(low + high, axis=1), strict=True))
