"""The filter of free objects against the textbook's, one object and one axis at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.kalman import (
    BLOB_NOISE,
    FIRST_SPEED,
    LOOK_NOISE,
    UNREST,
    first_covariances,
    later,
    measured,
)


def textbook(
    steps: list[tuple[int, float | None]], noise: float
) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """Return state and covariances after the first look at 0 and `steps`: frames, and what is measured then or None."""
    state, covariance = np.zeros(2), np.diag([LOOK_NOISE**2, FIRST_SPEED**2])
    seen = np.asarray([[1.0, 0.0]])
    history = []
    for frames, value in steps:
        move = np.asarray([[1.0, frames], [0.0, 1.0]])
        unrest = UNREST**2 * np.asarray([[frames**3 / 3, frames**2 / 2], [frames**2 / 2, frames]])
        state, covariance = move @ state, move @ covariance @ move.T + unrest
        if value is not None:
            gain = covariance @ seen.T / (seen @ covariance @ seen.T + noise**2)
            state = state + gain[:, 0] * (value - state[0])
            covariance = (np.eye(2) - gain @ seen) @ covariance
        history.append(covariance)
    return state, history


@given(
    st.lists(st.tuples(st.integers(1, 9), st.none() | st.floats(-5, 5)), min_size=1, max_size=30),
    st.sampled_from([LOOK_NOISE, BLOB_NOISE]),
)
def test_it_is_the_filter_of_the_textbook(steps: list[tuple[int, float | None]], noise: float) -> None:
    covariances, place, speed = first_covariances(1), 0.0, 0.0
    expected, history = textbook(steps, noise)
    for (frames, value), covariance in zip(steps, history, strict=True):
        covariances, place = later(covariances, frames), place + speed * frames
        if value is not None:
            gains, covariances = measured(covariances, noise)
            off = value - place
            place, speed = place + float(gains[0, 0]) * off, speed + float(gains[1, 0]) * off
        np.testing.assert_allclose(
            covariances[:, 0], covariance[[0, 0, 1], [0, 1, 1]], rtol=2e-2, atol=2e-4 * max(1, covariance.max())
        )
    np.testing.assert_allclose([place, speed], expected, rtol=2e-2, atol=2e-2)


def test_two_looks_give_the_speed_and_more_looks_give_it_better() -> None:
    random, covariances = np.random.default_rng(1), first_covariances(400)
    place, speed, errors = random.normal(0, LOOK_NOISE, 400), np.zeros(400), []
    for frame in range(1, 20):
        covariances, place = later(covariances, 1), place + speed
        gains, covariances = measured(covariances, LOOK_NOISE)
        off = 0.2 * frame + random.normal(0, LOOK_NOISE, 400) - place
        place, speed = place + gains[0] * off, speed + gains[1] * off
        errors.append(float(np.std(speed - 0.2)))
    assert errors[0] < 2 * LOOK_NOISE
    assert errors[-1] < errors[0] / 2


@pytest.mark.parametrize("gap", [5, 20, 60])
def test_after_a_long_gap_a_look_says_how_fast_it_was_all_the_time(gap: int) -> None:
    gains, _ = measured(later(first_covariances(1), gap), LOOK_NOISE)
    assert float(gains[0, 0]) == pytest.approx(1, abs=0.01)
    assert float(gains[1, 0]) * gap == pytest.approx(1, abs=0.3)


def test_covariances_stay_small_and_positive_however_often_it_is_looked_at() -> None:
    covariances = first_covariances(1)
    for _ in range(100_000):
        _, covariances = measured(later(covariances, 1), LOOK_NOISE)
    assert (covariances > 0).all()
    assert float(covariances[0, 0]) < LOOK_NOISE**2
