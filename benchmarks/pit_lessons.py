"""What the pit network learns from: real pits, and real pits put onto surfaces that have none.

Ten labelled pictures of another machine have large pits. These are shown smaller, and pasted at sizes from a few pixels
on onto early pictures of the spindle, among smears, scratches and specks that are no pits. Nothing here is scored.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from edge.types import Array, Image

SIDE: Final = 192  # of a lesson, px
SHRUNK: Final = (0.12, 0.6)  # how large pictures of the other machine are shown
AS_TAKEN: Final = (0.85, 1.4)  # and those of the spindle
PIT_PX: Final = (4.0, 70.0)  # side of a pasted pit, the root of its area
REAL: Final = 0.4  # share of lessons with pits where they were
BARE: Final = 0.3  # share of the others without any
NEAR: Final = 0.75  # share of the lessons of labelled pictures that show a pit for certain
MARKS: Final = 3  # things that are no pits, on one lesson, at the most
MARGIN: Final = 1.6  # of a pit's box that is cut out with it


@dataclass(frozen=True, slots=True)
class Pit:
    """A pit, cut out: how much darker or lighter than its surroundings it is, and where."""

    ratio: Array  # (h, w, 3) float32: the picture over the median of what is round the pit
    mask: Image  # (h, w) uint8, 0 or 1


@dataclass(frozen=True, slots=True)
class Stock:
    """What lessons are made of."""

    labelled: list[tuple[Image, Image, Array]]  # picture, mask, and where the pits' pixels are (n, 2)
    clean: list[Image]
    pits: list[Pit]


def read_labelled(path: Path) -> tuple[Image, Image]:
    """Return a picture (h, w, 3) and its pits (h, w) uint8 of 0 and 1, by the polygons in the JSON file beside it."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(path)
    mask: Image = np.zeros(image.shape[:2], np.uint8)
    beside = path.with_suffix(".json")
    if beside.exists():
        shapes = json.loads(beside.read_text())["shapes"]
        polygons = [np.round(np.asarray(shape["points"]) * 8).astype(np.int32) for shape in shapes]
        cv2.fillPoly(mask, polygons, 1, shift=3)
    return np.asarray(image, np.uint8), mask


def stock(labelled: list[Path], clean: list[Path]) -> Stock:
    """Return the pictures, and the pits of the labelled ones."""
    pictures = [read_labelled(path) for path in labelled]
    pits = [pit for image, mask in pictures for pit in _pits(image, mask)]
    return Stock(
        [(image, mask, np.argwhere(mask)) for image, mask in pictures], [read_labelled(path)[0] for path in clean], pits
    )


def lesson(kept: Stock, rng: Generator) -> tuple[Image, Image]:
    """Return a picture (SIDE, SIDE, 3) and its pits (SIDE, SIDE)."""
    if rng.random() < REAL:
        image, mask = _real(kept, rng)
    else:
        image, mask = _pasted(kept, rng)
    turn = 2 * int(rng.integers(2))  # the lamps stay where they are, or opposite
    image, mask = np.rot90(image, turn), np.rot90(mask, turn)
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return _exposed(image, rng), np.ascontiguousarray(mask)


def _real(kept: Stock, rng: Generator) -> tuple[Image, Image]:
    """Cut a labelled picture, mostly near a pit."""
    image, mask, spots = kept.labelled[int(rng.integers(len(kept.labelled)))]
    near = spots[int(rng.integers(len(spots)))] if rng.random() < NEAR else None
    scale = float(np.exp(rng.uniform(*np.log(SHRUNK))))
    window = _window(image.shape, scale, near, rng)
    share = _shown(mask[window] * np.uint8(255), scale)
    return _shown(image[window], scale), (share > 127).astype(np.uint8)


def _pasted(kept: Stock, rng: Generator) -> tuple[Image, Image]:
    """Cut a clean picture and put pits and other things onto it."""
    image = kept.clean[int(rng.integers(len(kept.clean)))]
    scale = float(np.exp(rng.uniform(*np.log(AS_TAKEN))))
    picture = _shown(image[_window(image.shape, scale, None, rng)], scale).astype(np.float32)
    for _ in range(int(rng.integers(MARKS + 1))):
        _mark(picture, rng)
    mask: Image = np.zeros(picture.shape[:2], np.uint8)
    for _ in range(0 if rng.random() < BARE else int(rng.integers(1, 4))):
        _paste(picture, mask, kept.pits[int(rng.integers(len(kept.pits)))], rng)
    return np.clip(picture, 0, 255).astype(np.uint8), mask


def _window(shape: tuple[int, ...], scale: float, near: Array | None, rng: Generator) -> tuple[slice, slice]:
    """Return what of a picture is a lesson at `scale`, or less where it is smaller; `near` (2,) is in it."""
    side, starts = round(SIDE / scale), []
    for axis in (0, 1):
        room = max(0, shape[axis] - side)
        start = rng.integers(room + 1) if near is None else near[axis] - rng.integers(side // 6, side - side // 6)
        starts.append(int(np.clip(start, 0, room)))
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def _shown(window: Image, scale: float) -> Image:
    """Return a window at `scale` and full size."""
    size = [min(SIDE, max(2, round(side * scale))) for side in window.shape[1::-1]]
    return _whole(np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_AREA), np.uint8))


def _whole(window: Image) -> Image:
    """Return a window at full size: what a small picture lacks is mirrored."""
    down, right = SIDE - window.shape[0], SIDE - window.shape[1]
    return np.asarray(cv2.copyMakeBorder(window, 0, down, 0, right, cv2.BORDER_REFLECT), np.uint8)


def _pits(image: Image, mask: Image) -> list[Pit]:
    """Cut out every pit with what is round it."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask)
    found = []
    for number in range(1, count):
        x, y, width, height = (int(value) for value in stats[number, :4])
        more_x, more_y = (round(side * (MARGIN - 1) / 2) + 2 for side in (width, height))
        window = slice(max(0, y - more_y), y + height + more_y), slice(max(0, x - more_x), x + width + more_x)
        own = (numbers[window] == number).astype(np.uint8)
        ring = np.median(image[window][mask[window] == 0], axis=0).clip(min=8).astype(np.float32)
        found.append(Pit(image[window].astype(np.float32) / ring, own))
    return found


def _paste(picture: Array, mask: Image, pit: Pit, rng: Generator) -> None:
    """Put a pit somewhere onto `picture` (SIDE, SIDE, 3) float32, turned, scaled and somewhat stronger or fainter."""
    side = float(np.exp(rng.uniform(*np.log(PIT_PX))))
    scale = side / math.sqrt(max(1, int(np.count_nonzero(pit.mask))))
    middle, place = (pit.mask.shape[1] / 2, pit.mask.shape[0] / 2), rng.uniform(0.1 * SIDE, 0.9 * SIDE, 2)
    turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(0, 360)), scale)
    turn[:, 2] += place - np.asarray(middle)
    reduced = _reduced(pit, scale)
    own = cv2.warpAffine(reduced[1], turn @ _enlarging(reduced[2]), (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    ratio = cv2.warpAffine(
        reduced[0], turn @ _enlarging(reduced[2]), (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(1, 1, 1)
    )
    cover = cv2.GaussianBlur(own, (0, 0), 0.7)[..., None]
    strength = np.float32(rng.uniform(0.7, 1.3))
    picture *= 1 + cover * (np.asarray(ratio, np.float32).clip(min=0.05) ** strength - 1)
    mask[own > 0.5] = 1


def _reduced(pit: Pit, scale: float) -> tuple[Array, Array, float]:
    """Return ratio and mask of a pit that is to be shown at `scale`, averaged down to about that, and by how much."""
    by = float(np.clip(2 * scale, 0.05, 1.0))
    size = tuple(max(2, round(side * by)) for side in pit.mask.shape[::-1])
    ratio, own = (
        cv2.resize(each.astype(np.float32), size, interpolation=cv2.INTER_AREA) for each in (pit.ratio, pit.mask)
    )
    return np.asarray(ratio), np.asarray(own), size[0] / pit.mask.shape[1]


def _enlarging(by: float) -> Array:
    """Return the matrix (3, 3) from pixels of a picture that was reduced to `by` to those before."""
    return np.diag([1 / by, 1 / by, 1.0])


def _mark(picture: Array, rng: Generator) -> None:
    """Draw a smear, a scratch or a grain: soft, long or tiny things that are no pits."""
    shade = np.zeros(picture.shape[:2], np.float32)
    x, y = rng.uniform(0, SIDE, 2).round().astype(int).tolist()
    kind = int(rng.integers(3))
    if kind == 0:
        axes = tuple(rng.integers(4, 60, 2).tolist())
        cv2.ellipse(shade, (x, y), axes, float(rng.uniform(0, 360)), 0, 360, 1.0, -1)
        shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), float(rng.uniform(4, 14))), np.float32)
    elif kind == 1:
        dx, dy = rng.uniform(-90, 90, 2).round().astype(int).tolist()
        cv2.line(shade, (x, y), (x + dx, y + dy), 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
    else:
        cv2.circle(shade, (x, y), int(rng.integers(1, 3)), 1.0, -1, cv2.LINE_AA)
    picture *= 1 + shade[..., None] * np.float32(rng.uniform(-0.45, 0.35))


def _exposed(image: Image, rng: Generator) -> Image:
    """Vary light, contrast and focus a little."""
    if rng.random() < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.0))), np.uint8)
    middle = np.float32(image.mean())
    lit = (image - middle) * np.float32(rng.uniform(0.8, 1.25)) + middle * np.float32(rng.uniform(0.8, 1.2))
    lit += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 4))
    exposed: Image = np.clip(lit, 0, 255).astype(np.uint8)
    return exposed
