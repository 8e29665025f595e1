"""Of many frames, those that calibration looks at: as many of every light, product and occupancy as there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image

LEVELS = 3  # of light and of occupancy, each with as many frames in it


@dataclass(frozen=True, slots=True)
class Described:
    """What a frame shows."""

    light: float  # mean grey level
    occupancy: float  # share of the pixels that are of a class, 0..1
    product: int  # number of the class that most of those are of, 0 = none


def described(image: Image, classes: Image | None) -> Described:
    """Return what a frame (h, w, 3) BGR shows; `classes` (h', w') uint8 is its label map, if there is one."""
    grey = float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean())
    if classes is None:
        return Described(grey, 0.0, 0)
    pixels = np.bincount(classes.reshape(-1), minlength=2)
    found = int(pixels[1:].sum())
    return Described(grey, found / classes.size, int(pixels[1:].argmax()) + 1 if found else 0)


def strata(shown: Sequence[Described]) -> list[tuple[int, int, int]]:
    """Return for each frame its level of light, its product, and its level of occupancy (0 is an empty one).

    Levels are thirds of the frames by rank, so that no threshold is needed for any camera; frames that are equal share
    the lower one.
    """
    light = _levels(np.asarray([one.light for one in shown], np.float64))
    filled = np.asarray([one.occupancy for one in shown], np.float64)
    occupancy = np.where(filled > 0, 1 + _levels(filled), 0)
    products = [one.product for one in shown]
    return list(zip(light.tolist(), products, occupancy.tolist(), strict=True))


def _levels(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    ranks = (values[:, None] > values[None]).sum(axis=1)
    return np.asarray(np.minimum(ranks * LEVELS // max(len(values), 1), LEVELS - 1), np.int64)


def in_turn(groups: Sequence[tuple[int, ...]], count: int) -> list[int]:
    """Return the indices of `count` frames, best first: one of each group, then a second of each, and so on.

    Within a group the order of the frames counts, and groups come as their first frames do.
    """
    turns: dict[tuple[int, ...], int] = {}
    keys = []
    for i, group in enumerate(groups):
        turns[group] = turns.get(group, -1) + 1
        keys.append((turns[group], i))
    return sorted(range(len(groups)), key=keys.__getitem__)[:count]
