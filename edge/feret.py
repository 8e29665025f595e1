"""How long and how wide something is, whichever way it lies."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Array


def hull_of(points: Array) -> npt.NDArray[np.float64]:
    """Return (m, 2) the corners of the convex hull of `points` (n, 2), in order."""
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64)


def feret_diameters(corners: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest and the smallest Feret diameter of a convex polygon (n, 2), its corners in order.

    A Feret diameter is the distance of two parallel tangents, as a calliper finds it (ISO 9276-6). The largest one
    joins two corners, the smallest one stands on a side (Toussaint 1983, rotating calipers); with a few dozen corners
    all pairs at once are faster than calipers that turn.
    """
    x, y = corners.T
    longest = math.sqrt(float(((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2).max()))
    along_x, along_y = np.append(x[1:], x[0]) - x, np.append(y[1:], y[0]) - y
    lengths = np.hypot(along_x, along_y)
    if not lengths.all():  # one corner: no side
        return longest, longest
    across = (y[:, None] * along_x - x[:, None] * along_y) / lengths
    return longest, float((across.max(axis=0) - across.min(axis=0)).min())
