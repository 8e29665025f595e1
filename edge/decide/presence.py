"""Whether everything is there that belongs at fixed places: all screws of a block, all bottles of a crate."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.config import Presence, class_numbers, corners_of
from edge.decide.arrangement import Arrangement
from edge.events import PresenceEvent
from edge.polygons import Polygon
from edge.rigid import Motion, Points
from edge.types import Gap, Image, Seen, Tracks

MOST_THINGS: Final = 64  # of a frame that places are brought onto, the largest: bounded time
NOISE: Final = 0.25  # of what fills the smallest place, below which a spot is nothing: what shows it empty is smaller
LATE: Final = 1.25  # times `refresh_frames` that a look may be old: it has a place in the order of looks
FINE: Final = 4  # bits of a cell to which corners are drawn

Rows = npt.NDArray[np.bool_]


class PresenceWatch:
    """Tells which places are filled.

    By labels a place is filled where cells of the wanted classes cover `least_share` of it; by instances, where the
    centre of a track of these classes lies in it that a look has shown of late and the labels support. Places that may
    have moved are first brought onto what is seen, the things that fill them and those that show them empty
    (`Arrangement`). A place counts as filled that was in `seen` of the newest `window` frames.
    """

    def __init__(self, rule: Presence, classes: list[str], labels: list[str], refresh_frames: int = 30) -> None:
        """`classes` are the instance classes, `labels` the semantic ones, the background first.

        `refresh_frames` is how often a track has a look.
        """
        self._rule = rule
        self._of_late = math.ceil(LATE * refresh_frames)
        known = labels if rule.by == "labels" else classes
        numbers = [class_numbers(names, known, f"presence {rule.name!r}") for names in (rule.classes, rule.empty)]
        self._fills = np.isin(np.arange(256), numbers[0]).astype(np.uint8)  # by class number
        self._shows = np.isin(np.arange(256), [*numbers[0], *numbers[1]]).astype(np.uint8)
        self._names = list(rule.places)
        self._corners = [np.asarray(corners_of(points), np.float64) for points in rule.places.values()]
        self._areas = np.asarray([_area(corners) for corners in self._corners])  # frame pixels
        middles = np.asarray([corners.mean(axis=0) for corners in self._corners])
        self._arrangement = Arrangement(middles, rule.move_px, math.radians(rule.turn_deg))
        self._needed = max(1, math.ceil(rule.seen * rule.window))
        self._filled: deque[Rows] = deque(maxlen=rule.window)  # (n,) of each frame
        self._told: Rows | None = None

    def decide(self, seen: Seen) -> list[PresenceEvent]:
        """Return what is missing, where it is to be told."""
        event = self.inspect(seen)
        filled = np.asarray([name not in event.missing for name in self._names])
        changed = self._told is None or bool((filled != self._told).any())
        if len(self._filled) < self._rule.window or (self._rule.trigger == "change" and not changed):
            return []
        self._told = filled
        return [event]

    def inspect(self, seen: Seen) -> PresenceEvent:
        """Return what is missing by the newest frames, this one included."""
        motion = self._arrangement.find(self._things(seen)) if self._rule.moves else None
        places = [corners if motion is None else motion(corners) for corners in self._corners]
        shares = self._shares(seen, places)
        self._filled.append(shares >= (self._rule.least_share if self._rule.by == "labels" else 1.0))
        times = np.count_nonzero(self._filled, axis=0)
        return self._event(seen, times >= self._needed, shares, motion)

    def blind(self, gap: Gap, tracks: Tracks) -> list[PresenceEvent]:  # noqa: ARG002  as all rules have it
        """Return nothing, and forget the frames: what is there now need not be what was."""
        self._filled.clear()
        self._told = None
        return []

    def _event(self, seen: Seen, filled: Rows, shares: npt.NDArray[np.float64], motion: Motion | None) -> PresenceEvent:
        missing = [name for name, there in zip(self._names, filled.tolist(), strict=True) if not there]
        there = len(self._names) - len(missing)
        dx, dy = (0.0, 0.0) if motion is None else motion.shift
        turn = 0.0 if motion is None else math.degrees(motion.turn)
        return PresenceEvent(
            time=seen.frame.time,
            camera=seen.frame.camera,
            frame=seen.frame.index,
            rule=self._rule.name,
            verdict="NOK" if missing else "OK",
            missing=missing,
            shares=dict(zip(self._names, np.round(shares, 4).tolist(), strict=True)),
            moved=(round(dx, 2), round(dy, 2), round(turn, 3)),
            reasons=[f"{there} of {len(self._names)} places"] if missing else [],
        )

    def _shares(self, seen: Seen, places: list[Points]) -> npt.NDArray[np.float64]:
        """Return (n,) what share of each of `places`, corners (k, 2) in frame pixels, is filled."""
        if self._rule.by == "labels":
            cell = seen.scale[0] * seen.scale[1]
            cells = np.asarray([_covered(seen.labels, self._fills, corners, seen.scale) for corners in places])
            return np.asarray(np.minimum(cells * cell / self._areas, 1.0))
        centers = seen.tracks.centers[self._in_sight(seen.tracks, self._fills)].astype(np.float64)
        inside = [bool((Polygon(corners.tolist()).depths(centers) >= 0).any()) for corners in places]
        return np.asarray(inside, np.float64)

    def _things(self, seen: Seen) -> Points:
        """Return (m, 2) the middles of what is seen at places, filled or empty."""
        if self._rule.by == "instances":
            return seen.tracks.centers[self._in_sight(seen.tracks, self._shows)][:MOST_THINGS].astype(np.float64)
        _, stats = blobs_of(self._shows.take(seen.labels))
        least = NOISE * self._rule.least_share * float(self._areas.min()) / (seen.scale[0] * seen.scale[1])
        blobs = stats[1:][stats[1:, 4] >= least]
        blobs = blobs[np.argsort(-blobs[:, 4], kind="stable")][:MOST_THINGS]
        return np.asarray((blobs[:, :2] + blobs[:, 2:4] / 2) * np.asarray(seen.scale))

    def _in_sight(self, tracks: Tracks, wanted: Image) -> Rows:
        """Return (n,) the tracks of `wanted` classes (256,) that are there in this frame, for all that is known."""
        known = tracks.supported & (tracks.since_look <= self._of_late)  # it was looked for since: it is not there
        return np.asarray((wanted[tracks.classes] > 0) & (known | (tracks.since_look == 0)))


def _area(corners: Points) -> float:
    """Return what a polygon encloses (shoelace formula)."""
    x, y = corners.T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


def _covered(labels: Image, fills: Image, corners: Points, scale: tuple[float, float]) -> int:
    """Return how many cells of `labels` (h, w) lie in a polygon and are of a class that fills it.

    `fills` (256,) is 1 for these classes, `corners` (k, 2) are in frame pixels.
    """
    points = corners / np.asarray(scale)
    low = np.clip(np.floor(points.min(axis=0)), 0, labels.shape[::-1]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), low, labels.shape[::-1]).astype(int)
    window = fills.take(labels[low[1] : high[1], low[0] : high[0]])
    if not window.any():
        return 0
    mask = np.zeros(window.shape, np.uint8)
    drawn = np.rint((points - low - 0.5) * (1 << FINE)).astype(np.int32)
    cv2.fillPoly(mask, [drawn], 1, shift=FINE)
    return int(np.count_nonzero(window & mask))
