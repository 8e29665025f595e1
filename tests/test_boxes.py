"""Arithmetic on boxes, against one box at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.boxes import BORDER_PX, areas_of, common_of, lie_in, overlaps, touches_border
from edge.types import Boxes


@st.composite
def some_boxes(draw: st.DrawFn) -> Boxes:
    """Return (n, 4) boxes with whole corners, so that they often touch, and arithmetic is exact."""
    corner, side = st.integers(-10, 60), st.integers(0, 40)
    drawn = draw(st.lists(st.tuples(corner, corner, side, side), max_size=5))
    return np.asarray([(x, y, x + w, y + h) for x, y, w, h in drawn], np.float32).reshape(-1, 4)


def common(a: list[float], b: list[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def area(a: list[float]) -> float:
    return (a[2] - a[0]) * (a[3] - a[1])


@given(some_boxes(), some_boxes())
def test_areas_and_overlaps(a: Boxes, b: Boxes) -> None:
    assert areas_of(a).tolist() == [area(box) for box in a.tolist()]
    shared = np.asarray([[common(box, other) for other in b.tolist()] for box in a.tolist()])
    np.testing.assert_array_equal(common_of(a, b), shared.reshape(len(a), len(b)))
    iou = [[common(p, q) / max(area(p) + area(q) - common(p, q), 1e-6) for q in b.tolist()] for p in a.tolist()]
    np.testing.assert_allclose(overlaps(a, b), np.reshape(iou, (len(a), len(b))), rtol=1e-6)
    assert areas_of(a).dtype == common_of(a, b).dtype == overlaps(a, b).dtype == np.float32


@given(some_boxes(), some_boxes())
def test_a_box_lies_in_another_where_all_its_corners_do(a: Boxes, b: Boxes) -> None:
    expected = [
        any(q[0] <= p[0] and q[1] <= p[1] and q[2] >= p[2] and q[3] >= p[3] for q in b.tolist()) for p in a.tolist()
    ]
    assert lie_in(a, b).tolist() == expected


@given(some_boxes())
def test_a_box_touches_the_border_within_a_little(boxes: Boxes) -> None:
    near = [
        x0 <= BORDER_PX or y0 <= BORDER_PX or x1 >= 64 - BORDER_PX or y1 >= 48 - BORDER_PX
        for x0, y0, x1, y1 in boxes.tolist()
    ]
    assert touches_border(boxes, (64, 48)).tolist() == near
