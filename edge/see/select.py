"""Records of instances: some of one, several as one, none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.types import Array, Instances

ARRAYS = (
    "boxes",
    "scores",
    "classes",
    "centers",
    "areas_px",
    "defects_px",
    "scales",
    "whole",
)  # all but masks and what may be missing
ASKED = ("flaws_px", "flaw_counts")  # arrays that are there where they are wanted


def joined(parts: list[Instances], defects: int) -> Instances:
    """Return the instances of all canvases of one frame as one record; `defects` is the number of defect classes."""
    if len(parts) == 1:
        return parts[0]
    asked: dict[str, Any] = {name: _all_of([getattr(part, name) for part in parts if len(part)]) for name in ASKED}
    parts = [*parts, _none(defects)]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Instances(**arrays, **asked, masks=[mask for part in parts for mask in part.masks])


def select(instances: Instances, kept: npt.NDArray[np.int64]) -> Instances:
    """Return the instances with the indices `kept` (m,)."""
    arrays: dict[str, Any] = {name: getattr(instances, name)[kept] for name in ARRAYS}
    for name in ASKED:
        array = getattr(instances, name)
        arrays[name] = None if array is None else array[kept]
    return Instances(**arrays, masks=[instances.masks[i] for i in kept])


def _all_of(arrays: list[Array | None]) -> Array | None:
    """Return `arrays` as one; None where one of them, or all, are missing."""
    known = [array for array in arrays if array is not None]
    return np.concatenate(known) if known and len(known) == len(arrays) else None


def _none(defects: int) -> Instances:
    empty = np.zeros(0, np.float32)
    return Instances(
        np.zeros((0, 4), np.float32),
        empty,
        np.zeros(0, np.uint8),
        np.zeros((0, 2), np.float32),
        empty,
        np.zeros((0, defects), np.float32),
        [],
        empty,
        np.zeros(0, np.bool_),
    )
