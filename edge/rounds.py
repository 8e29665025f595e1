"""How long rounds take: whether they keep a limit, for how long they are calm, and what a change has given."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.proportion import at_least

WINDOW = 512  # rounds over which the 99th percentile runs
MOST_LATE = 0.01  # share of the rounds that may take longer than the limit: it is one for the 99th percentile
SURE = 0.01  # chance of so many late rounds since the last change, were the limit kept, below which it is not
SURE_NOW = 1e-3  # the same for the newest 8 alone: they are asked anew with every round
SURE_STILL = 0.1  # the same soon after a step down: a load that was there before it is likely there still
ENOUGH = 8  # rounds that can decide a step
FEW, FEW_S = 4, 1.0  # so many can if they took so long together: 8 rounds of a slow machine are too long a time
BEFORE, AFTER = 5, 16  # rounds whose medians tell what a step costs


class Rounds:
    """How long the rounds since the last change took, the newest of them, in milliseconds."""

    def __init__(self) -> None:
        self.ms: deque[float] = deque(maxlen=WINDOW)
        self.count = 0  # all since the last change
        self.since_s = 0.0  # when it was

    def begin(self, now_s: float) -> None:
        """Forget them all: something has changed."""
        self.ms.clear()
        self.count, self.since_s = 0, now_s

    def add(self, ms: float) -> None:
        """Note one more."""
        self.ms.append(ms)
        self.count += 1

    def newest(self, count: int) -> list[float]:
        """Return the last `count` of them."""
        return list(self.ms)[-count:] if count else []

    def late(self, now_s: float, limit_ms: float, sure: float = SURE) -> float:
        """Return the p99 of the newest 8 or of all of them, where one of them is surely over the limit, 0 elsewhere.

        `sure` is how sure all of them have to be.
        """
        if not self.ms or self.ms[-1] <= limit_ms:  # only a late round is evidence
            return 0.0
        if len(self.ms) < ENOUGH and not (len(self.ms) >= FEW and now_s - self.since_s >= FEW_S):
            return 0.0
        some = ((self.newest(ENOUGH), SURE_NOW), (list(self.ms), sure))
        return next((p99(rows) for rows, enough in some if _surely_late(rows, limit_ms, enough)), 0.0)


@dataclass(slots=True)
class Calm:
    """For how long no more than 1 % of the rounds were loud; one alone never counts."""

    since_s: float = 0.0
    rounds: int = 0
    loud: int = 0

    def add(self, now_s: float, loud: bool) -> None:
        """Note a round that ended at `now_s`, s monotonic."""
        self.rounds += 1
        self.loud += loud
        if self.loud > max(1, MOST_LATE * self.rounds):
            self.begin(now_s)

    def begin(self, now_s: float) -> None:
        """Begin anew."""
        self.since_s, self.rounds, self.loud = now_s, 0, 0


@dataclass(slots=True)
class Costs:
    """What the steps have been measured to give: median rounds right before and right after each change."""

    given_ms: dict[str, float] = field(default_factory=dict)  # by the name of the step, the newest measurement
    factors: dict[str, float] = field(default_factory=dict)  # by which rounds take longer without it, at least 1
    last_ms: float | None = None  # what the last change gave; negative where it cost
    _open: tuple[Sequence[str], bool, float] | None = None  # steps that were taken (True) or given back, median before

    def open(self, names: Sequence[str], newest: Sequence[float], *, down: bool) -> None:
        """Begin to measure a change by one or several steps, before which the `newest` rounds took so long."""
        self._open, self.last_ms = (names, down, float(np.median(newest))), None

    def close(self, first: Sequence[float]) -> None:
        """End the measurement, where one is open, with the `first` rounds after the change."""
        if self._open is None or len(first) < FEW:
            return
        (names, down, before), after = self._open, float(np.median(first))
        more, less = (before, after) if down else (after, before)
        for name in names:  # what each of several gave nobody knows: as much as the others, until it is measured alone
            if len(names) == 1 or name not in self.factors:
                self.given_ms[name] = round((more - less) / len(names), 2)
                self.factors[name] = max(1.0, more / max(less, 1e-3)) ** (1 / len(names))
        self.last_ms, self._open = round(before - after, 2), None


def p99(rounds_ms: Iterable[float]) -> float:
    """Return what 99 % of the rounds keep, of fewer than 200 the largest but one; 0 without any."""
    slowest = sorted(rounds_ms, reverse=True)
    return slowest[min(max(1, int(len(slowest) * MOST_LATE)), len(slowest) - 1)] if slowest else 0.0


def _surely_late(rows: Sequence[float], limit_ms: float, sure: float) -> bool:
    """Tell whether more than 1 % of rounds like these take longer than the limit; `sure` is the chance of an error."""
    late = sum(ms > limit_ms for ms in rows)
    if late <= max(1, MOST_LATE * len(rows)):  # one alone never counts
        return False
    return len(rows) == WINDOW or at_least(late, len(rows), MOST_LATE) < sure
