"""Which regions and tracks get a look in this frame, and which wait.

A look is worth what has waited for it: a spot nothing explains, a track with few looks, a track not seen for long.
The value of a track and of a spot grows with each frame it waits, so that nothing waits for ever; a spot that was
never looked at begins with most, and one that showed nothing is looked at again after ever longer times. A canvas
costs the same however full it is: room that is left goes to tracks that will be due before long.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of, lie_in, touches_border
from edge.config import Attention
from edge.see.packing import pack
from edge.see.regions import padded
from edge.types import Boxes, Instances, Looks, Regions, Tracks

SMALLEST_SCALE = 0.5  # a region that would need less is cut into tiles
NEW_SPOT_VALUE = 3.0  # of a look at a spot never looked at: a track that is overdue thrice comes first
SOON_VALUE = 0.6  # of a look at a track from which it may fill room on a canvas that is run anyway
EARLY_INTERVAL = 2  # frames between the first looks at a track
WIDEN_PX = 0.5  # frame pixels per frame without a look by which a track's crop grows
KNOWN = 0.6  # share of a cut object's box inside a track's box above which it is that track's object
SAME_SPOT = 0.5  # share of a spot inside a remembered one above which it is the same
MOST_DOUBLINGS = 3  # of the interval between looks at a spot that shows nothing
MEMORY_FRAMES = 256  # after which a look at a spot is forgotten
MOST_REMEMBERED = 512
NOTHING = np.zeros((0, 4), np.int32)


class SpotMemory:
    """Spots that wait for a look, and where was looked in vain; carried along with what lies there."""

    def __init__(self) -> None:
        self._boxes = np.zeros((0, 4), np.float32)
        self._frames = np.zeros(0, np.int64)  # of the last look; where there was none, of the first sight
        self._tries = np.zeros(0, np.int64)

    def move(self, shift: npt.NDArray[np.float32]) -> None:
        """Carry what is remembered by `shift` (2,) frame pixels."""
        self._boxes += np.tile(shift, 2)

    def values(
        self, spots: Boxes, frame: int, retry_frames: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return what a look at each of `spots` (n, 4) is worth (n,), 1 is due, and for how many frames it is (n,)."""
        known = self._known(spots)
        tries = np.append(self._tries, 0)[known]
        since = frame - np.append(self._frames, frame)[known]
        interval = retry_frames * 2 ** np.clip(tries - 1, 0, MOST_DOUBLINGS)
        new = tries == 0
        values = since / interval + np.where(new, NEW_SPOT_VALUE, 0.0)
        return values, np.where(new, since, np.maximum(since - interval, 0))

    def note(self, spots: Boxes, frame: int, looked: npt.NDArray[np.bool_]) -> None:
        """Remember that `spots` (n, 4) are there in `frame`, and which of them were `looked` at (n,) in it."""
        known = self._known(spots)
        follows = (known >= 0) & (np.append(self._tries, 1)[known] == 0)  # what was looked at may grow to be another
        self._boxes[known[follows]] = spots[follows]
        kept = frame - self._frames < MEMORY_FRAMES
        kept[known[looked & (known >= 0)]] = False
        told = looked | (known < 0)
        tries = np.append(self._tries, 0)[known] + looked
        self._boxes = np.concatenate([self._boxes[kept], spots[told].astype(np.float32)])[-MOST_REMEMBERED:]
        self._frames = np.concatenate([self._frames[kept], np.full(int(told.sum()), frame)])[-MOST_REMEMBERED:]
        self._tries = np.concatenate([self._tries[kept], tries[told]])[-MOST_REMEMBERED:]

    def _known(self, spots: Boxes) -> npt.NDArray[np.int64]:
        """Return (n,) which remembered spot each of `spots` mostly lies in, -1 for none."""
        if not len(self._boxes):
            return np.full(len(spots), -1, np.int64)
        shares = common_of(spots, self._boxes) / np.maximum(areas_of(spots), 1.0)[:, None]
        return np.where(shares.max(axis=1) >= SAME_SPOT, shares.argmax(axis=1), -1).astype(np.int64)


class Chooser:
    """Decides, within the budget of canvases, what the instance model sees."""

    def __init__(
        self, rules: Attention, size: tuple[int, int], canvas: tuple[int, int], *, at_border: str = "track"
    ) -> None:
        """`size` is the frame's and `canvas` the canvas' width and height; `at_border` as in `TrackRules`."""
        self._rules = rules
        self._waits = at_border == "wait"
        self._size = size
        self._canvas = canvas
        self._pad_px = rules.pad_px
        self.reset()

    def reset(self) -> None:
        """Forget where was looked: after a time without sight, what is there now need not be what was."""
        self._memory = SpotMemory()
        self._cut = np.zeros((0, 4), np.int32)  # boxes of unknown objects that their crop cut, widened
        self.waiting = 0  # candidates left over in the last frame
        self.waiting_frames = 0  # for how long the one that waits longest has been due

    def choose(
        self,
        frame: int,
        regions: Regions,
        expected: Tracks,
        shift: npt.NDArray[np.float32],
        audited: npt.NDArray[np.int32] = NOTHING,
    ) -> Looks:
        """Return the looks for frame number `frame`, most valuable first until the canvases are full.

        `shift` (2,) is how far, in frame pixels, everything has moved together since the frame before; `audited` (n, 4)
        is looked at whatever it may be worth, each on a canvas of its own beyond the budget.
        """
        self._memory.move(shift)
        spots = np.concatenate([tiles(regions.boxes, self._canvas), self._cut])
        boxes, *tracked = self._tracked(expected)
        sources = np.concatenate([boxes, spots])
        spotted = self._memory.values(_float(spots), frame, self._rules.retry_frames)
        values, ages = (np.concatenate(pair) for pair in zip(tracked, spotted, strict=True))
        values[lie_in(_float(sources), _float(audited))] = 0.0  # they are seen there
        ripe = np.flatnonzero(values >= 1)
        order = ripe[np.argsort(-values[ripe], kind="stable")]
        merged = merge(sources[order], self._canvas)
        wanted = np.concatenate([merged, merge(_fillers(boxes, values[: len(boxes)], merged), self._canvas)])
        looks, kept = pack(wanted, self._canvas, self._rules.canvases, self._rules.max_scale, due=len(merged))
        self.waiting = len(merged) - int(np.count_nonzero(kept < len(merged)))
        looks = _beside(looks, audited)
        looked = lie_in(_float(sources), _float(looks.sources))
        self.waiting_frames = int(ages[(values >= 1) & ~looked].max(initial=0))
        self._memory.note(_float(spots), frame, looked[len(boxes) :])
        return looks

    def follow(self, instances: Instances, tracks: Tracks) -> None:
        """Note the objects that their crop cut and that no track knows: they get a wider crop in the next frame."""
        cut_off = instances.boxes[~instances.whole]
        unknown = cut_off[_covered(cut_off, tracks.boxes) < KNOWN]
        sides = (unknown[:, 2:] - unknown[:, :2]).max(axis=1, initial=0.0)
        self._cut = padded(unknown, self._pad_px + sides / 2, self._size)

    def _tracked(self, tracks: Tracks) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the crop and the value of a look at each track, 1 is due, and for how many frames it is due."""
        pad = self._pad_px + np.minimum(WIDEN_PX * tracks.since_look, self._pad_px)
        boxes = padded(tracks.boxes, pad.astype(np.float32), self._size)
        early = tracks.looks < self._rules.inspect_looks
        interval = np.where(early, EARLY_INTERVAL, self._rules.refresh_frames)
        interval = np.minimum(interval, self._rules.refresh_frames)
        value = tracks.since_look / interval + ((tracks.ids == 0) & early)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        if self._waits:  # what the border cuts would be measured wrongly
            inside &= ~touches_border(tracks.boxes, self._size)
        return boxes, np.where(inside, value, 0.0), np.maximum(tracks.since_look - interval, 0)


def _beside(looks: Looks, audited: npt.NDArray[np.int32]) -> Looks:
    """Return `looks` and one at each box of `audited` (n, 4), at native resolution on a canvas of its own."""
    first = int(looks.canvases.max(initial=-1)) + 1
    return Looks(
        np.concatenate([looks.sources, audited]),
        np.concatenate([looks.canvases, np.arange(first, first + len(audited), dtype=np.int32)]),
        np.concatenate([looks.places, audited - np.tile(audited[:, :2], 2)]),
        np.concatenate([looks.scales, np.ones(len(audited), np.float32)]),
    )


def _fillers(
    boxes: npt.NDArray[np.int32], values: npt.NDArray[np.float64], chosen: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Return those of `boxes` (n, 4) that are due before long and not in a chosen crop, the most valuable first."""
    soon = np.flatnonzero((values >= SOON_VALUE) & (values < 1))
    soon = soon[np.argsort(-values[soon], kind="stable")]
    return boxes[soon[_covered(_float(boxes[soon]), _float(chosen)) < 1]]


def _float(boxes: npt.NDArray[np.int32]) -> Boxes:
    return boxes.astype(np.float32)


def _covered(boxes: Boxes, by: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) the largest share of each box (n, 4) that lies in one of the boxes `by` (m, 4)."""
    return np.asarray(common_of(boxes, by).max(axis=1, initial=0.0) / np.maximum(areas_of(boxes), 1.0), np.float32)


def tiles(boxes: npt.NDArray[np.int32], canvas: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4), those too large for one canvas of (width, height) cut into overlapping tiles."""
    limit = np.asarray(canvas) / SMALLEST_SCALE
    return np.asarray([tile for box in boxes for tile in cut(box, limit)], np.int32).reshape(-1, 4)


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
