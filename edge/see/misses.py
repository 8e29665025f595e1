"""How many of the objects that the audit judged were missed: per class and size, with bounds and an alarm.

Bounds are those of Clopper and Pearson (`edge/proportion.py`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from edge.proportion import at_least, lower_bound, upper_bound

SIZES = {"small": 32.0**2, "medium": 96.0**2, "large": float("inf")}  # frame pixels of mask below which, as COCO has it
WINDOW = 2000  # objects of each class and size over which the estimate runs
SUSPICIOUS = 0.05  # chance of so many misses, were the limit kept, below which tiles are as frequent as can be
ALARMING = 1e-5  # the same for an alarm, which is asked anew with every object: three of three, with a limit of 0.02
CALM_OBJECTS = 30  # that end an alarm if no more of them than the limit are missed


def estimate(hits: int, trials: int) -> dict[str, Any]:
    """Return how many of `trials` objects were missed, `hits`, and the 95 % bounds of that share."""
    bounds = {"lower": lower_bound(hits, trials), "upper": upper_bound(hits, trials)}
    rate = hits / trials if trials else 0.0
    return {"objects": trials, "missed": hits, "rate": round(rate, 5), **{k: round(v, 5) for k, v in bounds.items()}}


@dataclass(slots=True)
class Group:
    """The newest objects of one class or size."""

    missed: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    hits: int = 0  # of `missed` that are true
    suspect: bool = False
    alarm: bool = False
    told: dict[str, Any] = field(default_factory=lambda: estimate(0, 0))

    def add(self, missed: bool, limit: float) -> bool:
        """Count an object; tell whether the alarm begins or ends with it."""
        if len(self.missed) == WINDOW:
            self.hits -= self.missed[0]
        self.missed.append(missed)
        self.hits += missed
        chance = at_least(self.hits, len(self.missed), limit)  # of so many misses, were the limit kept
        self.suspect = chance < SUSPICIOUS
        calm = len(self.missed) >= CALM_OBJECTS and self.hits <= limit * len(self.missed)
        turns = calm if self.alarm else chance < ALARMING
        self.alarm ^= turns
        self.told = estimate(self.hits, len(self.missed))
        return turns

    def clear(self) -> None:
        """Begin a new count."""
        self.missed.clear()
        self.hits, self.suspect, self.told = 0, False, estimate(0, 0)
