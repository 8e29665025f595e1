"""Labels -> regions: where is something that no track explains?"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import RegionRules
from edge.types import Image, Labels, Regions, Tracks

MOST_REGIONS = 256  # of one frame; the largest are kept, so noise costs bounded time


def foreground(labels: Labels, wanted: npt.NDArray[np.uint8], confidence: float) -> Image:
    """Return a map (h, w) uint8 of label size: 1 where a wanted class is seen with at least `confidence` (0..1).

    `wanted` has shape (256,): 1 for every class that deserves attention.
    """
    found: Image = np.asarray(cv2.LUT(labels.classes, wanted), np.uint8)
    if confidence > 0 and labels.confidence is not None:
        found = found * (labels.confidence >= math.ceil(confidence * 255))
    return found


def find_regions(
    found: Image,
    owners: npt.NDArray[np.int16],
    scale: tuple[float, float],
    rules: RegionRules,
    size: tuple[int, int],
) -> Regions:
    """Return the connected spots of foreground `found` that no track explains.

    `found` is (h, w) uint8 of 0 and 1, `owners` (h, w) as `owners_of` gives it, `scale` frame pixels per label pixel
    (x, y), `size` the frame's width and height. A track explains its mask, widened by one label pixel. Spots below
    the smallest area are left out; boxes are padded and kept inside the frame.
    """
    explained = cv2.dilate((owners >= 0).view(np.uint8), _SQUARE)
    rest: Image = found & (1 - np.asarray(explained, np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float32) * (scale[0] * scale[1])
    largest = np.argsort(-areas, kind="stable")[:MOST_REGIONS]
    kept = largest[areas[largest] >= rules.min_area_px]
    spots = stats[1:][kept].astype(np.float32)
    corners = np.concatenate([spots[:, :2], spots[:, :2] + spots[:, 2:4]], axis=1) * np.tile(scale, 2)
    return Regions(padded(corners, rules.pad_px, size), areas[kept])


def owners_of(shape: tuple[int, ...], scale: tuple[float, float], tracks: Tracks) -> npt.NDArray[np.int16]:
    """Return a map (h, w) of label size: the row of the track whose mask lies there, -1 where there is none."""
    owners: npt.NDArray[np.int16] = np.full(shape, -1, np.int16)
    cells = tracks.boxes / np.tile(np.asarray(scale, np.float32), 2)
    starts, ends = np.floor(cells[:, :2]).astype(int).tolist(), np.ceil(cells[:, 2:]).astype(int).tolist()
    for row, (mask, (x0, y0), (x1, y1)) in enumerate(zip(tracks.masks, starts, ends, strict=True)):
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
        if left >= right or top >= bottom:
            continue
        fine = cv2.resize(mask.view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
        owners[top:bottom, left:right][fine[top - y0 : bottom - y0, left - x0 : right - x0] > 0] = row
    return owners


def class_shares(
    classes: npt.NDArray[np.uint8], owners: npt.NDArray[np.int16], tracks: int, table: npt.NDArray[np.uint8], known: int
) -> npt.NDArray[np.float32]:
    """Return (tracks, known) the share of every track's label pixels that the semantic pass gives to each class.

    `classes` (h, w) are semantic classes, `table` (256,) the instance class each stands for, 0 for none. This is the
    majority vote of Panoptic-DeepLab (Cheng et al. 2020, section 3.3), spread over time.
    """
    there = owners >= 0
    index = owners[there].astype(np.int64) * known + cv2.LUT(classes, table)[there]
    counts = np.bincount(index, minlength=tracks * known).reshape(tracks, known).astype(np.float32)
    counts[:, 0] = 0
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.float32)


_SQUARE = np.ones((3, 3), np.uint8)


def padded(
    boxes: npt.NDArray[np.float32], pad_px: float | npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4) widened by `pad_px` on each side, rounded outwards and clipped to a frame of `size`."""
    pad = np.broadcast_to(np.asarray(pad_px, np.float32), (len(boxes),))[:, None]
    outer = np.concatenate([np.floor(boxes[:, :2] - pad), np.ceil(boxes[:, 2:] + pad)], axis=1)
    return np.asarray(np.clip(outer, 0, np.asarray([*size, *size])), np.int32)
