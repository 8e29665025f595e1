"""Who is in a zone, a polygon of one camera's frame, since when, and who has just come or gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.config import Zone, class_numbers
from edge.decide.lines import anchors
from edge.decide.records import Records
from edge.polygons import Polygon
from edge.types import Array, Seen, Tracks

_KIND = np.dtype([
    ("key", "i8"),
    ("id", "i8"),  # and class: those it had when it entered
    ("label", "i8"),
    ("inside", "?"),
    ("outside", "?"),  # it was clearly outside at least once
    ("beyond", "i4"),  # sightings in a row on the other side
    ("turned", "f8"),  # s: the first of them
    ("since", "f8"),  # s: the first sighting of those that made it enter
    ("seen", "f8"),  # s: the last sighting
    ("sighted", "?"),
    ("recent", "f8", (3, 2)),  # where its anchor was in the last three sightings, the newest first
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stay:
    """One object's time in a zone."""

    key: int
    track: int
    label: int  # class that it had when it entered
    position: tuple[float, float]  # x, y of its anchor now or when it was last seen, frame pixels
    since: float  # s: first sighting inside
    until: float  # s: first sighting outside, or the last one of a track that is no more; now: it is inside
    reason: str  # crossed, or: appeared (never seen outside), ended (its track did), blind (the camera was)


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is in a zone at one frame; rows are those of the frame's tracks."""

    inside: npt.NDArray[np.bool_]  # (n,)
    turning: npt.NDArray[np.bool_]  # (n,) outside, but last seen inside: one more sighting may make it enter
    since: npt.NDArray[np.float64]  # (n,) s, where it is inside
    seen: npt.NDArray[np.float64]  # (n,) s, last sighting
    labels: npt.NDArray[np.int64]  # (n,) class it had when it entered, where it is inside
    points: npt.NDArray[np.float64]  # (n, 2) its anchor now, frame pixels
    path: npt.NDArray[np.float64]  # (n, 2) median of the last three sightings: one bad box does not move it
    entered: list[Stay]
    left: list[Stay]

    @property
    def dwell(self) -> npt.NDArray[np.float64]:
        """Return (n,) seconds inside up to the last sighting, 0 for who is outside."""
        return np.where(self.inside, self.seen - self.since, 0.0)


class ZoneWatch:
    """Remembers who is in one zone; the memory dies with the track.

    An object is inside from the first of `settle_looks` sightings in a row whose anchor lies deeper than
    `hysteresis_px`, to the first of as many that lie as far outside. Sightings between the two change nothing, and
    neither do frames in which nobody knows where it is. Only confirmed tracks enter.
    """

    def __init__(self, zone: Zone, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._zone = zone
        self._polygon = Polygon(zone.points)
        self._wanted = np.zeros(256, np.bool_)
        self._wanted[class_numbers(zone.classes or classes[1:], classes, f"zone {zone.name!r}: classes")] = True
        self._names = classes
        self._rows = Records(_KIND)

    def see(self, seen: Seen) -> Presence:
        """Return who is inside at this frame, and who has entered and left since the one before."""
        tracks, time = seen.tracks, seen.frame.time
        gone = self._rows.follow(tracks.keys)
        points = anchors(tracks, self._zone.anchor)
        turned = self._turned(tracks, points, time)
        at = self._rows.at
        self._sight(tracks.located, points, time)
        leaving, entering = turned & at["inside"], turned & ~at["inside"]
        left = [_stay(row, row["seen"], "ended") for row in gone[gone["inside"]]]
        left += [_stay(row, row["turned"], "crossed") for row in at[leaving]]
        at["inside"] ^= turned
        at["key"] = tracks.keys
        at["id"][entering], at["label"][entering] = tracks.ids[entering], tracks.classes[entering]
        at["since"][entering] = at["turned"][entering]
        entered = [_stay(row, time, "crossed" if row["outside"] else "appeared") for row in at[entering]]
        return Presence(
            at["inside"].copy(),
            ~at["inside"] & (at["beyond"] > 0),
            at["since"].copy(),
            at["seen"].copy(),
            at["label"].copy(),
            points,
            _median(at["recent"]),
            entered,
            left,
        )

    def blind(self) -> list[Stay]:
        """Return who was inside before a time without sight, and forget everybody."""
        gone = self._rows.clear()
        return [_stay(row, row["seen"], "blind") for row in gone[gone["inside"]]]

    def counts(self) -> dict[str, int]:
        """Return how many are inside, by class; classes of which there is nobody are left out."""
        labels = self._rows.at["label"][self._rows.at["inside"]]
        numbers = np.bincount(labels, minlength=len(self._names)).tolist()
        return {name: number for name, number in zip(self._names, numbers, strict=True) if number}

    def _turned(self, tracks: Tracks, points: npt.NDArray[np.float64], time: float) -> npt.NDArray[np.bool_]:
        """Return (n,) who is now on the other side of the border than before."""
        at, margin = self._rows.at, self._zone.hysteresis_px
        depths = self._polygon.depths(points)
        inner, outer = tracks.located & (depths > margin), tracks.located & (depths < -margin)
        at["outside"] |= outer
        over = np.where(at["inside"], outer, inner)
        at["turned"][over & (at["beyond"] == 0)] = time
        at["beyond"] += over
        at["beyond"][np.where(at["inside"], inner, outer)] = 0
        may = at["inside"] | ((tracks.ids > 0) & self._wanted[tracks.classes])
        turned = may & (at["beyond"] >= self._zone.settle_looks)
        at["beyond"][turned] = 0
        return np.asarray(turned)

    def _sight(self, located: npt.NDArray[np.bool_], points: npt.NDArray[np.float64], time: float) -> None:
        """Note where the tracks that are `located` (n,) were seen at `time`."""
        at = self._rows.at
        at["seen"][located] = time
        at["recent"][located, 1:] = at["recent"][located, :-1]
        at["recent"][located, 0] = points[located]
        first = ~at["sighted"]  # all zeros say nothing of where it is
        at["recent"][first] = points[first, None]
        at["sighted"] |= located


def _median(recent: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (n, 2) the median of three points (n, 3, 2), each coordinate by itself."""
    a, b, c = recent[:, 0], recent[:, 1], recent[:, 2]
    return np.asarray(np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)))


def _stay(row: Array, until: float, reason: str) -> Stay:
    x, y = row["recent"][0].tolist()
    key, track, label = (int(row[name]) for name in ("key", "id", "label"))
    return Stay(key, track, label, (x, y), float(row["since"]), float(until), reason)
