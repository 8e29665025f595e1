"""Masks -> millimetres with an uncertainty that holds."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Camera, Measuring
from edge.decide.measure import AREA, LENGTH, RIM, TOUCH, WIDTH, combined, measured_look, plane_of
from edge.decide.measure import CELL as CELL_SIDE
from edge.errors import ConfigError
from edge.events import Measured
from edge.feret import feret_diameters

Mask = npt.NDArray[np.bool_]
MM = 0.25
FLAT = plane_of(Camera(source="x", mm_per_px=MM), "camera c")
CELL = 2.0  # frame pixels


def disc(radius: float, x: float, y: float) -> tuple[npt.NDArray[np.float64], Mask, float]:
    """Return box, mask and area of a disc, frame pixels, whose cells are in where their middles are."""
    reach = math.ceil(radius / CELL) + 2
    line = (np.arange(-reach, reach) + 0.5) * CELL
    mask = np.hypot(line[None] - x, line[:, None] - y) < radius
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    low = np.asarray([columns[0] - reach, rows[0] - reach]) * CELL
    return np.concatenate([low, low + np.asarray(mask.shape[::-1]) * CELL]), mask, mask.sum() * CELL**2


def box(length: float, width: float, turn: float) -> tuple[npt.NDArray[np.float64], Mask, float]:
    """Return the same of a box that is turned by `turn` (radians)."""
    reach = math.ceil(math.hypot(length, width) / 2 / CELL) + 2
    line = (np.arange(-reach, reach) + 0.5) * CELL
    along = line[None] * math.cos(turn) + line[:, None] * math.sin(turn)
    across = line[:, None] * math.cos(turn) - line[None] * math.sin(turn)
    mask = (np.abs(along) < length / 2) & (np.abs(across) < width / 2)
    return np.asarray([-reach, -reach, reach, reach]) * CELL, mask, mask.sum() * CELL**2


def look_at(seen: tuple[npt.NDArray[np.float64], Mask, float], edge_px: float) -> npt.NDArray[np.float64]:
    outline, mask, area = seen
    return measured_look(outline, mask, area, 0.0, FLAT, edge_px)


def sure(looks: npt.NDArray[np.float64], **unsure: float) -> dict[str, Measured]:
    """Return the sizes where only what is given is unsure."""
    known: dict[str, float] = {"scale_u": 0.0, "edge_u_px": 0.0, "contact_u_px": 0.0}
    return combined(looks, Measuring(**{**known, **unsure}))  # type: ignore[arg-type]


@given(st.floats(15, 80), st.floats(-1, 1), st.floats(-1, 1))
def test_a_disc_has_its_diameter_in_every_direction(radius: float, x: float, y: float) -> None:
    look = look_at(disc(radius, x, y), 0.0)
    assert look[LENGTH] == pytest.approx(2 * radius * MM, abs=2.1 * CELL * MM)
    assert look[WIDTH] == pytest.approx(2 * radius * MM, abs=2.1 * CELL * MM)
    assert look[AREA] == pytest.approx(math.pi * radius**2 * MM**2, rel=0.08)
    assert look[RIM] == pytest.approx(2 * math.pi * radius * MM, rel=0.08)


@given(st.floats(60, 150), st.floats(0.2, 0.7), st.floats(0, math.pi))
def test_a_box_is_as_long_as_its_diagonal_and_as_wide_as_its_shorter_side(
    length: float, ratio: float, turn: float
) -> None:
    width = ratio * length
    look = look_at(box(length, width, turn), 0.0)
    assert look[LENGTH] == pytest.approx(math.hypot(length, width) * MM, abs=3 * CELL * MM)
    assert look[WIDTH] == pytest.approx(width * MM, abs=3 * CELL * MM)


def test_many_looks_at_discs_are_right_in_the_mean() -> None:
    random = np.random.default_rng(1)
    errors = []
    for _ in range(200):
        radius, (x, y) = random.uniform(25, 70), random.uniform(-1, 1, 2)
        look = look_at(disc(radius, x, y), 0.0)
        errors.append([look[AREA] / MM**2 / (math.pi * radius**2) - 1, look[LENGTH] / MM - 2 * radius])
    area, length = np.abs(np.mean(errors, axis=0)).tolist()
    assert area < 0.003
    assert length < 0.5 * CELL


def test_what_masks_reach_beyond_is_taken_off_all_round() -> None:
    plain = look_at(disc(40, 0, 0), 0.0)
    less = look_at(disc(41.5, 0, 0), 1.5)
    assert less[[AREA, LENGTH, WIDTH]] == pytest.approx(plain[[AREA, LENGTH, WIDTH]], rel=0.015)


def test_a_hole_is_no_area_and_has_a_rim() -> None:
    outline, mask, area = disc(40, 0, 0)
    middle = mask.shape[0] // 2
    mask[middle - 5 : middle + 5, middle - 5 : middle + 5] = False
    full, holed = look_at(disc(40, 0, 0), 0.0), look_at((outline, mask, area - 100 * 4), 0.0)
    assert holed[AREA] == pytest.approx(full[AREA] - 400 * MM**2)
    assert holed[RIM] == pytest.approx(full[RIM] + math.pi / 4 * 80 * MM)
    assert holed[LENGTH] == full[LENGTH]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=30, unique=True))
def test_feret_diameters_are_what_a_calliper_finds_in_any_direction(corners: list[tuple[float, float]]) -> None:
    hull = cv2.convexHull(np.asarray(corners, np.float32))[:, 0].astype(np.float64)
    longest, narrowest = feret_diameters(hull)
    turns = np.linspace(0, math.pi, 2000)
    across = np.ptp(hull @ np.stack([np.cos(turns), np.sin(turns)]), axis=0)
    assert longest == pytest.approx(across.max(), abs=1e-3)
    assert narrowest <= across.min() + 1e-9
    assert narrowest == pytest.approx(across.min(), abs=0.2)


def slanted(x: float, v: float) -> tuple[float, float]:
    """Return where a point of the plane, mm, is seen, px."""
    depth = 1 + 4e-4 * v + 1e-4 * x
    return (3 * x + 0.2 * v + 40) / depth, (2.5 * v + 30) / depth


MARKS = [(*slanted(x, v), x, v) for x, v in ((10.0, 10.0), (400.0, 20.0), (390.0, 300.0), (15.0, 280.0))]


@given(st.floats(0, 400), st.floats(0, 300))
def test_marks_say_where_a_point_lies_and_how_large_a_pixel_is_there(x: float, v: float) -> None:
    plane = plane_of(Camera(source="x", measure=Measuring(scale_u=0.001, marks=MARKS)), "camera c")
    here = np.asarray(slanted(x, v))
    assert plane.to_mm(here[None])[0] == pytest.approx([x, v], abs=1e-3)
    corners = plane.to_mm(here + np.asarray([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2)
    area = cv2.contourArea((corners - corners[0]).astype(np.float32))
    assert plane.scale(here) == pytest.approx(math.sqrt(area), rel=1e-3)


@pytest.mark.parametrize(
    "marks",
    [
        MARKS[:3],
        [(x, 2 * x, x / 10, x / 5) for x in (0, 100, 200, 300)],  # on one line
        [*MARKS, (500.0, 300.0, 0.0, 0.0)],  # not where the others say
        [MARKS[0]] * 4,
    ],
)
def test_marks_that_say_nothing_or_contradict_each_other_are_refused(
    marks: list[tuple[float, float, float, float]],
) -> None:
    camera = Camera(source="x", measure=Measuring(scale_u=0.001, marks=marks))
    with pytest.raises(ConfigError, match=r"camera c: measure\.marks .* no three of four on one line"):
        plane_of(camera, "camera c")


def test_a_camera_without_a_scale_does_not_measure() -> None:
    with pytest.raises(ConfigError, match=r"camera c: mm_per_px is not set, nor measure\.marks"):
        plane_of(Camera(source="x", measure=Measuring(scale_u=0.001)), "camera c")


def looks_at(count: int, scatter: float) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(count)
    looks = np.tile(look_at(disc(40, 0, 0), 0.0), (count, 1))
    looks[:, :3] *= 1 + random.normal(0, scatter, (count, 3))
    return looks


def test_the_value_is_the_median_of_the_looks() -> None:
    looks = looks_at(5, 0.01)
    said = sure(looks)
    assert [said[name].value for name in ("area_mm2", "length_mm", "width_mm")] == pytest.approx(
        np.median(looks[:, :3], axis=0), abs=1e-3
    )


def test_scale_and_edge_are_as_unsure_after_many_looks_as_after_one() -> None:
    for looks in (looks_at(1, 0.0), looks_at(32, 0.0)):
        area, length = looks[0, AREA], looks[0, LENGTH]
        said = sure(looks, scale_u=0.05)
        assert said["length_mm"].uncertainty == pytest.approx(2 * 0.05 * length, rel=0.05)
        assert said["area_mm2"].uncertainty == pytest.approx(2 * 0.1 * area, rel=0.05)
        said = sure(looks, edge_u_px=3.0)
        assert said["length_mm"].uncertainty == pytest.approx(2 * 2 * 3.0 * MM, rel=0.05)
        assert said["area_mm2"].uncertainty == pytest.approx(2 * 3.0 * MM * looks[0, RIM], rel=0.05)


def test_either_end_lies_anywhere_within_a_cell_however_often_it_is_looked_at() -> None:
    for count in (1, 32):
        least = sure(looks_at(count, 0.0))["length_mm"].uncertainty
        assert least == pytest.approx(2 * math.sqrt(2) * CELL * MM / math.sqrt(12), abs=1e-3)


def test_looks_that_scatter_are_less_sure_and_more_of_them_surer() -> None:
    few, many = (sure(looks_at(count, 0.05))["area_mm2"].uncertainty for count in (4, 32))
    assert few > 1.5 * many
    assert many > sure(looks_at(32, 0.0))["area_mm2"].uncertainty


def test_where_another_touches_it_is_less_sure() -> None:
    looks = looks_at(4, 0.0)
    looks[:3, TOUCH] = 5.0
    said, free = sure(looks, contact_u_px=4.0), sure(looks_at(4, 0.0), contact_u_px=4.0)
    assert said["width_mm"].uncertainty == pytest.approx(2 * 4.0 * MM, rel=0.1)
    assert said["area_mm2"].uncertainty == pytest.approx(2 * 5.0 * 4.0 * MM, rel=0.05)
    assert free["width_mm"].uncertainty < 1


def test_the_interval_of_looks_that_scatter_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    look = look_at(disc(40, 0, 0), 0.0)
    look[CELL_SIDE] = 1e-6
    held = []
    for _ in range(2000):
        looks = np.tile(look, (8, 1))
        looks[:, LENGTH] += random.normal(0, 1.0, 8)
        said = sure(looks)["length_mm"]
        held.append(abs(said.value - look[LENGTH]) <= said.uncertainty)
    assert 0.9 < np.mean(held) < 0.98
