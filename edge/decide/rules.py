"""All rules of one camera: what is decided by its tracks, and what they want to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from edge.config import Config, Gate, Line
from edge.decide.behaviour import Behaviour
from edge.decide.counting import Bar, LineCounter, Misses
from edge.decide.gate import QualityGate
from edge.decide.growth import GrowthWatch
from edge.decide.lines import away_px, deadlines
from edge.decide.presence import PresenceWatch
from edge.decide.sizes import SizedLine, Sizes
from edge.decide.tallies import Tallies
from edge.events import Alert, Count, Event
from edge.types import Frame, Gap, Seen, Stakes, Tracks


class Rule(Protocol):
    """One thing that is decided by what a camera sees; what it remembers of a track dies with the track."""

    def decide(self, seen: Seen) -> Sequence[Event]:
        """Return what is decided in this frame."""
        ...

    def blind(self, gap: Gap, tracks: Tracks) -> Sequence[Event]:
        """Return what a time without sight decides, and forget all tracks, which are `tracks`: they end with it."""
        ...


class Rules:
    """Everything that a configuration decides by the tracks of one camera, in the order of the configuration."""

    def __init__(
        self,
        config: Config,
        camera: str,
        classes: list[str],
        defects: list[str],
        clock: Callable[[], float] | None = None,
        labels: Sequence[str] = (),
        told: Sequence[Count] = (),
    ) -> None:
        """`classes` are the names of the instance classes, the background first; `defects` the defect classes.

        `clock` is that of a live camera, s, monotonic; `labels` are the semantic classes, the background first; `told`
        are the counts of earlier processes by this camera, the newest first.
        """
        lines = [line for line in config.lines if line.camera == camera]
        gates = [gate for gate in config.gates if gate.camera == camera]
        self._targets: list[Line | Gate] = [*lines, *gates]
        mm_per_px, px_per_tick = config.cameras[camera].mm_per_px, config.cameras[camera].px_per_tick
        measured = any(target.measures for target in self._targets)
        sizes = Sizes(config.cameras[camera], f"camera {camera}", defects) if measured else None
        self._tallies = {gate.name: Tallies(gate, classes, defects) for gate in gates if gate.tallies}
        self._gates = [
            QualityGate(
                gate,
                classes,
                defects,
                mm_per_px,
                clock,
                px_per_tick,
                sizes=sizes if gate.measures else None,
                tallies=self._tallies.get(gate.name),
            )
            for gate in gates
        ]
        in_order = config.tracks.motion == "belt"  # nothing overtakes there
        self._counters = [LineCounter(line, classes, told if in_order else ()) for line in lines]
        self._behaviour = Behaviour(config, camera, classes)
        self._gatherers: list[Rule] = [*([] if sizes is None else [sizes]), *self._tallies.values()]
        self._presence = [
            PresenceWatch(rule, classes, [*labels], config.attention.refresh_frames)
            for rule in config.presence
            if rule.camera == camera
        ]
        self._rules: list[Rule] = [*self._gatherers, *_sized(lines, self._counters, classes, sizes), *self._gates]
        self._rules += [self._behaviour, *(GrowthWatch(rule) for rule in config.growth if rule.camera == camera)]
        self._rules += self._presence

    def early(self, frame: Frame, expected: Tracks, ticks: float | None) -> list[Event]:
        """Return what is decided before anything in `frame` is looked at, tracks being where they are `expected`.

        `ticks` are those of the encoder in it, where it is to be believed.
        """
        return [event for gate in self._gates for event in gate.early(frame, expected, ticks)]

    def awaits(self, expected: Tracks) -> bool:
        """Tell whether a part will be at a gate in the next frame, by where all tracks are `expected` in this one."""
        return any(gate.awaits(expected) for gate in self._gates)

    def decide(self, seen: Seen) -> list[Event]:
        """Return the events of this frame."""
        return [event for rule in self._rules for event in rule.decide(seen)]

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:
        """Return what a time without sight decides, and forget all tracks, which were `tracks` before it."""
        return [event for rule in self._rules for event in rule.blind(gap, tracks)]

    def bars(self, misses: Misses) -> dict[str, Bar]:
        """Return between what every counter is since the start; `misses` bounds the share of a class that is missed."""
        each = [counter.bars(misses) for counter in self._counters] + [self._behaviour.bars(misses)]
        return {name: bar for bars in each for name, bar in bars.items()}

    def inside(self) -> dict[str, dict[str, int]]:
        """Return how many are in each zone that has rules, by its name and by class."""
        return self._behaviour.inside()

    def alerts(self) -> list[Alert]:
        """Return the alerts that last, as they began."""
        return self._behaviour.alerts()

    def inspect(self, seen: Seen) -> list[Event]:
        """Return what each part in sight would be told now, and what is missing; nothing is counted, nobody crosses."""
        for gatherer in self._gatherers:
            gatherer.decide(seen)
        verdicts = [event for gate in self._gates for event in gate.inspect(seen)]
        return [*verdicts, *(presence.inspect(seen) for presence in self._presence)]

    def overdue(self) -> list[Event]:
        """Return what cannot wait any longer for a live camera that is silent."""
        return [event for gate in self._gates for event in gate.overdue()]

    def stakes(self, tracks: Tracks, *, pressed: bool) -> Stakes:
        """Return what is at stake for `tracks` before they are looked at; deadlines only matter when `pressed`."""
        doubtful = np.zeros(len(tracks), np.bool_)
        for gate in self._gates:
            doubtful |= gate.doubtful(tracks)
        for tallies in self._tallies.values():
            doubtful |= tallies.doubtful(tracks)
        if not (pressed and self._targets):
            return Stakes(deadlines(tracks, []), doubtful)
        return Stakes(deadlines(tracks, self._targets), doubtful, partial(away_px, targets=self._targets))


def _sized(
    lines: Sequence[Line], counters: Sequence[LineCounter], classes: list[str], sizes: Sizes | None
) -> list[Rule]:
    """Return the counters of `lines`, those that measure with the `sizes` of what they count."""
    return [
        counter if sizes is None or not line.measures else SizedLine(counter, line.name, classes, sizes)
        for line, counter in zip(lines, counters, strict=True)
    ]
