"""Looks -> canvases of one fixed shape, and back.

Crops are packed by maximal rectangles (best short side fit; Jylänki 2010, "A thousand ways to pack the bin", section
2.4), the largest first, with a gutter between any two, so that no convolution output that decides about one crop is
dominated by another. Each place belongs to exactly one look; whatever is found in it belongs to that look (the owner
test).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image, Looks

GUTTER_PX = 8  # canvas pixels between crops
FILL = 0.85  # of a canvas' area that crops of many shapes take before some find no room any more
LEAST_PX = 16 + GUTTER_PX  # sides of free room that is worth remembering
MOST_LEFT = 1 << 30


class _Free:
    """The room that is left on one canvas: the largest free rectangles, which may overlap; gutters included."""

    def __init__(self, width: int, height: int) -> None:
        self._whole = [(0, 0, width + GUTTER_PX, height + GUTTER_PX)]
        self._rects = self._whole

    @property
    def empty(self) -> bool:
        """Tell whether no crop has been placed."""
        return self._rects is self._whole

    def place(self, width: int, height: int) -> tuple[int, int] | None:
        """Return the corner for a crop, in the rectangle whose shorter side it fits best; None if there is no room."""
        width, height = width + GUTTER_PX, height + GUTTER_PX
        least, corner = MOST_LEFT, None
        for x0, y0, x1, y1 in self._rects:
            across, down = x1 - x0 - width, y1 - y0 - height
            if across >= 0 and down >= 0 and min(across, down) < least:
                least, corner = min(across, down), (x0, y0)
        if corner is not None:
            self._take(*corner, corner[0] + width, corner[1] + height)
        return corner

    def _take(self, left: int, top: int, right: int, bottom: int) -> None:
        """Cut a crop out of every free rectangle, and keep of the pieces those that lie in no other."""
        kept, cut = [], []
        for rect in self._rects:
            x0, y0, x1, y1 = rect
            if x0 >= right or x1 <= left or y0 >= bottom or y1 <= top:
                kept.append(rect)
                continue
            pieces = ((x0, y0, left, y1), (right, y0, x1, y1), (x0, y0, x1, top), (x0, bottom, x1, y1))
            cut += [piece for piece in pieces if piece[2] - piece[0] > LEAST_PX and piece[3] - piece[1] > LEAST_PX]
        cut.sort(key=lambda piece: (piece[0] - piece[2]) * (piece[3] - piece[1]))  # the largest first: it holds others
        for x0, y0, x1, y1 in cut:
            if not any(a <= x0 and b <= y0 and c >= x1 and d >= y1 for a, b, c, d in kept):
                kept.append((x0, y0, x1, y1))
        self._rects = kept


def pack(
    sources: npt.NDArray[np.int32],
    canvas_size: tuple[int, int],
    canvases: int,
    max_scale: float = 1.0,
    due: int | None = None,
) -> tuple[Looks, npt.NDArray[np.int64]]:
    """Place crops of one frame on at most `canvases` canvases of `canvas_size` (width, height).

    `sources` is (n, 4) in frame pixels, most valuable first. A crop larger than a canvas is scaled down to fit, a
    smaller one is enlarged at most `max_scale` times. The first `due` sources (default: all) open canvases; the others
    get what room these leave: a canvas costs the same however full it is. Returns the looks and the indices of the
    sources that got one, in the same order; what does not fit is left out.
    """
    due = len(sources) if due is None else due
    if not due:
        nothing = np.zeros((0, 4), np.int32)
        return Looks.at_one(nothing, nothing[:, 0], nothing, np.zeros(0, np.float32)), np.zeros(0, np.int64)
    sizes = (sources[:, 2:] - sources[:, :2]).astype(np.float64)
    scales = np.minimum(max_scale, (np.asarray(canvas_size) / np.maximum(sizes, 1)).min(axis=1, initial=np.inf))
    targets = np.maximum(1, (sizes * scales[:, None] + 1e-6).astype(int))
    sides: list[list[int]] = targets.tolist()
    rooms, places = _settled(sides, _within_room(targets[:due], canvas_size, canvases), due, canvas_size, canvases)
    used = [room for room in rooms if not room.empty]
    places |= _placed(used, sides, range(due, len(sides)))
    kept = np.asarray(sorted(places), np.int64)
    corners = np.asarray([places[int(i)] for i in kept], np.int32).reshape(-1, 3)
    boxes = np.concatenate([corners[:, 1:], corners[:, 1:] + targets[kept]], axis=1).astype(np.int32)
    return Looks.at_one(sources[kept], corners[:, 0], boxes, scales[kept].astype(np.float32)), kept


def room_of(targets: npt.NDArray[np.int_]) -> npt.NDArray[np.int64]:
    """Return (n,) the canvas pixels that crops of (width, height) `targets` (n, 2) take, gutters included."""
    sides = np.asarray(targets, np.int64) + GUTTER_PX
    return sides[:, 0] * sides[:, 1]


def _within_room(targets: npt.NDArray[np.int_], canvas_size: tuple[int, int], canvases: int) -> int:
    """Return how many crops, by value, will surely or nearly fit; one always does."""
    room = canvases * float(room_of(np.asarray([canvas_size]))[0])
    return max(1, int(np.count_nonzero(np.cumsum(room_of(targets)) <= FILL * room)))


def _settled(
    sides: list[list[int]], count: int, due: int, canvas_size: tuple[int, int], canvases: int
) -> tuple[list[_Free], dict[int, tuple[int, int, int]]]:
    """Return the room left and (canvas, x, y) of each crop that finds room; none gives way to one that is worth less.

    The largest first wastes least, but may leave out the most valuable: then it is tried with fewer of the first ones,
    and the others fill what is left.
    """
    while True:
        first = range(min(count, due))
        rooms = [_Free(*canvas_size) for _ in range(canvases)]
        places = _placed(rooms, sides, sorted(first, key=lambda i: -sides[i][0] * sides[i][1]))
        if len(places) == len(first):
            return rooms, places | _placed(rooms, sides, range(len(first), due))
        count -= 1 + count // 64


def _placed(rooms: list[_Free], sides: list[list[int]], order: Iterable[int]) -> dict[int, tuple[int, int, int]]:
    """Place crops one by one, each on the first canvas with room; return (canvas, x, y) of those that found some."""
    spots = {}
    for i in order:
        width, height = sides[i]
        for canvas, room in enumerate(rooms):
            corner = room.place(width, height)
            if corner is not None:
                spots[i] = (canvas, *corner)
                break
    return spots


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
