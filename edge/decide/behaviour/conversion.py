"""Of those who enter one zone, how many reach another in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge import config
from edge.decide.behaviour.scene import Scene, when
from edge.decide.lasting import Lasting
from edge.decide.records import Records
from edge.decide.zones import Stay
from edge.events import Alert, ConversionEvent
from edge.types import Array, Frame, Gap

_KIND = np.dtype([
    ("entered", "?"),
    ("open", "?"),  # it has entered, and it is not yet known whether it reaches the second zone
    ("id", "i8"),  # and class: those it had when it entered
    ("label", "i8"),
    ("since", "f8"),  # s
])  # fmt: skip


class Conversion:
    """Tells of each object, once, that it has entered `zone`, and then that it has reached `to`, or that it has not.

    entered = reached + missed + those who are still under way, at every moment.
    """

    def __init__(self, rule: config.Conversion, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = classes
        self._rows = Records(_KIND)
        self._before: Lasting[int] = Lasting()  # classes of who has entered and left, and may come back

    def decide(self, scene: Scene) -> Sequence[ConversionEvent]:
        """Return who has entered, reached, and missed."""
        frame, first, second = scene.seen.frame, scene.places[self._rule.zone], scene.places[self._rule.to]
        gone = self._left(self._rows.follow(scene.seen.tracks.keys))
        events = [self._told(frame, row, "missed") for row in gone[gone["open"]]]
        events += [told for stay in first.entered for told in self._entered(frame, stay)]
        events += [told for stay in second.entered for told in self._reached(frame, stay)]
        at = self._rows.at
        late = at["open"] & (frame.time - at["since"] > self._rule.seconds) & ~second.turning  # it may yet be in time
        at["open"] &= ~late
        return events + [self._told(frame, row, "missed") for row in at[late]]

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[ConversionEvent]:  # noqa: ARG002  as all rules have it
        """Return that nobody has reached it, for all we know."""
        gone = self._left(self._rows.clear())
        return [self._told(gap, row, "missed") for row in gone[gone["open"]]]

    def open(self) -> list[Alert]:
        """Return nothing: it raises no alerts."""
        return []

    def _entered(self, frame: Frame, stay: Stay) -> list[ConversionEvent]:
        row = self._row(stay)
        if row["entered"]:
            return []
        row["entered"] = True
        row["id"], row["label"], row["since"] = stay.track, stay.label, stay.since
        if self._before.take(stay.track) is not None:
            return []
        row["open"] = True
        return [self._told(frame, row, "entered")]

    def _reached(self, frame: Frame, stay: Stay) -> list[ConversionEvent]:
        row = self._row(stay)
        took_s = stay.since - float(row["since"])
        if not (row["open"] and 0 <= took_s <= self._rule.seconds):
            return []
        row["open"] = False
        return [self._told(frame, row, "reached", round(took_s, 3))]

    def _left(self, gone: Array) -> Array:
        """Remember by their ids those of the records `gone` (n,) that have entered; return all of them."""
        for row in gone[gone["entered"]]:
            self._before.keep(int(row["id"]), int(row["label"]))
        return gone

    def _row(self, stay: Stay) -> Array:
        """Return the record of a track that is in this frame, to be changed in place."""
        row: Array = self._rows.at[np.flatnonzero(self._rows.keys == stay.key)[0]]
        return row

    def _told(self, moment: Frame | Gap, row: Array, step: str, took_s: float | None = None) -> ConversionEvent:
        return ConversionEvent(
            **when(moment),
            rule=self._rule.name,
            step=step,
            track=int(row["id"]),
            label=self._classes[row["label"]],
            took_s=took_s,
        )
