"""Labels -> regions: where is something that no track explains?"""

from __future__ import annotations

import math

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edge.config import RegionRules
from edge.types import Boxes, Image, Labels, Regions

SQUARE = np.ones((3, 3), np.uint8)  # a cell and its neighbours
MOST_REGIONS = 256  # of one frame; the largest are kept, so noise costs bounded time


def widened(rules: RegionRules) -> RegionRules:
    """Return rules for a gate that misses too much: fainter and smaller spots count, with more round them."""
    return msgspec.structs.replace(
        rules, confidence=rules.confidence / 2, min_area_px=rules.min_area_px / 2, pad_px=rules.pad_px * 2
    )


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
    explained: Image,
    scale: tuple[float, float],
    rules: RegionRules,
    size: tuple[int, int],
) -> Regions:
    """Return the connected spots of foreground `found` outside `explained` widened by one label pixel.

    The edges of labels are ragged, and what is left of them round a track would be spots. Both maps are (h, w) uint8 of
    0 and 1, `scale` frame pixels per label pixel (x, y), `size` the frame's width and height. Spots below the smallest
    area are left out; boxes are padded and kept inside the frame.
    """
    rest: Image = found & (1 - np.asarray(cv2.dilate(explained, SQUARE), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float32) * (scale[0] * scale[1])
    largest = np.argsort(-areas, kind="stable")[:MOST_REGIONS]
    kept = largest[areas[largest] >= rules.min_area_px]
    spots = stats[1:][kept].astype(np.float32)
    corners = np.concatenate([spots[:, :2], spots[:, :2] + spots[:, 2:4]], axis=1) * np.tile(scale, 2)
    return Regions(padded(corners, rules.pad_px, size), areas[kept])


def painted(
    masks: list[npt.NDArray[np.bool_]], boxes: Boxes, shape: tuple[int, ...], scale: tuple[float, float]
) -> Image:
    """Return a map (h, w) uint8 of label size: 1 where a mask, stretched over its box (n, 4) in frame pixels, lies."""
    area: Image = np.zeros(shape, np.uint8)
    cells = boxes / np.tile(np.asarray(scale, np.float32), 2)
    starts, ends = np.floor(cells[:, :2]).astype(int).tolist(), np.ceil(cells[:, 2:]).astype(int).tolist()
    for mask, (x0, y0), (x1, y1) in zip(masks, starts, ends, strict=True):
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
        if left >= right or top >= bottom:
            continue
        fine = cv2.resize(mask.view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
        area[top:bottom, left:right] |= np.asarray(fine[top - y0 : bottom - y0, left - x0 : right - x0], np.uint8)
    return area


def padded(
    boxes: npt.NDArray[np.float32], pad_px: float | npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4) widened by `pad_px` on each side, rounded outwards and clipped to a frame of `size`."""
    pad = np.broadcast_to(np.asarray(pad_px, np.float32), (len(boxes),))[:, None]
    outer = np.concatenate([np.floor(boxes[:, :2] - pad), np.ceil(boxes[:, 2:] + pad)], axis=1)
    return np.asarray(np.clip(outer, 0, np.asarray([*size, *size])), np.int32)
