"""Thresholds that keep a budget of escapes, whatever the scores are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.operating_point import NotEnough, OperatingPoint, choose
from edge.proportion import upper_bound

scores = st.lists(st.floats(0, 1000, width=32), max_size=400)


@settings(max_examples=200, deadline=None)
@given(bad=scores, good=scores, budget=st.floats(0.005, 0.5), confidence=st.floats(0.5, 0.99))
def test_the_budget_is_kept_or_the_reason_given(
    bad: list[float], good: list[float], budget: float, confidence: float
) -> None:
    point = choose(np.asarray(bad), np.asarray(good), budget, confidence)
    if isinstance(point, NotEnough):
        lost = sum(score <= 0 for score in bad)
        assert (point.bad, point.lost) == (len(bad), lost)
        assert not bad or upper_bound(lost, len(bad), confidence) > budget
        return
    below = sum(score < point.threshold for score in bad)
    assert point.threshold > 0
    assert point.escapes.hits == below
    assert upper_bound(below, len(bad), confidence) <= point.escapes.bound <= budget
    assert point.overkill.hits == sum(score >= point.threshold for score in good)
    higher = [score for score in bad if score > point.threshold]
    if higher:  # none higher keeps the budget
        assert upper_bound(sum(score < min(higher) for score in bad), len(bad), confidence) > budget


def test_no_escape_in_59_is_a_share_of_5_percent_at_the_most() -> None:
    """The rule of tables: 1 - 0.95 ** 59 > 0.95."""
    enough = choose(np.arange(1.0, 60), np.zeros(10), 0.05)
    assert isinstance(enough, OperatingPoint)
    assert (enough.threshold, enough.escapes.hits) == (1.0, 0)
    short = choose(np.arange(1.0, 51), np.zeros(10), 0.05)
    assert short == NotEnough(bad=50, lost=0, missing=9)


def test_lost_ones_use_up_the_budget() -> None:
    found = np.arange(1.0, 91)
    assert isinstance(choose(np.append(found, -np.inf), np.zeros(0), 0.1), OperatingPoint)
    lost = choose(np.concatenate([found, np.full(10, -np.inf)]), np.zeros(0), 0.1)
    assert lost == NotEnough(bad=100, lost=10, missing=None)  # a tenth of all: the budget itself, never below it


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_as_many_more_as_it_says_are_enough(lost: int) -> None:
    bad = np.concatenate([np.arange(1.0, 21 + 15 * (lost > 1)), np.full(lost, -np.inf)])
    answer = choose(bad, np.zeros(0), 0.12)
    assert isinstance(answer, NotEnough)
    assert answer.missing is not None
    total = len(bad) + answer.missing
    then_lost = int(np.ceil(lost / len(bad) * total))
    assert upper_bound(then_lost, total) <= 0.12


def test_the_bound_holds_for_the_threshold_that_was_chosen_on_the_same_samples() -> None:
    """Of many thresholds chosen so, about one in twenty lets more escape than the budget, and no more."""
    rng = np.random.default_rng(0)
    budget, over, trials = 0.05, 0, 2000
    for _ in range(trials):
        point = choose(rng.exponential(size=120), np.zeros(1), budget)
        assert isinstance(point, OperatingPoint)
        over += 1 - np.exp(-point.threshold) > budget
    assert upper_bound(0, 59) <= budget
    assert over / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert over > 0
