"""Records of instances: some of one, several as one, none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.types import Instances

ARRAYS = (
    "boxes",
    "scores",
    "classes",
    "centers",
    "areas_px",
    "defects_px",
    "scales",
    "whole",
)  # all but masks and flaws


def joined(parts: list[Instances], defects: int) -> Instances:
    """Return the instances of all canvases of one frame as one record; `defects` is the number of defect classes."""
    if len(parts) == 1:
        return parts[0]
    flaws = [part.flaws_px for part in parts if len(part)]
    known = [each for each in flaws if each is not None]
    parts = [*parts, _none(defects)]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Instances(
        **arrays,
        masks=[mask for part in parts for mask in part.masks],
        flaws_px=np.concatenate(known) if known and len(known) == len(flaws) else None,
    )


def select(instances: Instances, kept: npt.NDArray[np.int64]) -> Instances:
    """Return the instances with the indices `kept` (m,)."""
    arrays: dict[str, Any] = {name: getattr(instances, name)[kept] for name in ARRAYS}
    flaws = None if instances.flaws_px is None else instances.flaws_px[kept]
    return Instances(**arrays, masks=[instances.masks[i] for i in kept], flaws_px=flaws)


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
