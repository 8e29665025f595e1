"""Which rectangles of a frame to cut out: large ones in tiles, neighbours together, the whole frame as a grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

SMALLEST_SCALE = 0.5  # a region that would need less is cut into tiles
OVERLAP = 0.25  # share of a tile that the next one shows too, at the least


def tiles(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4), those too large for one canvas of (width, height) cut into overlapping tiles."""
    limit = np.asarray(canvas) / SMALLEST_SCALE
    if ((boxes[:, 2:] - boxes[:, :2]) <= limit).all():
        return boxes
    return np.asarray([tile for box in boxes for tile in cut(box, limit)], np.int32).reshape(-1, 4)


def whole(size: tuple[int, int], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return tiles (n, 4) of at most one canvas each, at native resolution, that cover a frame of `size` (w, h)."""
    box = np.asarray([0, 0, *size], np.int32)
    return np.asarray(cut(box, np.asarray(canvas, np.float64)), np.int32)


def cut(box: npt.NDArray[np.int32], limit: npt.NDArray[np.float64]) -> list[list[int]]:
    """Cut `box` (4,) into tiles of at most `limit` (width, height) that overlap by at least `OVERLAP` of it."""
    spans = []
    for low, high, most in zip(box[:2].tolist(), box[2:].tolist(), limit.tolist(), strict=True):
        extent, step = high - low, max(1, int(most * (1 - OVERLAP)))
        count = 1 if extent <= most else 1 + math.ceil((extent - most) / step)
        size = extent if count == 1 else int(most)
        starts = np.linspace(low, high - size, count).round().astype(int)
        spans.append([(int(start), int(start) + size) for start in starts])
    return [[x0, y0, x1, y1] for y0, y1 in spans[1] for x0, x1 in spans[0]]


def merge(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Join boxes, most valuable first, where one crop round both is cheaper than two and fits a canvas.

    Returns the joined boxes (m, 4) in the order of their first ones, and the indices (m,) of these.
    """
    partners = _cheaper(boxes[:, None], boxes[None], canvas)
    np.fill_diagonal(partners, val=False)
    heads: npt.NDArray[np.bool_] = np.logical_not(partners.any(axis=1))  # what can join no other
    merged, open_heads = boxes.copy(), np.zeros(0, np.int64)
    for i in np.flatnonzero(~heads).tolist():
        others = merged[open_heads]
        joins = _cheaper(boxes[i], others, canvas)
        if joins.any():
            at = open_heads[joins.argmax()]
            merged[at] = _union(boxes[i], merged[at])
        else:
            open_heads = np.append(open_heads, i)
    heads[open_heads] = True
    return merged[heads], np.flatnonzero(heads)


def _cheaper(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return whether one crop round each of `a` (..., 4) and `b` (..., 4) costs no more than both, and fits."""
    union = _union(a, b)
    width, height = union[..., 2] - union[..., 0], union[..., 3] - union[..., 1]
    area = width.astype(np.int64) * height
    fits = (width <= canvas[0]) & (height <= canvas[1]) & (area <= _areas(a) + _areas(b))
    return np.asarray(fits | (area == _areas(b)))  # or one lies in the other, however large this is


def _union(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    low, high = np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])
    return np.concatenate([low, high], axis=-1)


def _areas(boxes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    return np.asarray((boxes[..., 2] - boxes[..., 0]).astype(np.int64) * (boxes[..., 3] - boxes[..., 1]))
