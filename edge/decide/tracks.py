"""Instances -> tracks: the same object in one frame and the next, with ids that are never reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from edge.boxes import lie_in, touches_border
from edge.config import TrackRules
from edge.decide.association import Pairs, associate
from edge.decide.motion import BeltMotion, FreeMotion, Motion, common_drift
from edge.decide.stretch import Stretch
from edge.decide.support import blob_offsets, support
from edge.types import Boxes, Image, Instances, Looks, Tracks

SUPPORT = 0.2  # share of a track's box that must be foreground for the labels to support it
SUPPORTED_PATIENCE = 3  # times `lost_frames` that a track lives on support alone
TENTATIVE_FRAMES = 10  # frames within which a new track must be confirmed
MOST_MISSES = 3  # looks in a row without the part that was there, after which there is none
MOST_TRACKS = 1000  # bounded state: what would exceed it is not tracked
VELOCITY_GAIN = 0.25  # weight of a new velocity measurement of a free track
BLOB_GAIN = 0.5  # weight of where the labels show a free track: they are coarse
DAMPING = 0.97  # of a free track's velocity, per frame in which nothing shows where it is: people stop, and turn


@dataclass(slots=True)
class _State:
    """Every track as a row of arrays of equal length."""

    keys: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    boxes: Boxes
    centers: npt.NDArray[np.float32]
    velocities: npt.NDArray[np.float32]
    votes: npt.NDArray[np.int32]  # (n, classes) looks that gave it each class
    looks: npt.NDArray[np.int32]
    since_look: npt.NDArray[np.int32]
    unsupported: npt.NDArray[np.int32]  # frames in a row
    unknown: npt.NDArray[np.int32]  # frames in a row in which no look showed how the belt moves
    corrected: npt.NDArray[np.float32]  # (n, 2) frame pixels by which other parts' looks moved it since its own
    missed: npt.NDArray[np.int32]  # looks in a row that covered it and did not show it
    age: npt.NDArray[np.int32]
    instances: npt.NDArray[np.int32]
    shown: npt.NDArray[np.bool_]  # the labels have supported it at least once

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Forget every row that is not in `rows`."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def append(self, other: _State) -> None:
        """Add the rows of `other`."""
        for field in fields(self):
            setattr(self, field.name, np.concatenate([getattr(self, field.name), getattr(other, field.name)]))


class Tracker:
    """Follows the objects of one camera.

    `new_id` gives the next id. State is bounded, and dies with its track.
    """

    def __init__(
        self, rules: TrackRules, classes: list[int], known: int, size: tuple[int, int], new_id: Callable[[], int]
    ) -> None:
        """`classes` are tracked of `known` instance classes; `size` is the frame's width and height."""
        self._rules = rules
        self._wanted = np.isin(np.arange(known), classes)
        self._size = size
        self._new_id = new_id
        self._motion = _motion(rules)
        self._state = _rows(0, known)
        self._masks: list[npt.NDArray[np.bool_]] = []
        self._next_key = 1
        self._supported = np.zeros(0, np.bool_)
        self._followed = np.zeros(0, np.bool_)  # a blob of the labels says where it is
        self._stretch = Stretch(size[1])
        self.shift = np.zeros(2, np.float32)  # frame pixels, of all things together, since the frame before

    def predict(self, found: Image, scale: tuple[float, float], frames: int) -> Tracks:
        """Move every track by `frames` frames and return where it is expected.

        `found` (h, w) uint8 is the foreground of this frame, `scale` frame pixels per label pixel.
        """
        state = self._state
        shift = self._motion.step(found, scale, frames)
        self.shift = np.zeros(2, np.float32) if shift is None else shift
        if shift is not None:
            state.velocities[:] = shift / frames * self._stretch.of(state.centers)[:, None]
        self._move(state.velocities * frames)
        if shift is None:
            self._follow_blobs(found, scale, frames)
        state.since_look += frames
        state.unknown += frames
        state.age += frames
        state.instances[:] = -1
        self._supported = support(found, scale, state.boxes) >= SUPPORT
        state.shown |= self._supported
        state.unsupported += frames
        state.unsupported[self._supported] = 0
        return self._tracks()

    def _follow_blobs(self, found: Image, scale: tuple[float, float], frames: int) -> None:
        """Correct tracks by the blobs that they alone stand on; the others slow down."""
        state = self._state
        offsets, self._followed = blob_offsets(found, scale, state.boxes)
        state.velocities += VELOCITY_GAIN / frames * offsets
        state.velocities[~self._followed & (state.since_look > 0)] *= DAMPING
        self._move(BLOB_GAIN * offsets)

    def _move(self, by: npt.NDArray[np.float32]) -> None:
        state = self._state
        state.centers += by
        state.boxes[:, :2] += by
        state.boxes[:, 2:] += by

    def reset(self) -> None:
        """Forget every track: after a time without sight, what is there now need not be what was."""
        self._state.keep(np.zeros(len(self._state.keys), np.bool_))
        self._masks, self._supported, self._followed = [], np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self._motion = _motion(self._rules)

    def update(self, instances: Instances, looks: Looks) -> tuple[Tracks, list[int]]:
        """Join `instances` found in `looks` to tracks; return all tracks and the keys of those that ended."""
        self._state.missed += lie_in(self._state.boxes, looks.sources.astype(np.float32))
        if len(instances):
            usable = np.flatnonzero(self._usable(instances))
            pairs = associate(self._now(), instances, usable, rigid=self._rules.motion == "belt")
            self._measure(pairs, instances)
            taken = {instance for _, instance in pairs}
            self._begin([i for i in usable.tolist() if i not in taken], instances)
        self._confirm()
        ended = self._end()
        return self._tracks(), ended

    def _usable(self, instances: Instances) -> npt.NDArray[np.bool_]:
        usable = instances.whole & self._wanted[instances.classes] & np.isfinite(instances.boxes).all(axis=1)
        usable &= instances.areas_px >= self._rules.min_area_px
        if self._rules.at_border == "wait":
            usable &= ~touches_border(instances.boxes, self._size)
        return np.asarray(usable)

    def _measure(self, pairs: Pairs, instances: Instances) -> None:
        if not pairs:
            return
        state = self._state
        rows, found = np.asarray(pairs).T
        boxes, centers = instances.boxes[found], instances.centers[found]
        if self._rules.motion == "belt":
            self._learn_stretch(rows, centers)
            self._correct(rows, centers)
        else:
            self._learn_velocity(rows, centers)
        state.boxes[rows], state.centers[rows] = boxes, centers
        state.votes[rows, instances.classes[found]] += 1
        state.looks[rows] += 1
        state.since_look[rows] = state.unsupported[rows] = state.missed[rows] = 0
        state.corrected[rows] = 0
        state.instances[rows] = found
        for row, i in pairs:
            self._masks[row] = instances.masks[i]

    def _learn_velocity(self, rows: npt.NDArray[np.int64], centers: npt.NDArray[np.float32]) -> None:
        """Learn from looks at `rows` (n,) how fast each goes; `centers` (n, 2) are where they are now."""
        state = self._state
        elapsed = np.maximum(1, state.since_look[rows]).astype(np.float32)[:, None]
        gain = np.where(state.looks[rows] == 1, 1.0, VELOCITY_GAIN).astype(np.float32)[:, None]
        state.velocities[rows] += gain * ((centers - state.centers[rows]) / elapsed)

    def _learn_stretch(self, rows: npt.NDArray[np.int64], centers: npt.NDArray[np.float32]) -> None:
        """Learn from looks how much faster than the whole things move at their height: the camera's perspective."""
        state = self._state
        moved = state.velocities[rows] * state.since_look[rows][:, None]
        self._stretch.learn(centers, moved, centers - state.centers[rows] + state.corrected[rows])

    def _correct(self, rows: npt.NDArray[np.int64], centers: npt.NDArray[np.float32]) -> None:
        """Let what looks at `rows` (n,) show of the belt's motion since it was last known correct all other parts."""
        state = self._state
        others = np.ones(len(state.keys), np.bool_)
        others[rows] = False
        drift = common_drift(centers - state.centers[rows], state.unknown[rows], state.unknown[others])
        state.centers[others] += drift
        state.boxes[others, :2] += drift
        state.boxes[others, 2:] += drift
        state.corrected[others] += drift
        state.unknown[:] = 0

    def _begin(self, rows: list[int], instances: Instances) -> None:
        rows = [i for i in rows if instances.scores[i] >= self._rules.min_score]
        rows = rows[: MOST_TRACKS - len(self._masks)]
        if not rows:
            return
        new = _rows(len(rows), len(self._wanted))
        new.keys[:] = np.arange(self._next_key, self._next_key + len(rows))
        new.boxes[:], new.centers[:] = instances.boxes[rows], instances.centers[rows]
        new.votes[np.arange(len(rows)), instances.classes[rows]] = 1
        new.looks[:], new.instances[:] = 1, rows
        if self._rules.motion == "belt" and len(self._state.keys):
            new.velocities[:] = self._state.velocities[0]
        self._next_key += len(rows)
        self._state.append(new)
        self._masks += [instances.masks[i] for i in rows]
        self._supported = np.concatenate([self._supported, np.ones(len(rows), np.bool_)])
        self._followed = np.concatenate([self._followed, np.zeros(len(rows), np.bool_)])

    def _confirm(self) -> None:
        state = self._state
        sure = (state.ids == 0) & (state.looks >= self._rules.confirm_looks)
        if self._rules.need_support:
            sure &= state.shown
        for row in np.flatnonzero(sure).tolist():
            state.ids[row] = self._new_id()

    def _end(self) -> list[int]:
        """Forget tracks that left the frame or that nothing shows any more; return their keys."""
        state = self._state
        width, height = self._size
        x, y = state.centers.T
        outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
        few = state.looks < self._rules.confirm_looks
        unconfirmed = few & (state.age > TENTATIVE_FRAMES) & (state.since_look > TENTATIVE_FRAMES)
        patience = self._rules.lost_frames
        unseen = (state.unsupported > patience) | (state.since_look > SUPPORTED_PATIENCE * patience)
        ended = outside | unconfirmed | (unseen & (state.since_look > patience))
        if self._rules.motion == "belt":  # a part on a belt cannot hide: what looks do not show was never there
            ended |= state.missed >= MOST_MISSES
        keys: list[int] = state.keys[ended].tolist()
        if keys:
            self._masks = [mask for mask, gone in zip(self._masks, ended, strict=True) if not gone]
            self._supported, self._followed = self._supported[~ended], self._followed[~ended]
            state.keep(~ended)
        return keys

    def _located(self) -> npt.NDArray[np.bool_]:
        """Return (n,) whether to decide by a position: it was looked at, or the labels show that it is right."""
        carried = self._supported if self._rules.motion == "belt" else self._followed
        return np.asarray((self._state.since_look == 0) | carried)

    def _classes(self) -> npt.NDArray[np.uint8]:
        return np.asarray(self._state.votes.argmax(axis=1), np.uint8)

    def _now(self) -> Tracks:
        """Return the tracks as they are; later steps change its arrays."""
        s = self._state
        return Tracks(
            s.keys,
            s.ids,
            s.boxes,
            self._classes(),
            s.centers,
            s.velocities,
            s.looks,
            s.since_look,
            self._supported,
            s.instances,
            self._located(),
            self._masks,
        )

    def _tracks(self) -> Tracks:
        """Return a snapshot that later frames do not change."""
        now = self._now()
        return Tracks(*[getattr(now, name).copy() for name in Tracks.__slots__])


def _motion(rules: TrackRules) -> Motion:
    return BeltMotion() if rules.motion == "belt" else FreeMotion()


def _rows(count: int, classes: int) -> _State:
    return _State(
        keys=np.zeros(count, np.int64),
        ids=np.zeros(count, np.int64),
        boxes=np.zeros((count, 4), np.float32),
        centers=np.zeros((count, 2), np.float32),
        velocities=np.zeros((count, 2), np.float32),
        votes=np.zeros((count, classes), np.int32),
        looks=np.zeros(count, np.int32),
        since_look=np.zeros(count, np.int32),
        unsupported=np.zeros(count, np.int32),
        unknown=np.zeros(count, np.int32),
        corrected=np.zeros((count, 2), np.float32),
        missed=np.zeros(count, np.int32),
        age=np.zeros(count, np.int32),
        instances=np.full(count, -1, np.int32),
        shown=np.zeros(count, np.bool_),
    )
