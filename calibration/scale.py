"""How many millimetres a pixel is, and how sure that is: from pictures of a printed checkerboard or marker.

What is compared are lengths: each row and each column of the checkerboard's corners from end to end, or sides and
diagonals of a marker. In every mapping from pixels to millimetres these have errors, for the corners are not exact,
the lens bends, and the camera looks at a slant; their root mean square is the mapping's own uncertainty, and that of
the print comes to it (JCGM 100:2008, 5.1: independent parts add up in squares). One number of millimetres per pixel is
preferred; where a plane seen at a slant does clearly better, it is told by four marks instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.config.see import Mark
from edge.errors import ConfigError
from edge.types import Image

CENTRE = 0.5  # OpenCV's corners count from the middle of a pixel, ours from its edge
TWICE = 2.0  # times as uncertain as a slanted plane that one number may be before marks are told instead
GOOD_ENOUGH = 0.001  # relative uncertainty of one number below which nobody needs marks
FREE = 8  # numbers that a plane seen at a slant has: as many coordinates it fits by itself
LEAST_CORNERS = 3  # of a checkerboard, each way
LEAST_PX = 4.0  # between two corners: below it none is found for sure

Points = npt.NDArray[np.float64]  # (n, 2)
Pairs = npt.NDArray[np.int64]  # (m, 2) indices of points whose distance is known


@dataclass(frozen=True, slots=True)
class Pattern:
    """Points that one picture shows, and where they are on the plane."""

    picture: str  # its name
    size: tuple[int, int]  # width, height of the picture
    seen: Points  # frame pixels
    known: Points  # mm
    lengths: Pairs  # ends of what is compared
    corners: tuple[int, int, int, int]  # the four of `seen` that lie farthest out, one after the other


@dataclass(frozen=True, slots=True)
class Scale:
    """What the pictures come to."""

    mm_per_px: float
    scale_u: float  # relative standard uncertainty, of `mm_per_px` or, where there are any, of the plane by `marks`
    marks: tuple[Mark, ...]  # of the plane, where one number would be clearly worse
    number_u: float  # relative standard uncertainty of `mm_per_px` alone
    covered: float  # share of the frame that the pattern covered: beyond it the scale is taken to go on


def checkerboard(picture: str, image: Image, squares: tuple[int, int], square_mm: float) -> Pattern:
    """Return the inner corners of a checkerboard of `squares` (across, down), each `square_mm` wide.

    Corners are found by Duda and Frese (2018), "Accurate detection and localization of checkerboard corners for
    calibration", as OpenCV has it. Raises `ConfigError` where `image` (h, w, 3) shows no such board.
    """
    across, down = squares[0] - 1, squares[1] - 1
    if min(across, down) < LEAST_CORNERS:
        least = LEAST_CORNERS + 1
        raise ConfigError(f"--squares {squares[0]}x{squares[1]}: too few; use a board of {least} x {least} or more")
    found, corners = cv2.findChessboardCornersSB(_grey(image), (across, down), flags=cv2.CALIB_CB_ACCURACY)
    if not found:
        raise ConfigError(
            f"{picture}: no checkerboard of {squares[0]} x {squares[1]} squares is seen; count the squares, show all "
            "of it, flat, sharp and evenly lit, with a white margin"
        )
    x, y = np.meshgrid(np.arange(across), np.arange(down))
    known = np.stack([x, y], axis=2).reshape(-1, 2).astype(np.float64) * square_mm
    numbers = np.arange(across * down).reshape(down, across)
    ends = [(row[0], row[-1]) for row in numbers] + [(column[0], column[-1]) for column in numbers.T]
    outer = (numbers[0, 0], numbers[0, -1], numbers[-1, -1], numbers[-1, 0])
    return _pattern(picture, image, np.asarray(corners, np.float64).reshape(-1, 2), known, ends, outer)


def marker(picture: str, image: Image, number: int, side_mm: float) -> Pattern:
    """Return the corners of the ArUco marker `number` of the dictionary 4X4_50, its black square `side_mm` wide.

    Garrido-Jurado et al. (2014), "Automatic generation and detection of highly reliable fiducial markers under
    occlusion". Raises `ConfigError` where `image` (h, w, 3) does not show it, or shows it more than once.
    """
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), parameters)
    corners, numbers, _ = detector.detectMarkers(_grey(image))
    there = [] if numbers is None else [int(n) for n in np.ravel(numbers)]
    if there.count(number) != 1:
        seen = f"shows {', '.join(map(str, sorted(there)))}" if there else "shows none"
        raise ConfigError(f"{picture}: marker {number} is to be seen once; the picture {seen}")
    points = np.asarray(corners[there.index(number)], np.float64).reshape(4, 2)
    known = np.asarray([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * side_mm
    ends = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)]
    return _pattern(picture, image, points, known, ends, (0, 1, 2, 3))


def scale_of(patterns: Sequence[Pattern], print_u: float) -> Scale:
    """Return the scale that `patterns`, all in one plane and of one size of picture, come to.

    `print_u` is the relative standard uncertainty of the printed lengths. Raises `ConfigError` where pictures differ
    in size.
    """
    first = patterns[0]
    for other in patterns:
        if other.size != first.size:
            raise ConfigError(f"{other.picture}: is {_by(other.size)}, {first.picture} {_by(first.size)}; use one size")
    seen, known = (np.concatenate([_lengths(p, which) for p in patterns]) for which in ("seen", "known"))
    number = float((seen * known).sum() / (seen * seen).sum())  # least squares
    number_u = math.hypot(_rms(number * seen / known - 1), print_u)
    marks, marks_u = _plane(patterns)
    covered = max(_covered(pattern) for pattern in patterns)
    if number_u <= max(GOOD_ENOUGH, TWICE * math.hypot(marks_u, print_u)):
        return Scale(number, number_u, (), number_u, covered)
    return Scale(number, math.hypot(marks_u, print_u), marks, number_u, covered)


def _plane(patterns: Sequence[Pattern]) -> tuple[tuple[Mark, ...], float]:
    """Return four marks of the plane, and the relative standard uncertainty of lengths by them.

    The plane is fitted to the picture that has most corners, with a pattern that leaves something to be compared; the
    others are held against it. Without one, four corners that fit exactly, the uncertainty is infinite.
    """
    best = max(patterns, key=lambda pattern: len(pattern.seen))
    if 2 * len(best.seen) <= FREE:
        return (), math.inf
    fitted, _ = cv2.findHomography(best.seen, best.known)
    if fitted is None:
        return (), math.inf
    plane = np.asarray(fitted, np.float64)
    errors = np.concatenate([_plane_errors(plane, pattern) for pattern in patterns])
    spare = 2 * len(best.seen)
    marks = _mapped(plane, best.seen[list(best.corners)])
    told = tuple((*at, *mm) for at, mm in zip(best.seen[list(best.corners)].tolist(), marks.tolist(), strict=True))
    return told, _rms(errors) * math.sqrt(spare / (spare - FREE))


def _plane_errors(plane: Points, pattern: Pattern) -> npt.NDArray[np.float64]:
    """Return (m,) by which share each length of `pattern` is off on `plane` (3, 3)."""
    shown = _mapped(plane, pattern.seen)
    return _between(shown, pattern.lengths) / _lengths(pattern, "known") - 1


def _mapped(plane: Points, points: Points) -> Points:
    return np.asarray(cv2.perspectiveTransform(points[None], plane)[0])


def _lengths(pattern: Pattern, which: str) -> npt.NDArray[np.float64]:
    return _between(getattr(pattern, which), pattern.lengths)


def _between(points: Points, pairs: Pairs) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1))


def _rms(errors: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _covered(pattern: Pattern) -> float:
    hull = cv2.convexHull(pattern.seen.astype(np.float32))
    return float(cv2.contourArea(hull)) / (pattern.size[0] * pattern.size[1])


def _pattern(
    picture: str,
    image: Image,
    corners: Points,
    known: Points,
    ends: list[tuple[int, int]],
    outer: tuple[int, int, int, int],
) -> Pattern:
    pairs = np.asarray(ends, np.int64)
    pattern = Pattern(picture, (image.shape[1], image.shape[0]), corners + CENTRE, known, pairs, outer)
    nearest = _nearest_px(pattern)
    if nearest < LEAST_PX:
        raise ConfigError(f"{picture}: corners are {nearest:.1f} pixels apart; come nearer, or print it larger")
    return pattern


def _nearest_px(pattern: Pattern) -> float:
    """Return how far the first point is from the nearest other one, frame pixels."""
    apart = np.linalg.norm(pattern.seen[1:] - pattern.seen[0], axis=1)
    return float(apart.min())


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
