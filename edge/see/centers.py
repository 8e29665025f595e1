"""Outputs of a `centers` head on one canvas -> objects, as in Panoptic-DeepLab (Cheng et al. 2020, section 3.2).

Every cell that is foreground or flawed votes for a point and joins the nearest peak of its own place. A whole canvas is
done at once in arrays; only the masks are cut out one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bundle import Head
from edge.see.flaw_counts import flaw_counts
from edge.see.flaw_sizes import flaw_sizes
from edge.see.found import SCORE_UNITS, Found, thinned
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


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the cells of a label map lie, row by row."""

    xs: npt.NDArray[np.int32]  # (n,) column
    ys: npt.NDArray[np.int32]  # (n,) row
    middles: npt.NDArray[np.float32]  # (2, n) x, y in canvas pixels


def decode_centers(
    outputs: Mapping[str, Array],
    places: npt.NDArray[np.int32],
    head: Head,
    score: float,
    defects: int,
    *,
    sized: bool = False,
    counted: bool = False,
) -> Found:
    """Return the objects of a canvas whose crops lie at `places` (n, 4), canvas pixels, at least a label cell apart.

    `defects` is the number of defect classes, `sized` whether their lengths and widths are wanted, `counted` the number
    of their spots. Objects come in the order of their places.
    """
    labels = outputs["labels"]
    grid = _grid(labels.shape, head.label_stride)
    peaks = _sure_peaks(outputs["peaks"], places, score)
    homes = _homes(labels.shape, places, head.label_stride)
    flaws = np.flatnonzero(outputs["defects"] != 0) if defects else np.zeros(0, np.int64)
    flawed = _cells_of(flaws, outputs["defects"].shape[1], labels.shape[1], head.label_stride) if defects else flaws
    solid = labels.ravel() > 0
    solid[flawed] = True  # a bite out of the contour still belongs to its part
    cells = np.flatnonzero(solid & (homes >= 0))
    owners = _owners(outputs["offsets"].reshape(2, -1), cells, homes.take(cells), peaks, grid, len(places), head)
    areas = np.zeros((len(peaks.scores), defects), np.float32)
    lengths = np.zeros((*areas.shape, 2), np.float32) if sized else None
    counts = np.zeros(areas.shape, np.int32) if counted else None
    if len(flaws):
        of_cell = np.full(labels.size, -1, np.int16)
        of_cell[cells] = owners
        kinds = np.minimum(outputs["defects"].ravel().take(flaws), defects)
        holders = of_cell.take(flawed)
        areas = _tally(holders, kinds, len(areas), defects + 1)[:, 1:]
        if sized:
            points = np.stack(np.divmod(flaws, outputs["defects"].shape[1])[::-1], axis=1)
            lengths = flaw_sizes(points, holders, kinds, areas.shape)
        if counted:
            counts = flaw_counts(outputs["defects"], flaws, holders, kinds, areas.shape)
    kinds = labels.ravel().take(cells)
    mine = np.flatnonzero((owners >= 0) & (kinds > 0))
    return _measured(grid, cells[mine], owners[mine], kinds[mine], peaks, areas, (lengths, counts), head.label_stride)


@lru_cache(maxsize=4)
def _grid(shape: tuple[int, ...], stride: int) -> _Grid:
    ys, xs = (axis.ravel().astype(np.int32) for axis in np.indices(shape))
    return _Grid(xs, ys, ((np.stack([xs, ys]) + 0.5) * stride).astype(np.float32))


def _sure_peaks(found: Array, places: npt.NDArray[np.int32], score: float) -> _Peaks:
    sure = found[found[:, 2] >= max(1.0, score * SCORE_UNITS)]
    inside = (sure[:, None, :2] >= places[None, :, :2]) & (sure[:, None, :2] < places[None, :, 2:])
    homes, peaks = np.nonzero((inside[:, :, 0] & inside[:, :, 1]).T)
    sure = sure[peaks]
    return _Peaks(sure[:, :2].astype(np.float32), (sure[:, 2] / SCORE_UNITS).astype(np.float32), homes)


def _homes(shape: tuple[int, ...], places: npt.NDArray[np.int32], stride: int) -> npt.NDArray[np.int16]:
    """Return (h * w,) the index of the place each cell lies in, even in part, -1 in gutters."""
    homes = np.full(shape, -1, np.int16)
    for i, (x0, y0, x1, y1) in enumerate(places.tolist()):
        homes[y0 // stride : -(-y1 // stride), x0 // stride : -(-x1 // stride)] = i
    return homes.ravel()


def _cells_of(pixels: npt.NDArray[np.int64], width: int, columns: int, stride: int) -> npt.NDArray[np.int64]:
    """Return (n,) the cells, `columns` in a row, that hold `pixels` (n,), `width` in a row."""
    return (pixels // width) // stride * columns + (pixels % width) // stride


def _owners(
    offsets: Array,
    cells: npt.NDArray[np.int64],
    homes: npt.NDArray[np.signedinteger[Any]],
    peaks: _Peaks,
    grid: _Grid,
    places: int,
    head: Head,
) -> npt.NDArray[np.int16]:
    """Return (n,) the peak that each of `cells` (n,) joins, -1 where none in its place is near enough."""
    counts = np.bincount(peaks.homes, minlength=places)
    most = int(counts.max(initial=0))
    if not most:
        return np.full(len(cells), -1, np.int16)
    slots = np.arange(len(peaks.homes)) - (np.cumsum(counts) - counts)[peaks.homes]
    table = np.zeros((most, places), np.int16)  # of each place, its peaks
    table[slots, peaks.homes] = np.arange(len(peaks.homes))
    points = np.full((2, most, places), np.float32(NOWHERE))
    points[:, slots, peaks.homes] = peaks.points.T
    votes = [grid.middles[axis].take(cells) + offsets[axis].take(cells) * np.float32(head.offset_px) for axis in (0, 1)]
    homes = homes.astype(np.intp)  # once: `take` would do it every time
    nearest = np.full(len(cells), VOTE_RADIUS_PX**2, np.float32)
    owners = np.full(len(cells), -1, np.int16)
    for slot in range(most - 1, -1, -1):  # of two at the same distance the first; one at a time: room for one only
        distances = points[0, slot].take(homes) - votes[0]
        distances *= distances
        gaps = points[1, slot].take(homes) - votes[1]
        gaps *= gaps
        distances += gaps
        nearer = distances <= nearest
        np.copyto(nearest, distances, where=nearer)
        np.copyto(owners, table[slot].take(homes), where=nearer)
    return owners


def _tally(owners: Array, kinds: Array, peaks: int, most: int) -> npt.NDArray[np.float32]:
    """Return (peaks, most) how many of each kind belong to each peak."""
    kept = owners >= 0
    counts = np.bincount(owners[kept].astype(np.int64) * most + kinds[kept], minlength=peaks * most)
    return counts.reshape(peaks, most).astype(np.float32)


def _measured(
    grid: _Grid,
    cells: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int16],
    kinds: Array,
    peaks: _Peaks,
    flaws: npt.NDArray[np.float32],
    asked: tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.int32] | None],
    stride: int,
) -> Found:
    """Return the objects made of foreground `cells` (n,) with owners (n,) and labels `kinds` (n,).

    `flaws` and `asked`, lengths and counts, are what each peak has of each defect class.
    """
    lengths, spots = asked
    counts = np.bincount(owners, minlength=len(peaks.scores))
    kept = np.flatnonzero(counts >= SMALLEST_CELLS)
    if not len(kept):
        return Found.none(flaws.shape[1])
    order = np.argsort(owners, kind="stable")  # of 16 bits, for which it is a radix sort
    xs, ys = grid.xs.take(cells[order]), grid.ys.take(cells[order])
    there = np.flatnonzero(counts)  # `reduceat` wants segments that are not empty
    rows = np.searchsorted(there, kept)
    starts = (np.cumsum(counts) - counts)[there]
    low = np.stack([np.minimum.reduceat(axis, starts)[rows] for axis in (xs, ys)], axis=1)
    high = np.stack([np.maximum.reduceat(axis, starts)[rows] for axis in (xs, ys)], axis=1) + 1
    sums = np.stack([np.add.reduceat(axis, starts, dtype=np.float64)[rows] for axis in (xs, ys)], axis=1)
    areas = counts[kept]
    votes = _tally(owners, kinds, len(counts), int(kinds.max()) + 1)
    return Found(
        boxes=(np.concatenate([low, high], axis=1) * stride).astype(np.float32),
        scores=peaks.scores[kept],
        classes=votes[kept].argmax(axis=1).astype(np.uint8),
        centers=((sums / areas[:, None] + 0.5) * stride).astype(np.float32),
        areas=(areas * stride**2).astype(np.float32),
        defects=flaws[kept],
        masks=[
            _mask(xs[start : start + area] - left, ys[start : start + area] - top, right - left, bottom - top)
            for start, area, (left, top), (right, bottom) in zip(
                starts[rows].tolist(), areas.tolist(), low.tolist(), high.tolist(), strict=True
            )
        ],
        places=peaks.homes[kept].astype(np.int32),
        flaws=None if lengths is None else lengths[kept],
        flaw_counts=None if spots is None else spots[kept],
    )


def _mask(xs: Array, ys: Array, width: int, height: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    mask[ys, xs] = True
    return thinned(mask)
