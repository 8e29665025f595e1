"""Which instance is which track."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.association import assigned, associate
from tests.see.made import Box, instances_of, tracks_of


def square(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def least(cost: npt.NDArray[np.float32], limit: float) -> float:
    """Return the least sum of cost - limit over all sets of pairs, by trying every one."""
    best = 0.0
    rows, columns = cost.shape
    for count in range(1, min(rows, columns) + 1):
        for some in itertools.combinations(range(rows), count):
            for others in itertools.permutations(range(columns), count):
                best = min(best, sum(cost[r, c] - limit for r, c in zip(some, others, strict=True)))
    return best


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 1.0), st.integers(0, 2**32 - 1))
def test_no_other_pairs_are_better(rows: int, columns: int, limit: float, seed: int) -> None:
    cost = np.random.default_rng(seed).random((rows, columns)).astype(np.float32)
    pairs = assigned(cost, limit)
    at, to = pairs.T
    assert at.tolist() == sorted(set(at.tolist()))
    assert len(set(to.tolist())) == len(pairs)
    assert (cost[at, to] < limit).all()
    np.testing.assert_allclose((cost[at, to] - limit).sum(), least(cost, limit), atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(0, 8), st.integers(0, 8), st.booleans())
def test_no_track_and_no_instance_is_in_two_pairs(seed: int, tracks: int, instances: int, rigid: bool) -> None:
    random = np.random.default_rng(seed)

    def boxes(count: int) -> list[Box]:
        return [square(random.uniform(0, 200), random.uniform(0, 200), random.uniform(5, 60)) for _ in range(count)]

    usable = np.flatnonzero(random.random(instances) < 0.8)
    made = instances_of(boxes(instances), scores=random.random(instances).tolist())
    pairs = associate(tracks_of(boxes(tracks)), made, usable, rigid=rigid, least_score=0.5).tolist()
    assert pairs == sorted(pairs)
    assert len({row for row, _ in pairs}) == len({i for _, i in pairs}) == len(pairs)
    assert {i for _, i in pairs} <= set(usable.tolist())


def test_of_two_pairings_the_cheaper_on_the_whole_is_made() -> None:
    known = tracks_of([square(100, 100), square(130, 100)])
    found = instances_of([square(116, 100), square(146, 100)])  # the second is nearest to the first
    assert associate(known, found, np.arange(2), rigid=False).tolist() == [[0, 0], [1, 1]]


def test_the_same_class_goes_before_a_little_distance() -> None:
    known = tracks_of([square(100, 100)], classes=[2])
    found = instances_of([square(101, 100), square(103, 100)], classes=[1, 2])
    assert associate(known, found, np.arange(2), rigid=False).tolist() == [[0, 1]]


def test_what_is_far_away_is_another_object() -> None:
    known = tracks_of([square(100, 100)])
    assert not len(associate(known, instances_of([square(300, 100)]), np.arange(1), rigid=False))
    assert not len(associate(known, instances_of([square(125, 100)]), np.arange(1), rigid=True))


def test_the_longer_somebody_was_unseen_the_farther_off_they_may_be() -> None:
    found = instances_of([square(135, 100)])
    for waited, known in ((1, 0), (12, 1)):
        tracks = tracks_of([square(100, 100)], since_look=[waited])
        assert len(associate(tracks, found, np.arange(1), rigid=False)) == known


def test_boxes_that_hardly_overlap_continue_a_track_only_where_somebody_is_sure() -> None:
    found = instances_of([square(120, 100)], scores=[0.4])
    assert len(associate(tracks_of([square(100, 100)]), found, np.arange(1), rigid=False)) == 1
    assert not len(associate(tracks_of([square(100, 100)]), found, np.arange(1), rigid=False, least_score=0.5))


def test_who_is_confirmed_comes_before_who_is_new_where_each_moves_by_itself() -> None:
    known = tracks_of([square(100, 100), square(110, 100)], ids=[7, 0])
    found = instances_of([square(111, 100)])
    assert associate(known, found, np.arange(1), rigid=False).tolist() == [[0, 0]]
    assert associate(known, found, np.arange(1), rigid=True).tolist() == [[1, 0]]
