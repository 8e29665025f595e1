"""How the belt moves and how densely it is loaded: two seeded timelines without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.random import Generator

Phase: TypeAlias = Literal["run", "fast", "slow", "stop", "reverse"]
Load: TypeAlias = Literal["normal", "crowd", "empty"]

MAX_BACK_PX: Final = 300.0
"""The belt never goes back further than this from its furthest point."""
START_X: Final = 520
"""At frame 0 nothing lies beyond this window column."""
_ACCELERATION: Final = 0.8
"""px / frame^2."""
_JITTER: Final = 0.06
"""Standard deviation of the speed ripple, px / frame."""


@dataclass(frozen=True, slots=True)
class _Order:
    """Hold a speed (px / frame) for a number of frames, after getting there smoothly."""

    phase: Phase
    speed: float
    frames: int


def _orders(rng: Generator) -> Iterator[_Order]:
    """Yield drive orders; every round of at most 800 frames has each phase at least once."""
    yield _Order("run", float(rng.uniform(10.5, 12.5)), int(rng.integers(50, 90)))
    makers: tuple[Callable[[Generator], _Order], ...] = (_fast, _slow, _stop, _reverse)
    while True:
        for choice in rng.permutation(len(makers)):
            yield makers[choice](rng)
            yield _Order("run", float(rng.uniform(10.0, 13.0)), int(rng.integers(70, 120)))


def _fast(rng: Generator) -> _Order:
    return _Order("fast", float(rng.uniform(13.2, 14.0)), int(rng.integers(100, 150)))


def _slow(rng: Generator) -> _Order:
    return _Order("slow", float(rng.uniform(6.0, 7.5)), int(rng.integers(40, 70)))


def _stop(rng: Generator) -> _Order:
    return _Order("stop", 0.0, int(rng.integers(36, 46)))


def _reverse(rng: Generator) -> _Order:
    """Back by at most 255 px; braking and starting again add less than 45 px."""
    speed = float(rng.uniform(5.0, 7.0))
    return _Order("reverse", -speed, int(rng.uniform(120, 190) / speed))


class Motion:
    """Travel of the belt at each frame, made as far as it is asked for."""

    def __init__(self, rng: Generator) -> None:
        """Start at rest position 0, already at running speed."""
        self._rng = rng
        self._orders = _orders(rng)
        self._travel: list[float] = [0.0]
        self._phases: list[Phase] = ["run"]
        self._speed = 10.0

    def travel(self, frame: int) -> float:
        """Return the travel at a frame, px; 0 at frame 0."""
        self._extend(frame)
        return self._travel[frame]

    def speed(self, frame: int) -> float:
        """Return the movement since the frame before, px."""
        return self.travel(max(frame, 1)) - self._travel[max(frame, 1) - 1]

    def phase(self, frame: int) -> Phase:
        """Return the drive phase that a frame belongs to."""
        self._extend(frame)
        return self._phases[frame]

    def travels(self, frames: int) -> list[float]:
        """Return the travel at the first ``frames`` frames, px."""
        self._extend(frames - 1)
        return self._travel[:frames]

    def _extend(self, frame: int) -> None:
        while len(self._travel) <= frame:
            self._follow(next(self._orders))

    def _follow(self, order: _Order) -> None:
        """Accelerate to the order's speed, then hold it for its time."""
        while self._speed != order.speed:
            change = order.speed - self._speed
            self._speed += float(np.clip(change, -_ACCELERATION, _ACCELERATION))
            self._move(order.phase)
        for _ in range(order.frames):
            self._move(order.phase)

    def _move(self, phase: Phase) -> None:
        ripple = float(np.clip(self._rng.normal(0.0, _JITTER), -0.1, 0.1)) if self._speed else 0.0
        self._travel.append(self._travel[-1] + self._speed + ripple)
        self._phases.append(phase)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A length of belt that is loaded alike; positions grow upstream, px."""

    load: Load
    start: float
    end: float
    parts_per_px: float


def _lengths(rng: Generator) -> Iterator[tuple[Load, float]]:
    """Yield stretches; the first round is wholly in view before frame 900."""
    while True:
        heavy: list[tuple[Load, float]] = [
            ("crowd", float(rng.uniform(3000, 3400))),
            ("empty", float(rng.uniform(2150, 2300))),
        ]
        for choice in rng.permutation(2):
            yield "normal", float(rng.uniform(650, 1000))
            yield heavy[choice]


def stretches(rng: Generator) -> Iterator[Stretch]:
    """Yield the load of the belt, from its first part upstream without end."""
    start = -float(START_X - 100)
    for load, length in _lengths(rng):
        view = {"normal": rng.uniform(28, 44), "crowd": rng.uniform(102, 112), "empty": 0.0}[load]
        yield Stretch(load, start, start + length, float(view) / 1920)
        start += length
