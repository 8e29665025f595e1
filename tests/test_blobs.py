"""Connected blobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import blobs
from edge.blobs import blobs_of


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_blobs_are_what_can_be_reached_over_sides_and_corners(seed: int, share: float, height: int, width: int) -> None:
    found = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    numbers, stats = blobs_of(found)
    left = {(int(y), int(x)) for y, x in np.argwhere(found)}
    seen = set()
    while left:
        blob, open_cells = set(), [left.pop()]
        while open_cells:
            y, x = open_cells.pop()
            blob.add((y, x))
            near = {(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)} & left
            left -= near
            open_cells += near
        (number,) = {int(numbers[cell]) for cell in blob}
        ys, xs = zip(*blob, strict=True)
        box = [min(xs), min(ys), max(xs) + 1 - min(xs), max(ys) + 1 - min(ys), len(blob)]
        assert stats[number].tolist() == box
        seen.add(number)
    assert seen == set(range(1, len(stats)))


@pytest.mark.parametrize("side", [64, 1024])
def test_as_many_blobs_as_a_map_can_hold_are_numbered(side: int) -> None:
    found = np.zeros((side, side), np.uint8)
    found[::2, ::2] = 1
    numbers, stats = blobs_of(found)
    assert numbers.max() == len(stats) - 1 == side * side // 4


def test_narrow_and_wide_numbers_come_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (np.random.default_rng(2).random((90, 130)) < 0.3).astype(np.uint8)
    narrow = blobs_of(found)
    monkeypatch.setattr(blobs, "NARROW", 0)
    wide = blobs_of(found)
    np.testing.assert_array_equal(narrow[0], wide[0])
    np.testing.assert_array_equal(narrow[1], wide[1])
