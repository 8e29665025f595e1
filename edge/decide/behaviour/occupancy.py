"""Who enters and leaves a zone, and whether too many are inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from edge import config
from edge.decide.behaviour.alerts import ONE, Alerts
from edge.decide.behaviour.holds import Holds
from edge.decide.behaviour.scene import Scene, when
from edge.decide.zones import Stay
from edge.events import Alert, Event, ZoneEvent
from edge.types import Frame, Gap


class Occupancy:
    """An event for everyone who enters or leaves; an alert while more than `most` are inside."""

    def __init__(self, rule: config.Occupancy, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = classes
        self._inside: Counter[int] = Counter()
        self._holds = Holds(rule.seconds, rule.clear_s)
        self._alerts = Alerts(rule, float(rule.most or 0), classes)

    def decide(self, scene: Scene) -> Sequence[Event]:
        """Return who has entered and left, and an alert that begins or ends."""
        place, frame = scene.places[self._rule.zone], scene.seen.frame
        moves: list[Event] = [self._moved(frame, stay, "leave") for stay in place.left]
        moves += [self._moved(frame, stay, "enter") for stay in place.entered]
        if self._rule.most is None:
            return moves
        rows = np.flatnonzero(place.inside).tolist()
        on, _ = self._holds.update(frame.time, ONE, np.asarray([len(rows) > self._rule.most]))
        return moves + self._alerts.update(scene, ONE, on, np.asarray([len(rows)]), lambda _: rows)

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Event]:
        """Return that everybody has left, for all we know, and that the alert is over."""
        moves = [self._moved(gap, stay, "leave") for stay in left[self._rule.zone]]
        self._holds.clear()
        return [*moves, *self._alerts.blind(gap)]

    def open(self) -> list[Alert]:
        """Return the alert, where there is one."""
        return self._alerts.open()

    def _moved(self, moment: Frame | Gap, stay: Stay, change: str) -> ZoneEvent:
        self._inside[stay.label] += 1 if change == "enter" else -1
        return ZoneEvent(
            **when(moment),
            zone=self._rule.zone,
            change=change,
            reason=stay.reason,
            track=stay.track,
            label=self._classes[stay.label],
            position=stay.position,
            dwell_s=None if change == "enter" else round(stay.until - stay.since, 3),
            inside=self._inside[stay.label],
        )
