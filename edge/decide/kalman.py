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
GAIN, OF = [0, 0, 1], [0, 1, 1]  # which gain takes how much off which of the three numbers


def first_covariances(count: int) -> Floats:
    """Return (count, 3) variance of the position, covariance of both, variance of the velocity, after one look."""
    return np.tile(np.asarray([LOOK_NOISE**2, 0.0, FIRST_SPEED**2], np.float32), (count, 1))


def later(covariances: Floats, frames: int) -> Floats:
    """Return `covariances` (n, 3) as they are `frames` frames later, if nothing is measured meanwhile."""
    grown, noise = _step(frames)
    return np.asarray(covariances @ grown + noise)


def measured(covariances: Floats, noise: float) -> tuple[Floats, Floats]:
    """Return what a measurement changes that errs by `noise`: the gains (n, 2), and the covariances (n, 3) after it.

    The gains are of the position and of the velocity per frame, for one unit by which an object was elsewhere.
    """
    gains = covariances[:, :2] / (covariances[:, :1] + np.float32(noise * noise))
    return gains, covariances - gains[:, GAIN] * covariances[:, OF]


@lru_cache(maxsize=64)
def _step(frames: int) -> tuple[Floats, Floats]:
    """Return what multiplies (3, 3) and what is added (3,) to covariances in so many frames."""
    t, q = float(frames), UNREST * UNREST
    grown = np.asarray([[1, 0, 0], [2 * t, 1, 0], [t * t, t, 1]], np.float32)
    return grown, np.asarray([q * t**3 / 3, q * t * t / 2, q * t], np.float32)
