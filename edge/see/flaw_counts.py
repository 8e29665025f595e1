"""How many spots of each defect class every object has, by the pixels of the defect map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.see.flaw_sizes import FEWEST
from edge.types import Array, Image


def flaw_counts(
    flaws: Image, pixels: npt.NDArray[np.int64], owners: Array, kinds: Array, shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return (n, d) how many connected spots each object has of each defect class.

    `flaws` (h, w) is the defect map, `pixels` (k,) where it is not 0, row by row; `owners` (k,) are the objects that
    these belong to, -1 for none, `kinds` (k,) their classes from 1 on; `shape` is (n, d). Pixels that touch, at a
    corner even, are one spot; what an object has of it counts where it has `FEWEST` pixels, fewer are noise.
    """
    found = np.zeros(shape, np.int32)
    for kind in np.unique(kinds).tolist():
        numbers, stats = blobs_of((flaws == kind).view(np.uint8))
        mine = (kinds == kind) & (owners >= 0)
        pairs = owners[mine].astype(np.int64) * len(stats) + numbers.ravel().take(pixels[mine])
        groups, sizes = np.unique(pairs, return_counts=True)
        holders = groups[sizes >= FEWEST] // len(stats)
        found[:, kind - 1] = np.bincount(holders, minlength=shape[0])
    return found
