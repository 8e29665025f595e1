"""Where a point of the belt appears in the camera: one fixed, mild perspective.

Window coordinates (x, v): x = travel - material position, along the motion; v across the belt, both px.
Keeping rows level means that a part keeps its camera row for its whole way.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from examples.belt.scene import WIDTH

BELT_HEIGHT: Final = 960
"""Width of the belt across its motion, strip px."""
FAR_SCALE: Final = 0.975
NEAR_SCALE: Final = 1.025
_TOP_Y: Final = 60.0
_BOTTOM_Y: Final = 1020.0


def _homography() -> NDArray[np.float64]:
    """Return the 3x3 matrix from window to camera coordinates, last entry 1."""
    tilt = (FAR_SCALE / NEAR_SCALE - 1) / BELT_HEIGHT
    centre = WIDTH / 2
    across = (_BOTTOM_Y * (1 + tilt * BELT_HEIGHT) - _TOP_Y) / BELT_HEIGHT
    along = centre * (1 - FAR_SCALE)
    return np.array(
        [[FAR_SCALE, centre * tilt, along], [0.0, across, _TOP_Y], [0.0, tilt, 1.0]],
        dtype=np.float64,
    )


HOMOGRAPHY: Final = _homography()


def project(x: float, v: float) -> tuple[float, float]:
    """Return the camera point (px) of a window point."""
    cx, cy, w = HOMOGRAPHY @ (x, v, 1.0)
    return float(cx / w), float(cy / w)


def unproject_x(camera_x: float, v: float) -> float:
    """Return the window x that appears at a camera column, for belt row v."""
    w = HOMOGRAPHY[2, 1] * v + 1.0
    return float((camera_x * w - HOMOGRAPHY[0, 1] * v - HOMOGRAPHY[0, 2]) / HOMOGRAPHY[0, 0])


def magnification(v: float) -> float:
    """Return camera px^2 per strip px^2 at belt row v."""
    w = HOMOGRAPHY[2, 1] * v + 1.0
    return float(np.linalg.det(HOMOGRAPHY) / w**3)


def camera_from_strip(shift: float) -> NDArray[np.float64]:
    """Return the 3x3 matrix from strip pixels to camera pixels, window x = column + shift."""
    move = np.eye(3)
    move[0, 2] = shift
    matrix: NDArray[np.float64] = HOMOGRAPHY @ move
    return matrix
