"""Arithmetic on boxes: (n, 4) x0, y0, x1, y1, half-open."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.types import Boxes

BORDER_PX = 2.0  # frame pixels from the border within which a box counts as cut by it


def areas_of(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) width times height."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.float32)


def common_of(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) the area that boxes `a` (n, 4) and `b` (m, 4) share."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2), np.float32)


def overlaps(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) the intersection over union of boxes `a` (n, 4) and `b` (m, 4)."""
    common = common_of(a, b)
    either = areas_of(a)[:, None] + areas_of(b)[None, :] - common
    return np.asarray(common / np.maximum(either, 1e-6), np.float32)


def lie_in(boxes: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each of `boxes` (n, 4) lies wholly in one of `others` (m, 4)."""
    low = (others[None, :, :2] <= boxes[:, None, :2]).all(axis=2)
    high = (others[None, :, 2:] >= boxes[:, None, 2:]).all(axis=2)
    return np.asarray(np.asarray(low & high).any(axis=1))


def touches_border(boxes: Boxes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each box reaches the border of a frame of `size` (width, height)."""
    limit = np.asarray(size, np.float32) - BORDER_PX
    return np.asarray((boxes[:, :2] <= BORDER_PX).any(axis=1) | (boxes[:, 2:] >= limit).any(axis=1))
