"""Parts of one object that several crops show -> the object.

An object larger than its crop, or one on the seam of two tiles, is cut in each of them. Two cut parts are one object
where the crops overlap and show the same mask there (compare the merging of tile predictions in panoptic mosaics).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.boxes import common_of
from edge.see.found import MOST_MASK_CELLS, thinned
from edge.see.select import ARRAYS, ASKED, joined, select
from edge.types import Array, Boxes, Instances

SAME_MASK_IOU = 0.5  # of two masks where their crops overlap, above which they are parts of one object
FINEST = 64  # cells across the overlap in which masks are compared
FINER = 4  # times the cells that are kept of a mask, while parts are joined
MOST_PARTS = 64  # of one frame, the largest: more are noise, and each may be compared with each
EDGE_PX = 4.0  # frame pixels from the edge of its crop within which a part ends there


def stitch(instances: Instances, sources: Boxes, size: tuple[int, int]) -> Instances:
    """Return `instances` with the parts of one object joined.

    `sources` (n, 4) are the crops in which they were found, frame pixels; `size` is the frame's (width, height).
    """
    cut = np.flatnonzero(~instances.whole)
    if not len(cut) or len(instances) < 2:
        return instances
    maybe = _maybe_same(instances, sources)
    cut = cut[maybe[cut].any(axis=1)]
    cut = cut[np.argsort(-instances.areas_px[cut], kind="stable")][:MOST_PARTS]

    def same(i: int, j: int) -> bool:
        return bool(maybe[i, j]) and _same_mask(instances, sources, i, j)

    known = [i for i in cut.tolist() if any(same(i, j) for j in np.flatnonzero(maybe[i] & instances.whole).tolist())]
    groups = [group for group in _groups([i for i in cut.tolist() if i not in known], same) if len(group) > 1]
    taken = {*known, *(i for group in groups for i in group)}
    if not taken:
        return instances
    rest = np.asarray([i for i in range(len(instances)) if i not in taken], np.int64)
    united = [_united(instances, sources, group, size) for group in groups]
    return joined([select(instances, rest), *united], instances.defects_px.shape[1])


def _maybe_same(instances: Instances, sources: Boxes) -> npt.NDArray[np.bool_]:
    """Return (n, n) whether boxes and crops of two instances overlap, which are of one class and of two crops."""
    boxes, classes = instances.boxes, instances.classes
    overlap = (common_of(boxes, boxes) > 0) & (common_of(sources, sources) > 0)
    return np.asarray(overlap & (classes[:, None] == classes) & (sources[:, None] != sources).any(axis=2))


def _groups(cut: list[int], same: Callable[[int, int], bool]) -> list[list[int]]:
    """Return the rows `cut`, those of one object together."""
    groups: list[list[int]] = []
    for i in cut:
        mine = [group for group in groups if any(same(i, j) for j in group)]
        groups = [group for group in groups if group not in mine] + [[i, *(j for group in mine for j in group)]]
    return groups


def _same_mask(instances: Instances, sources: Boxes, i: int, j: int) -> bool:
    """Tell whether two instances have the same mask where both crops show it."""
    a, b = instances.boxes[i], instances.boxes[j]
    low, high = np.maximum(sources[i, :2], sources[j, :2]), np.minimum(sources[i, 2:], sources[j, 2:])
    low, high = np.maximum(low, np.minimum(a[:2], b[:2])), np.minimum(high, np.maximum(a[2:], b[2:]))
    if (high <= low).any():
        return False
    step = max(1.0, float((high - low).max()) / FINEST)
    both = np.concatenate([low, high])
    this, that = (painted_in(instances.boxes[k], instances.masks[k], both, step) for k in (i, j))
    either = int(np.count_nonzero(this | that))
    return either > 0 and int(np.count_nonzero(this & that)) / either >= SAME_MASK_IOU


def painted_in(box: Array, mask: npt.NDArray[np.bool_], window: Array, step: float) -> npt.NDArray[np.bool_]:
    """Return what `mask`, stretched over `box` (4,), shows in `window` (4,), in cells of `step` frame pixels."""
    columns, rows = (np.maximum(1, np.ceil((window[2:] - window[:2]) / step)).astype(int)).tolist()
    unit_x, unit_y = (box[2:] - box[:2]) / mask.shape[::-1]
    # cell centre -> frame pixel -> mask cell, whose centre is at +0.5
    from_cell = np.asarray(
        [
            [step / unit_x, 0, (window[0] + step / 2 - box[0]) / unit_x - 0.5],
            [0, step / unit_y, (window[1] + step / 2 - box[1]) / unit_y - 0.5],
        ]
    )
    way = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(mask.view(np.uint8), from_cell, (columns, rows), flags=way), np.bool_)


def _united(instances: Instances, sources: Boxes, group: list[int], size: tuple[int, int]) -> Instances:
    """Return the one object that the parts `group` make."""
    rows = np.asarray(group)
    boxes, areas = instances.boxes[rows], instances.areas_px[rows]
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    cells = [(instances.boxes[i, 2:] - instances.boxes[i, :2]) / instances.masks[i].shape[::-1] for i in group]
    # the finest part's, but bounded: every part is painted into the whole
    step = max(float(np.min(cells)), math.sqrt(float((box[2:] - box[:2]).prod()) / (FINER * MOST_MASK_CELLS)))
    masks = [painted_in(instances.boxes[i], instances.masks[i], box, step) for i in group]
    mask = np.any(masks, axis=0)
    ys, xs = np.nonzero(mask)
    once = len(xs) / sum(int(np.count_nonzero(part)) for part in masks)  # what the overlap shows twice counts once
    largest = group[int(areas.argmax())]
    values: dict[str, Any] = {
        "boxes": box,
        "scores": instances.scores[rows].max(),
        "classes": instances.classes[largest],
        "centers": box[:2] + (np.asarray([xs.mean(), ys.mean()]) + 0.5) * step,
        "areas_px": areas.sum() * once,
        "defects_px": instances.defects_px[rows].sum(axis=0) * once,
        "scales": instances.scales[rows].min(),
        "whole": not _ends(instances.boxes[rows], sources[rows], size).any(),
    }
    arrays: dict[str, Any] = {name: np.asarray([values[name]], getattr(instances, name).dtype) for name in ARRAYS}
    for name in ASKED:
        array = getattr(instances, name)
        arrays[name] = None if array is None else array[rows].max(axis=0)[None]  # at the least
    return Instances(**arrays, masks=[thinned(mask)])


def _ends(boxes: Boxes, sources: Boxes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (n, 4) whether a part ends at an edge of its crop beyond which no other part's crop goes."""
    low = (boxes[:, :2] <= sources[:, :2] + EDGE_PX) & (sources[:, :2] > 0)
    high = (boxes[:, 2:] >= sources[:, 2:] - EDGE_PX) & (sources[:, 2:] < np.asarray(size))
    low &= sources[:, :2] <= sources[:, :2].min(axis=0) + EDGE_PX
    high &= sources[:, 2:] >= sources[:, 2:].max(axis=0) - EDGE_PX
    return np.concatenate([low, high], axis=1)
