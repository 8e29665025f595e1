"""How long and wide defects are, by their pixels, and that it comes to the frame with its object."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edge.see.flaw_sizes import FEWEST, flaw_sizes
from edge.see.found import Found
from edge.see.instances import to_frame
from edge.see.select import joined, select
from edge.see.stitching import stitch
from edge.types import Array, Instances
from tests.see.made import boxes_of, instances_of, looks_of


def line(length: int, width: int, x: int = 0, y: int = 0) -> Array:
    """Return (n, 2) the pixels of a bar."""
    ys, xs = np.indices((width, length))
    return np.stack([xs.ravel() + x, ys.ravel() + y], axis=1)


def test_a_bar_is_as_long_as_its_diagonal_and_as_wide_as_it_is() -> None:
    points = line(40, 3)
    sizes = flaw_sizes(points, np.zeros(len(points), np.int16), np.ones(len(points), np.uint8), (1, 1))
    assert sizes[0, 0].tolist() == pytest.approx([math.hypot(39, 2) + 1, 3])


def test_a_slanting_scratch_is_as_narrow_as_a_straight_one() -> None:
    steps = np.arange(30)
    points = np.concatenate([np.stack([steps, steps], axis=1), np.stack([steps + 1, steps], axis=1)])
    sizes = flaw_sizes(points, np.zeros(len(points), np.int16), np.ones(len(points), np.uint8), (1, 1))
    assert sizes[0, 0, 0] == pytest.approx(math.hypot(30, 29) + 1, abs=0.1)
    assert sizes[0, 0, 1] == pytest.approx(1 + 1 / math.sqrt(2), abs=0.1)


def test_each_object_and_class_has_its_own_and_what_is_nobodys_or_too_little_has_none() -> None:
    groups = [(line(20, 2), 0, 1), (line(9, 4, 60), 0, 3), (line(30, 2, 0, 50), 2, 1), (line(50, 5, 0, 90), -1, 1)]
    groups.append((line(FEWEST - 1, 1, 200), 1, 2))
    points = np.concatenate([group[0] for group in groups])
    owners = np.concatenate([np.full(len(group[0]), group[1], np.int16) for group in groups])
    kinds = np.concatenate([np.full(len(group[0]), group[2], np.uint8) for group in groups])
    order = np.random.default_rng(1).permutation(len(points))
    sizes = flaw_sizes(points[order], owners[order], kinds[order], (3, 3))
    assert np.argwhere(sizes[:, :, 0] > 0).tolist() == [[0, 0], [0, 2], [2, 0]]
    assert sizes[:, :, 1].max(axis=1).tolist() == pytest.approx([4, 0, 2])


def test_lengths_are_in_frame_pixels_whatever_the_scale_of_the_look() -> None:
    found = Found(
        boxes_of([(10, 10, 30, 30)]), np.ones(1, np.float32), np.ones(1, np.uint8), np.full((1, 2), 20, np.float32),
        np.full(1, 400, np.float32), np.full((1, 2), 40, np.float32), [np.ones((10, 10), np.bool_)],
        np.zeros(1, np.int32), np.asarray([[[20, 4], [0, 0]]], np.float32),
    )  # fmt: skip
    looks = looks_of([(0, 0, 100, 100)], [(0, 0, 50, 50)], [0.5])
    got = to_frame(found, looks, np.zeros(1, np.int64), (200, 200))
    assert got.flaws_px is not None
    assert got.flaws_px.tolist() == [[[40, 8], [0, 0]]]
    assert got.defects_px.tolist() == [[160, 160]]


def some(*lengths: float) -> Instances:
    boxes = [(50 * i, 0, 50 * i + 30, 30) for i in range(len(lengths))]
    flaws = np.asarray([[[length, 1]] for length in lengths], np.float32).reshape(-1, 1, 2)
    return replace(instances_of(boxes, defects=1), flaws_px=flaws)


def test_lengths_go_with_their_objects_through_selecting_and_joining() -> None:
    both = joined([some(1, 2), some(), some(3), instances_of([], defects=1)], 1)
    assert both.flaws_px is not None
    assert both.flaws_px[:, 0, 0].tolist() == [1, 2, 3]
    chosen = select(both, np.asarray([2, 0]))
    assert chosen.flaws_px is not None
    assert chosen.flaws_px[:, 0, 0].tolist() == [3, 1]
    assert joined([some(1), instances_of([(0, 0, 9, 9)], defects=1)], 1).flaws_px is None
    assert select(instances_of([(0, 0, 9, 9)], defects=1), np.asarray([0])).flaws_px is None


def test_an_object_of_two_parts_has_the_longer_of_their_defects() -> None:
    halves = instances_of([(100, 50, 220, 90), (180, 50, 300, 90)], defects=1, whole=[False, False])
    halves = replace(halves, flaws_px=np.asarray([[[30, 2]], [[20, 5]]], np.float32))
    got = stitch(halves, boxes_of([(0, 0, 220, 200), (180, 0, 400, 200)]), (400, 300))
    assert got.flaws_px is not None
    assert got.flaws_px.tolist() == [[[30, 5]]]
