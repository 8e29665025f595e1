"""How deep in a polygon points lie, against OpenCV's answer for one point at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.polygons import Polygon

SQUARE = [(10.0, 10.0), (50.0, 10.0), (50.0, 50.0), (10.0, 50.0)]
CONCAVE = [(0.0, 0.0), (60.0, 0.0), (60.0, 60.0), (40.0, 60.0), (40.0, 20.0), (20.0, 20.0), (20.0, 60.0), (0.0, 60.0)]
coordinates = st.integers(-40, 100).map(float)
points = st.tuples(coordinates, coordinates)


@pytest.mark.parametrize(
    ("point", "depth"),
    [((30, 30), 20), ((12, 30), 2), ((10, 30), 0), ((5, 30), -5), ((7, 6), -5), ((30, 49), 1), ((53, 54), -5)],
)
def test_the_depth_is_the_distance_to_the_nearest_side(point: tuple[float, float], depth: float) -> None:
    assert abs(Polygon(SQUARE).depths(np.asarray([point], np.float64))[0]) == pytest.approx(abs(depth))
    if depth:
        assert np.sign(Polygon(SQUARE).depths(np.asarray([point], np.float64))[0]) == np.sign(depth)


@given(st.lists(points, min_size=1, max_size=20), st.sampled_from([SQUARE, SQUARE[::-1], CONCAVE]))
def test_any_points_are_where_opencv_says(
    places: list[tuple[float, float]], corners: list[tuple[float, float]]
) -> None:
    outline = np.asarray(corners, np.float32).reshape(-1, 1, 2)
    expected = [cv2.pointPolygonTest(outline, place, measureDist=True) for place in places]
    found = Polygon(corners).depths(np.asarray(places, np.float64))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    clear = np.abs(expected) > 1e-4
    np.testing.assert_array_equal(np.sign(found)[clear], np.sign(expected)[clear])


@given(st.lists(points, min_size=3, max_size=8), points)
def test_any_polygon_whose_sides_cross_too_holds_what_an_odd_number_of_them_surrounds(
    corners: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    """The winding of a ray in another direction, by hand."""
    x, y = point[0] + 0.25, point[1] + 0.125  # on no corner
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 > y) != (y1 > y):
            crossings += x > x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    depth = Polygon(corners).depths(np.asarray([[x, y]]))[0]
    assert abs(depth) < 1e-9 or (depth > 0) == (crossings % 2 == 1)


@pytest.mark.parametrize(("corners", "deepest"), [(SQUARE, 20.0), (CONCAVE, 12.2)])
def test_the_deepest_point_is_no_deeper_than_what_is_said(corners: list[tuple[float, float]], deepest: float) -> None:
    assert deepest - 0.3 <= Polygon(corners).deepest() <= deepest + 1


def test_no_points_have_no_depths() -> None:
    assert Polygon(SQUARE).depths(np.zeros((0, 2))).shape == (0,)
