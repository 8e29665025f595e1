"""Polygons, and how deep in them points lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Polygon:
    """A closed polygon; where its sides cross each other, what an odd number of them surrounds is inside."""

    def __init__(self, corners: Sequence[tuple[float, float]]) -> None:
        """`corners` are three or more x, y in order, frame pixels."""
        self.corners = np.asarray(corners, np.float64)
        self._x, self._y = self.corners.T
        self._round = np.append(self._y, self._y[0])
        self._across, self._down = np.diff(self._x, append=self._x[0]), np.diff(self._round)
        self._squares = np.maximum(self._across**2 + self._down**2, np.finfo(np.float64).tiny)
        self._slopes = self._across / np.where(self._down == 0, 1.0, self._down)  # level sides are never crossed

    def depths(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (n,) how far each of `points` (n, 2) is from the nearest side, pixels; negative outside."""
        x, y = points[:, :1] - self._x, points[:, 1:] - self._y  # (n, m): from the first end of each side
        along = np.minimum(np.maximum((x * self._across + y * self._down) / self._squares, 0.0), 1.0)
        squares = (x - along * self._across) ** 2 + (y - along * self._down) ** 2
        below = points[:, 1:] >= self._round
        crossed = (below[:, 1:] != below[:, :-1]) & (x < y * self._slopes)  # by a ray to the right
        inside = np.logical_xor.reduce(crossed, axis=1)
        return np.asarray(np.where(inside, 1.0, -1.0) * np.sqrt(squares.min(axis=1)))

    def deepest(self, cells: int = 64) -> float:
        """Return a distance that no point inside is farther from all sides than, by trying `cells` x `cells` places.

        It is too large by half the diagonal of a cell at the most: depth changes no faster than a point moves.
        """
        low, high = self.corners.min(axis=0), self.corners.max(axis=0)
        step = (high - low) / cells
        xs, ys = np.meshgrid(*(low[i] + step[i] * (np.arange(cells) + 0.5) for i in (0, 1)))
        tried = self.depths(np.stack([xs.ravel(), ys.ravel()], axis=1))
        return float(tried.max() + np.hypot(*step) / 2)
