"""Where objects touch: nobody sees there which of them an edge belongs to."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.boxes import common_of
from edge.types import Array, Boxes

REACH = 2  # cells between two masks, up to which they touch
AROUND = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)

Mask = npt.NDArray[np.bool_]


def contact_px(row: int, boxes: Boxes, masks: list[Mask]) -> float:
    """Return how long the rim of object `row` is that another one touches, frame pixels.

    Each of the `masks` (h, w) is stretched over its box, `boxes` (n, 4).
    """
    mask, box = masks[row], boxes[row]
    unit = (box[2:] - box[:2]) / mask.shape[::-1]
    wide = box + np.concatenate([-REACH * unit, REACH * unit])
    near = np.flatnonzero(common_of(wide[None], boxes)[0] > 0)
    if len(near) < 2:
        return 0.0
    own = np.pad(mask, REACH).view(np.uint8)
    middles = [
        low + (np.arange(count) + 0.5) * step for low, count, step in zip(wide, own.shape[::-1], unit, strict=False)
    ]
    others = np.zeros(own.shape, np.uint8)
    for other in near[near != row].tolist():
        _paint(others, middles, boxes[other], masks[other])
    rim = own - cv2.erode(own, np.ones((3, 3), np.uint8))
    return float(np.count_nonzero(rim & np.asarray(cv2.dilate(others, AROUND))) * unit.mean())


def _paint(cells: npt.NDArray[np.uint8], middles: list[Array], box: Array, mask: Mask) -> None:
    """Set those of `cells` (h, w), whose columns and rows have these `middles`, that lie in `mask` over `box` (4,)."""
    unit = (box[2:] - box[:2]) / mask.shape[::-1]
    places = [
        np.floor((middle - low) / step).astype(int) for middle, low, step in zip(middles, box, unit, strict=False)
    ]
    columns, rows = (np.flatnonzero((at >= 0) & (at < size)) for at, size in zip(places, mask.shape[::-1], strict=True))
    cells[np.ix_(rows, columns)] |= mask[np.ix_(places[1][rows], places[0][columns])]
