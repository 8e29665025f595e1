"""Instances -> tracks: the same object in one frame and the next, with ids that are never reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import lap
import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, lie_in, overlaps, touches_border
from edge.config import TrackRules
from edge.decide.motion import BeltMotion, FreeMotion, Motion
from edge.decide.support import blob_offsets, support
from edge.types import Boxes, Image, Instances, Looks, Tracks

SUPPORT = 0.2  # share of a track's box that must be foreground for the labels to support it
SUPPORTED_PATIENCE = 3  # times `lost_frames` that a track lives on support alone
TENTATIVE_FRAMES = 10  # frames within which a new track must be confirmed
LARGEST_COST = 0.9  # association cost above which a pair is never made
RIGID_REACH = 0.45  # sizes of the smaller object within which an instance is the same part on a belt
OTHER_CLASS_COST = 0.15
REACH_GROWTH = 0.05  # by which a track's reach grows with every frame without a look
LOST_COST = 0.005  # per frame without a look: who was seen last is matched first
STRIPS = 8  # of the frame's height, each with a perspective of its own
STRETCH_GAIN = 0.05  # weight of one look in it
MOST_STRETCH = 0.2
LEAST_MOVE_PX = 40.0  # frame pixels that a part must have moved between two looks to tell
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
        self._stretch = np.zeros(STRIPS, np.float32)  # by which motion differs from the common shift, per strip
        self.shift = np.zeros(2, np.float32)  # frame pixels, of all things together, since the frame before

    def predict(self, found: Image, scale: tuple[float, float], frames: int) -> Tracks:
        """Move every track by `frames` frames and return where it is expected.

        `found` (h, w) uint8 is the foreground of this frame, `scale` frame pixels per label pixel.
        """
        state = self._state
        shift = self._motion.step(found, scale, frames)
        self.shift = np.zeros(2, np.float32) if shift is None else shift
        if shift is not None:
            state.velocities[:] = shift / frames * (1 + self._stretch[self._rows_of(state.centers)])[:, None]
        self._move(state.velocities * frames)
        if shift is None:
            self._follow_blobs(found, scale, frames)
        state.since_look += frames
        state.age += frames
        state.instances[:] = -1
        self._supported = support(found, scale, state.boxes) >= SUPPORT
        state.shown |= self._supported
        state.unsupported = np.where(self._supported, 0, state.unsupported + frames).astype(np.int32)
        return self._tracks()

    def _follow_blobs(self, found: Image, scale: tuple[float, float], frames: int) -> None:
        """Correct tracks by the blobs that they alone stand on; the others slow down."""
        state = self._state
        offsets, self._followed = blob_offsets(found, scale, state.boxes)
        state.velocities += VELOCITY_GAIN / frames * offsets
        state.velocities[~self._followed & (state.since_look > 0)] *= DAMPING
        self._move(BLOB_GAIN * offsets)

    def _move(self, by: npt.NDArray[np.float32]) -> None:
        self._state.centers += by
        self._state.boxes += np.tile(by, 2)

    def reset(self) -> None:
        """Forget every track: after a time without sight, what is there now need not be what was."""
        self._state.keep(np.zeros(len(self._state.keys), np.bool_))
        self._masks, self._supported, self._followed = [], np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self._motion = _motion(self._rules)

    def update(self, instances: Instances, looks: Looks) -> tuple[Tracks, list[int]]:
        """Join `instances` found in `looks` to tracks; return all tracks and the keys of those that ended."""
        self._state.missed += lie_in(self._state.boxes, looks.sources.astype(np.float32))
        usable = np.flatnonzero(self._usable(instances))
        pairs = associate(self._tracks(), instances, usable, rigid=self._rules.motion == "belt")
        for row, instance in pairs:
            self._measure(row, instance, instances)
        taken = {instance for _, instance in pairs}
        self._begin([int(i) for i in usable if int(i) not in taken], instances)
        self._confirm()
        ended = self._end()
        return self._tracks(), ended

    def _usable(self, instances: Instances) -> npt.NDArray[np.bool_]:
        usable = instances.whole & self._wanted[instances.classes] & np.isfinite(instances.boxes).all(axis=1)
        usable &= instances.areas_px >= self._rules.min_area_px
        if self._rules.at_border == "wait":
            usable &= ~touches_border(instances.boxes, self._size)
        return np.asarray(usable)

    def _measure(self, row: int, i: int, instances: Instances) -> None:
        state = self._state
        if self._rules.motion == "belt":
            self._learn_stretch(row, instances.centers[i])
        else:
            elapsed = max(1, int(state.since_look[row]))
            drift = (instances.centers[i] - state.centers[row]) / elapsed
            gain = 1.0 if state.looks[row] == 1 else VELOCITY_GAIN
            state.velocities[row] += gain * drift
        state.boxes[row], state.centers[row] = instances.boxes[i], instances.centers[i]
        state.votes[row, instances.classes[i]] += 1
        state.looks[row] += 1
        state.since_look[row] = state.unsupported[row] = state.missed[row] = 0
        state.instances[row] = i
        self._masks[row] = instances.masks[i]

    def _learn_stretch(self, row: int, center: npt.NDArray[np.float32]) -> None:
        """Learn from a look how much faster than the whole things move at this height: the camera's perspective."""
        state = self._state
        moved = state.velocities[row] * state.since_look[row]
        length = float(moved @ moved)
        if length < LEAST_MOVE_PX**2:
            return
        error = float((center - state.centers[row]) @ moved) / length
        here = self._rows_of(center[None])[0]
        self._stretch[here] = np.clip(self._stretch[here] + STRETCH_GAIN * error, -MOST_STRETCH, MOST_STRETCH)

    def _rows_of(self, centers: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return (n,) the strip of the frame's height that each centre lies in."""
        share = centers[:, 1] / self._size[1] * STRIPS
        return np.clip(share, 0, STRIPS - 1).astype(np.int64)

    def _begin(self, rows: list[int], instances: Instances) -> None:
        rows = [i for i in rows if instances.scores[i] >= self._rules.min_score]
        rows = rows[: MOST_TRACKS - len(self._masks)]
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
        sure = (state.looks >= self._rules.confirm_looks) & (state.shown | (not self._rules.need_support))
        for row in np.flatnonzero(sure & (state.ids == 0)):
            state.ids[row] = self._new_id()

    def _end(self) -> list[int]:
        """Forget tracks that left the frame or that nothing shows any more; return their keys."""
        state = self._state
        width, height = self._size
        outside = (state.centers < 0).any(axis=1) | (state.centers >= (width, height)).any(axis=1)
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

    def _tracks(self) -> Tracks:
        """Return a snapshot that later frames do not change."""
        s = self._state
        return Tracks(
            s.keys.copy(),
            s.ids.copy(),
            s.boxes.copy(),
            self._classes(),
            s.centers.copy(),
            s.velocities.copy(),
            s.looks.copy(),
            s.since_look.copy(),
            self._supported.copy(),
            s.instances.copy(),
            self._located(),
            list(self._masks),
        )


def associate(
    tracks: Tracks, instances: Instances, usable: npt.NDArray[np.int64], *, rigid: bool
) -> list[tuple[int, int]]:
    """Return (track, instance) pairs of least total cost (Jonker and Volgenant 1987, by `lap`).

    The cost is the distance of the centres in units of the smaller object; where things do not move rigidly together,
    1 - IoU if that is less. Another class costs more, and so does time without a look.
    """
    if not len(tracks) or not len(usable):
        return []
    boxes, waited = instances.boxes[usable], tracks.since_look[:, None]
    sizes = np.sqrt(np.minimum(areas_of(tracks.boxes)[:, None], areas_of(boxes)[None, :]))
    gaps = np.linalg.norm(tracks.centers[:, None] - instances.centers[usable][None, :], axis=2) / np.maximum(sizes, 1.0)
    if rigid:
        cost, limit = gaps, RIGID_REACH
    else:
        gaps = gaps / (1 + REACH_GROWTH * waited)
        cost, limit = np.minimum(1.0 - overlaps(tracks.boxes, boxes), 0.3 + gaps), LARGEST_COST
        cost = cost + LOST_COST * np.minimum(waited, 20)
    cost = cost + OTHER_CLASS_COST * (tracks.classes[:, None] != instances.classes[usable][None, :])
    _, columns, _ = lap.lapjv(cost.astype(np.float64), extend_cost=True, cost_limit=limit)
    return [(row, int(usable[column])) for row, column in enumerate(columns.tolist()) if column >= 0]


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
        missed=np.zeros(count, np.int32),
        age=np.zeros(count, np.int32),
        instances=np.full(count, -1, np.int32),
        shown=np.zeros(count, np.bool_),
    )
