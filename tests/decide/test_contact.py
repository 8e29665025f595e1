"""Where objects touch, and for how long a stretch of their rim."""

from __future__ import annotations

import numpy as np
import pytest

from edge.decide.contact import contact_px
from tests.see.made import boxes_of


def squares(*boxes: tuple[float, float, float, float]) -> tuple[object, ...]:
    masks = [np.ones((round((y1 - y0) / 2), round((x1 - x0) / 2)), np.bool_) for x0, y0, x1, y1 in boxes]
    return boxes_of(boxes), masks


def touched(*boxes: tuple[float, float, float, float]) -> float:
    corners, masks = squares(*boxes)
    return contact_px(0, corners, masks)  # type: ignore[arg-type]


def test_one_that_is_alone_is_not_touched() -> None:
    assert touched((10, 10, 50, 50)) == 0
    assert touched((10, 10, 50, 50), (80, 10, 120, 50), (10, 60, 50, 90)) == 0


@pytest.mark.parametrize("other", [(50, 10, 90, 50), (52, 10, 90, 50), (46, 10, 90, 50), (-30, 10, 10, 50)])
def test_neighbours_touch_along_a_side(other: tuple[float, float, float, float]) -> None:
    assert touched((10, 10, 50, 50), other) == pytest.approx(40, abs=16)


def test_boxes_that_overlap_without_their_masks_do_not_touch() -> None:
    corner = np.zeros((20, 20), np.bool_)
    corner[:6, :6] = True
    boxes = boxes_of([(0, 0, 40, 40), (20, 20, 60, 60)])
    assert contact_px(0, boxes, [corner, np.ones((20, 20), np.bool_)]) == 0


def test_masks_of_other_cells_are_compared_where_they_lie() -> None:
    boxes = boxes_of([(0, 0, 40, 40), (40, 0, 80, 40)])
    fine, coarse = np.ones((20, 20), np.bool_), np.ones((5, 5), np.bool_)
    assert contact_px(0, boxes, [fine, coarse]) == pytest.approx(contact_px(0, boxes, [fine, fine]))
    coarse[3:] = False  # the lower part of the other is not there
    assert contact_px(0, boxes, [fine, coarse]) < 0.8 * contact_px(0, boxes, [fine, fine])


def test_two_neighbours_touch_more_than_one_and_a_rim_counts_once() -> None:
    own, right, below = (0, 0, 40, 40), (40, 0, 80, 40), (0, 40, 40, 80)
    one = touched(own, right)
    assert touched(own, right, right) == one
    assert touched(own, right, below) > 1.6 * one
