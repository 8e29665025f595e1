"""Labels -> regions: where is something that no track explains?"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.boxes import common_of
from edge.config import RegionRules, class_numbers
from edge.types import Boxes, Image, Labels, Regions

Mask: TypeAlias = npt.NDArray[np.bool_]  # (h, w)
SQUARE = np.ones((3, 3), np.uint8)  # a cell and its neighbours
HELD = 0.5  # share of the smallest area that a spot needs where one was in the frame before
NO_SPOTS = np.zeros((0, 4), np.float32)
MOST_REGIONS = 256  # of one frame: noise costs bounded time
MOST_KEPT_BYTES = 4 << 20  # by one painter: some hundred masks, each in the few sizes that rounding gives it
ENTRY_BYTES = 500  # of a mask or a map that is kept, beside its cells: its array and its place


def wanted(names: list[str], known: list[str]) -> npt.NDArray[np.uint8]:
    """Return a lookup table (256,) uint8: 1 for the classes in `names`, or for all `known` ones but the background."""
    table: npt.NDArray[np.uint8] = np.zeros(256, np.uint8)
    table[class_numbers(names or known[1:], known, "regions.classes")] = 1
    return table


def widened(rules: RegionRules) -> RegionRules:
    """Return rules for a gate that misses too much: fainter and smaller spots count, with more round them."""
    return msgspec.structs.replace(
        rules, confidence=rules.confidence / 2, min_area_px=rules.min_area_px / 2, pad_px=rules.pad_px * 2
    )


def scaled(rules: RegionRules, mm_per_px: float | None) -> RegionRules:
    """Return rules whose `min_area_px` is what `min_area_mm2` means for a camera."""
    if rules.min_area_mm2 is None or mm_per_px is None:
        return rules
    return msgspec.structs.replace(rules, min_area_px=rules.min_area_mm2 / mm_per_px / mm_per_px)  # a tiny square is 0


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
    before: Boxes = NO_SPOTS,
) -> Regions:
    """Return the connected spots of foreground `found` outside `explained` widened by one label pixel.

    The edges of labels are ragged, and what is left of them round a track would be spots. Both maps are (h, w) uint8 of
    0 and 1, `scale` frame pixels per label pixel (x, y), `size` the frame's width and height. Spots below the smallest
    area are left out, but for those where one of `before` (n, 4), frame pixels, was in the frame before: they need half
    of it, so that a spot of just that size does not come and go. Spots too many to be told apart are joined with their
    neighbours. Boxes are padded and kept inside the frame.
    """
    widened_by_one = np.asarray(cv2.dilate(explained, SQUARE), np.uint8)
    rest: Image = np.greater(found, widened_by_one).view(np.uint8)
    numbers, stats = blobs_of(rest)
    areas, corners = _measured(stats, scale)
    enough = areas >= rules.min_area_px
    if len(before):
        held = np.flatnonzero((areas >= HELD * rules.min_area_px) & ~enough)
        held = held[np.argsort(-areas[held], kind="stable")][:MOST_REGIONS]  # each is compared with each before it
        enough[held] = (common_of(corners[held], before) > 0).any(axis=1)
    kept = np.flatnonzero(enough)
    if len(kept) > MOST_REGIONS:
        areas, corners = _joined(np.append(np.zeros(1, np.uint8), enough.view(np.uint8))[numbers], scale)
        kept = np.arange(len(areas))
    kept = kept[np.argsort(-areas[kept], kind="stable")]
    return Regions(padded(corners[kept], rules.pad_px, size), areas[kept])


def _measured(
    stats: npt.NDArray[np.int32], scale: tuple[float, float]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return areas (n,) and boxes (n, 4) of blobs in frame pixels, the background left out."""
    corners = stats[1:, :4].astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    corners *= np.asarray([*scale, *scale], np.float32)
    return stats[1:, cv2.CC_STAT_AREA] * np.float32(scale[0] * scale[1]), corners


def _joined(rest: Image, scale: tuple[float, float]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return areas and boxes of the blobs of `rest`, those that lie near each other as one, until they are few enough.

    All are in one of the boxes: what is too much to be told apart is not lost.
    """
    reach = 1
    while True:
        wide = np.asarray(cv2.dilate(rest, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)), np.uint8)
        numbers, stats = blobs_of(wide)
        if len(stats) - 1 <= MOST_REGIONS:
            break
        reach *= 2
    cells = np.bincount(numbers[rest > 0], minlength=len(stats))
    height, width = rest.shape
    stats[:, :2] += reach  # what was dilated is cut off again, where the border did not do so
    stats[:, 2:4] -= 2 * reach
    at_low, at_high = stats[:, :2] - reach == 0, stats[:, :2] + stats[:, 2:4] + reach == (width, height)
    stats[:, :2] -= reach * at_low
    stats[:, 2:4] += reach * (at_low.astype(np.int32) + at_high)
    stats[:, cv2.CC_STAT_AREA] = cells
    return _measured(stats, scale)


class Painter:
    """Paints masks, many times over: it keeps what it has stretched until the mask is no longer asked for.

    Where that is too much, all of it is forgotten and made anew.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Mask, dict[tuple[int, int], Image]]] = {}  # by the mask's id, then by size
        self._kept_bytes = 0

    def __call__(self, masks: list[Mask], boxes: Boxes, shape: tuple[int, ...], scale: tuple[float, float]) -> Image:
        """Return a map (h, w) uint8 of label size: 1 where a mask, stretched over its box (n, 4) in frame pixels, lies.

        The masks must not change.
        """
        height, width = shape
        area: Image = np.zeros(shape, np.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, _outer_cells(boxes, scale).tolist(), strict=True):
            left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
            if left < right and top < bottom:
                cells = self._stretched(mask, x1 - x0, y1 - y0)
                area[top:bottom, left:right] |= cells[top - y0 : bottom - y0, left - x0 : right - x0]
        if len(self._known) > 2 * len(masks):
            self._known = {id(mask): self._known[id(mask)] for mask in masks if id(mask) in self._known}
            self._kept_bytes = sum(_bytes_of(mask, *sizes.values()) for mask, sizes in self._known.values())
        return area

    def _stretched(self, mask: Mask, columns: int, rows: int) -> Image:
        """Return `mask` (h, w) as (rows, columns) uint8."""
        _, sizes = self._known.setdefault(id(mask), (mask, {}))  # the mask is held, so that no other gets its id
        cells = sizes.get((columns, rows))
        if cells is None:
            cells = np.asarray(cv2.resize(mask.view(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST))
            self._kept_bytes += _bytes_of(cells) if sizes else _bytes_of(mask, cells)
            sizes[columns, rows] = cells
            if self._kept_bytes > MOST_KEPT_BYTES:
                self._known, self._kept_bytes = {}, 0
        return cells


def _bytes_of(*kept: Image | Mask) -> int:
    """Return how many bytes are kept with a mask, or with what has been made of it."""
    return sum(ENTRY_BYTES + some.nbytes for some in kept)


def _outer_cells(boxes: Boxes, scale: tuple[float, float]) -> npt.NDArray[np.int64]:
    """Return `boxes` (n, 4) in label pixels, rounded outwards."""
    cells = boxes / np.asarray([*scale, *scale], np.float32)
    np.floor(cells[:, :2], out=cells[:, :2])
    np.ceil(cells[:, 2:], out=cells[:, 2:])
    return np.asarray(cells, np.int64)


def padded(
    boxes: npt.NDArray[np.float32], pad_px: float | npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return `boxes` (n, 4) widened by `pad_px` on each side, rounded outwards and clipped to a frame of `size`."""
    pad = np.asarray(pad_px, np.float32).reshape(-1, 1)
    outer = np.empty(boxes.shape)
    np.floor(boxes[:, :2] - pad, out=outer[:, :2])
    np.ceil(boxes[:, 2:] + pad, out=outer[:, 2:])
    np.maximum(outer, 0, out=outer)
    return np.asarray(np.minimum(outer, [*size, *size], out=outer), np.int32)
