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
    width, height = canvas[0] / SMALLEST_SCALE, canvas[1] / SMALLEST_SCALE
    if all(x1 - x0 <= width and y1 - y0 <= height for x0, y0, x1, y1 in boxes.tolist()):
        return boxes
    limit = np.asarray([width, height])
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
    rows: list[list[int]] = boxes.tolist()
    partners = _partners(rows, canvas)
    if not partners:
        return boxes, np.arange(len(boxes))
    groups: dict[int, list[int]] = {}  # the first box of each group -> round all of them
    for i in sorted(partners):
        for head, other in groups.items():
            if _cheaper(rows[i], other, canvas):
                groups[head] = _round(rows[i], other)
                break
        else:
            groups[i] = rows[i]
    heads = [i for i in range(len(rows)) if i in groups or i not in partners]
    return np.asarray([groups.get(i, rows[i]) for i in heads], np.int32), np.asarray(heads)


def _partners(rows: list[list[int]], canvas: tuple[int, int]) -> set[int]:
    """Return which boxes could join another."""
    found: set[int] = set()
    order = sorted(range(len(rows)), key=[row[0] for row in rows].__getitem__)  # from left to right
    for k, i in enumerate(order, start=1):
        right = rows[i][2]
        for j in order[k:]:
            if rows[j][0] > right:
                break  # they do not touch, nor do all that follow
            if _cheaper(rows[i], rows[j], canvas):
                found |= {i, j}
    return found


def _cheaper(a: list[int], b: list[int], canvas: tuple[int, int]) -> bool:
    """Tell whether one crop round two boxes costs no more than both and fits, or one lies in the other."""
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    if ay0 > by1 or by0 > ay1 or ax0 > bx1 or bx0 > ax1:
        return False  # one crop round two that do not touch always costs more
    width = (ax1 if ax1 > bx1 else bx1) - (ax0 if ax0 < bx0 else bx0)  # noqa: FURB136  min and max take thrice as long
    height = (ay1 if ay1 > by1 else by1) - (ay0 if ay0 < by0 else by0)  # noqa: FURB136
    area, area_a, area_b = width * height, (ax1 - ax0) * (ay1 - ay0), (bx1 - bx0) * (by1 - by0)
    fits = width <= canvas[0] and height <= canvas[1] and area <= area_a + area_b
    return fits or area in (area_a, area_b)  # however large that one is


def _round(a: list[int], b: list[int]) -> list[int]:
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
