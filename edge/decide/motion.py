"""How tracks move between looks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge.decide.encoder import Encoder
from edge.types import Image

FARTHEST = 0.5  # of the frame's extent that is searched, however many frames were dropped
REACH = 0.12  # of the frame's extent that a belt moves between two frames that are seen, at the most
SURE = 0.5  # looks whose word would be half believed: they are not exact themselves
LEAST_SEEN = 0.05  # foreground cells per column or row without which there is too little to align
NEARNESS = 0.002  # mean errors by which a cell away from where the shift is expected counts against it

Floats = npt.NDArray[np.float64]


class Motion(Protocol):
    """Predicts how far each track has moved since the frame before."""

    def step(
        self, found: Image, scale: tuple[float, float], frames: int, ticks: float | None = None
    ) -> npt.NDArray[np.float32] | None:
        """Return the common shift (2,) x, y in frame pixels of the last `frames` frames, or None: each its own.

        `ticks` is what the belt's encoder said when this frame was taken.
        """
        ...


class FreeMotion:
    """Everything moves by itself."""

    def step(
        self,
        found: Image,  # noqa: ARG002
        scale: tuple[float, float],  # noqa: ARG002
        frames: int,  # noqa: ARG002
        ticks: float | None = None,  # noqa: ARG002
    ) -> npt.NDArray[np.float32] | None:
        """Return None: tracks keep their own velocity."""
        return None


class BeltMotion:
    """Everything moves together: one shift per frame, by aligning the foreground of two neighbouring frames.

    The foreground's column sums and row sums are shifted against those of the frame before until the sum of squared
    differences is least, with a parabola through the best three for the fraction: the cost does not depend on the
    number of parts. Where the labels have become larger or smaller there are no two to align: the shift is carried on.
    With an encoder its ticks say how far, as long as what is aligned bears them out.
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        self._encoder = encoder
        self._before: Profile | None = None
        self._velocity = np.zeros(2, np.float32)  # frame pixels per frame

    def step(
        self, found: Image, scale: tuple[float, float], frames: int, ticks: float | None = None
    ) -> npt.NDArray[np.float32] | None:
        """Return the shift (2,) of the belt; with nothing in sight and without ticks it is carried on."""
        aligned = self._align(found, scale, frames)
        shift = self._velocity * frames
        if self._encoder is None:
            return shift
        shift = self._encoder.step(ticks, shift, frames, sure=aligned[self._encoder.axis])
        self._velocity = shift / np.float32(frames)
        return shift

    def _align(self, found: Image, scale: tuple[float, float], frames: int) -> list[bool]:
        """Learn the velocity from the foreground; return along which axes, x and y, it could be."""
        before, self._before = self._before, profile(found)
        now, aligned = self._before, [False, False]
        if before is None or before.shape != now.shape:
            return aligned
        fewest = min(before.total, now.total)
        for axis in (0, 1):
            if fewest < now.shape[axis] * LEAST_SEEN:
                continue
            expected = float(self._velocity[axis]) * frames / scale[axis]
            cells = align(before.along(axis), now.along(axis), expected, frames)
            if cells is not None:
                self._velocity[axis] = cells * scale[axis] / frames
                aligned[axis] = True
        return aligned


class Profile:
    """How much foreground a map has in each column, then in each row."""

    def __init__(self, cells: Floats, shape: tuple[int, int]) -> None:
        """`cells` (w + h,) are counted in a map of `shape` (w, h)."""
        self.shape = shape
        self.cells = cells
        self.squares = np.zeros(len(cells) + 1)  # up to each
        np.cumsum(cells * cells, out=self.squares[1:])

    @property
    def total(self) -> float:
        """Return how much there is in all."""
        return float(np.add.reduce(self.cells[: self.shape[0]]))

    def along(self, axis: int) -> Axis:
        """Return the part along x (0), the columns, or y (1), the rows."""
        first, last = (0, self.shape[0]) if axis == 0 else (self.shape[0], len(self.cells))
        return Axis(self.cells[first:last], self.squares[first : last + 1])


class Axis(NamedTuple):
    """A profile along one axis."""

    cells: Floats  # (n,) of foreground in each column or row
    squares: Floats  # (n + 1,) a running sum of their squares: only differences mean anything


def profile(found: Image) -> Profile:
    """Return the profile of `found` (h, w)."""
    height, width = found.shape
    cells = np.empty(width + height)
    cells[:width] = cv2.reduce(found, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    cells[width:] = cv2.reduce(found, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0]
    return Profile(cells, (width, height))


def align(before: Axis, now: Axis, expected: float, frames: int = 1) -> float | None:
    """Return by how many cells `now` lies after `before`, or None where there is too little to see.

    Shifts near `expected` win ties: parts in a regular row look alike. `frames` lie between the two.
    """
    length = len(before.cells)
    reach = max(2, int(length * min(REACH * frames, FARTHEST)))
    if length <= reach:
        return None
    errors = _errors(before, now, reach)
    spread = float(np.add.reduce(errors)) / len(errors)
    if spread <= 0:
        return None
    score = errors * (1 / spread) + np.abs(_shifts(reach) - expected) * NEARNESS
    best = int(score[1:-1].argmin()) + 1
    left, middle, right = errors[best - 1 : best + 2].tolist()
    curve = left - 2 * middle + right
    fraction = 0.5 * (left - right) / curve if curve > 0 else 0.0
    return best - reach + min(max(fraction, -0.5), 0.5)  # at the end of the reach it is no minimum


def _errors(before: Axis, now: Axis, reach: int) -> Floats:
    """Return (2 reach + 1,) the mean squared difference where both profiles overlap, for shifts -reach to reach.

    The sum of (a - b)^2 over the overlap is that of a^2 and of b^2, differences of running sums, and of -2ab, a
    correlation. Profiles are whole numbers: nothing is rounded before the division.
    """
    n, ours, theirs = len(before.cells), before.squares, now.squares
    shifted = np.zeros(n + 2 * reach)
    shifted[reach:-reach] = now.cells
    errors = np.correlate(shifted, before.cells)
    errors *= -2
    left, right = ours[n] - theirs[0], theirs[n] - ours[0]
    errors[: reach + 1] += theirs[n - reach :] - ours[reach::-1] + left  # `now` to the left
    errors[reach + 1 :] += ours[n - 1 : n - reach - 1 : -1] - theirs[1 : reach + 1] + right  # and to the right
    errors /= _overlaps(n, reach)
    return np.asarray(errors)


@lru_cache(maxsize=64)
def _shifts(reach: int) -> Floats:
    """Return (2 reach + 1,) the shifts from -reach to reach."""
    return np.arange(-reach, reach + 1, dtype=np.float64)


@lru_cache(maxsize=64)
def _overlaps(length: int, reach: int) -> Floats:
    """Return (2 reach + 1,) how many cells of two profiles lie over each other, for shifts -reach to reach."""
    return np.asarray(length - np.abs(_shifts(reach)))


def common_drift(
    residuals: npt.NDArray[np.float32], ages: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return (2, n) how far parts on a belt, `others` (n,) frames after that was last known, are off their places.

    Where it is the same for all it is one column.

    `residuals` (2, m) are the distances by which m parts were elsewhere, `ages` (m,) frames after they were last known.
    The error of the belt's motion adds up as a random walk: of what has added up over more frames each has its part, of
    what has added up over fewer it has all (the expectation of one Brownian motion given another moment of it).
    """
    count, looks = len(others), len(ages)
    if not count or not looks:
        return np.zeros((2, count), np.float32)
    if (others == others[0]).all():  # as nearly always: one median serves all
        others = others[:1]
    part = np.minimum(1.0, others[:, None] / np.maximum(ages, 1))
    shares = np.sort(part * residuals[:, None], axis=2)
    medians = (shares[:, :, (looks - 1) // 2] + shares[:, :, looks // 2]) / 2  # np.median takes ten times as long
    return np.asarray(medians * (looks / (looks + SURE)), np.float32)
