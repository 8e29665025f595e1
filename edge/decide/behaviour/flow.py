"""How objects move through a zone: against its direction, or hardly at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge import config
from edge.decide.behaviour.alerts import ONE, Alerts
from edge.decide.behaviour.holds import Holds
from edge.decide.behaviour.scene import Scene
from edge.decide.records import Records
from edge.decide.zones import Stay
from edge.events import Alert
from edge.types import Gap

_KIND = np.dtype([("inside", "?"), ("on", "?"), ("farthest", "f8"), ("back", "f8")])


class AgainstFlow:
    """An object that goes back by more than `distance_px` from the farthest it had got along the zone's direction.

    What adds up is the net way back since the farthest point, not a velocity: jitter does not, however long it lasts
    (the one-sided cumulative sum of Page, 1954). It is over when the object leaves, or has come as far forward again.
    The way is that of the anchor, the median of three sightings at a time.
    """

    def __init__(self, rule: config.AgainstFlow, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._along = np.asarray(rule.flow) / np.hypot(*rule.flow)
        self._rows = Records(_KIND)
        self._alerts = Alerts(rule, rule.distance_px, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return the alerts that begin and end."""
        tracks, place = scene.seen.tracks, scene.places[self._rule.zone]
        self._rows.follow(tracks.keys)
        at, here = self._rows.at, place.inside & tracks.located
        along = place.path @ self._along
        new = place.inside & ~at["inside"]
        at["farthest"][new] = at["back"][new] = along[new]
        at["inside"], at["on"] = place.inside, at["on"] & place.inside
        at["farthest"] = np.where(here & ~at["on"], np.maximum(at["farthest"], along), at["farthest"])
        begins = here & ~at["on"] & (at["farthest"] - along > self._rule.distance_px)
        at["back"] = np.where(begins, along, np.where(here, np.minimum(at["back"], along), at["back"]))
        ends = here & at["on"] & (along - at["back"] > self._rule.distance_px)
        values = at["farthest"] - at["back"]
        at["farthest"][ends] = along[ends]
        at["on"] = (at["on"] | begins) & ~ends
        return self._alerts.update(scene, tracks.keys, at["on"], values, lambda row: [row])

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the ends of all alerts."""
        self._rows.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alerts that last."""
        return self._alerts.open()


class Congestion:
    """At least `least` objects in the zone that are slower than `speed_px_s`, for `seconds`."""

    def __init__(self, rule: config.Congestion, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._holds = Holds(rule.seconds, rule.clear_s)
        self._alerts = Alerts(rule, float(rule.least), classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return an alert that begins or ends."""
        slow = scene.places[self._rule.zone].inside & (scene.speeds < self._rule.speed_px_s)
        rows = np.flatnonzero(slow).tolist()
        on, _ = self._holds.update(scene.seen.frame.time, ONE, np.asarray([len(rows) >= self._rule.least]))
        return self._alerts.update(scene, ONE, on, np.asarray([len(rows)]), lambda _: rows)

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the end of the alert."""
        self._holds.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alert, where there is one."""
        return self._alerts.open()
