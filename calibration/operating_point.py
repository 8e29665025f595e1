"""Where to put a threshold so that few enough of what is bad escapes, and how sure that is.

The threshold is an order statistic of the bad ones' scores, so the bound of Clopper and Pearson (1934) holds for it
although it was chosen on the same samples: the share of all bad parts that score below the (k + 1)-th smallest of n
is Beta(k + 1, n - k) distributed, whatever the scores are (Wilks 1941, "Determination of sample sizes for setting
tolerance limits"), and that lies below the bound of k in n with the confidence asked for. Samples must be independent:
the same part seen twice is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.proportion import upper_bound

Scores = npt.NDArray[np.float64]  # (n,): what is compared with the threshold; -inf: not found at all
MOST_MISSING = 1_000_000  # samples beyond which nobody waits for them


@dataclass(frozen=True, slots=True)
class Rate:
    """A share that was seen, and what it is at the most."""

    hits: int
    of: int
    bound: float  # one-sided upper


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold: what scores as much or more is bad."""

    threshold: float
    escapes: Rate  # bad ones below it
    overkill: Rate  # good ones at or above it


@dataclass(frozen=True, slots=True)
class NotEnough:
    """Why there is no threshold that keeps the budget."""

    bad: int  # samples there were
    lost: int  # of them, with no score that any threshold would find
    missing: int | None  # more samples that it takes if as many of them are lost; None: no number is enough


def choose(bad: Scores, good: Scores, budget: float, confidence: float = 0.95) -> OperatingPoint | NotEnough:
    """Return the highest threshold at which at most a share `budget` of the bad escapes, with `confidence`.

    The highest, for it kills the fewest of the good. Only thresholds above 0 are chosen: a score of 0 shows nothing.
    """
    ranked = np.sort(np.asarray(bad, np.float64))
    count, lost = len(ranked), int((ranked <= 0).sum())
    allowed = _allowed(count, budget, confidence)
    if allowed < lost:
        return NotEnough(count, lost, _missing(count, lost, budget, confidence))
    threshold = float(ranked[allowed])
    escapes = int((ranked < threshold).sum())
    killed = int((np.asarray(good) >= threshold).sum())
    return OperatingPoint(
        threshold,
        Rate(escapes, count, upper_bound(allowed, count, confidence)),
        Rate(killed, len(good), upper_bound(killed, len(good), confidence) if len(good) else 1.0),
    )


def _allowed(count: int, budget: float, confidence: float) -> int:
    """Return how many of `count` may escape so that the bound stays within `budget`; -1: not even none."""
    low, high = -1, count - 1  # the bound of `low` is within the budget, as far as is known
    while low < high:
        middle = (low + high + 1) // 2
        if upper_bound(middle, count, confidence) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def _missing(count: int, lost: int, budget: float, confidence: float) -> int | None:
    """Return how many more samples it takes if the share of those lost stays as it is, or None."""
    share = lost / count if count else 0.0
    if share >= budget:
        return None
    low, high = count, max(1, count)
    while upper_bound(math.ceil(share * high), high, confidence) > budget:
        low, high = high, high * 2
        if high > MOST_MISSING:
            return None
    while low + 1 < high:  # not quite monotone, for the lost ones are whole: near enough
        middle = (low + high) // 2
        kept = upper_bound(math.ceil(share * middle), middle, confidence) <= budget
        low, high = (low, middle) if kept else (middle, high)
    return high - count
