"""What happens in the zones of one camera: `[[rules]]`, one module for each rule or small family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge import config
from edge.decide.behaviour.conversion import Conversion
from edge.decide.behaviour.flow import AgainstFlow, Congestion
from edge.decide.behaviour.occupancy import Occupancy
from edge.decide.behaviour.scene import Scene, ZoneRule
from edge.decide.behaviour.speeds import Speeds
from edge.decide.behaviour.staying import Dwell, Loitering, SlowStation
from edge.decide.behaviour.together import Interaction, Unattended
from edge.decide.behaviour.trajectory import Trajectory
from edge.decide.behaviour.visitors import Unique
from edge.decide.counting import Bar, Misses
from edge.decide.zones import ZoneWatch
from edge.events import Alert, Event
from edge.types import Gap, Seen, Tracks

__all__ = ["Behaviour"]

KINDS: dict[type[config.BehaviourRule], Callable[[Any, list[str]], ZoneRule]] = {
    config.Occupancy: Occupancy,
    config.Dwell: Dwell,
    config.Loitering: Loitering,
    config.AgainstFlow: AgainstFlow,
    config.Congestion: Congestion,
    config.SlowStation: SlowStation,
    config.Unattended: Unattended,
    config.Interaction: Interaction,
    config.Conversion: Conversion,
    config.Trajectory: Trajectory,
    config.Unique: Unique,
}


class Behaviour:
    """All rules about the zones of one camera, in the order of the configuration.

    Who is in a zone is found once per frame, for all of its rules; zones that overlap know nothing of each other.
    """

    def __init__(self, rules: config.Config, camera: str, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        here = {zone.name: zone for zone in rules.zones if zone.camera == camera}
        mine = [rule for rule in rules.rules if rule.zone in here]
        self._rules = [KINDS[type(rule)](rule, classes) for rule in mine]
        used = {name for rule in mine for name in config.zones_of(rule)}
        self._watches = {name: ZoneWatch(zone, classes) for name, zone in here.items() if name in used}
        self._speeds = Speeds()
        self._there = 0  # tracks of the frame before

    def decide(self, seen: Seen) -> list[Event]:
        """Return the events of this frame."""
        if not self._rules or self._rests(seen):
            return []
        places = {name: watch.see(seen) for name, watch in self._watches.items()}
        scene = Scene(seen, places, self._speeds.update(seen))
        return [event for rule in self._rules for event in rule.decide(scene)]

    def _rests(self, seen: Seen) -> bool:
        """Tell whether nobody is there, nor was a frame ago, and no alert lasts: such a frame decides nothing."""
        before, self._there = self._there, len(seen.tracks)
        return not (before or self._there or self.alerts())

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:  # noqa: ARG002  as all rules have it
        """Return what a time without sight decides: whatever was under way is over, for all we know."""
        left = {name: watch.blind() for name, watch in self._watches.items()}
        self._speeds.clear()
        return [event for rule in self._rules for event in rule.blind(gap, left)]

    def inside(self) -> dict[str, dict[str, int]]:
        """Return how many are in each zone now, by its name and by class."""
        return {name: watch.counts() for name, watch in self._watches.items()}

    def alerts(self) -> list[Alert]:
        """Return the alerts that last, as they began."""
        return [alert for rule in self._rules for alert in rule.open()]

    def bars(self, misses: Misses) -> dict[str, Bar]:
        """Return between what the counts of visitors are since the start, by counter."""
        unique = [rule for rule in self._rules if isinstance(rule, Unique)]
        return {name: bar for rule in unique for name, bar in rule.bars(misses).items()}
