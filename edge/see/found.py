"""What a decoder finds on one canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.types import Boxes

SCORE_UNITS = 255.0
MOST_MASK_CELLS = 1 << 13  # of one mask; bounded state: a larger one is kept coarser


@dataclass(frozen=True, slots=True)
class Found:
    """Objects on one canvas, in canvas pixels."""

    boxes: Boxes  # (n, 4)
    scores: npt.NDArray[np.float32]  # (n,)
    classes: npt.NDArray[np.uint8]  # (n,)
    centers: npt.NDArray[np.float32]  # (n, 2)
    areas: npt.NDArray[np.float32]  # (n,)
    defects: npt.NDArray[np.float32]  # (n, d) canvas pixels per defect class
    masks: list[npt.NDArray[np.bool_]]  # n, stretched over the boxes, of at most `MOST_MASK_CELLS`
    places: npt.NDArray[np.int32]  # (n,) index of the place the object is in
    flaws: npt.NDArray[np.float32] | None = None  # (n, d, 2) length and width of each defect class, canvas pixels
    flaw_counts: npt.NDArray[np.int32] | None = None  # (n, d) connected spots of each defect class

    def of(self, rows: npt.NDArray[np.bool_]) -> Found:
        """Return the objects where `rows` (n,) is true."""
        arrays = {name: getattr(self, name) for name in self.__slots__ if name != "masks"}
        kept: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return Found(**kept, masks=[mask for mask, keep in zip(self.masks, rows, strict=True) if keep])

    @classmethod
    def none(cls, defects: int) -> Found:
        """Return no objects; `defects` is the number of defect classes."""
        empty = np.zeros(0, np.float32)
        corners = np.zeros((0, 4), np.float32)
        flaws = np.zeros((0, defects), np.float32)
        return cls(corners, empty, np.zeros(0, np.uint8), corners[:, :2], empty, flaws, [], np.zeros(0, np.int32))


def thinned(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return `mask` (h, w), or every second, third … of its rows and columns where it has too many cells."""
    height, width = mask.shape
    step = 1
    while -(-height // step) * -(-width // step) > MOST_MASK_CELLS:
        step += 1
    if step == 1:
        return mask
    rows, columns = slice(min(step // 2, height - 1), None, step), slice(min(step // 2, width - 1), None, step)
    return np.ascontiguousarray(mask[rows, columns])
