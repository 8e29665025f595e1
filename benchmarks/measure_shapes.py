"""What cells alone make of lengths and widths: drawn shapes without a network, whose size is known exactly.

Discs, boxes with sharp and with round corners, and hexagons, turned at random; a cell is in where its middle is. By
their mean errors `LONGER` and `WIDER` of `edge/decide/measure.py` were chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from edge.config import Camera
from edge.decide.measure import LENGTH, WIDTH, measured_look, plane_of
from edge.types import Array

ROUNDS, QUICK_ROUNDS = 300, 40
REACH: Final = 45  # cells from the middle of a picture to its edge
RADII: Final = (18.0, 37.0)  # of a disc, and half the length of the others, cells
NARROW: Final = 0.45  # width over length of a box
ROUND: Final = 0.35  # radius of a round corner over half the length
FLAT: Final = math.cos(math.pi / 6)  # of a hexagon: width over length

Shape = tuple[str, Callable[[Array, Array], Array], float, float]  # inside?, by x and y; length, width


def errors(*, quick: bool) -> dict[str, Any]:
    """Return mean and spread of the errors of length and width, in cells, by shape."""
    rng = np.random.default_rng(0)
    plane = plane_of(Camera(source="drawn", mm_per_px=1.0), "drawn")
    line = np.arange(-REACH, REACH) + 0.5
    box = np.asarray([0, 0, 2 * REACH, 2 * REACH], np.float64)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        (x, y), turn = rng.uniform(-0.5, 0.5, 2), float(rng.uniform(0, math.pi))
        across, down = line[None] - x, line[:, None] - y
        u, v = across * math.cos(turn) + down * math.sin(turn), down * math.cos(turn) - across * math.sin(turn)
        for name, inside, length, width in _shapes(float(rng.uniform(*RADII))):
            look = measured_look(box, inside(u, v), 0.0, 0.0, plane, 0.0)
            found.setdefault(name, []).append((look[LENGTH] - length, look[WIDTH] - width))
    figures: dict[str, Any] = {}
    for name, rows in found.items():
        for what, values in zip(("length", "width"), np.asarray(rows).T, strict=True):
            figures |= {f"{name}_{what}_cells": float(values.mean()), f"{name}_{what}_cells_sd": float(values.std())}
    return figures


def _shapes(half: float) -> Iterator[Shape]:
    """Yield shapes whose length is about twice `half`."""
    side, corner = NARROW * half, ROUND * half
    yield "disc", lambda u, v: np.hypot(u, v) < half, 2 * half, 2 * half
    yield "box", lambda u, v: (np.abs(u) < half) & (np.abs(v) < side), 2 * math.hypot(half, side), 2 * side
    rounded = 2 * (math.hypot(half - corner, side - corner) + corner)
    yield "rounded", lambda u, v: _round_box(u, v, half - corner, side - corner) < corner, rounded, 2 * side
    yield "hexagon", lambda u, v: _hexagon(u, v) < FLAT * half, 2 * half, 2 * FLAT * half


def _round_box(u: Array, v: Array, long: float, short: float) -> Array:
    """Return how far points are from a box of half sides `long` and `short`."""
    return np.hypot(np.maximum(np.abs(u) - long, 0), np.maximum(np.abs(v) - short, 0))


def _hexagon(u: Array, v: Array) -> Array:
    """Return how far points are from the middle, in the directions of a hexagon's sides."""
    slants = [np.abs(math.cos(turn) * u + math.sin(turn) * v) for turn in (math.pi / 6, -math.pi / 6)]
    return np.maximum(np.abs(v), np.maximum(*slants))
