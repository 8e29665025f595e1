"""A path with fewer points, and a bound for what that costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def kept(points: npt.NDArray[np.float64], tolerance_px: float) -> npt.NDArray[np.int64]:
    """Return which of `points` (n, 3), x, y in pixels and time, to keep: (k,) rows in order, with the first and last.

    On the path through these alone, at constant speed from one to the next, nothing is farther than `tolerance_px`
    from where it was at that time: the method of Douglas and Peucker (1973) with the time-synchronised distance of
    Meratnia and de By (2004), which also keeps when something stopped.
    """
    keep = np.zeros(len(points), np.bool_)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        errors = _errors(points[first : last + 1])
        worst = int(errors.argmax())
        if errors[worst] > tolerance_px:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return np.flatnonzero(keep)


def _errors(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (n - 2,) how far the inner ones of `points` (n, 3) are, at their time, from the way first to last."""
    first, last, inner = points[0], points[-1], points[1:-1]
    share = (inner[:, 2] - first[2]) / max(last[2] - first[2], np.finfo(np.float64).tiny)
    off = inner[:, :2] - first[:2] - share[:, None] * (last[:2] - first[:2])
    return np.asarray(np.hypot(off[:, 0], off[:, 1]))
