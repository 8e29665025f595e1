"""Where an object went, told when its track ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge import config
from edge.decide.behaviour.scene import Scene, when
from edge.decide.behaviour.simplify import kept
from edge.decide.records import Records
from edge.decide.zones import Stay
from edge.events import Alert, TrajectoryEvent
from edge.types import Array, Frame, Gap

MOST_POINTS = 64  # of a path that is told
RAW = 64  # sightings that are kept before they are simplified

_KIND = np.dtype([
    ("points", "f8", (MOST_POINTS + RAW, 3)),  # x, y of the anchor, frame pixels; s
    ("count", "i4"),
    ("settled", "i4"),  # of them, simplified
    ("coarser", "i4"),  # how often the tolerance was doubled
    ("entered", "?"),  # the zone, at least once
    ("id", "i8"),
    ("label", "i8"),
])  # fmt: skip


class Trajectory:
    """The path of every object that was in the zone, all of it, from its first sighting to its last.

    Sightings are simplified `RAW` at a time. When that leaves more than `MOST_POINTS`, the tolerance of this path is
    doubled, as often as it takes, and all of it is simplified again: what that adds up to stays below twice the last
    tolerance, which the event tells.
    """

    def __init__(self, rule: config.Trajectory, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = classes
        self._rows = Records(_KIND)

    def decide(self, scene: Scene) -> Sequence[TrajectoryEvent]:
        """Return the paths of the tracks that have ended."""
        tracks, place, frame = scene.seen.tracks, scene.places[self._rule.zone], scene.seen.frame
        gone = self._rows.follow(tracks.keys)
        at = self._rows.at
        rows = np.flatnonzero(tracks.located)
        at["points"][rows, at["count"][rows], :2] = place.points[rows]
        at["points"][rows, at["count"][rows], 2] = frame.time
        at["count"][rows] += 1
        for row in np.flatnonzero(at["count"] == MOST_POINTS + RAW).tolist():
            self._settle(at[row])
        for stay in place.entered:
            row = at[np.flatnonzero(tracks.keys == stay.key)[0]]
            row["entered"], row["id"], row["label"] = True, stay.track, stay.label
        return self._told(frame, gone, "ended")

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[TrajectoryEvent]:  # noqa: ARG002  as all rules have it
        """Return the paths of all tracks up to the gap."""
        return self._told(gap, self._rows.clear(), "blind")

    def open(self) -> list[Alert]:
        """Return nothing: it raises no alerts."""
        return []

    def _settle(self, row: Array) -> None:
        """Simplify what one record holds to at most `MOST_POINTS`, in place."""
        points, settled = row["points"][: row["count"]], max(0, int(row["settled"]) - 1)
        points = np.concatenate([points[:settled], points[settled:][kept(points[settled:], self._tolerance(row))]])
        while len(points) > MOST_POINTS:
            row["coarser"] += 1
            points = points[kept(points, self._tolerance(row))]
        row["points"][: len(points)] = points
        row["count"] = row["settled"] = len(points)

    def _tolerance(self, row: Array) -> float:
        return self._rule.tolerance_px * 2.0 ** int(row["coarser"])

    def _told(self, moment: Frame | Gap, gone: Array, reason: str) -> list[TrajectoryEvent]:
        return [self._event(moment, row, reason) for row in gone[gone["entered"]]]

    def _event(self, moment: Frame | Gap, row: Array, reason: str) -> TrajectoryEvent:
        self._settle(row)
        points = row["points"][: row["count"]]
        places, times = points[:, :2].round(1).tolist(), points[:, 2].round(3).tolist()
        return TrajectoryEvent(
            **when(moment),
            rule=self._rule.name,
            zone=self._rule.zone,
            track=int(row["id"]),
            label=self._classes[row["label"]],
            reason=reason,
            points=[(x, y, time) for (x, y), time in zip(places, times, strict=True)],
            within_px=self._tolerance(row) * (2 if row["coarser"] else 1),
        )
