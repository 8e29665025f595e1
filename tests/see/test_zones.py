"""Zones of interest: where spots may begin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Zone
from edge.see.zones import ZoneMap

SHAPE, SCALE = (30, 40), (4.0, 4.0)  # label pixels, and frame pixels in each
EVERYWHERE = np.ones(SHAPE, np.uint8)


def zone(x0: float, y0: float, x1: float, y1: float, attention: str = "only") -> Zone:
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return Zone(name="z", camera="c", points=corners, attention=attention)  # type: ignore[arg-type]


def test_without_zones_everything_counts() -> None:
    assert ZoneMap([])(EVERYWHERE, SCALE) is EVERYWHERE


@given(st.integers(0, 20), st.integers(0, 20), st.integers(3, 19), st.integers(3, 9))
def test_a_zone_covers_the_label_pixels_whose_middle_lies_in_it(x: int, y: int, width: int, height: int) -> None:
    found = ZoneMap([zone(4 * x, 4 * y, 4 * (x + width), 4 * (y + height))])(EVERYWHERE, SCALE)
    expected = np.zeros(SHAPE, np.uint8)
    expected[y : y + height, x : x + width] = 1
    np.testing.assert_array_equal(found[y : y + height, x : x + width], 1)
    assert np.count_nonzero(found != expected) <= 2 * (width + height) + 4  # the rim, at most a pixel wide


def test_what_is_ignored_is_ignored_inside_a_zone_of_interest_too() -> None:
    found = ZoneMap([zone(0, 0, 80, 120), zone(40, 40, 60, 60, "ignore")])(EVERYWHERE, SCALE)
    assert found[12, 12] == 0
    assert found[5, 5] == 1
    assert found[5, 30] == 0


def test_only_ignored_zones_leave_the_rest() -> None:
    found = ZoneMap([zone(40, 40, 60, 60, "ignore")])(EVERYWHERE, SCALE)
    assert found[12, 12] == 0
    assert found[5, 35] == 1


@pytest.mark.parametrize("shape", [(15, 20), (60, 80)])
def test_the_map_follows_the_labels(shape: tuple[int, int]) -> None:
    zones, scale = ZoneMap([zone(0, 0, 80, 120)]), (160 / shape[1], 120 / shape[0])
    zones(EVERYWHERE, SCALE)
    found = zones(np.ones(shape, np.uint8), scale)
    assert found[:, : shape[1] // 2 - 1].all()
    assert not found[:, shape[1] // 2 + 2 :].any()
