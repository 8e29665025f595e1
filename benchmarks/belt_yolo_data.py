"""The canvases that `benchmarks.belt_yolo` learns from, as Ultralytics reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Array
from examples.belt.defects import CHIP
from examples.belt.scene import DEFECTS, KINDS, TRAIN_SEEDS
from examples.belt.training_data import Canvas, compose, stock

SEEDS: Final = 20  # of the belt
FRAMES: Final = 9  # of each
CANVASES: Final = 1600
LEAST_PART_PX: Final = 80  # canvas pixels of a part, below which it is none
LEAST_DEFECT_PX: Final = 16  # and of a piece of a defect
SEED: Final = 3
Mask = npt.NDArray[np.uint8]


def write_canvases(folder: Path) -> Path:
    """Write canvases and their labels as Ultralytics wants them; return the YAML file that describes them."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    rng = np.random.default_rng(SEED)
    kept = stock(TRAIN_SEEDS[:SEEDS], FRAMES)
    for number in range(CANVASES):
        canvas = compose(kept, rng)
        cv2.imwrite(str(folder / "images" / f"{number:05}.png"), canvas.image)
        (folder / "labels" / f"{number:05}.txt").write_text("\n".join(labels_of(canvas)))
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate([*KINDS, *DEFECTS]))
    data = folder / "belt.yaml"
    data.write_text(f"path: {folder}\ntrain: images\nval: images\nnames:\n{names}\n")
    return data


def labels_of(canvas: Canvas) -> list[str]:
    """Return a line for every part and every piece of a defect: class, and the outline in shares of the canvas."""
    lines = []
    for code in (int(value) for value in np.unique(canvas.codes) if value):
        part = canvas.codes == code
        lines += _lines((part & (canvas.defects != CHIP)).view(np.uint8), (code - 1) % len(KINDS), LEAST_PART_PX)
        for kind in range(1, len(DEFECTS) + 1):
            flaw = (part & (canvas.defects == kind)).view(np.uint8)
            count, spots = cv2.connectedComponents(cv2.morphologyEx(flaw, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
            for spot in range(1, count):
                lines += _lines((spots == spot).view(np.uint8), len(KINDS) + kind - 1, LEAST_DEFECT_PX)
    return lines


def _lines(mask: Mask, number: int, least: int) -> list[str]:
    if np.count_nonzero(mask) < least:
        return []
    points = outline(mask) / np.asarray(mask.shape[::-1])
    return [" ".join([str(number), *(f"{value:.5f}" for value in points.ravel())])]


def outline(mask: Mask) -> Array:
    """Return one polygon (n, 2) that holds all of `mask` (h, w) and leaves out its holes.

    Further contours are joined to the first by a slit, there and back: what is filled by the even-odd rule has the
    holes, and no other form that Ultralytics reads could say so.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    first, *others = sorted((np.asarray(c).reshape(-1, 2) for c in contours), key=len, reverse=True)
    joined = first
    for contour in others:
        gaps = ((joined[:, None] - contour[None]) ** 2).sum(axis=2)
        here, there = (int(i) for i in np.unravel_index(gaps.argmin(), gaps.shape))
        loop = np.concatenate([np.roll(contour, -there, axis=0), contour[there : there + 1]])
        joined = np.concatenate([joined[: here + 1], loop, joined[here:]])
    return np.asarray(joined)
