"""Which rectangles of a frame to cut out: large ones in tiles, neighbours together, the whole frame as a grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

SMALLEST_SCALE = 0.5  # a region that would need less is cut into tiles
OVERLAP = 0.25  # share of a tile of a large region that the next one shows too, at the least
WHOLE_OVERLAP = 0.125  # the same for the tiles of a whole frame: what a seam cuts is stitched


def tiles(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4), those too large for one canvas of (width, height) cut into overlapping tiles."""
    limit = np.asarray(canvas) / SMALLEST_SCALE
    if ((boxes[:, 2:] - boxes[:, :2]) <= limit).all():
        return boxes
    return np.asarray([tile for box in boxes for tile in cut(box, limit)], np.int32).reshape(-1, 4)


def whole(size: tuple[int, int], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return tiles (n, 4) of at most one canvas each, at native resolution, that cover a frame of `size` (w, h)."""
    box = np.asarray([0, 0, *size], np.int32)
    return np.asarray(cut(box, np.asarray(canvas, np.float64), WHOLE_OVERLAP), np.int32)


def cut(box: npt.NDArray[np.int32], limit: npt.NDArray[np.float64], overlap: float = OVERLAP) -> list[list[int]]:
    """Cut `box` (4,) into tiles of at most `limit` (width, height) that overlap by at least a share of it."""
    spans = []
    for low, high, most in zip(box[:2].tolist(), box[2:].tolist(), limit.tolist(), strict=True):
        extent, step = high - low, max(1, int(most * (1 - overlap)))
        count = 1 if extent <= most else 1 + math.ceil((extent - most) / step)
        size = extent if count == 1 else int(most)
        starts = np.linspace(low, high - size, count).round().astype(int)
        spans.append([(int(start), int(start) + size) for start in starts])
    return [[x0, y0, x1, y1] for y0, y1 in spans[1] for x0, x1 in spans[0]]


def merge(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Join boxes, most valuable first, where one crop round both is cheaper than two and fits a canvas.

    Returns the joined boxes (m, 4) in the order of their first ones, and the indices (m,) of these.
    """
    if len(boxes) < 2:
        return boxes, np.arange(len(boxes))
    partners = _cheaper(boxes[:, None], boxes[None], canvas)
    np.fill_diagonal(partners, val=False)
    heads: npt.NDArray[np.bool_] = np.logical_not(partners.any(axis=1))  # what can join no other
    merged = boxes.copy()
    joined: dict[int, list[int]] = {}  # the first box of each group -> round all of them
    for i in np.flatnonzero(~heads).tolist():
        box = boxes[i].tolist()
        home = next((head for head, other in joined.items() if _cheap(box, other, canvas)), None)
        joined[i if home is None else home] = box if home is None else _round(box, joined[home])
    for head, box in joined.items():
        merged[head], heads[head] = box, True
    return merged[heads], np.flatnonzero(heads)


def _cheaper(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return whether one crop round each of `a` (..., 4) and `b` (..., 4) costs no more than both, and fits."""
    width = (np.maximum(a[..., 2], b[..., 2]) - np.minimum(a[..., 0], b[..., 0])).astype(np.int64)
    height = np.maximum(a[..., 3], b[..., 3]) - np.minimum(a[..., 1], b[..., 1])
    area, area_a, area_b = width * height, _areas(a), _areas(b)
    fits = (width <= canvas[0]) & (height <= canvas[1]) & (area <= area_a + area_b)
    return np.asarray(fits | (area == area_a) | (area == area_b))  # or one lies in the other, however large that is


def _areas(boxes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    return np.asarray((boxes[..., 2] - boxes[..., 0]).astype(np.int64) * (boxes[..., 3] - boxes[..., 1]))


def _cheap(a: list[int], b: list[int], canvas: tuple[int, int]) -> bool:
    """Tell of two boxes what `_cheaper` tells of many; an order of magnitude faster for two."""
    x0, y0, x1, y1 = _round(a, b)
    area, area_b = (x1 - x0) * (y1 - y0), (b[2] - b[0]) * (b[3] - b[1])
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    fits = x1 - x0 <= canvas[0] and y1 - y0 <= canvas[1] and area <= area_a + area_b
    return fits or area in (area_a, area_b)


def _round(a: list[int], b: list[int]) -> list[int]:
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
