"""What the semantic labels say of tracks, frame by frame, between looks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.types import Array, Boxes, Image

LIKE = 0.75  # ratio of a blob's and a box's sides below which the blob is not just this object


def support(found: Image, scale: tuple[float, float], boxes: Boxes) -> npt.NDArray[np.float32]:
    """Return (n,) the share of each box (n, 4) that is foreground in `found` (h, w)."""
    if not len(boxes):
        return np.zeros(0, np.float32)
    sums = cv2.integral(found)
    x0, y0, x1, y1 = _cells(boxes, scale, found.shape).T
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(inside / np.maximum((x1 - x0) * (y1 - y0), 1), np.float32)


def blob_offsets(
    found: Image, scale: tuple[float, float], boxes: Boxes
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return (n, 2) how far each box (n, 4) is from the blob of foreground under it, and whether that is known.

    A blob tells where one object is when no other box stands on it, the frame's border does not cut it, and its sides
    are like the box's, give or take a label pixel. Where it does not, the offset is 0.
    """
    offsets, known = np.zeros((len(boxes), 2), np.float32), np.zeros(len(boxes), np.bool_)
    if not len(boxes):
        return offsets, known
    blobs, stats = blobs_of(found)
    under = np.asarray([_main_blob(blobs[y0:y1, x0:x1]) for x0, y0, x1, y1 in _cells(boxes, scale, found.shape)])
    spans = stats[under, :4].astype(np.float32)
    low, high = spans[:, :2], spans[:, :2] + spans[:, 2:]
    alone = np.bincount(under, minlength=len(stats))[under] == 1
    cut = (low <= 0).any(axis=1) | (high >= found.shape[::-1]).any(axis=1)
    step = np.asarray(scale, np.float32)
    sides, blob_sides = boxes[:, 2:] - boxes[:, :2], spans[:, 2:] * step
    smaller, larger = np.minimum(sides, blob_sides), np.maximum(sides, blob_sides)
    like = (smaller + step >= LIKE * larger).all(axis=1)
    known = (under > 0) & alone & ~cut & like
    offsets[known] = ((low + high) * step - (boxes[:, :2] + boxes[:, 2:]))[known] / 2
    return offsets, np.asarray(known)


def _main_blob(cells: Array) -> int:
    """Return the number of the blob with most of `cells` (h, w), 0 where there is none."""
    counts = np.bincount(cells.ravel(), minlength=1)
    counts[0] = 0
    return int(counts.argmax())


def _cells(boxes: Boxes, scale: tuple[float, float], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return `boxes` (n, 4) in label pixels, inside a map of `shape`."""
    cells = np.rint(boxes / np.asarray([*scale, *scale], np.float32))
    limit = np.asarray([shape[1], shape[0], shape[1], shape[0]], np.float32)
    return np.asarray(np.minimum(np.maximum(cells, 0), limit), np.int64)
