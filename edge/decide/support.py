"""What the semantic labels say of tracks, frame by frame, between looks."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.types import Array, Boxes, Image

LIKE = 0.75  # ratio of a blob's and a box's sides below which the blob is not just this object
POINTS = 24  # in a box, where it is asked what blob it stands on


def _spread_points(count: int) -> npt.NDArray[np.float32]:
    """Return (2, count) x and y in 0..1, spread evenly over the square in no rows: Roberts' R2 sequence (2018)."""
    plastic = 1.32471795724474602596
    steps = np.arange(1, count + 1)
    return np.stack([(0.5 + steps / plastic) % 1, (0.5 + steps / plastic**2) % 1]).astype(np.float32)


SPOTS = _spread_points(POINTS)


def support(found: Image, scale: tuple[float, float], boxes: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) the share of each box (n, 4) that is foreground in `found` (h, w)."""
    if not len(boxes):
        return np.zeros(0, np.float32)
    corners = _cells(boxes, scale, found.shape)
    across, down = corners[::2], corners[1::2]
    sums = cv2.integral(found)
    at = sums.take(down[:, None] * sums.shape[1] + across)  # (2, 2, n)
    rows = at[1] - at[0]
    area = (across[1] - across[0]) * (down[1] - down[0])
    return np.asarray((rows[1] - rows[0]) / np.maximum(area, 1), np.float32)


def blob_offsets(
    found: Image, scale: tuple[float, float], boxes: Boxes
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return (2, n) how far each box (n, 4) is from the blob of foreground under it, and whether that is known.

    A blob tells where one object is when no other box stands on it, the frame's border does not cut it, and its sides
    are like the box's, give or take a label pixel. Where it does not, the offset is 0.
    """
    if not len(boxes):
        return np.zeros((2, 0), np.float32), np.zeros(0, np.bool_)
    blobs, stats = blobs_of(found)
    under = _main_blobs(blobs, _cells(boxes, scale, found.shape))
    alone = (under > 0) & (np.bincount(under)[under] == 1)
    spans, corners = stats[under, :4].T.astype(np.float32), boxes.T
    low, high = spans[:2], spans[:2] + spans[2:]
    step = _column(scale)
    sides, blob_sides = corners[2:] - corners[:2], spans[2:] * step
    known = np.minimum(sides, blob_sides) + step >= LIKE * np.maximum(sides, blob_sides)
    known &= low > 0
    known &= high < _column(found.shape[::-1])
    alone &= known[0] & known[1]
    return ((low + high) * step - (corners[:2] + corners[2:])) * (alone * np.float32(0.5)), alone


def _main_blobs(blobs: Array, corners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (n,) the number of the blob that most of the foreground in each box belongs to, 0 where there is none.

    `blobs` (h, w) are numbers of blobs, `corners` (4, n) boxes in label pixels. Points spread over each box are asked:
    the blob with more than half of those in the foreground is the median of their numbers.
    """
    sides = corners[2:] - corners[:2]
    x, y = corners[:2, :, None] + (sides[:, :, None] * SPOTS[:, None]).astype(np.int64)
    numbers = np.sort(blobs.take(y * blobs.shape[1] + x, mode="clip"), axis=1)  # what is outside has no side
    blank = np.add.reduce(numbers == 0, axis=1)
    middle = numbers[np.arange(len(numbers)), np.minimum((POINTS + blank) // 2, POINTS - 1)]
    return np.asarray(middle * ((sides[0] > 0) & (sides[1] > 0)), np.int64)


def _cells(boxes: Boxes, scale: tuple[float, float], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return `boxes` (n, 4) in label pixels, inside a map of `shape`: (4, n)."""
    cells = boxes.T / _column((*scale, *scale))
    np.rint(cells, out=cells)
    np.maximum(cells, 0, out=cells)
    np.minimum(cells, _column(shape[1::-1] * 2), out=cells)
    return np.asarray(cells, np.int64)


@lru_cache(maxsize=64)
def _column(numbers: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Return `numbers` (k,) as (k, 1)."""
    return np.asarray(numbers, np.float32)[:, None]
