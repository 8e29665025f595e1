"""What an earlier process counted of the parts that lie beyond a line when this one starts.

On a belt nothing overtakes: behind a line parts lie in the order in which they were counted. So those that are seen
there are laid beside the newest counts of the ledger like two strips of paper, by their class, their place across the
belt and the way that they have come. Where the strips fit, whoever is left over in front crossed while nobody looked,
and is counted now; about the others there is nothing to doubt. Where they do not fit for sure all stays as doubtful as
it was: the belt has stood meanwhile, or has carried on everything, or its parts all look alike.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.decide.contested import Doubt
from edge.decide.lines import Crossing, LineWatch
from edge.types import Seen, Tracks

SETTLED_FRAMES = 20  # after the first: by then what lies near the line has been looked at
MOVING = 0.5  # frame pixels per frame across the line, below which nobody knows where parts come from
SAME_PLACE = 0.2  # sizes of a part by which its place across the belt may differ
SAME_WAY = 1.0  # sizes of a part by which the way that it has come may
LEAST_FITS = 3  # parts that have to fit
FITTING = 0.6  # share that these have to be of the parts that might, or that are like none
LOOSE = 3  # counts by which the order of parts abreast may differ
MOST_TOLD = 64  # newest counts of a line


@dataclass(frozen=True, slots=True)
class Told:
    """What a count of an earlier process said."""

    label: int  # class
    direction: str
    position: tuple[float, float]  # x, y, frame pixels
    time: float  # s, monotonic


@dataclass(frozen=True, slots=True)
class Mark:
    """One of the parts that have crossed, in their order."""

    label: int  # class
    place: float  # frame pixels along the line, where it crossed
    way: float  # frame pixels beyond the line
    size: float = 0.0  # frame pixels


class Handover:
    """Settles, once, which of the parts beyond a line were counted before this process began."""

    def __init__(self, watch: LineWatch, told: Sequence[Told]) -> None:
        """`watch` is the line's; `told` are its counts of earlier processes, the newest first."""
        self._watch = watch
        self._told = told[:MOST_TOLD]
        self._first: tuple[int, float] | None = None  # number and time of the first frame
        self._held: list[Doubt] = []
        self.done = not self._told

    def settle(self, seen: Seen, doubts: list[Doubt], inside: Container[int]) -> tuple[list[Crossing], list[Doubt]]:
        """Return the crossings that nobody saw, and those of `doubts`, and of earlier ones, that are left.

        `inside` has the keys of tracks that were not counted here, nor first seen at the frame's border: who comes in
        there has not crossed anything. Until everything near the line has been looked at nothing is settled.
        """
        frame, tracks = seen.frame, seen.tracks
        if self._first is None:
            self._first = frame.index, frame.time
        self._held += [doubt for doubt in doubts if doubt.why == "appeared"]
        others = [doubt for doubt in doubts if doubt.why != "appeared"]
        velocity = np.median(tracks.velocities, axis=0) if len(tracks) else np.zeros(2, np.float32)
        side = self._watch.across(velocity)
        frames, seconds = frame.index - self._first[0], frame.time - self._first[1]
        if frames < SETTLED_FRAMES or seconds <= 0 or abs(side) < MOVING:
            return [], others
        self.done = True
        rows, marks = self._beyond(tracks, side, inside)
        before, missed = laid_beside(marks, self._marks(frame.time, velocity * np.float32(frames / seconds)))
        known = {int(tracks.ids[rows[i]]) for i in (*before, *missed)}
        crossings = [Crossing(rows[i], self._watch.name(side), _point(tracks, rows[i])) for i in missed]
        return crossings, [*others, *(doubt for doubt in self._held if doubt.track not in known)]

    def give_up(self) -> list[Doubt]:
        """Return the doubts that were held back: nothing can be settled any more."""
        self.done = True
        return self._held

    def _beyond(self, tracks: Tracks, side: float, inside: Container[int]) -> tuple[list[int], list[Mark]]:
        """Return the rows of confirmed tracks beyond the line, those with keys `inside`, the nearest one first."""
        distances, places = self._watch.path(tracks.centers, tracks.velocities)
        ways = distances * np.sign(side)
        there = (tracks.ids > 0) & (tracks.located | tracks.supported) & (places >= 0) & (places <= self._watch.length)
        keys = tracks.keys.tolist()
        rows = [row for row in np.flatnonzero(there).tolist() if keys[row] in inside]
        rows = [row for row in rows if self._watch.side(keys[row]) * side > 0]
        rows.sort(key=lambda row: float(ways[row]))
        sizes = np.sqrt(np.prod(tracks.boxes[:, 2:] - tracks.boxes[:, :2], axis=1))
        marks = [
            Mark(int(tracks.classes[row]), float(places[row]), float(ways[row]), float(sizes[row])) for row in rows
        ]
        return rows, marks

    def _marks(self, now: float, velocity: npt.NDArray[np.float32]) -> list[Mark]:
        """Return those of the counts that were made in the direction of `velocity` (2,), frame pixels per s."""
        side = self._watch.across(velocity)
        told = [one for one in self._told if one.direction == self._watch.name(side)]
        points = np.asarray([one.position for one in told], np.float32).reshape(-1, 2)
        distances, places = self._watch.path(points, np.tile(velocity, (len(told), 1)))
        ways = distances * np.sign(side) + abs(side) * np.asarray([now - one.time for one in told])
        return [Mark(one.label, float(places[k]), float(ways[k])) for k, one in enumerate(told)]


def laid_beside(seen: Sequence[Mark], told: Sequence[Mark]) -> tuple[list[int], list[int]]:
    """Return which of the parts `seen` beyond a line are among those `told`, and which crossed after all of these.

    Both begin with the newest. Parts that could be several of the others say nothing: a row of bottles fits everywhere.
    Neither is said of parts of which it is not sure, and nothing where the two do not fit: where fewer than
    `LEAST_FITS` do, fewer than are left over in front, or too few of those that should.
    """
    told = told[: len(seen) + LOOSE]
    alike = np.asarray([[_alike(one, other) for other in told] for one in seen], np.bool_).reshape(len(seen), len(told))
    there = np.asarray([[_as_far(one, other) for other in told] for one in seen], np.bool_).reshape(alike.shape)
    sure = _only(alike)
    pairs = _rising([(i, k) for i, k in np.argwhere(sure & there).tolist()])
    if not pairs:
        return [], []
    first, newest = pairs[0]
    left = [i for i in range(first) if not any(_near(seen[i], one) for one in told[: newest + LOOSE])]
    strange = sum(not alike[i].any() for i in range(first, len(seen)))
    if len(pairs) < max(LEAST_FITS, len(left)) or len(pairs) < FITTING * (int(sure.sum()) + strange):
        return [], []
    return [i for i in range(first, len(seen)) if (alike & there)[i].any()], left


def _only(alike: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return what of `alike` (n, m) is the only one in its row and in its column."""
    return np.asarray(alike & (alike.sum(axis=1, keepdims=True) == 1) & (alike.sum(axis=0, keepdims=True) == 1))


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest list of `pairs`, which are in order of their first numbers, that is in order of both."""
    best: list[list[tuple[int, int]]] = []  # that end with each of them
    for pair in pairs:
        before = [chain for chain in best if chain[-1][1] < pair[1]]
        best.append([*max(before, key=len, default=[]), pair])
    return max(best, key=len, default=[])


def _near(seen: Mark, told: Mark) -> bool:
    return abs(seen.place - told.place) <= SAME_PLACE * seen.size


def _alike(seen: Mark, told: Mark) -> bool:
    return seen.label == told.label and _near(seen, told)


def _as_far(seen: Mark, told: Mark) -> bool:
    return abs(seen.way - told.way) <= SAME_WAY * seen.size


def _point(tracks: Tracks, row: int) -> tuple[float, float]:
    x, y = tracks.centers[row].tolist()
    return x, y
