"""Looks -> canvases of one fixed shape, and back.

Shelf packing: crops sorted by height fill shelves from left to right, with a gutter between any two crops, so that
no convolution output that decides about one crop is dominated by another. Each place belongs to exactly one look;
whatever is found in it belongs to that look (the owner test).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image, Looks

GUTTER_PX = 8  # canvas pixels between crops


@dataclass
class _Canvas:
    """The shelves of one canvas while it is being filled."""

    width: int
    height: int
    x: int = 0  # where the next crop of the open shelf goes
    top: int = 0  # of the open shelf
    shelf: int = 0  # height of the open shelf

    @property
    def empty(self) -> bool:
        """Tell whether no crop has been placed."""
        return self.shelf == 0

    def place(self, width: int, height: int) -> tuple[int, int] | None:
        """Return the corner for a crop, or None if it does not fit any more."""
        if self.x + width > self.width:
            self.top, self.x, self.shelf = self.top + self.shelf + GUTTER_PX, 0, 0
        if self.x + width > self.width or self.top + height > self.height:
            return None
        corner = self.x, self.top
        self.x += width + GUTTER_PX
        self.shelf = max(self.shelf, height)
        return corner


def pack(
    sources: npt.NDArray[np.int32],
    canvas_size: tuple[int, int],
    canvases: int,
    max_scale: float = 1.0,
    due: int | None = None,
) -> tuple[Looks, npt.NDArray[np.int64]]:
    """Place crops of the frame on at most `canvases` canvases of `canvas_size` (width, height).

    `sources` is (n, 4) in frame pixels, most valuable first. A crop larger than a canvas is scaled down to fit, a
    smaller one is enlarged at most `max_scale` times. The first `due` sources (default: all) open canvases; the others
    get what room these leave: a canvas costs the same however full it is. Returns the looks and the indices of the
    sources that got one, in the same order; what does not fit is left out.
    """
    due = len(sources) if due is None else due
    sizes = (sources[:, 2:] - sources[:, :2]).astype(np.float64)
    scales = np.minimum(max_scale, (np.asarray(canvas_size) / np.maximum(sizes, 1)).min(axis=1, initial=np.inf))
    targets = np.maximum(1, np.floor(sizes * scales[:, None] + 1e-6)).astype(int)
    chosen = _within_area(targets[:due], canvas_size, canvases)
    open_canvases, places = _shelve(targets, chosen, canvas_size, canvases)
    used = [canvas for canvas in open_canvases if not canvas.empty]
    places |= _placed(used, targets, range(due, len(sources)))
    kept = np.asarray(sorted(places), np.int64)
    corners = np.asarray([places[int(i)] for i in kept], np.int32).reshape(-1, 3)
    boxes = np.concatenate([corners[:, 1:], corners[:, 1:] + targets[kept]], axis=1).astype(np.int32)
    return Looks(sources[kept], corners[:, 0], boxes, scales[kept].astype(np.float32)), kept


def _within_area(targets: npt.NDArray[np.int_], canvas_size: tuple[int, int], canvases: int) -> npt.NDArray[np.int64]:
    """Return the first crops, by value, whose area together can fit at all."""
    areas = (targets + GUTTER_PX).prod(axis=1)
    room = canvases * (canvas_size[0] + GUTTER_PX) * (canvas_size[1] + GUTTER_PX)
    return np.flatnonzero(np.cumsum(areas) <= room).astype(np.int64)


def _shelve(
    targets: npt.NDArray[np.int_], chosen: npt.NDArray[np.int64], canvas_size: tuple[int, int], canvases: int
) -> tuple[list[_Canvas], dict[int, tuple[int, int, int]]]:
    """Return the canvases and (canvas, x, y) of each crop that finds room; none gives way to one that is worth less.

    Tallest first wastes least, but may leave out the most valuable: then it is tried with fewer of the first ones, and
    the others fill what is left.
    """
    count = len(chosen)
    while True:
        first, rest = chosen[:count], chosen[count:]
        tallest = first[np.argsort(-targets[first, 1], kind="stable")]
        open_canvases = [_Canvas(*canvas_size) for _ in range(canvases)]
        places = _placed(open_canvases, targets, [*tallest.tolist(), *rest.tolist()])
        if all(i in places for i in first.tolist()):
            return open_canvases, places
        count -= 1 + count // 64


def _placed(
    open_canvases: list[_Canvas], targets: npt.NDArray[np.int_], order: Iterable[int]
) -> dict[int, tuple[int, int, int]]:
    """Place crops one by one and return (canvas, x, y) of those that found room."""
    spots = {i: _first_fit(open_canvases, *targets[i].tolist()) for i in order}
    return {i: spot for i, spot in spots.items() if spot is not None}


def _first_fit(open_canvases: list[_Canvas], width: int, height: int) -> tuple[int, int, int] | None:
    """Return (canvas, x, y) on the first canvas with room, or None."""
    for index, canvas in enumerate(open_canvases):
        before = canvas.x, canvas.top, canvas.shelf
        corner = canvas.place(width, height)
        if corner is not None:
            return index, *corner
        canvas.x, canvas.top, canvas.shelf = before
    return None


def fill_canvas(canvas: Image, image: Image, looks: Looks, index: int, fill: int) -> None:
    """Copy every crop of canvas `index` from frame `image` (h, w, 3) to its place in `canvas`, grey elsewhere."""
    canvas[:] = fill
    for i in np.flatnonzero(looks.canvases == index):
        sx0, sy0, sx1, sy1 = looks.sources[i].tolist()
        x0, y0, x1, y1 = looks.places[i].tolist()
        crop, target = image[sy0:sy1, sx0:sx1], canvas[y0:y1, x0:x1]
        if crop.shape == target.shape:
            target[:] = crop
        else:
            way = cv2.INTER_AREA if looks.scales[i] < 1 else cv2.INTER_LINEAR
            target[:] = cv2.resize(crop, (x1 - x0, y1 - y0), interpolation=way)
