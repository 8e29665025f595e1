"""Which regions and tracks get a look in this frame, and which wait.

A look is worth what has waited for it: a spot nothing explains, a track with few looks, a track not seen for long.
The value of a track and of a spot grows with each frame it waits; a spot that was never looked at is worth most of all.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge.config import Attention
from edge.see.packing import pack
from edge.see.regions import padded
from edge.types import Instances, Looks, Regions, Tracks

CELL_PX = 32  # of the memory of where was looked
SMALLEST_SCALE = 0.5  # a region that would need less is cut into tiles
CUT_VALUE = 1.5  # of a look at an object that was cut
EARLY_INTERVAL = 2  # frames between the first looks at a track
WIDEN_PX = 0.5  # frame pixels per frame without a look by which a track's crop grows
NEVER = -1_000_000
KNOWN = 0.6  # share of a cut object's box inside a track's box above which it is that track's object


class Chooser:
    """Decides, within the budget of canvases, what the instance model sees."""

    def __init__(self, rules: Attention, size: tuple[int, int], canvas: tuple[int, int], pad_px: int) -> None:
        """`size` is the frame's and `canvas` the canvas' width and height."""
        self._rules = rules
        self._size = size
        self._canvas = canvas
        self._pad_px = pad_px
        cells = math.ceil(size[1] / CELL_PX), math.ceil(size[0] / CELL_PX)
        self._looked = np.full(cells, NEVER, np.int64)  # frame in which a spot was last looked at, by cell
        self._cut = np.zeros((0, 4), np.int32)  # boxes of unknown objects that their crop cut, widened
        self.waiting = 0  # candidates left over in the last frame

    def choose(self, frame: int, regions: Regions, expected: Tracks, at_border: str) -> Looks:
        """Return the looks for frame number `frame`, most valuable first until the canvases are full."""
        spots = self._tiles(regions)
        boxes, due = self._due(expected, at_border)
        sources = np.concatenate([boxes, spots, self._cut])
        values = np.concatenate([due, self._spot_values(spots, frame), np.full(len(self._cut), CUT_VALUE)])
        ripe = np.flatnonzero(values >= 1)
        order = ripe[np.argsort(-values[ripe], kind="stable")]
        merged = merge(sources[order], self._canvas)
        looks, kept = pack(merged, self._canvas, self._rules.canvases, self._rules.max_scale)
        self.waiting = len(merged) - len(kept)
        self._remember(spots, looks, frame)
        return looks

    def follow(self, instances: Instances, tracks: Tracks) -> None:
        """Note the objects that their crop cut and that no track knows: they get a wider crop in the next frame."""
        cut_off = instances.boxes[~instances.whole]
        unknown = cut_off[_covered(cut_off, tracks.boxes) < KNOWN]
        sides = (unknown[:, 2:] - unknown[:, :2]).max(axis=1, initial=0.0)
        self._cut = padded(unknown, self._pad_px + sides / 2, self._size)

    def _due(self, tracks: Tracks, at_border: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return the crop and the value of a look at each track; 1 is due, more is overdue."""
        pad = self._pad_px + np.minimum(WIDEN_PX * tracks.since_look, self._pad_px)
        boxes = padded(tracks.boxes, pad.astype(np.float32), self._size)
        early = tracks.looks < self._rules.inspect_looks
        interval = np.where(early, EARLY_INTERVAL, self._rules.refresh_frames)
        interval = np.minimum(interval, self._rules.refresh_frames)
        value = tracks.since_look / interval + (tracks.ids == 0)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        if at_border == "wait":  # what the border cuts would be measured wrongly
            inside &= ~touches_border(tracks.boxes, self._size)
        return boxes, np.where(inside, value, 0.0)

    def _spot_values(self, spots: npt.NDArray[np.int32], frame: int) -> npt.NDArray[np.float64]:
        """Return the value of each spot: frames since it was looked at, in units of the retry interval."""
        waited = [frame - np.median(self._cells(box)) for box in spots]
        return np.minimum(np.asarray(waited, np.float64) / self._rules.retry_frames, 100.0)

    def _tiles(self, regions: Regions) -> npt.NDArray[np.int32]:
        """Return the regions' boxes, those too large for one canvas cut into overlapping tiles."""
        limit = np.asarray(self._canvas) / SMALLEST_SCALE
        tiles = [tile for box in regions.boxes for tile in cut(box, limit)]
        return np.asarray(tiles, np.int32).reshape(-1, 4)

    def _cells(self, box: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        x0, y0, x1, y1 = box.tolist()
        return self._looked[y0 // CELL_PX : -(-y1 // CELL_PX), x0 // CELL_PX : -(-x1 // CELL_PX)]

    def _remember(self, spots: npt.NDArray[np.int32], looks: Looks, frame: int) -> None:
        """Note which spots were looked at; what a look at a track covers besides is not: it may have been cut."""
        for spot in spots:
            inside = (looks.sources[:, :2] <= spot[:2]) & (looks.sources[:, 2:] >= spot[2:])
            if inside.all(axis=1).any():
                self._cells(spot)[:] = frame


def _covered(boxes: npt.NDArray[np.float32], by: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (n,) the largest share of each box (n, 4) that lies in one of the boxes `by` (m, 4)."""
    low, high = np.maximum(boxes[:, None, :2], by[None, :, :2]), np.minimum(boxes[:, None, 2:], by[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2).max(axis=1, initial=0.0)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(common / np.maximum(areas, 1.0), np.float32)


def touches_border(
    boxes: npt.NDArray[np.float32], size: tuple[int, int], margin_px: float = 2.0
) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each box (n, 4) comes within `margin_px` of the border of a frame of `size`."""
    limit = np.asarray(size, np.float32) - margin_px
    return np.asarray((boxes[:, :2] <= margin_px).any(axis=1) | (boxes[:, 2:] >= limit).any(axis=1))


def cut(box: npt.NDArray[np.int32], limit: npt.NDArray[np.float64]) -> list[list[int]]:
    """Cut `box` (4,) into tiles of at most `limit` (width, height) that overlap by at least a quarter of it."""
    spans = []
    for low, high, most in zip(box[:2].tolist(), box[2:].tolist(), limit.tolist(), strict=True):
        extent, step = high - low, int(most * 0.75)
        count = 1 if extent <= most else 1 + math.ceil((extent - most) / step)
        size = extent if count == 1 else int(most)
        starts = np.linspace(low, high - size, count).round().astype(int)
        spans.append([(int(start), int(start) + size) for start in starts])
    return [[x0, y0, x1, y1] for y0, y1 in spans[1] for x0, x1 in spans[0]]


def merge(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Join boxes, most valuable first, where one crop round both is cheaper than two and fits a canvas."""
    merged, count = np.zeros((len(boxes), 4), np.int64), 0
    for box in boxes:
        others = merged[:count]
        unions = np.concatenate([np.minimum(box[:2], others[:, :2]), np.maximum(box[2:], others[:, 2:])], axis=1)
        inside = (unions == others).all(axis=1)
        fits = ((unions[:, 2:] - unions[:, :2]) <= canvas).all(axis=1)
        joins = inside | (fits & (_areas(unions) <= _areas(box[None]) + _areas(others)))
        if joins.any():
            merged[joins.argmax()] = unions[joins.argmax()]
        else:
            merged[count] = box
            count += 1
    return merged[:count].astype(np.int32)


def _areas(boxes: npt.NDArray[np.int_]) -> npt.NDArray[np.int64]:
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.int64)
    return sides[:, 0] * sides[:, 1]
