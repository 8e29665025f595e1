"""The strip before and behind a gate's line, along the way that parts go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.config import Point
from edge.decide.lines import direction_of
from edge.types import Boxes

Floats = npt.NDArray[np.float64]


class Lane:
    """Says how far along its way through a gate something is, in frame pixels."""

    def __init__(self, start: Point, end: Point, direction: str) -> None:
        """`start` and `end` are the line's; parts go to the side that `direction` names."""
        self._start = np.asarray(start, np.float64)
        along = np.asarray(end, np.float64) - self._start
        self._length = float(np.hypot(*along))
        self._along = along / self._length
        normal = np.asarray([-self._along[1], self._along[0]])
        self._normal = normal if direction_of(normal) == direction else -normal

    def place(self, points: npt.NDArray[np.float32]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return (n,) how far `points` (n, 2) are beyond the line, negative before it, and (n,) between its ends."""
        offsets = points - self._start
        along = offsets @ self._along
        return offsets @ self._normal, (along >= 0) & (along <= self._length)

    def speeds(self, velocities: npt.NDArray[np.float32]) -> Floats:
        """Return (n,) how fast `velocities` (n, 2) take things towards the far side, in their own unit."""
        return np.asarray(velocities @ self._normal, np.float64)

    def reaches(self, boxes: Boxes) -> Floats:
        """Return (n,) how far `boxes` (n, 4) reach from their middles towards the far side."""
        return np.asarray((boxes[:, 2:] - boxes[:, :2]) @ np.abs(self._normal) / 2, np.float64)
