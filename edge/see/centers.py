"""Outputs of a `centers` head on one canvas -> objects, as in Panoptic-DeepLab (Cheng et al. 2020, section 3.2).

Every cell that is foreground or flawed votes for a point and joins the nearest peak of its own place. A whole canvas is
done at once in arrays; only the masks are cut out one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.bundle import Head
from edge.see.found import SCORE_UNITS, Found
from edge.types import Array

VOTE_RADIUS_PX = 24.0  # canvas pixels between where a cell votes and the peak it joins, at the most
SMALLEST_CELLS = 6  # label cells below which an object is noise
NOWHERE = 1e6  # canvas pixels: where peaks are that do not exist


@dataclass(frozen=True, slots=True)
class _Peaks:
    """Sure peaks that lie in a place, by place."""

    points: Array  # (p, 2) float32 canvas pixels
    scores: npt.NDArray[np.float32]  # (p,)
    homes: npt.NDArray[np.int64]  # (p,) index of the place


def decode_centers(
    outputs: Mapping[str, Array], places: npt.NDArray[np.int32], head: Head, score: float, defects: int
) -> Found:
    """Return the objects of a canvas whose crops lie at `places` (n, 4), canvas pixels, at least a label cell apart.

    `defects` is the number of defect classes. Objects come in the order of their places.
    """
    labels, stride = outputs["labels"], head.label_stride
    peaks = _sure_peaks(outputs["peaks"], places, score)
    flaw_xs, flaw_ys = _pixels(outputs["defects"] if defects else np.zeros((0, 0), np.uint8))
    homes = _homes(labels.shape, places, stride)
    solid = np.asarray(labels > 0)
    solid[flaw_ys // stride, flaw_xs // stride] = True  # a bite out of the contour still belongs to its part
    xs, ys = _pixels((solid & (homes >= 0)).view(np.uint8))
    owners = _owners(outputs["offsets"], xs, ys, homes[ys, xs], peaks, len(places), head)
    flaws = np.zeros((len(peaks.scores), defects), np.float32)
    if defects:
        of_cell = np.full(labels.shape, -1, np.int32)
        of_cell[ys, xs] = owners
        flaw_kinds = np.minimum(outputs["defects"][flaw_ys, flaw_xs], defects)
        flaws = _tally(of_cell[flaw_ys // stride, flaw_xs // stride], flaw_kinds, len(flaws), defects + 1)[:, 1:]
    kinds = labels[ys, xs]
    mine = (owners >= 0) & (kinds > 0)
    return _measured(xs[mine], ys[mine], owners[mine], kinds[mine], peaks, flaws, stride)


def _sure_peaks(found: Array, places: npt.NDArray[np.int32], score: float) -> _Peaks:
    sure = found[found[:, 2] >= max(1.0, score * SCORE_UNITS)]
    inside = (sure[:, None, :2] >= places[None, :, :2]) & (sure[:, None, :2] < places[None, :, 2:])
    peaks, homes = np.nonzero(inside.all(axis=2))
    order = np.argsort(homes, kind="stable")
    sure = sure[peaks[order]]
    return _Peaks(sure[:, :2].astype(np.float32), (sure[:, 2] / SCORE_UNITS).astype(np.float32), homes[order])


def _pixels(mask: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return x and y (n,) of what is not 0 in a map (h, w) uint8; ten times as fast as `np.nonzero`."""
    points = cv2.findNonZero(mask) if mask.size else None
    flat = np.zeros((0, 2), np.int32) if points is None else np.asarray(points, np.int32).reshape(-1, 2)
    return flat[:, 0], flat[:, 1]


def _homes(shape: tuple[int, ...], places: npt.NDArray[np.int32], stride: int) -> npt.NDArray[np.int16]:
    """Return (h, w) the index of the place each cell lies in, even in part, -1 in gutters."""
    homes = np.full(shape, -1, np.int16)
    lows, highs = (places[:, :2] // stride).tolist(), (-(-places[:, 2:] // stride)).tolist()
    for i, ((x0, y0), (x1, y1)) in enumerate(zip(lows, highs, strict=True)):
        homes[y0:y1, x0:x1] = i
    return homes


def _owners(
    offsets: Array, xs: Array, ys: Array, homes: Array, peaks: _Peaks, places: int, head: Head
) -> npt.NDArray[np.int64]:
    """Return (n,) the peak that each cell joins, -1 where none in its place is near enough."""
    counts = np.bincount(peaks.homes, minlength=places)
    most = int(counts.max(initial=0))
    if not most:
        return np.full(len(xs), -1, np.int64)
    slots = np.arange(len(peaks.homes)) - (np.cumsum(counts) - counts)[peaks.homes]
    table = np.zeros((places, most), np.int64)  # of each place, its peaks
    table[peaks.homes, slots] = np.arange(len(peaks.homes))
    points = np.full((2, places, most), np.float32(NOWHERE))
    points[:, peaks.homes, slots] = peaks.points.T
    stride, unit = np.float32(head.label_stride), np.float32(head.offset_px)
    dx, dy = (
        points[axis][homes] - ((at + np.float32(0.5)) * stride + offsets[axis, ys, xs] * unit)[:, None]
        for axis, at in enumerate((xs.astype(np.float32), ys.astype(np.float32)))
    )
    distances = dx * dx + dy * dy
    nearest = distances.argmin(axis=1)
    rows = np.arange(len(xs))
    near = distances[rows, nearest] <= VOTE_RADIUS_PX**2
    return np.where(near, table[homes, nearest], -1)


def _tally(owners: Array, kinds: Array, peaks: int, most: int) -> npt.NDArray[np.float32]:
    """Return (peaks, most) how many of each kind belong to each peak."""
    kept = owners >= 0
    counts = np.bincount(owners[kept] * most + kinds[kept], minlength=peaks * most)
    return counts.reshape(peaks, most).astype(np.float32)


def _measured(
    xs: Array, ys: Array, owners: Array, kinds: Array, peaks: _Peaks, flaws: npt.NDArray[np.float32], stride: int
) -> Found:
    """Return the objects made of foreground cells `xs`, `ys` (n,) with owners (n,) and labels `kinds` (n,)."""
    count = len(peaks.scores)
    order = np.argsort(owners, kind="stable")
    xs, ys = xs[order], ys[order]
    cells = np.bincount(owners, minlength=count)
    ends = np.cumsum(cells)
    kept = np.flatnonzero(cells >= SMALLEST_CELLS)
    starts, areas = (ends - cells)[kept], cells[kept]
    if not len(kept):
        return Found.none(flaws.shape[1])
    there = np.flatnonzero(cells)  # `reduceat` wants segments that are not empty
    rows = np.searchsorted(there, kept)
    first = (ends - cells)[there]
    low = np.stack([np.minimum.reduceat(axis, first)[rows] for axis in (xs, ys)], axis=1)
    high = np.stack([np.maximum.reduceat(axis, first)[rows] for axis in (xs, ys)], axis=1) + 1
    sums = np.stack([np.add.reduceat(axis, first, dtype=np.float64)[rows] for axis in (xs, ys)], axis=1)
    votes = _tally(owners, kinds, count, int(kinds.max()) + 1)
    masks = []
    for (left, top), (width, height), start, area in zip(low, high - low, starts, areas, strict=True):
        mask = np.zeros((height, width), np.bool_)
        mask[ys[start : start + area] - top, xs[start : start + area] - left] = True
        masks.append(mask)
    return Found(
        boxes=(np.concatenate([low, high], axis=1) * stride).astype(np.float32),
        scores=peaks.scores[kept],
        classes=votes[kept].argmax(axis=1).astype(np.uint8),
        centers=((sums / areas[:, None] + 0.5) * stride).astype(np.float32),
        areas=(areas * stride**2).astype(np.float32),
        defects=flaws[kept],
        masks=masks,
        places=peaks.homes[kept].astype(np.int32),
    )
