"""What a model is worth, and when another way to use it is clearly better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Head, Model, TensorSpec
from export.heldout import true_instances
from export.metrics import confusion
from export.skill import LONGEST, best_order, clearly_better, frame_scores, painted, skill

MODEL = Model(["background", "part"], Head("centers"), TensorSpec("image", (8, 8, 3), "uint8"), [], [])


def test_the_truth_is_worth_one_and_one_class_everywhere_nothing() -> None:
    truth = np.repeat(np.asarray([0, 0, 0, 1, 2], np.uint8), 20).reshape(10, 10)
    assert skill(confusion(truth, truth, 4)) == 1
    assert skill(confusion(truth, truth * 0, 4)) == pytest.approx(0)
    assert skill(confusion(truth, truth * 0 + 3, 4)) < 0  # type: ignore[operator]
    assert skill(confusion(truth * 0, truth, 4)) is None


def test_classes_that_the_truth_has_not_cost_only_where_they_cover_others() -> None:
    truth = np.asarray([[0, 0, 1, 1]], np.uint8)
    assert frame_scores([confusion(truth, np.asarray([[0, 2, 1, 1]], np.uint8), 3)])[0] == 0.75
    assert frame_scores([confusion(truth * 0 + 255, truth, 3)])[0] == 1


@given(st.permutations(range(1, 5)), st.integers(0, 2**32 - 1))
def test_an_order_is_found_whatever_it_is(order: list[int], seed: int) -> None:
    numbers = np.asarray([0, *order])
    truth = np.random.default_rng(seed).integers(0, 5, (40, 40)).astype(np.uint8)
    found = best_order(confusion(truth, numbers[truth].astype(np.uint8), 5))
    if order == [1, 2, 3, 4]:
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == numbers.tolist()


@given(st.integers(0, 2**32 - 1))
def test_a_model_that_guesses_is_in_no_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, guess = random.integers(0, 5, (2, 60, 60)).astype(np.uint8)
    assert best_order(confusion(truth, guess, 5)) is None


def test_clearly_better_is_much_and_nearly_always() -> None:
    own = np.asarray([0.5, 0.6, 0.5, 0.7])
    assert clearly_better(own + 0.06, own)
    assert not clearly_better(own + 0.04, own)
    assert not clearly_better(own + 0.06, own, 0.1)
    assert not clearly_better(own + np.asarray([0.4, -0.1, 0.2, -0.1]), own)
    assert not clearly_better(own[:2] + 0.5, own[:2])


def test_objects_are_painted_where_they_lie() -> None:
    ids = np.zeros((100, 2 * LONGEST), np.uint16)
    ids[10:30, 40:80] = 7
    found = painted(true_instances(ids, None, {}, MODEL), (2 * LONGEST, 100))
    assert found.shape == (50, LONGEST)
    assert (np.argwhere(found).min(axis=0), np.argwhere(found).max(axis=0))[0].tolist() == [5, 20]
    assert found.sum() == 10 * 20
