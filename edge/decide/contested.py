"""Crossings of a line that may have happened unseen, or have been counted before: what a count may be off by.

A track that is lost where it would cross, one that appears just beyond the line as if it had crossed, one that crosses
before anybody is sure that it is there: each may be a crossing that was not counted. One that is counted and began
where another that was counted had been lost may be the same object once more. None of them changes a count; all are
told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge.boxes import touches_border
from edge.decide.lines import Crossing, LineWatch
from edge.types import Seen, Tracks

Why = Literal["lost", "appeared", "unconfirmed", "again"]

REMEMBERED = 256  # lost tracks, the newest
PATIENCE = 90  # frames after which nobody takes another object for one that was lost
UNSEEN = 10  # frames that an object may move before it is first looked at
SAME_PLACE = 1.0  # sizes of an object within which one that appears may be one that was lost


@dataclass(frozen=True, slots=True)
class Doubt:
    """One crossing that may have happened, or may have been counted twice."""

    why: Why
    track: int  # id; 0: it never had one
    other: int  # id of the track that may be the same object; 0: none
    label: int  # its class
    direction: str
    position: tuple[float, float]  # x, y of its centre, frame pixels


@dataclass(frozen=True, slots=True)
class _Lost:
    """A track where it was last expected."""

    track: int
    label: int
    center: npt.NDArray[np.float32]  # (2,)
    velocity: npt.NDArray[np.float32]  # (2,) frame pixels per frame
    size: float
    frame: int
    side: int  # of the line, where it was last clearly seen; 0: nowhere
    counted: bool
    told: bool


class Doubts:
    """Watches the tracks round one line for what its counts may be off by."""

    def __init__(self, watch: LineWatch, direction: str) -> None:
        """`watch` is the line's; only crossings in `direction`, or in both, are counted."""
        self._watch = watch
        self._direction = direction
        self._before: Tracks | None = None
        self._newest = 0  # key
        self._origins: dict[int, npt.NDArray[np.float32]] = {}  # key -> box where it was first seen, not at the border
        self._fresh: set[int] = set()  # keys without an id so far
        self._lost: deque[_Lost] = deque(maxlen=REMEMBERED)
        self._counted: set[int] = set()  # keys

    @property
    def inside(self) -> Container[int]:
        """Return the keys of tracks that were not first seen at the frame's border, those counted left out."""
        return self._origins.keys()

    def note(self, seen: Seen, counted: list[Crossing]) -> list[Doubt]:
        """Return what is doubtful in this frame, of which `counted` were counted."""
        doubts = self._ends(seen)
        self._begins(seen)
        doubts += self._confirmed(seen)
        doubts += [doubt for crossing in counted for doubt in self._again(seen, crossing)]
        self._before = seen.tracks
        return doubts

    def reset(self) -> None:
        """Forget all tracks: the camera was blind."""
        self._before = None
        self._origins.clear()
        self._fresh.clear()
        self._lost.clear()
        self._counted.clear()

    def _begins(self, seen: Seen) -> None:
        """Note where new tracks are first seen; who comes in over the border has not crossed anything."""
        tracks = seen.tracks
        new = np.flatnonzero(tracks.keys > self._newest)
        if not len(new):
            return
        self._newest = int(tracks.keys[new].max())
        self._fresh.update(tracks.keys[new].tolist())
        height, width = seen.frame.image.shape[:2]
        inside = new[~touches_border(tracks.boxes[new], (width, height))]
        self._origins.update(zip(tracks.keys[inside].tolist(), tracks.boxes[inside].copy(), strict=True))

    def _confirmed(self, seen: Seen) -> list[Doubt]:
        """Return the tracks that have an id now and were first seen beyond the line, on their way from it."""
        tracks = seen.tracks
        doubts = []
        for row in np.flatnonzero(tracks.ids > 0).tolist() if self._fresh else []:
            key = int(tracks.keys[row])
            if key in self._fresh:
                self._fresh.discard(key)
                doubts += self._appeared(seen, row, key)
        return doubts

    def _appeared(self, seen: Seen, row: int, key: int) -> list[Doubt]:
        """Return the doubt whether a track that begins beyond the line has crossed it before."""
        tracks, origin = seen.tracks, self._origins.get(key)
        if origin is None:
            return []
        center = middle(origin)
        distance, inside = self._watch.place(center)
        speed = self._watch.across(tracks.velocities[row])
        lost = self._lost_at(center, int(tracks.classes[row]), seen.frame.index)
        beyond = speed * distance > 0 or abs(distance) <= self._watch.hysteresis_px
        if not (inside and beyond and self._counts(speed)) or speed * self._watch.side(key) < 0:
            return []  # it has the line before it, or never will
        if lost is not None and lost.told:
            return []
        near = abs(distance) <= self._watch.extent(origin) + UNSEEN * abs(speed)
        crossed = lost is not None and lost.side * distance < 0  # where it is expected, from the other side
        if not near and not crossed:
            return []
        return [self._doubt("appeared", tracks, row, speed, lost.track if lost is not None and crossed else 0)]

    def _ends(self, seen: Seen) -> list[Doubt]:
        """Return the tracks that ended where they would have crossed, and remember all that ended in sight."""
        before = self._before
        doubts: list[Doubt] = []
        for key in seen.ended:
            if before is not None:
                for row in np.flatnonzero(before.keys == key).tolist():
                    doubts += self._ended(seen, before, row, key)
            self._origins.pop(key, None)
            self._fresh.discard(key)
            self._counted.discard(key)
        return doubts

    def _ended(self, seen: Seen, before: Tracks, row: int, key: int) -> list[Doubt]:
        """Remember a track that has ended; return the doubt whether it has crossed."""
        box, velocity = before.boxes[row], before.velocities[row]
        center = before.centers[row] + velocity
        track, side, counted = int(before.ids[row]), self._watch.side(key), key in self._counted
        distance, inside = self._watch.place(center)
        near = abs(distance) < self._watch.extent(box) and side * self._watch.across(velocity) < 0
        doubtful = side != 0 and inside and not counted and (side * distance < 0 or near) and self._counts(-side)
        if track:
            size, label = float(np.sqrt(np.prod(box[2:] - box[:2]))), int(before.classes[row])
            self._lost.append(_Lost(track, label, center, velocity, size, seen.frame.index, side, counted, doubtful))
        return [self._doubt("lost" if track else "unconfirmed", before, row, -side)] if doubtful else []

    def _again(self, seen: Seen, crossing: Crossing) -> list[Doubt]:
        """Return the doubt whether one that is counted had been counted as another track."""
        tracks = seen.tracks
        key = int(tracks.keys[crossing.row])
        self._counted.add(key)
        origin = self._origins.pop(key, None)
        if origin is None:
            return []
        center = middle(origin)
        lost = self._lost_at(center, int(tracks.classes[crossing.row]), seen.frame.index)
        if lost is None or not lost.counted:
            return []
        return [
            Doubt(
                "again",
                int(tracks.ids[crossing.row]),
                lost.track,
                int(tracks.classes[crossing.row]),
                crossing.direction,
                crossing.position,
            )
        ]

    def _lost_at(self, center: npt.NDArray[np.float32], label: int, frame: int) -> _Lost | None:
        """Return the lost track of class `label` that would be at `center` (2,) now, the newest of several."""
        for lost in reversed(self._lost):
            since = frame - lost.frame
            if since > PATIENCE:
                return None
            expected = lost.center + lost.velocity * since
            if lost.label == label and float(np.hypot(*(center - expected))) <= SAME_PLACE * lost.size:
                return lost
        return None

    def _counts(self, side: float) -> bool:
        return self._direction in {"both", self._watch.name(side)}

    def _doubt(self, why: Why, tracks: Tracks, row: int, side: float, other: int = 0) -> Doubt:
        """Return a doubt about the track in `row`, which may have crossed to `side`; `other` may be the same object."""
        x, y = tracks.centers[row].tolist()
        return Doubt(why, int(tracks.ids[row]), other, int(tracks.classes[row]), self._watch.name(side), (x, y))


def middle(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the middle (2,) of a box (4,)."""
    return np.asarray((box[:2] + box[2:]) / 2, np.float32)
