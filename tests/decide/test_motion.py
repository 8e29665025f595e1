"""How far the belt has moved, from two neighbouring label maps."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.decide import motion
from edge.decide.motion import REACH, SURE, BeltMotion, FreeMotion, align, common_drift
from edge.types import Image

WIDTH, HEIGHT = 240, 136  # label pixels
SCALE = (4.0, 4.0)  # frame pixels per label pixel
FINE = 4  # how much finer parts are drawn than label pixels


def axis_of(cells: npt.NDArray[np.float64]) -> motion.Axis:
    """Return the profile with these cells along its first axis, and others along the second."""
    return motion.Profile(np.concatenate([cells, cells[:1] + 3]), (len(cells), 1)).along(0)


def belt(x: float, y: float = 0.0, seed: int = 1, count: int = 12, spread: float = 1.5, gap: float = 0.0) -> Image:
    """Return the foreground of a belt with parts of many sizes, moved by (x, y) label pixels.

    The parts lie within `spread` times the picture's size round its middle, or in a row with `gap` between them.
    """
    random = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT * FINE, WIDTH * FINE), np.uint8)
    for i in range(count):
        radius = 8.0 if gap else random.uniform(5, 14)
        spot = (0.5 + random.uniform(-spread, spread, 2) / 2) * (WIDTH, HEIGHT)
        u, v = (gap * i - WIDTH, 60.0) if gap else spot
        cv2.circle(picture, (round((u + x) * FINE), round((v + y) * FINE)), round(radius * FINE), (1,), -1)
    small = cv2.resize(picture * 255, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small > 127, np.uint8)


@settings(deadline=None, max_examples=60)
@given(st.integers(-24, 24), st.integers(-12, 12), st.integers(0, 2**32 - 1))
def test_a_shift_by_whole_label_pixels_is_exact_within_half_a_frame_pixel(x: int, y: int, seed: int) -> None:
    belt_motion = BeltMotion()
    belt_motion.step(belt(0, 0, seed, 8, 0.5), SCALE, 1)
    shift = belt_motion.step(belt(x, y, seed, 8, 0.5), SCALE, 1)
    assert shift is not None
    assert shift.tolist() == pytest.approx([4 * x, 4 * y], abs=0.5)


@settings(deadline=None, max_examples=40)
@given(st.floats(-24, 24), st.floats(-12, 12), st.integers(0, 2**32 - 1))
def test_any_shift_is_found_within_half_a_label_pixel(x: float, y: float, seed: int) -> None:
    belt_motion = BeltMotion()
    belt_motion.step(belt(0, 0, seed, 8, 0.5), SCALE, 1)
    shift = belt_motion.step(belt(x, y, seed, 8, 0.5), SCALE, 1)
    assert shift is not None
    assert shift.tolist() == pytest.approx([4 * x, 4 * y], abs=2)


def test_a_steady_belt_is_followed_within_half_a_pixel_on_the_whole() -> None:
    belt_motion, gone = BeltMotion(), 0.0
    for i in range(40):
        shift = belt_motion.step(belt(2.3 * i - 40, seed=5, count=24, spread=3), SCALE, 1)
        assert shift is not None
        gone += float(shift[0]) if i else 0.0
    assert gone / 39 == pytest.approx(2.3 * 4, abs=0.5 / 4)


def test_labels_of_another_size_carry_the_shift_on_and_are_aligned_from_then_on() -> None:
    belt_motion, shifts = BeltMotion(), []
    for i in range(12):
        found = belt(2.0 * i - 20, seed=5, count=24, spread=3)
        smaller = 3 <= i < 7
        if smaller:
            found = np.asarray(cv2.resize(found, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST), np.uint8)
        shift = belt_motion.step(found, (8.0, 8.0) if smaller else SCALE, 1)
        assert shift is not None
        shifts.append(float(shift[0]))
    assert shifts[3] == shifts[2]
    assert shifts[7] == shifts[6]
    assert shifts[1:] == pytest.approx([8.0] * 11, abs=1.0)


@pytest.mark.parametrize("path", [[0, 4, 8, 8, 8, 8], [0, 4, 8, 4, 0, -4], [0, 0, 0, 6, 12, 12, 6]])
def test_stop_and_reverse_are_seen_at_once(path: list[int]) -> None:
    belt_motion = BeltMotion()
    shifts = [belt_motion.step(belt(x), SCALE, 1) for x in path]
    found = [float(shift[0]) for shift in shifts if shift is not None]
    assert found[1:] == pytest.approx([4 * (b - a) for a, b in itertools.pairwise(path)], abs=0.5)


def test_an_uneven_scale_gives_frame_pixels_on_both_axes() -> None:
    belt_motion = BeltMotion()
    belt_motion.step(belt(0, 0), (4.0, 2.0), 1)
    shift = belt_motion.step(belt(5, -3), (4.0, 2.0), 1)
    assert shift is not None
    assert shift.tolist() == pytest.approx([20, -6], abs=0.5)


def test_frames_that_were_dropped_are_part_of_the_shift() -> None:
    belt_motion = BeltMotion()
    belt_motion.step(belt(0), SCALE, 1)
    shift = belt_motion.step(belt(9), SCALE, 3)
    assert shift is not None
    assert float(shift[0]) == pytest.approx(36, abs=0.5)
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    carried = belt_motion.step(empty, SCALE, 1)
    assert carried is not None
    assert float(carried[0]) == pytest.approx(12, abs=0.2)


def test_an_empty_belt_keeps_its_speed() -> None:
    belt_motion, empty = BeltMotion(), np.zeros((HEIGHT, WIDTH), np.uint8)
    assert belt_motion.step(empty, SCALE, 1) == pytest.approx([0, 0])
    belt_motion.step(belt(0), SCALE, 1)
    belt_motion.step(belt(4), SCALE, 1)
    for _ in range(5):
        assert belt_motion.step(empty, SCALE, 1) == pytest.approx([16, 0], abs=0.5)
    belt_motion.step(belt(10), SCALE, 1)
    assert belt_motion.step(belt(12), SCALE, 1) == pytest.approx([8, 0], abs=0.5)


def test_a_full_belt_gives_no_wild_shift() -> None:
    belt_motion, full = BeltMotion(), np.ones((HEIGHT, WIDTH), np.uint8)
    for _ in range(3):
        assert belt_motion.step(full, SCALE, 1) == pytest.approx([0, 0])


def test_parts_in_a_regular_row_do_not_jump_by_a_whole_gap() -> None:
    """Parts 20 label pixels apart at 9 a frame: a shift by -11 would look nearly as good."""
    belt_motion = BeltMotion()
    shifts = []
    for i in range(12):
        shift = belt_motion.step(belt(4 + min(i, 5) + 9.0 * max(0, i - 5), gap=20.0, count=40), SCALE, 1)
        assert shift is not None
        shifts.append(float(shift[0]))
    assert shifts[1:6] == pytest.approx([4] * 5, abs=0.5)
    assert shifts[6:] == pytest.approx([36] * 6, abs=0.5)


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_profiles_of_any_length_give_a_shift_within_reach_or_none(length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    before, now = (random.integers(0, 5, length).astype(np.float64) for _ in range(2))
    found = align(axis_of(before), axis_of(now), 0.0)
    assert found is None or abs(found) <= max(2, int(length * REACH))


@pytest.mark.parametrize("slope", [[1.0, 2.0, 3.0001], [3.0001, 2.0, 1.0]])
def test_a_belt_faster_than_the_reach_gives_no_wild_shift(slope: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that fall straight to the end of the reach have no minimum: the parabola through them is none."""
    reach = int(100 * REACH)
    errors = 100 + slope[0] + (slope[1] - slope[0]) * np.arange(2 * reach + 1)
    errors[[2, -3]] += 0.0001
    monkeypatch.setattr(motion, "_errors", lambda _before, _now, _reach: errors)
    found = align(axis_of(np.ones(100)), axis_of(np.ones(100)), 0.0)
    assert found is not None
    assert abs(found) <= reach


@given(st.integers(3, 300), st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_the_errors_of_all_shifts_are_those_of_each_by_itself(length: int, reach: int, seed: int) -> None:
    reach, random = min(reach, length - 1), np.random.default_rng(seed)
    before, now = (random.integers(0, 300, length).astype(np.float64) for _ in range(2))
    expected = []
    for shift in range(-reach, reach + 1):
        pairs = [(before[i], now[i + shift]) for i in range(length) if 0 <= i + shift < length]
        expected.append(sum((float(b) - float(a)) ** 2 for a, b in pairs) / len(pairs))
    found = motion._errors(axis_of(before), axis_of(now), reach)
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_profiles_count_the_foreground_of_columns_and_rows(width: int, height: int, seed: int) -> None:
    found = (np.random.default_rng(seed).random((height + 3, width + 5)) < 0.4).astype(np.uint8)
    for cut in (found, found[2:-1, 1:-4]):
        both = motion.profile(cut)
        assert both.along(0).cells.tolist() == cut.sum(axis=0).tolist()
        assert both.along(1).cells.tolist() == cut.sum(axis=1).tolist()
        assert both.total == cut.sum()


def test_free_objects_have_no_common_shift() -> None:
    assert FreeMotion().step(belt(0), SCALE, 1) is None


def drifts(
    residuals: npt.NDArray[np.float32], ages: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return (n, 2) the drift of each of `others` (n,), where `residuals` are (m, 2)."""
    return np.asarray(np.broadcast_to(common_drift(residuals.T, ages, others), (2, len(others))).T)


def drift(residuals: list[tuple[float, float]], ages: list[int], others: list[int]) -> list[list[float]]:
    found = drifts(np.asarray(residuals, np.float32).reshape(-1, 2), np.asarray(ages), np.asarray(others))
    return [[float(x), float(y)] for x, y in found]


def test_what_looks_show_of_the_belt_holds_for_all_parts_as_long_as_both_were_unseen() -> None:
    many = [(6.0, -3.0)] * 40
    assert drift(many, [10] * 40, [10, 20, 5]) == [
        pytest.approx([6, -3], rel=0.02), pytest.approx([6, -3], rel=0.02), pytest.approx([3, -1.5], rel=0.02)
    ]  # fmt: skip


def test_one_wrong_pair_moves_nobody() -> None:
    (moved,) = drift([(0.0, 0.0), (0.1, 0.0), (-0.1, 0.0), (30.0, 9.0)], [5] * 4, [5])
    assert abs(moved[0]) + abs(moved[1]) < 0.2


def test_one_look_is_half_believed_and_many_are_believed() -> None:
    believed = [drift([(8.0, 0.0)] * n, [4] * n, [4])[0][0] for n in (1, 2, 8)]
    assert believed == sorted(believed)
    assert 4 < believed[0] < 6
    assert believed[2] > 7.5


@pytest.mark.parametrize(("residuals", "ages", "others"), [([], [], [3]), ([(1.0, 1.0)], [2], [])])
def test_nothing_to_learn_from_or_nobody_to_correct(
    residuals: list[tuple[float, float]], ages: list[int], others: list[int]
) -> None:
    assert drift(residuals, ages, others) == [[0.0, 0.0]] * len(others)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_random_walk_little_is_left(seed: int) -> None:
    """Six parts are looked at in turns, a seventh never: it is carried along by theirs."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 1.5, (300, 2)), axis=0).astype(np.float32)
    put, left = np.zeros((7, 2), np.float32), []
    for frame in range(300):
        here = frame % 6
        others = np.arange(7) != here
        put[others] += drifts(walk[frame] - put[here : here + 1], np.ones(1, np.int32), np.ones(6, np.int32))
        put[here] = walk[frame]
        left.append(float(np.hypot(*(walk[frame] - put[6]))))
    assert np.mean(left) < 0.25 * np.mean(np.hypot(walk[:, 0], walk[:, 1]))


@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_drift_is_the_median_of_what_each_look_says(looks: int, count: int, alike: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    residuals, ages = random.normal(0, 5, (looks, 2)).astype(np.float32), random.integers(0, 9, looks)
    others = np.full(count, random.integers(0, 9)) if alike else random.integers(0, 9, count)
    found = drifts(residuals, ages, others)
    assert found.shape == (count, 2)
    for row, other in enumerate(others.tolist()):
        shares = [min(1.0, other / max(age, 1)) * residuals[i] for i, age in enumerate(ages.tolist())]
        np.testing.assert_allclose(found[row], np.median(shares, axis=0) * looks / (looks + SURE), rtol=1e-5, atol=1e-5)
