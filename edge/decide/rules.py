"""All rules of one camera: what is decided by its tracks, and what they want to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from edge.config import Config, Gate, Line
from edge.decide.counting import LineCounter
from edge.decide.gate import QualityGate
from edge.decide.lines import deadlines
from edge.events import Event
from edge.types import Gap, Seen, Stakes, Tracks


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
    ) -> None:
        """`classes` are the names of the instance classes, the background first; `defects` the defect classes.

        `clock` is that of a live camera, s, monotonic.
        """
        lines = [line for line in config.lines if line.camera == camera]
        gates = [gate for gate in config.gates if gate.camera == camera]
        self._targets: list[Line | Gate] = [*lines, *gates]
        self._gates = [QualityGate(gate, classes, defects, config.cameras[camera].mm_per_px, clock) for gate in gates]
        self._rules: list[Rule] = [*(LineCounter(line, classes) for line in lines), *self._gates]

    def decide(self, seen: Seen) -> list[Event]:
        """Return the events of this frame."""
        return [event for rule in self._rules for event in rule.decide(seen)]

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:
        """Return what a time without sight decides, and forget all tracks, which were `tracks` before it."""
        return [event for rule in self._rules for event in rule.blind(gap, tracks)]

    def overdue(self) -> list[Event]:
        """Return what cannot wait any longer for a live camera that is silent."""
        return [event for gate in self._gates for event in gate.overdue()]

    def stakes(self, tracks: Tracks, *, pressed: bool) -> Stakes:
        """Return what is at stake for `tracks` before they are looked at; deadlines only matter when `pressed`."""
        doubtful = np.zeros(len(tracks), np.bool_)
        for gate in self._gates:
            doubtful |= gate.doubtful(tracks)
        return Stakes(deadlines(tracks, self._targets if pressed else []), doubtful)
