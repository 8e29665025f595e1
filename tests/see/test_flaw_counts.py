"""How many spots of each defect an object has, by its defect map and by defects that are objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.bundle import Head
from edge.see.centers import decode_centers
from edge.see.flaw_counts import flaw_counts
from edge.see.flaw_sizes import FEWEST
from edge.see.flaws import laid_on_parts
from edge.see.select import joined, select
from edge.types import Array, Image
from tests.see.made import instances_of


def counted(flaws: Image, owners: Image, shape: tuple[int, int]) -> list[list[int]]:
    """Return the counts of a defect map; `owners` (h, w) says whose each pixel is, one more than its number."""
    pixels = np.flatnonzero(flaws)
    holders = owners.ravel()[pixels].astype(np.int16) - 1
    numbers: list[list[int]] = flaw_counts(flaws, pixels, holders, flaws.ravel()[pixels], shape).tolist()
    return numbers


def test_spots_of_each_class_and_object_are_counted_apart() -> None:
    flaws, owners = np.zeros((2, 40, 80), np.uint8)
    owners[:, :40], owners[:, 40:] = 1, 2
    for x, kind in ((2, 1), (10, 1), (20, 2), (50, 1)):
        flaws[4:8, x : x + 4] = kind
    flaws[30:34, 60:64] = 3
    assert counted(flaws, owners, (2, 3)) == [[2, 1, 0], [1, 0, 1]]


def test_noise_and_what_is_nobodys_do_not_count() -> None:
    flaws, owners = np.zeros((2, 40, 80), np.uint8)
    owners[:, :40] = 1
    flaws[0, 0 : FEWEST - 1] = 1
    flaws[10, 0:FEWEST] = 1
    flaws[20:30, 50:60] = 1
    assert counted(flaws, owners, (1, 1)) == [[1]]


def test_a_spot_across_two_objects_is_one_of_each_that_has_enough_of_it() -> None:
    flaws, owners = np.zeros((2, 20, 40), np.uint8)
    owners[:, :20], owners[:, 20:] = 1, 2
    flaws[5:8, 10:22] = 1
    assert counted(flaws, owners, (2, 1)) == [[1], [1]]
    flaws[5:8, 21:] = 0
    assert counted(flaws, owners, (2, 1)) == [[1], [0]]


def test_pixels_that_touch_at_a_corner_are_one_spot() -> None:
    flaws = np.eye(12, dtype=np.uint8)
    assert counted(flaws, np.ones((12, 12), np.uint8), (1, 1)) == [[1]]


def outputs() -> dict[str, Array]:
    """Return what a `centers` head gives of one object with two scratches and a stain."""
    labels, defects = np.zeros((2, 64, 64), np.uint8)
    labels[10:50, 10:50] = 1
    defects[15:18, 15:25], defects[30:33, 15:25], defects[40:45, 40:45] = 1, 1, 2
    ys, xs = np.indices((64, 64))
    offsets = np.stack([30 - xs, 30 - ys]).clip(-127, 127).astype(np.int8)
    return {"labels": labels, "defects": defects, "offsets": offsets, "peaks": np.asarray([[30, 30, 255]], np.int16)}


def test_a_centers_head_counts_where_it_is_asked_to() -> None:
    place, head = np.asarray([[0, 0, 64, 64]], np.int32), Head("centers", label_stride=1)
    found = decode_centers(outputs(), place, head, 0.3, 2, counted=True)
    assert found.flaw_counts is not None
    assert found.flaw_counts.tolist() == [[2, 1]]
    assert decode_centers(outputs(), place, head, 0.3, 2).flaw_counts is None


def test_defects_that_are_objects_are_counted_on_their_part() -> None:
    boxes = [(0, 0, 40, 40), (60, 0, 100, 40), (5, 5, 9, 9), (20, 20, 24, 24), (70, 10, 80, 14)]
    found = instances_of(boxes, classes=[1, 2, 3, 3, 4], defects=2)
    laid = laid_on_parts(found, 3, counted=True)
    assert laid.flaw_counts is not None
    assert laid.flaw_counts.tolist() == [[2, 0], [0, 1]]
    clean = laid_on_parts(instances_of(boxes[:1], defects=2), 3, counted=True)
    assert clean.flaw_counts is not None
    assert clean.flaw_counts.tolist() == [[0, 0]]
    assert laid_on_parts(found, 3).flaw_counts is None


def test_counts_go_with_their_objects() -> None:
    some = [replace(instances_of([(0, 0, 9, 9)], defects=1), flaw_counts=np.asarray([[n]], np.int32)) for n in (1, 2)]
    both = joined([some[0], instances_of([], defects=1), some[1]], 1)
    assert both.flaw_counts is not None
    assert both.flaw_counts.tolist() == [[1], [2]]
    chosen = select(both, np.asarray([1]))
    assert chosen.flaw_counts is not None
    assert chosen.flaw_counts.tolist() == [[2]]
