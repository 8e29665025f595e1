"""Confidence bounds of a proportion, from counts alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_HALVINGS = 48  # of the interval in which a bound lies: below 1e-14


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a proportion (Clopper and Pearson 1934), 1 without trials.

    Were the proportion larger, so few `hits` in `trials` would come up with less than 1 - `confidence` probability.
    """
    if hits >= trials:
        return 1.0
    if hits == 0:
        return 1.0 - float((1 - confidence) ** (1 / trials))
    return _where(lambda share: at_most(hits, trials, share) > 1 - confidence)


def lower_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided lower bound of a proportion, 0 without hits."""
    return 0.0 if hits == 0 else _where(lambda share: at_least(hits, trials, share) < 1 - confidence)


def at_most(hits: int, trials: int, share: float) -> float:
    """Return the probability of at most `hits` in `trials` independent ones of probability `share` each."""
    if share <= 0 or hits >= trials:
        return 1.0
    if share >= 1:
        return 0.0
    counts = np.arange(1, hits + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((trials - counts + 1) / counts))])
    logs = ways + np.arange(hits + 1) * math.log(share) + (trials - np.arange(hits + 1)) * math.log1p(-share)
    return min(1.0, float(np.exp(logs).sum()))


def at_least(hits: int, trials: int, share: float) -> float:
    """Return the probability of at least `hits` in `trials`: of at most the rest without."""
    return at_most(trials - hits, trials, 1 - share) if hits else 1.0


def _where(below: Callable[[float], bool]) -> float:
    """Return the share, in 0..1, up to which `below` holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high
