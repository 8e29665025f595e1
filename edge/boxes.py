"""Arithmetic on boxes: (n, 4) x0, y0, x1, y1, half-open.

One column at a time: a handful of boxes costs little more than the calls, and an axis of two or four costs many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.types import Boxes

CORNERS = np.asarray([0, 1, 0, 1])  # columns of x and y, for both corners of a box
BORDER_PX = 2.0  # frame pixels from the border within which a box counts as cut by it


def areas_of(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) width times height."""
    x0, y0, x1, y1 = boxes.T
    return np.asarray((x1 - x0) * (y1 - y0), np.float32)


def common_of(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) the area that boxes `a` (n, 4) and `b` (m, 4) share."""
    ax0, ay0, ax1, ay1 = a.T[:, :, None]
    bx0, by0, bx1, by1 = b.T
    width = np.minimum(ax1, bx1) - np.maximum(ax0, bx0)
    height = np.minimum(ay1, by1) - np.maximum(ay0, by0)
    return np.asarray(np.maximum(width, 0, out=width) * np.maximum(height, 0, out=height), np.float32)


def overlaps(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) the intersection over union of boxes `a` (n, 4) and `b` (m, 4)."""
    common = common_of(a, b)
    either = areas_of(a)[:, None] + areas_of(b) - common
    return np.asarray(common / np.maximum(either, 1e-6, out=either), np.float32)


def lie_in(boxes: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each of `boxes` (n, 4) lies wholly in one of `others` (m, 4)."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), np.bool_)
    x0, y0, x1, y1 = boxes.T[:, :, None]
    left, top, right, bottom = others.T
    inside = left <= x0
    inside &= top <= y0
    inside &= right >= x1
    inside &= bottom >= y1
    return np.asarray(inside.any(axis=1))


def touches_border(boxes: Boxes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each box reaches the border of a frame of `size` (width, height)."""
    x0, y0, x1, y1 = boxes.T
    across = (x0 <= BORDER_PX) | (x1 >= size[0] - BORDER_PX)
    return np.asarray(across | (y0 <= BORDER_PX) | (y1 >= size[1] - BORDER_PX))


def gaps_between(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) how far boxes `a` (n, 4) and `b` (m, 4) are from each other, edge to edge; 0: they touch."""
    ax0, ay0, ax1, ay1 = a.T[:, :, None]
    bx0, by0, bx1, by1 = b.T
    across = np.maximum(np.maximum(ax0 - bx1, bx0 - ax1), 0)
    down = np.maximum(np.maximum(ay0 - by1, by0 - ay1), 0)
    return np.asarray(np.hypot(across, down), np.float32)
