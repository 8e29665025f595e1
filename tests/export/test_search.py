"""The search for the fewest float layers: what is asked, how often, and what is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.bounds import Loss
from export.search import Search, Trial, by_worth, fewest, search, times_as_fast, told


def loss(lost: float, most: float = 0.1) -> Loss:
    return Loss("ap_lost", "mask AP", 0.5, 0.5 - lost, most)


@given(st.integers(1, 300).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))))
def test_bisection_finds_the_fewest_and_asks_seldom(numbers: tuple[int, int]) -> None:
    count, truth = numbers
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number >= truth

    assert fewest(count, holds) == truth
    assert len(asked) <= math.ceil(math.log2(count))
    assert 0 not in asked
    assert count not in asked


def judge_with(needed: dict[str, int], asked: list[tuple[str, int]]) -> Callable[[str, Sequence[str]], Trial]:
    """Return a judge whose bounds hold from so many float layers on, by method; the loss falls with each."""

    def judged(method: str, layers: Sequence[str]) -> Trial:
        asked.append((method, len(layers)))
        short = needed[method] - len(layers)
        return Trial(method, len(layers), b"", [loss(0.1 + short * 0.01 if short > 0 else 0.05)])

    return judged


def test_the_first_method_that_will_do_ends_it() -> None:
    asked: list[tuple[str, int]] = []

    def never(_: str) -> dict[str, float]:
        raise AssertionError("nothing has to be ranked")

    found = search(["mse", "minmax", "entropy"], judge_with({"mse": 3, "minmax": 0, "entropy": 0}, asked), never)
    assert asked == [("mse", 0), ("minmax", 0)]
    assert found.chosen is found.trials[-1]
    assert found.noise == {}


def test_the_nearest_method_is_bisected() -> None:
    asked: list[tuple[str, int]] = []
    layers = {f"layer{i}": 1.0 / (i + 1) for i in range(64)}
    found = search(["mse", "minmax"], judge_with({"mse": 40, "minmax": 11}, asked), lambda _: layers)
    assert found.chosen is not None
    assert (found.chosen.method, found.chosen.float_layers) == ("minmax", 11)
    assert asked[:2] == [("mse", 0), ("minmax", 0)]
    assert {method for method, _ in asked[2:]} == {"minmax"}
    assert len(asked) <= 2 + 6
    assert found.noise == layers


def test_none_is_chosen_where_all_layers_would_be_float() -> None:
    found = search(["mse"], judge_with({"mse": 9}, []), lambda _: {f"layer{i}": 1.0 for i in range(8)})
    assert found.chosen is None
    assert found.nearest.float_layers == 7


def test_layers_are_ranked_by_what_they_are_worth() -> None:
    noise = {"dear": 1.0, "cheap": 0.6, "quiet": 0.001, "free": 0.6}
    order = by_worth(noise, {"dear": 0.8, "cheap": 0.05, "quiet": 0.1, "free": 0.05})
    assert list(order) == ["cheap", "free", "dear", "quiet"]
    assert order == noise


def test_the_front_is_what_nothing_beats() -> None:
    def trial(ms: float, lost: float) -> Trial:
        return Trial("mse", 0, b"", [loss(lost)], ms)

    fast, good, slow, middle = trial(1.0, 0.3), trial(4.0, 0.0), trial(5.0, 0.1), trial(2.0, 0.2)
    found = Search([slow, good, fast, middle, trial(2.5, 0.25)])
    assert found.front() == [fast, middle, good]
    said = told(found)
    assert [plan["on_front"] for plan in said["plans"]] == [False, True, True, True, False]  # type: ignore[attr-defined]


def test_speed_is_compared_round_by_round() -> None:
    slow, fast = [10.0, 30.0, 12.0], [5.0, 10.0, 6.0]  # the second round was disturbed for both
    assert times_as_fast(slow, fast) == 2.0
    made = Search([Trial("mse", 0, b"", [])])
    made.times({"float": slow, "0": fast})
    assert (made.float_ms, made.trials[0].ms, made.trials[0].speedup) == (12.0, 6.0, 2.0)


def test_a_bound_says_what_was_measured() -> None:
    assert loss(0.1).holds
    assert not loss(0.2).holds
    assert str(loss(0.2)) == "mask AP is 0.3000 instead of 0.5000: 0.2000 lost, bounds.ap_lost is 0.1"
    assert loss(0.3).lost == pytest.approx(0.3)
