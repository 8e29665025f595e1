"""Confidence bounds of a proportion, from counts alone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_STEPS = 60  # at the most; by then halvings alone would have found it
_CLOSE = 1e-12  # relative change of a bound at which it is found


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a proportion (Clopper and Pearson 1934), 1 without trials.

    Were the proportion larger, so few `hits` in `trials` would come up with less than 1 - `confidence` probability.
    """
    if hits >= trials:
        return 1.0
    if hits == 0:
        return 1.0 - float((1 - confidence) ** (1 / trials))
    return _where(hits, trials, 1 - confidence)


def lower_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided lower bound of a proportion, 0 without hits."""
    return 0.0 if hits == 0 else _where(hits - 1, trials, confidence)


def at_most(hits: int, trials: int, share: float) -> float:
    """Return the probability of at most `hits` in `trials` independent ones of probability `share` each."""
    if share <= 0 or hits >= trials:
        return 1.0
    if share >= 1:
        return 0.0
    return min(1.0, float(_terms(_ways(hits, trials), trials, share).sum()))


def at_least(hits: int, trials: int, share: float) -> float:
    """Return the probability of at least `hits` in `trials`: of at most the rest without."""
    return at_most(trials - hits, trials, 1 - share) if hits else 1.0


def _ways(hits: int, trials: int) -> npt.NDArray[np.float64]:
    """Return (hits + 1,) the logarithm of in how many ways 0, 1, ... `hits` can come up in `trials`."""
    counts = np.arange(1, hits + 1)
    return np.concatenate([[0.0], np.cumsum(np.log((trials - counts + 1) / counts))])


def _terms(ways: npt.NDArray[np.float64], trials: int, share: float) -> npt.NDArray[np.float64]:
    """Return the probability of each number of hits that `ways` is for, at `share` between 0 and 1."""
    counts = np.arange(len(ways))
    return np.asarray(np.exp(ways + counts * math.log(share) + (trials - counts) * math.log1p(-share)))


def _where(hits: int, trials: int, chance: float) -> float:
    """Return the share at which at most `hits` in `trials`, fewer than all, have the probability `chance`.

    Newton's method, and a halving of the interval wherever that would leave it: about eight steps.
    """
    ways, low, high, share = _ways(hits, trials), 0.0, 1.0, (hits + 1) / (trials + 1)
    for _ in range(_STEPS):
        share = share if low < share < high else (low + high) / 2
        terms = _terms(ways, trials, share)
        over = float(terms.sum()) - chance
        low, high = (share, high) if over > 0 else (low, share)
        slope = (trials - hits) * float(terms[-1]) / (1 - share)  # by which it falls
        step = over / slope if slope > 0 else math.inf
        if abs(step) <= _CLOSE * share:
            break
        share += step
    return share
