"""Instances -> tracks: the same object in one frame and the next, with ids that are never reused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge.boxes import lie_in, touches_border
from edge.config import Point, TrackRules
from edge.decide.association import NO_PAIRS, Pairs, associate
from edge.decide.encoder import Encoder
from edge.decide.kalman import BLOB_NOISE, LOOK_NOISE, later, measured
from edge.decide.meetings import Meetings, claimed
from edge.decide.motion import BeltMotion, FreeMotion, Motion, common_drift
from edge.decide.rows import all_but, new_rows, points_of
from edge.decide.stretch import Stretch
from edge.decide.support import blob_offsets, support
from edge.events import Event
from edge.types import Frame, Image, Instances, Looks, Tracks

SUPPORT = 0.2  # share of a track's box that must be foreground for the labels to support it
SUPPORTED_PATIENCE = 3  # times `lost_frames` that a track lives on support against what a look has shown
TENTATIVE_FRAMES = 10  # frames within which a new track must be confirmed
MOST_MISSES = 3  # looks in a row without the part that was there, after which there is none
TENTATIVE_MISSES = 1  # the same of a free object that is not confirmed yet
MOST_TRACKS = 1000  # bounded state: what would exceed it is not tracked
DAMPING = 0.97  # of a free track's velocity, per frame in which nothing shows where it is: people stop, and turn
NO_SHIFT = np.zeros(2, np.float32)

Some: TypeAlias = npt.NDArray[np.int64] | slice  # rows: these, or all


class Tracker:
    """Follows the objects of one camera.

    `new_id` gives the next id. State is bounded, and dies with its track.
    """

    def __init__(
        self,
        rules: TrackRules,
        classes: list[int],
        known: int,
        size: tuple[int, int],
        new_id: Callable[[], int],
        px_per_tick: Point | None = None,
    ) -> None:
        """`classes` are tracked of `known` instance classes; `size` is the frame's width and height.

        `px_per_tick` is how far the belt moves with a tick of its encoder, where it has one.
        """
        self._rules = rules
        self._rigid = rules.motion == "belt"
        self._wanted = np.isin(np.arange(known), classes)
        self._size = size
        self._far = np.asarray(size, np.float32)[:, None]
        self._new_id = new_id
        self._next_key = 1
        self._now = 0  # frames so far
        self._found: Image = np.zeros((1, 1), np.uint8)  # the foreground of this frame, and its scale
        self._scale = (1.0, 1.0)
        self._stretch = Stretch(size[1])
        self._encoder = None if px_per_tick is None else Encoder(px_per_tick, size)
        self.reset()

    def reset(self) -> None:
        """Forget every track: after a time without sight, what is there now need not be what was."""
        self._rows = new_rows(0, len(self._wanted))
        self._expected = self._rows.tracks(self._rows.supported)
        self._meetings = Meetings()
        if self._encoder is not None:
            self._encoder.reset()
        self._motion: Motion = BeltMotion(self._encoder) if self._rigid else FreeMotion()
        self.shift = NO_SHIFT  # frame pixels (2,), of all things together, since the frame before

    def predict(self, found: Image, scale: tuple[float, float], frames: int, ticks: float | None = None) -> Tracks:
        """Move every track by `frames` frames and return where it is expected.

        That holds until `update`. `found` (h, w) uint8 is the foreground of this frame, `scale` frame pixels per label
        pixel, `ticks` what the belt's encoder says.
        """
        rows = self._rows = self._rows.copy()
        self._now += frames
        self._found, self._scale = found, scale
        shift = self._motion.step(found, scale, frames, ticks)
        if shift is None:
            self._drift(frames)
        else:
            self.shift = shift
            rows.velocities[:] = (shift / np.float32(frames))[:, None] * self._stretch.of(rows.points[2, 1])
            rows.points += rows.velocities * frames
        rows.since_look += frames
        rows.instances[:] = -1
        rows.supported[:] = support(found, scale, rows.boxes) >= SUPPORT
        rows.shown |= rows.supported
        rows.supported_in[rows.supported] = self._now
        self._expected = self._tracks()
        return self._expected

    def update(self, instances: Instances, looks: Looks) -> tuple[Tracks, list[int]]:
        """Join `instances` found in `looks` to tracks; return all tracks and the keys of those that ended."""
        self._join(instances, looks)
        self._follow()
        self._confirm()
        ended = self._end()
        return self._tracks(), ended

    def told(self, frame: Frame) -> list[Event]:
        """Return what is to be told of `frame`: who has met, and whether the encoder is believed."""
        return [*self._meetings.told(frame, self._rows), *(self._encoder.told(frame) if self._encoder else [])]

    @property
    def fault(self) -> str | None:
        """Return why the encoder is not believed; empty: it is; None: there is none."""
        return None if self._encoder is None else self._encoder.fault

    @property
    def ticks(self) -> float | None:
        """Return what the encoder says, where it is believed."""
        return None if self._encoder is None else self._encoder.ticks

    def _drift(self, frames: int) -> None:
        """Move each track by itself; those that nothing showed in the frame before slow down."""
        rows = self._rows
        rows.points += rows.astray + rows.velocities * frames
        rows.astray[:] = 0
        rows.covariances[:] = later(rows.covariances, frames)
        rows.followed[:] = False

    def _follow(self) -> None:
        """Correct tracks that got no look by blobs that they alone stand on; those that have none slow down."""
        rows = self._rows
        unseen = rows.since_look > 0
        if self._rigid or not unseen.any():
            return
        offsets, known = blob_offsets(self._found, self._scale, rows.boxes)
        rows.followed[:] = known & unseen
        at = rows.followed.nonzero()[0]
        if len(at):
            gains, rows.covariances[:, at] = measured(rows.covariances[:, at], BLOB_NOISE)
            rows.points[:, :, at] += gains[0] * offsets[:, at]
            rows.velocities[:, at] += gains[1] * offsets[:, at]
        rows.velocities[:, unseen & ~known] *= np.float32(DAMPING)

    def _join(self, instances: Instances, looks: Looks) -> None:
        """Continue tracks by the instances that show them, and begin one with each that is left."""
        if not len(instances):
            self._miss(NO_PAIRS, looks)
            return
        rows, usable = self._rows, self._usable(instances)
        least = self._rules.min_score
        pairs = associate(
            self._expected,
            instances,
            usable.nonzero()[0],
            rigid=self._rigid,
            least_score=least,
            in_sight=rows.missed == 0,
            also=self._meetings.alone(rows),
        )
        left = usable & (instances.scores >= least)
        left[pairs[:, 1]] = False
        pairs = claimed(rows, instances, pairs, left)
        left[pairs[:, 1]] = False
        unseen = self._miss(pairs, looks)
        self._meetings.see(rows, instances, pairs, unseen, left, self._now)
        self._measure(pairs, instances)
        self._begin(left, instances)

    def _usable(self, instances: Instances) -> npt.NDArray[np.bool_]:
        usable = instances.whole & self._wanted[instances.classes] & np.isfinite(instances.boxes).all(axis=1)
        usable &= instances.areas_px >= self._rules.min_area_px
        if self._rules.at_border == "wait":
            usable &= ~touches_border(instances.boxes, self._size)
        return np.asarray(usable)

    def _miss(self, pairs: Pairs, looks: Looks) -> npt.NDArray[np.bool_]:
        """Count looks that cover a track and do not show it; return (n,) of which tracks there is one now."""
        rows = self._rows
        unseen = np.zeros(len(rows), np.bool_)
        if len(pairs) < len(rows) and len(looks):
            others = all_but(pairs[:, 0], len(rows))
            unseen[others] = lie_in(rows.boxes[others], looks.sources.astype(np.float32))
            rows.missed += unseen
        rows.missed[pairs[:, 0]] = 0
        return unseen

    def _measure(self, pairs: Pairs, instances: Instances) -> None:
        """Put the tracks where the looks show them, and learn from how far off they were."""
        if not len(pairs):
            return
        rows, (one_by_one, found) = self._rows, pairs.T
        at = slice(None) if len(pairs) == len(rows) else one_by_one  # a view takes a fifth of the time
        shown = points_of(instances, found)
        off = shown - rows.points[:, :, at]
        if self._meetings.jumped:  # that they are two, or one again, says nothing of how they move
            off[:, :, np.isin(one_by_one, self._meetings.jumped)] = 0
        if self._rigid:
            self._learn_stretch(at, shown[2, 1], off[2])
            self._correct(at, off[2])
        else:
            self._learn_velocity(at, off)
        rows.points[:, :, at] = shown
        rows.votes[instances.classes[found], one_by_one] += 1
        rows.classes[at] = rows.votes[:, at].argmax(axis=0)
        rows.looks[at] += 1
        rows.since_look[at] = 0
        rows.instances[at] = found
        rows.supported_in[at] = self._now
        for row, i in pairs.tolist():
            rows.masks[row] = instances.masks[i]

    def _learn_velocity(self, at: Some, off: npt.NDArray[np.float32]) -> None:
        """Learn how fast each of the rows `at` (n,) goes, and by how much a look errs, from `off` (3, 2, n)."""
        rows = self._rows
        gains, rows.covariances[:, at] = measured(rows.covariances[:, at], LOOK_NOISE)
        rows.velocities[:, at] += gains[1] * off[2]
        rows.astray[:, :, at] = (gains[0] - 1) * off

    def _learn_stretch(self, at: Some, heights: npt.NDArray[np.float32], off: npt.NDArray[np.float32]) -> None:
        """Learn from looks how much faster than the whole things move at their heights: the camera's perspective."""
        rows = self._rows
        self._stretch.learn(heights, rows.velocities[:, at] * rows.since_look[at], off + rows.corrected[:, at])

    def _correct(self, at: Some, off: npt.NDArray[np.float32]) -> None:
        """Let what looks at rows `at` (n,) show of the belt's motion since it was last known correct the others."""
        rows = self._rows
        if not isinstance(at, slice):
            others = all_but(at, len(rows))
            drift = common_drift(off, self._now - rows.known_in[at], self._now - rows.known_in[others])
            rows.corrected[:, others] += drift
            rows.points[:, :, others] += drift
        rows.corrected[:, at] = 0
        rows.known_in[:] = self._now

    def _begin(self, new: npt.NDArray[np.bool_], instances: Instances) -> None:
        """Begin a track with each of the instances `new` (n,)."""
        found = new.nonzero()[0][: MOST_TRACKS - len(self._rows)]
        if not len(found):
            return
        count = len(found)
        rows = new_rows(count, len(self._wanted), self._now)
        rows.keys[:] = np.arange(self._next_key, self._next_key + count)
        self._next_key += count
        rows.points[:] = points_of(instances, found)
        rows.votes[instances.classes[found], np.arange(count)] = 1
        rows.classes[:], rows.instances[:] = instances.classes[found], found
        rows.looks[:], rows.supported[:] = 1, True
        rows.masks = [instances.masks[i] for i in found.tolist()]
        if self._rigid and len(self._rows):
            rows.velocities[:] = self._rows.velocities[:, :1]
        self._meetings.begun(rows.keys, found)
        self._rows = self._rows.and_those_of(rows)

    def _confirm(self) -> None:
        rows = self._rows
        if rows.ids.all():
            return
        sure = (rows.ids == 0) & (rows.looks >= self._rules.confirm_looks)
        if self._rules.need_support:
            sure &= rows.shown
        at = sure.nonzero()[0]
        if len(at):
            rows.ids[at] = [self._new_id() for _ in at]

    def _end(self) -> list[int]:
        """Forget tracks that left the frame or that nothing shows any more; return their keys."""
        rows = self._rows
        if not len(rows):
            return []
        inside = (rows.points[2] >= 0) & (rows.points[2] < self._far)
        ended = ~(inside[0] & inside[1])
        patience = self._rules.lost_frames
        if rows.since_look.max() > min(patience, TENTATIVE_FRAMES):
            refuted = rows.missed > 0  # others that the labels show only wait for a look, however long that takes
            young = (rows.looks < self._rules.confirm_looks) & (rows.since_look > TENTATIVE_FRAMES)
            unseen = self._now - rows.supported_in > patience
            if not self._rigid:
                unseen |= refuted & (rows.since_look > SUPPORTED_PATIENCE * patience)
            unseen &= ~np.isin(rows.keys, self._meetings.others)
            ended |= (young & (refuted | ~rows.supported)) | (unseen & (rows.since_look > patience))
        if self._rigid:  # a part on a belt cannot hide: what looks do not show was never there
            ended |= rows.missed >= MOST_MISSES
        else:
            ended |= (rows.missed >= TENTATIVE_MISSES) & (rows.looks < self._rules.confirm_looks)
        keys: list[int] = rows.keys[ended].tolist()
        if keys:
            self._rows = rows.only(~ended)
            self._meetings.forget(keys)
        return keys

    def _tracks(self) -> Tracks:
        """Return the tracks as they are; no later frame changes them."""
        return self._rows.tracks(carried=self._rows.supported if self._rigid else self._rows.followed)
