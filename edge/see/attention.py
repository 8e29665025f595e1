"""Which regions and tracks get a look in this frame, and which wait.

A look is worth what has waited for it: a spot nothing explains, a track with few looks, a track not seen for long.
The value of a track and of a spot grows with each frame it waits, so that nothing waits for ever; a spot that was
never looked at begins with most, and one that showed nothing is looked at again after ever longer times. A canvas
costs the same however full it is: room that is left goes to tracks that will be due before long. Where what is due
would fill as many canvases as the whole frame does, the whole frame is looked at. The governor may leave less: no whole
frames, and in the end only looks without which something would be missed or judged unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of, lie_in, touches_border
from edge.config import Attention
from edge.see.crops import merge, tiles, whole
from edge.see.packing import FILL, room_of
from edge.see.regions import padded
from edge.see.spots import NEW_SPOT_VALUE, SpotMemory
from edge.types import FULL, REASONS, Boxes, Effort, Instances, Looks, Regions, Stakes, Tracks

SOON_VALUE = 0.6  # of a look at a track from which it may fill room on a canvas that is run anyway
EARLY_INTERVAL = 2  # frames between the first looks at a track
DOUBT_LOOKS = 2  # times `inspect_looks` that a track gets whose looks do not agree
URGENT_FRAMES = 30  # before a line or gate within which a look that is due gains in value
URGENT_PX = 240.0  # of frame pixels from a line or gate within which a spot never looked at does: its way is not known
URGENT_VALUE = 3.0  # by which they have gained there
WIDEN_PX = 0.5  # frame pixels per frame without a look by which a track's crop grows
KNOWN = 0.6  # share of a cut object's box inside a track's box above which it is that track's object
MOST_SPOTS = 256  # of one frame that are remembered, and as many of what its crops cut
MOST_CANDIDATES = 128  # of one frame, the most valuable: a flood takes bounded time
NEW, SPOT, CUT, YOUNG, REFRESH, EARLY, AUDIT, WHOLE, DOUBT = range(len(REASONS))
NOTHING = np.zeros((0, 4), np.int32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What one camera would have looked at in one frame."""

    sources: npt.NDArray[np.int32]  # (n, 4) frame pixels, the most valuable first
    values: npt.NDArray[np.float64]  # (n,) of a look; what is due has at least 1
    reasons: npt.NDArray[np.int32]  # (n,) index into `REASONS`
    audited: npt.NDArray[np.int32]  # (m, 4) frame pixels: looked at whatever it may be worth, on canvases of their own


@dataclass(frozen=True, slots=True)
class _Wishes:
    """Everything that may get a look, one row each: tracks, then spots."""

    sources: npt.NDArray[np.int32]  # (n, 4)
    values: npt.NDArray[np.float64]  # (n,)
    ages: npt.NDArray[np.int64]  # (n,) frames for which it has been due
    reasons: npt.NDArray[np.int32]  # (n,)
    spots: int  # how many of the last rows are spots

    @property
    def seen(self) -> npt.NDArray[np.int32]:
        """Return the spots (m, 4)."""
        return self.sources[len(self.sources) - self.spots :]


class Chooser:
    """Says what of one camera's frames is worth a look, and remembers what got one."""

    def __init__(
        self, rules: Attention, size: tuple[int, int], canvas: tuple[int, int], *, at_border: str = "track"
    ) -> None:
        """`size` is the frame's and `canvas` the canvas' width and height; `at_border` as in `TrackRules`."""
        self._rules = rules
        self._waits = at_border == "wait"
        self._size = size
        self._canvas = canvas
        self._pad_px = rules.pad_px
        self.tiles = whole(size, canvas)  # (n, 4): what a full-frame pass would have to look at
        self.reset()

    def reset(self) -> None:
        """Forget where was looked: after a time without sight, what is there now need not be what was."""
        self._memory = SpotMemory()
        self._cut = NOTHING  # boxes of unknown objects that their crop cut, widened
        self._wishes: _Wishes | None = None
        self._due = NOTHING  # (n, 4) what is to be looked at for nothing to wait
        self._whole = False  # that is the whole frame
        self.waiting = 0  # candidates left over in the last frame
        self.waiting_frames = 0  # for how long the one that waits longest has been due

    def candidates(
        self,
        frame: int,
        regions: Regions,
        expected: Tracks,
        shift: npt.NDArray[np.float32],
        audited: npt.NDArray[np.int32] = NOTHING,
        effort: Effort = FULL,
        stakes: Stakes | None = None,
    ) -> Candidates:
        """Return what is worth a look in frame number `frame`, and what will be before long.

        `shift` (2,) is how far, in frame pixels, everything has moved together since the frame before; `audited` (n, 4)
        is looked at in any case. `effort` is what the governor leaves; `stakes` says what hangs on the tracks
        `expected`.
        """
        wishes = self._wishes = self._wish(frame, regions, expected, shift, audited, stakes)
        values, held = wishes.values, NOTHING
        ranked = (values >= SOON_VALUE).nonzero()[0]
        ranked = ranked[np.argsort(-values[ranked], kind="stable")]
        count = int(np.count_nonzero(values[ranked] >= 1))
        ripe, soon = ranked[:count], ranked[count:]
        if effort.deadlines:
            pressing = self._pressing(wishes, stakes)
            held = wishes.sources[(values >= 1) & ~pressing][:MOST_CANDIDATES]
            ripe, soon = ripe[pressing[ripe]], soon[:0]
        ripe = ripe[:MOST_CANDIDATES]
        due, first = merge(wishes.sources[ripe], self._canvas)
        self._whole = effort.full and self._fills(due)
        if self._whole:
            count = len(self.tiles)
            self._due = self.tiles
            return Candidates(self.tiles, np.full(count, np.inf), np.full(count, WHOLE, np.int32), audited)
        self._due = np.concatenate([due, held])
        soon = _fillers(soon, wishes, due)
        fillers, lead = merge(wishes.sources[soon], self._canvas)
        chosen = np.concatenate([ripe[first], soon[lead]])
        reasons = wishes.reasons[chosen]
        reasons[len(due) :] = EARLY
        return Candidates(np.concatenate([due, fillers]), values[chosen], reasons, audited)

    def settle(self, frame: int, looks: Looks) -> None:
        """Note which of the candidates for frame number `frame` got their look."""
        wishes = self._wishes
        if wishes is None:
            return
        inside = lie_in(_float(np.concatenate([self._due, wishes.sources])), _float(looks.sources))
        looked = inside[len(self._due) :]
        self.waiting = int(np.count_nonzero(~inside[: len(self._due)]))
        if self._whole and not self.waiting:
            looked[:] = True  # what lies on a seam of the tiles is seen in both, and stitched
        self.waiting_frames = int(wishes.ages[(wishes.values >= 1) & ~looked].max(initial=0))
        self._memory.note(frame, looked[len(looked) - wishes.spots :], ~self._entering(wishes.seen))

    def follow(self, instances: Instances, tracks: Tracks) -> None:
        """Note the objects that their crop cut and that no track knows: they get a wider crop in the next frame."""
        self._cut = NOTHING
        if instances.whole.all():
            return
        unknown = instances.boxes[~instances.whole]
        unknown = unknown[_covered(unknown, tracks.boxes) < KNOWN][:MOST_SPOTS]
        if len(unknown):
            sides = (unknown[:, 2:] - unknown[:, :2]).max(axis=1)
            joined = _with_neighbour(unknown, tracks.boxes, self._pad_px / 2)
            self._cut = padded(joined, self._pad_px + sides / 2, self._size)

    def _wish(
        self,
        frame: int,
        regions: Regions,
        expected: Tracks,
        shift: npt.NDArray[np.float32],
        audited: npt.NDArray[np.int32],
        stakes: Stakes | None,
    ) -> _Wishes:
        seen = tiles(regions.boxes, self._canvas)[:MOST_SPOTS]
        spots = np.concatenate([seen, self._cut])
        boxes, track_values, track_ages, why = self._tracked(expected, stakes)
        self._memory.see(_float(spots), shift)
        spot_values, spot_ages, new = self._memory.values(frame, self._rules.retry_frames)
        entered = self._memory.unseen() & ~new & ~self._entering(spots)
        spot_values[entered] += NEW_SPOT_VALUE  # looks while the border cut it could make no object of it
        if stakes is not None and stakes.away_px is not None and new.any():
            spot_values[new] += URGENT_VALUE * np.maximum(1 - stakes.away_px(_float(spots[new])) / URGENT_PX, 0)
        spot_reasons = np.where(new, NEW, SPOT)
        spot_reasons[len(seen) :] = CUT
        sources = np.concatenate([boxes, spots])
        values = np.concatenate([track_values, spot_values])
        if len(audited):
            values[lie_in(_float(sources), _float(audited))] = 0.0  # they are seen there
        reasons = np.concatenate([why, spot_reasons]).astype(np.int32)
        return _Wishes(sources, values, np.concatenate([track_ages, spot_ages]), reasons, len(spots))

    def _tracked(
        self, tracks: Tracks, stakes: Stakes | None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return each track's crop, what a look is worth, for how many frames it is due, and the reason."""
        pad = self._pad_px + np.minimum(WIDEN_PX * tracks.since_look, self._pad_px)
        boxes = padded(tracks.boxes, pad.astype(np.float32), self._size)
        early = tracks.looks < self._rules.inspect_looks
        why = np.where(early, YOUNG, REFRESH)
        if stakes is not None and stakes.doubtful.any():
            doubt = stakes.doubtful & ~early & (tracks.looks < DOUBT_LOOKS * self._rules.inspect_looks)
            why[doubt] = DOUBT
            early |= doubt
        refresh = self._rules.refresh_frames
        interval = np.where(early, min(EARLY_INTERVAL, refresh), refresh)
        value = tracks.since_look / interval + ((tracks.ids == 0) & early)
        if stakes is not None:  # what is due and will soon be judged comes first
            due = (early & (value >= 1)).nonzero()[0]
            value[due] += URGENT_VALUE * np.maximum(1 - stakes.deadlines[due] / URGENT_FRAMES, 0)
        x0, y0, x1, y1 = boxes.T
        inside = (x1 > x0) & (y1 > y0)
        if self._waits:  # what the border cuts would be measured wrongly
            inside &= ~touches_border(tracks.boxes, self._size)
        return boxes, np.where(inside, value, 0.0), np.maximum(tracks.since_look - interval, 0), why

    def _entering(self, spots: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return (n,) the `spots` (n, 4) that the border still cuts where no look can make objects of these."""
        if not self._waits:
            return np.zeros(len(spots), np.bool_)
        return touches_border(_float(spots), self._size)

    def _pressing(self, wishes: _Wishes, stakes: Stakes | None) -> npt.NDArray[np.bool_]:
        """Return (n,) what cannot wait: unseen spots, cut objects, tracks with too few looks on their way to a line."""
        tracks = len(wishes.sources) - wishes.spots
        young = (wishes.reasons[:tracks] == YOUNG) | (wishes.reasons[:tracks] == DOUBT)
        spots = (wishes.reasons[tracks:] == CUT) | (self._memory.unseen() & ~self._entering(wishes.seen))
        return np.concatenate([young if stakes is None else young & np.isfinite(stakes.deadlines), spots])

    def _fills(self, due: npt.NDArray[np.int32]) -> bool:
        """Tell whether the crops `due` (n, 4) would take as many canvases as the whole frame does."""
        if not len(due) or len(self.tiles) > self._rules.canvases:
            return False
        room = room_of(np.asarray([self._canvas]))[0]
        sizes = np.minimum(due[:, 2:] - due[:, :2], self._canvas)
        return bool(room_of(sizes).sum() > FILL * room * (len(self.tiles) - 1))


def _fillers(soon: npt.NDArray[np.int64], wishes: _Wishes, due: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return those of the rows `soon` that are tracks and not in one of the crops `due` (m, 4)."""
    soon = soon[soon < len(wishes.sources) - wishes.spots][:MOST_CANDIDATES]
    if not len(due):
        return soon[:0]
    return soon[~lie_in(_float(wishes.sources[soon]), _float(due))]


def _with_neighbour(boxes: Boxes, tracks: Boxes, reach_px: float) -> Boxes:
    """Return each of `boxes` (n, 4) joined with the one of `tracks` (m, 4) that it touches most, where there is one.

    What is cut beside a track may be the rest of its object: one that was first seen when the border cut it has grown.
    """
    if not len(tracks):
        return boxes
    reach = np.asarray([-reach_px, -reach_px, reach_px, reach_px], np.float32)
    common = common_of(boxes + reach, tracks)
    nearest, touches = tracks[common.argmax(axis=1)], common.max(axis=1) > 0
    joined = np.concatenate(
        [np.minimum(boxes[:, :2], nearest[:, :2]), np.maximum(boxes[:, 2:], nearest[:, 2:])], axis=1
    )
    return np.where(touches[:, None], joined, boxes)


def _float(boxes: npt.NDArray[np.int32]) -> Boxes:
    return boxes.astype(np.float32)


def _covered(boxes: Boxes, by: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) the largest share of each box (n, 4) that lies in one of the boxes `by` (m, 4)."""
    return np.asarray(common_of(boxes, by).max(axis=1, initial=0.0) / np.maximum(areas_of(boxes), 1.0), np.float32)
