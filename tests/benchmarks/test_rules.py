"""The judge of the rules: what is right, missing and wrong, and what truth says of some simple walks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import rules_truth as truth
from benchmarks import rules_world as world
from benchmarks.rules import DUE, RULES, Score, play
from benchmarks.rules_truth import Due, Place

ONE, TWO = frozenset([1]), frozenset([2])


def due(first: float, last: float, *, required: bool = True, what: str = "begin", who: frozenset[int] = ONE) -> Due:
    return Due(what, who, first, last, required)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], (0, 2, 0)),
        ([("begin", ONE, 1.5), ("end", ONE, 6.0)], (2, 0, 0)),
        ([("begin", ONE, 2.5), ("end", ONE, 6.0)], (1, 1, 1)),
        ([("begin", TWO, 1.5)], (0, 2, 1)),
        ([("begin", ONE, 1.2), ("begin", ONE, 1.5), ("end", ONE, 6.0)], (2, 0, 1)),
        ([("begin", ONE, 10.0)], (0, 2, 0)),
        ([("begin", ONE, 10.0), ("begin", ONE, 10.5)], (0, 2, 0)),
    ],
)
def test_what_must_come_is_used_once_and_what_may_come_may_come_often(
    told: list[tuple[str, frozenset[int], float]], expected: tuple[int, int, int]
) -> None:
    score = Score()
    score.add([due(1, 2), due(5, 7, what="end"), due(9, 11, required=False)], told)
    assert (score.hits, score.missed, score.wrong) == expected


def test_a_way_in_and_out_is_due_and_one_at_the_border_may_be() -> None:
    y = 300.0
    through = world.Walk(40, y).to(700, y, 100).to(40, y, 100).body(0)
    border = world.Walk(40, y).to(416, y, 100).stay(3).to(40, y, 100).body(0)
    moves = truth.moves(Place.of(world.HALL, [through, border]))
    assert [(one.what, set(one.bodies)) for one in moves if one.required] == [("enter", {0}), ("leave", {0})]
    assert sorted(one.what for one in moves if not one.required and one.bodies == {1}) == ["enter", "leave"]


def test_what_is_near_a_limit_may_be_told_and_what_is_far_beyond_must() -> None:
    y = 300.0
    bodies = [world.Walk(200, y).to(600, y, 100).stay(seconds).to(200, y, 100).body(0) for seconds in (1, 3.8, 12)]
    told = truth.dwell(Place.of(world.HALL, bodies), bodies, 8.0)
    assert {(one.what, *one.bodies) for one in told if one.required} == {("begin", 2), ("end", 2)}
    assert {(one.what, *one.bodies) for one in told if one.bodies == {1}} == {("begin", 1), ("end", 1)}
    assert not [one for one in told if one.bodies == {0}]


@pytest.mark.parametrize("scene", list(world.SCENES))
def test_a_world_gives_the_same_events_again_and_most_of_them_are_due(scene: str) -> None:
    told = []
    for _ in range(2):
        random = np.random.default_rng(9)
        bodies = world.SCENES[scene](random)
        told.append(play(bodies, RULES[scene], random))
    assert told[0].events == told[1].events
    score = Score()
    for rule, what in DUE[scene](bodies).items():
        score.add(what, told[0].of(rule))
    assert score.hits > 1
    assert score.missed + score.wrong <= 0.1 * score.hits
