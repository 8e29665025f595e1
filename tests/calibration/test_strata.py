"""Every light, product and occupancy gets its share of what calibration looks at."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calibration.strata import Described, described, in_turn, strata

GROUPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), max_size=60)


def test_what_a_frame_shows() -> None:
    image = np.full((10, 10, 3), 80, np.uint8)
    classes = np.zeros((5, 4), np.uint8)
    classes[0, :3], classes[1, :2] = 2, 1
    assert described(image, classes) == Described(80.0, 0.25, 2)
    assert described(image, classes * 0) == Described(80.0, 0.0, 0)
    assert described(image, None) == Described(80.0, 0.0, 0)


def test_levels_are_thirds_and_empty_frames_are_apart() -> None:
    shown = [Described(float(i), 0.0 if i < 3 else i / 10, 1) for i in range(9)]
    assert [light for light, _, _ in strata(shown)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [level for _, _, level in strata(shown)][:3] == [0, 0, 0]
    assert min(level for _, _, level in strata(shown)[3:]) >= 1


def test_frames_that_are_equal_are_of_one_level() -> None:
    assert len(set(strata([Described(50.0, 0.2, 1)] * 7))) == 1


@given(GROUPS, st.integers(1, 40))
def test_no_group_gets_two_more_than_another_that_has_some_left(groups: list[tuple[int, int, int]], count: int) -> None:
    chosen = in_turn(groups, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(groups))
    there, taken = Counter(groups), Counter(groups[i] for i in chosen)
    for group, number in there.items():
        if taken[group] < number:
            assert taken[group] >= max(taken.values(), default=0) - 1


def test_a_rare_product_is_among_few() -> None:
    groups = [(0, 1, 1)] * 30 + [(0, 2, 1)]
    assert 30 in in_turn(groups, 2)
