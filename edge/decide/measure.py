"""Pixels -> millimetres: how large a part is, and how sure that is.

Length and width are the largest and the smallest Feret diameter, the distances of two parallel tangents (ISO 9276-6),
as a calliper finds them; the convex hull has the same ones. Uncertainties are put together as the GUM has it (JCGM
100:2008, sections 4.2, 4.3 and 5.1) and stated with the coverage factor 2 (section 6.2).
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import Camera, Measuring
from edge.errors import ConfigError
from edge.events import Measured
from edge.feret import feret_diameters, hull_of
from edge.types import Array, Instances

COVERAGE: Final = 2.0  # expanded uncertainty over the standard one: about 95 %
MEDIAN: Final = math.sqrt(math.pi / 2)  # standard error of the median of many normal values over that of their mean
MARKS: Final = 4  # that a homography needs
MOST_OFF: Final = 0.02  # of the extent of the marks: how far one may lie from where the others say it does
LONGER: Final = 0.5  # cells by which a length is more than what the middles of cells say, in the mean over shapes
WIDER: Final = 0.7  # the same of a width (`benchmarks/measure_shapes.py`)
AREA, LENGTH, WIDTH, RIM, TOUCH, CELL, SCALE = range(7)  # columns of what one look says of a part


class Plane:
    """From frame pixels to millimetres in the plane that objects lie in: a homography."""

    def __init__(self, matrix: Array) -> None:
        """`matrix` is (3, 3)."""
        self._matrix = np.asarray(matrix, np.float64)
        self._determinant = abs(float(np.linalg.det(self._matrix)))

    def to_mm(self, points: Array) -> npt.NDArray[np.float64]:
        """Return where `points` (n, 2), frame pixels, lie, (n, 2) millimetres."""
        moved = points @ self._matrix[:, :2].T + self._matrix[:, 2]
        return np.asarray(moved[:, :2] / moved[:, 2:])

    def scale(self, point: Array) -> float:
        """Return millimetres per pixel at `point` (2,): the root of what a square pixel covers there."""
        depth = abs(float(self._matrix[2, :2] @ point + self._matrix[2, 2]))
        return math.sqrt(self._determinant / depth**3)


def plane_of(camera: Camera, setting: str) -> Plane:
    """Return the plane of `camera`, by its marks or by `mm_per_px`; raises `ConfigError` that begins with `setting`."""
    marks = camera.measure.marks if camera.measure is not None else []
    if not marks:
        if camera.mm_per_px is None:
            raise ConfigError(f"{setting}: mm_per_px is not set, nor measure.marks; measuring needs one of them")
        return Plane(np.diag([camera.mm_per_px, camera.mm_per_px, 1.0]))
    pixels, places = np.hsplit(np.asarray(marks, np.float64), 2)
    matrix, _ = cv2.findHomography(pixels, places) if len(marks) >= MARKS else (None, None)
    off = math.inf
    if matrix is not None and np.isfinite(matrix).all() and np.linalg.det(matrix) != 0:
        off = float(np.abs(Plane(matrix).to_mm(pixels) - places).max()) / float(np.ptp(places, axis=0).max())
    if matrix is None or not off <= MOST_OFF:
        raise ConfigError(
            f"{setting}: measure.marks {marks} do not lie in one plane as a camera sees it; give [x, y, x_mm, y_mm] of "
            "four points or more, no three of four on one line"
        )
    return Plane(matrix)


def measured_look(
    box: Array, mask: npt.NDArray[np.bool_], area_px: float, touched_px: float, plane: Plane, edge_px: float
) -> npt.NDArray[np.float64]:
    """Return (7,) what one look says of a part.

    Its area (mm²), length, width, rim, what of the rim others touch and the side of a cell (mm), and mm per pixel.
    `mask` (h, w) is stretched over `box` (4,), frame pixels, has `area_px` of them, and others touch `touched_px` of
    its rim; `edge_px` is how far it reaches beyond the part.
    """
    unit = (box[2:] - box[:2]) / mask.shape[::-1]
    points = box[:2] + (hull_of(_ends(mask)) + 0.5) * unit
    scale, cell_px = plane.scale((box[:2] + box[2:]) / 2), float(unit.mean())
    longest, narrowest = feret_diameters(plane.to_mm(points))
    longest += (LONGER * cell_px - 2 * edge_px) * scale
    narrowest += (WIDER * cell_px - 2 * edge_px) * scale
    rim_px = _rim(mask, unit)
    area, lines = area_px - edge_px * rim_px, np.asarray([rim_px, touched_px, cell_px]) * scale
    return np.asarray([area * scale**2, longest, narrowest, *lines, scale])


def flaws_in(instances: Instances, row: int, scale: float) -> npt.NDArray[np.float64]:
    """Return (d, 7) the same of each defect class on object `row`, where `scale` is millimetres per frame pixel.

    A defect is counted and measured in pixels of the look; where nobody has asked for lengths, all are 0. Its rim is
    that of a rectangle.
    """
    areas = instances.defects_px[row].astype(np.float64)
    found = np.zeros((len(areas), 7))
    if instances.flaws_px is not None:
        lengths, widths = instances.flaws_px[row].T.astype(np.float64) * scale
        found[:, AREA], found[:, LENGTH], found[:, WIDTH] = areas * scale**2, lengths, widths
        found[:, RIM], found[:, CELL], found[:, SCALE] = 2 * (lengths + widths), scale / instances.scales[row], scale
    return found


def _ends(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return (n, 2) the first and the last cell of each row of a mask, x, y: no other is at a corner of its hull."""
    rows = np.flatnonzero(mask.any(axis=1))
    left = mask[rows].argmax(axis=1)
    right = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([left, rows], axis=1), np.stack([right, rows], axis=1)])


def _rim(mask: npt.NDArray[np.bool_], unit: Array) -> float:
    """Return the length of a mask's edges, holes included, in frame pixels.

    By how often lines along both axes cross it (Cauchy and Crofton), which the steps of the cells do not lengthen.
    """
    sideways = np.count_nonzero(mask[:, 1:] != mask[:, :-1]) + np.count_nonzero(mask[:, [0, -1]])
    up = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[[0, -1]])
    return float(math.pi / 4 * (sideways * unit[1] + up * unit[0]))


def combined(looks: npt.NDArray[np.float64], rules: Measuring) -> dict[str, Measured]:
    """Return area, length and width by the looks (n, 7) at one part, each with its expanded uncertainty.

    What all looks have in common does not get surer by their number: the scale; how far masks reach beyond objects;
    that either end lies anywhere within a cell; and where another object touches, that its edge might belong to it.
    """
    _, _, _, rim, touched, cell, scale = np.median(looks, axis=0).tolist()
    edge, contact = rules.edge_u_px * scale, rules.contact_u_px * scale
    counted = math.sqrt(rim * cell**3 / 12)  # of the cells along the rim, each in or out
    ends = math.hypot(2 * edge, cell / math.sqrt(6), contact if touched else 0.0)
    return {
        "area_mm2": _measured(looks[:, AREA], math.hypot(rim * edge, touched * contact, counted), 2 * rules.scale_u),
        "length_mm": _measured(looks[:, LENGTH], ends, rules.scale_u),
        "width_mm": _measured(looks[:, WIDTH], ends, rules.scale_u),
    }


def _measured(values: npt.NDArray[np.float64], common_u: float, relative_u: float) -> Measured:
    """Return the median of `values` (n,) with its expanded uncertainty.

    Type A is the scatter of the looks; type B, the same for all of them, `common_u` and `relative_u`, a share of it.
    """
    value, count = float(np.median(values)), len(values)
    scatter = float(values.std(ddof=1)) if count > 1 else 0.0
    repeated = scatter * (MEDIAN if count > 2 else 1.0) / math.sqrt(count)
    standard = math.hypot(repeated, common_u, relative_u * value)
    return Measured(round(value, 3), round(COVERAGE * standard, 3))
