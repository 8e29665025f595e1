"""How far two masks are from each other."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Array, Boxes, Image

CELLS = 96  # of the longer side of both objects together


def mask_gap(box: Boxes, mask: npt.NDArray[np.bool_], other_box: Boxes, other_mask: npt.NDArray[np.bool_]) -> float:
    """Return the distance of two masks, each stretched over its box (4,), frame pixels; 0: they touch or overlap.

    Both are drawn into one map of at most `CELLS` cells a side, and the distance is exact in it (the Euclidean distance
    transform of Felzenszwalb and Huttenlocher, 2012): it is right to about a cell. Infinity: a mask is empty.
    """
    low, high = np.minimum(box[:2], other_box[:2]), np.maximum(box[2:], other_box[2:])
    step = max(1.0, float((high - low).max()) / CELLS)
    shape = tuple(math.ceil(side / step) + 1 for side in (high - low)[::-1].tolist())
    one, two = (_drawn(each, cells, low, step, shape) for each, cells in ((box, mask), (other_box, other_mask)))
    if not one.any() or not two.any():
        return math.inf
    away = cv2.distanceTransform(1 - one, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return max(0.0, float(away[two > 0].min()) - 1) * step  # cells side by side are one apart, and touch


def _drawn(box: Boxes, mask: npt.NDArray[np.bool_], low: Array, step: float, shape: tuple[int, ...]) -> Image:
    """Return a map of `shape` (h, w) whose cells are `step` frame pixels wide from `low` (2,) on: 1 in the mask."""
    found: Image = np.zeros(shape, np.uint8)
    x0, y0 = np.floor((box[:2] - low) / step).astype(int).tolist()
    width, height = np.maximum(np.rint((box[2:] - box[:2]) / step), 1).astype(int).tolist()
    cells = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    part = found[y0 : y0 + height, x0 : x0 + width]
    part[:] = cells[: part.shape[0], : part.shape[1]]
    return found
