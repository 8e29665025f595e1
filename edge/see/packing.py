"""Looks -> canvases of one fixed shape, and back.

Crops are packed by maximal rectangles (best short side fit; Jylänki 2010, "A thousand ways to pack the bin", section
2.4), the largest or the longest first, with a gutter between any two, so that no convolution output that decides about
one crop is dominated by another. Each place belongs to exactly one look; whatever is found in it belongs to that look
(the owner test).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image, Looks

GUTTER_PX = 8  # canvas pixels between crops
FILL = 0.85  # of a canvas' area that crops of many shapes take before some find no room any more
LEAST_PX = 16 + GUTTER_PX  # sides of free room that is worth remembering
MOST_LEFT = 1 << 30

Size: TypeAlias = tuple[int, int]  # width and height in canvas pixels, one gutter included
Place: TypeAlias = tuple[int, int, int]  # canvas, x, y
Room: TypeAlias = list[tuple[int, int, int, int]]  # what is left on one canvas: the largest free boxes, overlapping


def pack(
    sources: npt.NDArray[np.int32],
    canvas_size: tuple[int, int],
    canvases: int,
    max_scale: float = 1.0,
    due: int | None = None,
) -> tuple[Looks, npt.NDArray[np.int64]]:
    """Place crops on at most `canvases` canvases of `canvas_size` (width, height).

    `sources` is (n, 4) in frame pixels, most valuable first. A crop larger than a canvas is scaled down to fit, a
    smaller one is enlarged at most `max_scale` times. The first `due` sources (default: all) open canvases; the others
    get what room these leave: a canvas costs the same however full it is. Returns the looks and the indices of the
    sources that got one, in the same order; what does not fit is left out.
    """
    due = len(sources) if due is None else due
    if not due:
        nothing = np.zeros((0, 4), np.int32)
        return Looks.at_one(nothing, nothing[:, 0], nothing, np.zeros(0, np.float32)), np.zeros(0, np.int64)
    scales, sizes = _fitted(sources, canvas_size, max_scale)
    places = _places(sizes, due, canvas_size, canvases)
    kept = sorted(places)
    rows = [(*places[i], *sizes[i]) for i in kept]
    boxes = [(x, y, x + width - GUTTER_PX, y + height - GUTTER_PX) for _, x, y, width, height in rows]
    looks = Looks.at_one(
        sources[kept],
        np.asarray([row[0] for row in rows], np.int32),
        np.asarray(boxes, np.int32).reshape(-1, 4),
        np.asarray([scales[i] for i in kept], np.float32),
    )
    return looks, np.asarray(kept, np.int64)


def room_of(targets: npt.NDArray[np.int_]) -> npt.NDArray[np.int64]:
    """Return (n,) the canvas pixels that crops of (width, height) `targets` (n, 2) take, gutters included."""
    sides = np.asarray(targets, np.int64) + GUTTER_PX
    return sides[:, 0] * sides[:, 1]


def _fitted(
    sources: npt.NDArray[np.int32], canvas_size: tuple[int, int], max_scale: float
) -> tuple[list[float], list[Size]]:
    """Return the scale and the size on a canvas of each of the crops `sources` (n, 4)."""
    scales, sizes = [], []
    for x0, y0, x1, y1 in sources.tolist():
        width, height = x1 - x0, y1 - y0
        scale = min(max_scale, canvas_size[0] / (width or 1), canvas_size[1] / (height or 1))
        scales.append(scale)
        sizes.append(((int(width * scale + 1e-6) or 1) + GUTTER_PX, (int(height * scale + 1e-6) or 1) + GUTTER_PX))
    return scales, sizes


def _places(sizes: list[Size], due: int, canvas_size: tuple[int, int], canvases: int) -> dict[int, Place]:
    """Return where the crops lie that find room; none of those that are `due` gives way to one that is worth less."""
    whole = (0, 0, canvas_size[0] + GUTTER_PX, canvas_size[1] + GUTTER_PX)
    widths, heights = zip(*sizes, strict=True)
    least = max(LEAST_PX, min(widths)), max(LEAST_PX, min(heights))  # less than that is no room for any of them
    rooms, places = _settled(sizes[:due], [[whole]] * canvases, least)
    for i in range(len(places), len(sizes)):
        if i == due:
            rooms = [room for room in rooms if room != [whole]]  # the canvases in use, which are the first ones
        place = _place(rooms, sizes[i], least)
        if place is not None:
            places[i] = place
    return places


def _settled(sizes: list[Size], empty: list[Room], least: Size) -> tuple[list[Room], dict[int, Place]]:
    """Return the room left and the places of the first crops, as many of them as fit together on `empty` canvases.

    The largest first wastes least, but may leave out the most valuable: then the longest first is tried, and both with
    fewer crops.
    """
    areas, sides = [width * height for width, height in sizes], [max(size) for size in sizes]
    ((_, _, width, height),) = empty[0]
    count = max(1, bisect_right(list(accumulate(areas)), FILL * len(empty) * width * height))
    while True:
        fewer = 0
        for measure in (areas, sides):
            rooms, places = empty.copy(), dict[int, Place]()
            for i in sorted(range(count), key=measure.__getitem__, reverse=True):
                place = _place(rooms, sizes[i], least)
                if place is None:
                    fewer = max(fewer, i, *places)  # with all of these it would come to the same
                    break
                places[i] = place
            else:
                return rooms, places
        count = min(fewer, count - 1 - count // 64)


def _place(rooms: list[Room], size: Size, least: Size) -> Place | None:
    """Place a crop on the first canvas with room, in the free box whose shorter side it fits best; None: no room."""
    width, height = size
    for canvas, room in enumerate(rooms):
        left = MOST_LEFT
        for x0, y0, x1, y1 in room:
            across, down = x1 - x0 - width, y1 - y0 - height
            if across >= 0 and down >= 0 and (across < left or down < left):
                left, x, y = min(across, down), x0, y0
        if left < MOST_LEFT:
            rooms[canvas] = _without(room, x, y, x + width, y + height, least)
            return canvas, x, y
    return None


def _without(room: Room, left: int, top: int, right: int, bottom: int, least: Size) -> Room:
    """Return `room` without a place: of the pieces those that lie in no other and are not smaller than `least`."""
    kept, pieces = [], []
    for box in room:
        x0, y0, x1, y1 = box
        if x0 >= right or x1 <= left or y0 >= bottom or y1 <= top:
            kept.append(box)
            continue
        if left - x0 >= least[0]:
            pieces.append((x0, y0, left, y1))
        if x1 - right >= least[0]:
            pieces.append((right, y0, x1, y1))
        if top - y0 >= least[1]:
            pieces.append((x0, y0, x1, top))
        if y1 - bottom >= least[1]:
            pieces.append((x0, bottom, x1, y1))
    pieces.sort(key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))  # the largest first: it holds others
    for box in pieces:
        x0, y0, x1, y1 = box
        for a, b, c, d in kept:
            if a <= x0 and b <= y0 and c >= x1 and d >= y1:
                break
        else:
            kept.append(box)
    return kept


def fill_canvas(canvas: Image, images: Sequence[Image], looks: Looks, index: int, fill: int) -> None:
    """Copy every crop of canvas `index` from its frame (h, w, 3) to its place in `canvas`, grey elsewhere."""
    canvas[:] = fill
    for i in np.flatnonzero(looks.canvases == index).tolist():
        sx0, sy0, sx1, sy1 = looks.sources[i].tolist()
        x0, y0, x1, y1 = looks.places[i].tolist()
        crop, target = images[looks.frames[i]][sy0:sy1, sx0:sx1], canvas[y0:y1, x0:x1]
        if crop.shape == target.shape:
            target[:] = crop
        else:
            way = cv2.INTER_AREA if looks.scales[i] < 1 else cv2.INTER_LINEAR
            target[:] = cv2.resize(crop, (x1 - x0, y1 - y0), interpolation=way)
