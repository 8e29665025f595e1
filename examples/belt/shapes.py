"""Outlines of the parts, as signed distances: negative inside the material, px."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from examples.belt.scene import KINDS, Field

SIZE_RANGE: Final = (72.0, 148.0)
"""Longest extent of a part, px."""
_BORDER: Final = 3
"""Free pixels around a part's circle."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A round hole: centre in the part's own axes, and radius, px."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Outline:
    """One part as drawn by its designer: no defects yet. Fields are (n, n) float32, n odd."""

    kind: int
    """1..4."""
    radius: float
    """Half the longest extent, px."""
    angle: float
    x: Field
    """Pixel coordinates in the part's own axes, px."""
    y: Field
    outer: Field
    """Signed distance to the outer contour, holes ignored, px."""
    holes: tuple[Hole, ...]

    def hole(self, index: int) -> Field:
        """Return the signed distance to a hole's rim, negative inside the hole."""
        hole = self.holes[index]
        away = np.hypot(self.x - np.float32(hole.x), self.y - np.float32(hole.y))
        distance: Field = away - np.float32(hole.radius)
        return distance


def draw_outline(rng: Generator) -> Outline:
    """Return a random part of a random kind, size and rotation."""
    kind = int(rng.integers(1, len(KINDS) + 1))
    low, high = SIZE_RANGE
    radius = float(low + (high - low) * rng.beta(1.5, 2.2)) / 2
    angle = float(rng.uniform(0, 2 * np.pi))
    x, y = _axes(radius, angle)
    outer, holes = (_washer, _nut, _gear, _bracket)[kind - 1](rng, x, y, radius)
    return Outline(kind, radius, angle, x, y, outer, holes)


def _axes(radius: float, angle: float) -> tuple[Field, Field]:
    """Return both coordinates of every pixel in the part's own axes."""
    reach = int(np.ceil(radius)) + _BORDER
    line = np.arange(-reach, reach + 1, dtype=np.float32)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = cos * line[None, :] + sin * line[:, None]
    y = cos * line[:, None] - sin * line[None, :]
    return x, y


def _washer(rng: Generator, x: Field, y: Field, radius: float) -> tuple[Field, tuple[Hole, ...]]:
    hole = Hole(0.0, 0.0, radius * float(rng.uniform(0.4, 0.6)))
    return np.hypot(x, y) - np.float32(radius), (hole,)


def _nut(rng: Generator, x: Field, y: Field, radius: float) -> tuple[Field, tuple[Hole, ...]]:
    flat = np.float32(radius * np.cos(np.pi / 6))
    outer = np.abs(y)
    for slope in (np.pi / 6, -np.pi / 6):
        outer = np.maximum(outer, np.abs(np.float32(np.cos(slope)) * x + np.float32(np.sin(slope)) * y))
    return outer - flat, (Hole(0.0, 0.0, radius * float(rng.uniform(0.4, 0.52))),)


def _gear(rng: Generator, x: Field, y: Field, radius: float) -> tuple[Field, tuple[Hole, ...]]:
    teeth = int(rng.integers(10, 19))
    depth = min(0.2 * radius, 4.0 * radius / teeth)
    wave = np.cos(np.float32(teeth) * np.arctan2(y, x))
    tip = np.float32(0.5) + np.float32(0.5) * np.clip(np.float32(2.4) * wave, -1, 1)
    level = np.hypot(x, y) - np.float32(radius) + np.float32(depth) * (1 - tip)
    slope_y, slope_x = np.gradient(level)
    outer: Field = level / np.maximum(np.hypot(slope_x, slope_y), np.float32(0.7))
    return outer, (Hole(0.0, 0.0, radius * float(rng.uniform(0.2, 0.32))),)


def _bracket(rng: Generator, x: Field, y: Field, radius: float) -> tuple[Field, tuple[Hole, ...]]:
    """Return a rounded plate whose shape tells its number of holes: strip 2, triangle 3, rectangle 4."""
    count = int(rng.integers(2, 5))
    if count == 3:
        return _triangle(rng, x, y, radius)
    corner = radius * float(rng.uniform(0.12, 0.2))
    long = radius * 0.98 if count == 2 else radius * 0.82
    half = long * float(rng.uniform(0.4, 0.5) if count == 2 else rng.uniform(0.62, 0.7))
    outer = _box(x, y, long, half, corner)
    size = min(half * float(rng.uniform(0.36, 0.46)), 0.165 * radius if count == 4 else radius)
    gap = max(size * (1.75 if count == 2 else 1.6), 0.3 * half)
    rows = (0.0,) if count == 2 else (-(half - gap), half - gap)
    return outer, tuple(Hole(side * (long - gap), row, size) for row in rows for side in (-1, 1))


def _box(x: Field, y: Field, long: float, half: float, corner: float) -> Field:
    """Return the signed distance to a rounded rectangle."""
    over_x = np.abs(x) - np.float32(long - corner)
    over_y = np.abs(y) - np.float32(half - corner)
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    inside = np.minimum(np.maximum(over_x, over_y), 0)
    distance: Field = outside + inside - np.float32(corner)
    return distance


def _triangle(rng: Generator, x: Field, y: Field, radius: float) -> tuple[Field, tuple[Hole, ...]]:
    """Return a triangle with round corners, one hole near each."""
    corner = radius * float(rng.uniform(0.26, 0.32))
    reach = radius - corner
    spots = [(reach * np.cos(turn), reach * np.sin(turn)) for turn in 2 * np.pi / 3 * np.arange(3)]
    inside = np.full_like(x, -np.inf)
    away = np.full_like(x, np.inf)
    for (ax, ay), (bx, by) in zip(spots, spots[1:] + spots[:1], strict=True):
        along_x, along_y = bx - ax, by - ay
        length = float(np.hypot(along_x, along_y))
        nx, ny = np.float32(along_y / length), np.float32(-along_x / length)
        inside = np.maximum(inside, (x - np.float32(ax)) * nx + (y - np.float32(ay)) * ny)
        away = np.minimum(away, _segment(x - np.float32(ax), y - np.float32(ay), along_x, along_y))
    outer: Field = np.where(inside < 0, inside, away) - np.float32(corner)
    size = corner * float(rng.uniform(0.46, 0.56))
    return outer, tuple(Hole(float(px), float(py), size) for px, py in spots)


def _segment(x: Field, y: Field, to_x: float, to_y: float) -> Field:
    """Return the distance to the segment from the origin to a point."""
    share = np.clip((x * np.float32(to_x) + y * np.float32(to_y)) / np.float32(to_x**2 + to_y**2), 0, 1)
    distance: Field = np.hypot(x - share * np.float32(to_x), y - share * np.float32(to_y))
    return distance
