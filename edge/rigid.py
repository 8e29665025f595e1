"""Rigid motions in the plane of the frame: a turn and a shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (n, 2) x, y


@dataclass(frozen=True, slots=True)
class Motion:
    """A turn about a point and then a shift."""

    about: tuple[float, float]  # x, y
    turn: float = 0.0  # radians, clockwise as the picture is seen
    shift: tuple[float, float] = (0.0, 0.0)  # x, y

    def __call__(self, points: Points) -> Points:
        """Return where `points` (n, 2) are after it."""
        sine, cosine = math.sin(self.turn), math.cos(self.turn)
        about, turned = np.asarray(self.about), np.asarray([[cosine, sine], [-sine, cosine]])
        return np.asarray((points - about) @ turned + about + np.asarray(self.shift))


def motion_of(places: Sequence[Points], moved: tuple[float, float, float]) -> Motion:
    """Return the motion of `places`, corners (k, 2) each, that an event tells as (x, y, degrees) in `moved`."""
    return Motion(middle_of(places), math.radians(moved[2]), moved[:2])


def middle_of(places: Sequence[Points]) -> tuple[float, float]:
    """Return the middle of the middles of `places`, corners (k, 2) each: what they turn about."""
    x, y = np.mean([corners.mean(axis=0) for corners in places], axis=0).tolist()
    return (x, y)
