"""The Kalman filter of objects that move by themselves: position and velocity along both axes.

Both axes err alike, so three numbers per track say how sure position and velocity are. They are in units of the
object's size, in which a look is equally exact for small and large; the gains have no unit. (Kalman, 1960; the noise is
a white acceleration: Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking, 2001, 6.2.2.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

LOOK_NOISE = 0.05  # sizes by which a look at an object errs (standard deviation, as all of these)
BLOB_NOISE = 0.15  # sizes by which a blob of the labels does
FIRST_SPEED = 0.3  # sizes per frame of an object of which nothing is known yet
UNREST = 0.02  # sizes per frame by which a velocity changes from one frame to the next

Floats: TypeAlias = npt.NDArray[np.float32]


def first_covariances(count: int) -> Floats:
    """Return (3, count) variance of the position, covariance of both, variance of the velocity, after one look."""
    first = np.asarray([[LOOK_NOISE**2], [0.0], [FIRST_SPEED**2]], np.float32)
    return np.asarray(np.broadcast_to(first, (3, count)))


def later(covariances: Floats, frames: int) -> Floats:
    """Return `covariances` (3, n) as they are `frames` frames later, if nothing is measured meanwhile."""
    grown, noise = _step(frames)
    return np.asarray(grown @ covariances + noise)


def measured(covariances: Floats, noise: float) -> tuple[Floats, Floats]:
    """Return what a measurement changes that errs by `noise`: the gains (2, n), and the covariances (3, n) after it.

    The gains are of the position and of the velocity per frame, for one unit by which an object was elsewhere.
    """
    position, both, velocity = covariances
    gains = covariances[:2] / (position + np.float32(noise * noise))
    after = np.empty_like(covariances)
    np.subtract(covariances[:2], gains[0] * covariances[:2], out=after[:2])
    np.subtract(velocity, gains[1] * both, out=after[2])
    return gains, after


@lru_cache(maxsize=64)
def _step(frames: int) -> tuple[Floats, Floats]:
    """Return what multiplies (3, 3) and what is added (3, 1) to covariances in so many frames."""
    t, q = float(frames), UNREST * UNREST
    grown = np.asarray([[1, 2 * t, t * t], [0, 1, t], [0, 0, 1]], np.float32)
    return grown, np.asarray([[q * t**3 / 3], [q * t * t / 2], [q * t]], np.float32)
