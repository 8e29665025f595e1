"""How many different objects have been in a zone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge import config
from edge.decide.behaviour.scene import Scene, when
from edge.decide.counting import Bar, Misses
from edge.decide.lasting import Lasting
from edge.decide.records import Records
from edge.decide.zones import Presence, Stay
from edge.events import Alert, VisitorEvent
from edge.types import Array, Frame, Gap

_KIND = np.dtype([("id", "i8"), ("label", "i8")])  # of a track that has been in the zone; id 0: it has not


@dataclass(slots=True)
class _Tally:
    """One class since the start."""

    visitors: int = 0  # different ids
    tracks: int = 0  # different tracks: as many where nothing is known again
    most: int = 0  # inside at a time


class Unique:
    """Tells of each object, once, that it has been in the zone: by its id, also where it left the frame and came back.

    There were at least as many as were ever inside at a time, and at the most one for each track: whoever is known
    again may be somebody else.
    """

    def __init__(self, rule: config.Unique, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = classes
        self._rows = Records(_KIND)
        self._before: Lasting[int] = Lasting()  # classes of who has been inside, and may come back
        self._tallies: dict[int, _Tally] = {}

    def decide(self, scene: Scene) -> Sequence[VisitorEvent]:
        """Return who has come for the first time."""
        self._leave(self._rows.follow(scene.seen.tracks.keys))
        place = scene.places[self._rule.zone]
        events = [self._told(scene.seen.frame, stay) for stay in place.entered if self._is_new(stay)]
        if place.entered:
            self._note_most(place)
        return events

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[VisitorEvent]:  # noqa: ARG002  as all rules have it
        """Return nothing: nobody has come."""
        self._leave(self._rows.clear())
        return []

    def open(self) -> list[Alert]:
        """Return nothing: it raises no alerts."""
        return []

    def bars(self, misses: Misses) -> dict[str, Bar]:
        """Return between what every counter is since the start; `misses` bounds the share of a class that is missed."""
        return {f"{self._rule.name}/{self._classes[label]}": self._bar(label, misses) for label in self._tallies}

    def _bar(self, label: int, misses: Misses) -> Bar:
        tally, upper = self._tallies[label], misses(self._classes[label])
        if upper is None or upper >= 1:
            return tally.most, None
        return tally.most, tally.tracks + math.ceil(tally.tracks * upper / (1 - upper))

    def _is_new(self, stay: Stay) -> bool:
        """Tell whether somebody who enters was never inside, and note that it was."""
        row = self._rows.at[np.flatnonzero(self._rows.keys == stay.key)[0]]
        if row["id"]:
            return False
        row["id"], row["label"] = stay.track, stay.label
        tally = self._tallies.setdefault(stay.label, _Tally())
        tally.tracks += 1
        if self._before.take(stay.track) is not None:
            return False
        tally.visitors += 1
        return True

    def _note_most(self, place: Presence) -> None:
        for label, count in enumerate(np.bincount(place.labels[place.inside]).tolist()):
            if count:
                tally = self._tallies.setdefault(label, _Tally())
                tally.most = max(tally.most, count)

    def _leave(self, gone: Array) -> None:
        for row in gone[gone["id"] > 0]:
            self._before.keep(int(row["id"]), int(row["label"]))

    def _told(self, frame: Frame, stay: Stay) -> VisitorEvent:
        return VisitorEvent(
            **when(frame),
            rule=self._rule.name,
            zone=self._rule.zone,
            track=stay.track,
            label=self._classes[stay.label],
            position=stay.position,
        )
