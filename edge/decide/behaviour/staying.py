"""Objects that stay too long: in a zone, in one place, at a station."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edge import config
from edge.decide.behaviour.alerts import ONE, Alerts
from edge.decide.behaviour.holds import Holds
from edge.decide.behaviour.scene import Scene
from edge.decide.records import Records
from edge.decide.zones import Presence, Stay
from edge.events import Alert
from edge.types import Gap

BUCKETS = 16  # of the time that loitering looks back over, the one that is being filled included
SLACK = 1.5  # by which a loiterer may move farther than one who is not yet one: so that it does not flicker

_KIND = np.dtype([("inside", "?"), ("on", "?"), ("low", "f8", (BUCKETS, 2)), ("high", "f8", (BUCKETS, 2))])


class Dwell:
    """An object that is in the zone for longer than `seconds`: loitering as PETS 2007 defines it."""

    def __init__(self, rule: config.Dwell, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._alerts = Alerts(rule, rule.seconds, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return the alerts that begin and end."""
        dwell = scene.places[self._rule.zone].dwell
        return self._alerts.update(scene, scene.seen.tracks.keys, dwell >= self._rule.seconds, dwell, lambda row: [row])

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the ends of all alerts."""
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alerts that last."""
        return self._alerts.open()


class Loitering:
    """An object that keeps to one place: all of its way in the last `seconds` fits into a square of side 2 `radius_px`.

    That is a fixation as the dispersion-threshold method finds it in eye movements (Salvucci and Goldberg, 2000), over
    seconds instead of milliseconds: whoever stands, and also whoever walks up and down. The way is that of the anchor,
    the median of three sightings at a time, kept as its extent in `BUCKETS` - 1 equal parts of the time.
    """

    def __init__(self, rule: config.Loitering, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._rows = Records(_KIND)
        self._bucket = 0  # that is being filled, since time began
        self._alerts = Alerts(rule, rule.radius_px, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return the alerts that begin and end."""
        tracks, place = scene.seen.tracks, scene.places[self._rule.zone]
        self._rows.follow(tracks.keys)
        at, here = self._rows.at, place.inside & tracks.located
        self._turn(scene.seen.frame.time)
        new = place.inside & ~at["inside"]
        at["low"][new], at["high"][new] = np.inf, -np.inf
        at["inside"] = place.inside
        slot = self._bucket % BUCKETS
        at["low"][here, slot] = np.minimum(at["low"][here, slot], place.path[here])
        at["high"][here, slot] = np.maximum(at["high"][here, slot], place.path[here])
        reach = self._reach(place)
        limit = self._rule.radius_px * np.where(at["on"], SLACK, 1.0)
        loiters = (reach <= limit) & (place.dwell >= self._rule.seconds)
        at["on"] = np.where(here, loiters, at["on"] & place.inside)
        return self._alerts.update(scene, tracks.keys, at["on"], reach, lambda row: [row])

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the ends of all alerts."""
        self._rows.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alerts that last."""
        return self._alerts.open()

    def _turn(self, time: float) -> None:
        """Empty the buckets of what is now too long ago."""
        now = int(time // (self._rule.seconds / (BUCKETS - 1)))
        for passed in range(max(self._bucket + 1, now - BUCKETS + 1), now + 1):
            self._rows.at["low"][:, passed % BUCKETS] = np.inf
            self._rows.at["high"][:, passed % BUCKETS] = -np.inf
        self._bucket = now

    def _reach(self, place: Presence) -> npt.NDArray[np.float64]:
        """Return (n,) half the longer side of what each covered in the last `seconds`, frame pixels; 0: not inside."""
        at = self._rows.at
        sides = (at["high"].max(axis=1) - at["low"].min(axis=1)).max(axis=1)
        return np.where(place.inside & np.isfinite(sides), sides / 2, 0.0)


class SlowStation:
    """A station whose parts stay longer than planned: the median of the newest dwell times.

    A time counts that was measured from entering to leaving. One that was cut short, by the end of a track, counts
    where it is too long already, and so does that of who is inside now.
    """

    def __init__(self, rule: config.SlowStation, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._dwells: deque[float] = deque(maxlen=rule.newest)
        self._holds = Holds(0.0, rule.clear_s)
        self._alerts = Alerts(rule, rule.planned_s, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return an alert that begins or ends."""
        place, planned_s = scene.places[self._rule.zone], self._rule.planned_s
        for stay in place.left:
            dwell = stay.until - stay.since
            if stay.reason == "crossed" or dwell > planned_s:
                self._dwells.append(dwell)
        late = np.flatnonzero(place.dwell > planned_s).tolist()
        newest = [*self._dwells, *place.dwell[late].tolist()][-self._rule.newest :]
        median = float(np.median(newest)) if len(newest) >= self._rule.least else 0.0
        on, _ = self._holds.update(scene.seen.frame.time, ONE, np.asarray([median > planned_s]))
        return self._alerts.update(scene, ONE, on, np.asarray([median]), lambda _: late)

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the end of the alert, and forget the times before the gap."""
        self._dwells.clear()
        self._holds.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alert, where there is one."""
        return self._alerts.open()
