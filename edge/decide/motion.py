"""How tracks move between looks."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image

FARTHEST = 0.5  # of the frame's extent that is searched, however many frames were dropped
REACH = 0.12  # of the frame's extent that a belt moves between two frames that are seen, at the most
SURE = 0.5  # looks whose word would be half believed: they are not exact themselves
LEAST_SEEN = 0.05  # foreground cells per column or row without which there is too little to align


class Motion(Protocol):
    """Predicts how far each track has moved since the frame before."""

    def step(self, found: Image, scale: tuple[float, float], frames: int) -> npt.NDArray[np.float32] | None:
        """Return the common shift (2,) x, y in frame pixels of the last `frames` frames, or None: each its own."""
        ...


class FreeMotion:
    """Everything moves by itself."""

    def step(self, found: Image, scale: tuple[float, float], frames: int) -> npt.NDArray[np.float32] | None:  # noqa: ARG002
        """Return None: tracks keep their own velocity."""
        return None


class BeltMotion:
    """Everything moves together: one shift per frame, by aligning the foreground of two neighbouring frames.

    The foreground's column sums and row sums are shifted against those of the frame before until the sum of squared
    differences is least, with a parabola through the best three for the fraction: the cost does not depend on the
    number of parts. Where the labels have become larger or smaller there are no two to align: the shift is carried on.
    """

    def __init__(self) -> None:
        self._before: list[npt.NDArray[np.float64]] | None = None
        self._cells = 0  # of foreground in the frame before
        self._velocity = np.zeros(2, np.float32)  # frame pixels per frame

    def step(self, found: Image, scale: tuple[float, float], frames: int) -> npt.NDArray[np.float32] | None:
        """Return the shift (2,) of the belt; with nothing in sight it is carried on."""
        now = [profile(found, axis) for axis in (0, 1)]
        before, self._before = self._before, now
        fewest, self._cells = self._cells, cv2.countNonZero(found)
        fewest = min(fewest, self._cells)
        if before is None or [len(one) for one in before] != [len(one) for one in now]:
            return self._velocity * frames
        for axis in (0, 1):
            if fewest < len(now[axis]) * LEAST_SEEN:
                continue
            cells = align(before[axis], now[axis], float(self._velocity[axis]) * frames / scale[axis], frames)
            if cells is not None:
                self._velocity[axis] = cells * scale[axis] / frames
        return self._velocity * frames


def profile(found: Image, axis: int) -> npt.NDArray[np.float64]:
    """Return the number of foreground cells of `found` (h, w) in each column (axis 0), (w,), or row (axis 1), (h,)."""
    return np.asarray(cv2.reduce(found, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32F), np.float64).ravel()


def align(
    before: npt.NDArray[np.float64], now: npt.NDArray[np.float64], expected: float, frames: int = 1
) -> float | None:
    """Return by how many cells (n,) `now` lies after `before`, or None where there is too little to see.

    Shifts near `expected` win ties: parts in a regular row look alike. `frames` lie between the two.
    """
    reach = max(2, int(len(before) * min(REACH * frames, FARTHEST)))
    if len(before) <= reach:
        return None
    errors = _errors(before, now, reach)
    spread = float(np.add.reduce(errors)) / len(errors)
    if spread <= 0:
        return None
    score = errors * (1 / spread) + np.abs(np.arange(-reach, reach + 1) - expected) * 0.002
    best = int(score[1:-1].argmin()) + 1
    left, middle, right = errors[best - 1 : best + 2].tolist()
    curve = left - 2 * middle + right
    fraction = 0.5 * (left - right) / curve if curve > 0 else 0.0
    return best - reach + min(max(fraction, -0.5), 0.5)  # at the end of the reach it is no minimum


def _errors(before: npt.NDArray[np.float64], now: npt.NDArray[np.float64], reach: int) -> npt.NDArray[np.float64]:
    """Return (2 reach + 1,) the mean squared difference where both profiles (n,) overlap, for shifts -reach to reach.

    The sum of (a - b)^2 over the overlap is that of a^2 and of b^2, differences of running sums, and of -2ab, a
    correlation. Profiles are whole numbers: nothing is rounded before the division.
    """
    n = len(before)
    shifted = np.zeros(n + 2 * reach)
    shifted[reach:-reach] = now
    ours, theirs = np.zeros(n + 1), np.zeros(n + 1)
    np.cumsum(before * before, out=ours[1:])
    np.cumsum(now * now, out=theirs[1:])
    errors = np.correlate(shifted, before)
    errors *= -2
    errors += ours[n] + theirs[n]
    errors[: reach + 1] -= ours[reach::-1] + (theirs[n] - theirs[n - reach :])  # `now` to the left: what sticks out
    errors[reach:] -= (ours[n] - ours[n - reach :])[::-1] + theirs[: reach + 1]  # and to the right
    errors[: reach + 1] /= np.arange(n - reach, n + 1)
    errors[reach + 1 :] /= np.arange(n - 1, n - reach - 1, -1)
    return np.asarray(errors)


def common_drift(
    residuals: npt.NDArray[np.float32], ages: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return (n, 2) how far parts on a belt, `others` (n,) frames after that was last known, are off their places.

    `residuals` (m, 2) are the distances by which m parts were elsewhere, `ages` (m,) frames after they were last known.
    The error of the belt's motion adds up as a random walk: of what has added up over more frames each has its part, of
    what has added up over fewer it has all (the expectation of one Brownian motion given another moment of it).
    """
    count, looks = len(others), len(residuals)
    if not count or not looks:
        return np.zeros((count, 2), np.float32)
    if (others == others[0]).all():  # as nearly always: one median serves all
        others = others[:1]
    part = np.minimum(1.0, others[:, None] / np.maximum(ages, 1))
    shares = np.sort(part[:, :, None] * residuals, axis=1)
    medians = (shares[:, (looks - 1) // 2] + shares[:, looks // 2]) / 2  # np.median takes ten times as long
    return np.asarray(np.broadcast_to(medians * (looks / (looks + SURE)), (count, 2)), np.float32)
