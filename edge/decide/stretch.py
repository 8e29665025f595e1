"""The camera's perspective on a belt: what is nearer to it moves faster."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STRIPS = 8  # of the frame's height, each with a factor of its own
GAIN = 0.05  # weight of one look
MOST = 0.2  # by which a strip may differ from the whole
LEAST_MOVE_PX = 40.0  # frame pixels that a part must have moved between two looks to tell


class Stretch:
    """Learns by how much motion differs from the common shift, per strip of the frame's height."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._strips = np.zeros(STRIPS, np.float32)

    def of(self, heights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return (n,) by what the common shift is to be multiplied at `heights` (n,), y of centres."""
        return np.asarray(1 + self._strips[self._strips_of(heights)], np.float32)

    def learn(
        self,
        heights: npt.NDArray[np.float32],
        moved: npt.NDArray[np.float32],
        missed_by: npt.NDArray[np.float32],
    ) -> None:
        """Learn from parts at `heights` (n,) that `moved` (2, n) frame pixels and were `missed_by` (2, n) of them.

        What one frame shows is added up before it is limited: the order of its parts does not matter.
        """
        lengths = moved[0] * moved[0] + moved[1] * moved[1]
        told = lengths >= LEAST_MOVE_PX**2
        if not told.any():
            return
        errors = (missed_by[0] * moved[0] + missed_by[1] * moved[1])[told] / lengths[told]
        learnt = np.bincount(self._strips_of(heights[told]), weights=errors, minlength=STRIPS)
        self._strips = np.minimum(np.maximum(self._strips + GAIN * learnt, -MOST), MOST).astype(np.float32)

    def _strips_of(self, heights: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        share = heights * (STRIPS / self._height)
        return np.asarray(np.minimum(np.maximum(share, 0), STRIPS - 1), np.int64)
