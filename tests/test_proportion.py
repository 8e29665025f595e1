"""Bounds of proportions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.proportion import at_least, at_most, lower_bound, upper_bound


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 400))
    return draw(st.integers(0, trials)), trials


def exactly(hits: int, trials: int, share: float) -> float:
    return math.comb(trials, hits) * share**hits * (1 - share) ** (trials - hits)


@given(counts(), st.floats(0.001, 0.999))
def test_probabilities_are_the_sums_of_the_binomial_distribution(count: tuple[int, int], share: float) -> None:
    hits, trials = count
    below = math.fsum(exactly(k, trials, share) for k in range(hits + 1))
    above = math.fsum(exactly(k, trials, share) for k in range(hits, trials + 1))
    assert at_most(hits, trials, share) == pytest.approx(below, rel=1e-9, abs=1e-12)
    assert at_least(hits, trials, share) == pytest.approx(above, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_a_bound_is_where_what_was_seen_becomes_too_improbable(count: tuple[int, int], confidence: float) -> None:
    hits, trials = count
    low, high = lower_bound(hits, trials, confidence), upper_bound(hits, trials, confidence)
    assert 0 <= low <= hits / trials <= high <= 1
    if hits < trials:
        assert at_most(hits, trials, high) == pytest.approx(1 - confidence, rel=1e-6)
    if hits:
        assert at_least(hits, trials, low) == pytest.approx(1 - confidence, rel=1e-6)


def test_published_bounds() -> None:
    assert upper_bound(0, 5990) == pytest.approx(1 - 0.05 ** (1 / 5990))  # the rule of three: 3 / n
    assert upper_bound(0, 5990) == pytest.approx(0.0005, rel=1e-3)
    assert (lower_bound(0, 10), upper_bound(10, 10)) == (0.0, 1.0)
    assert (lower_bound(0, 0), upper_bound(0, 0)) == (0.0, 1.0)
    # two-sided 95 % interval of 10 in 100 by Clopper and Pearson: 0.0490 to 0.1762
    assert lower_bound(10, 100, 0.975) == pytest.approx(0.0490, abs=5e-5)
    assert upper_bound(10, 100, 0.975) == pytest.approx(0.1762, abs=5e-5)
