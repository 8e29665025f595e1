"""What the screw network learns from: real pictures of a block, turned, moved, scaled and lit anew.

Where screws and holes are was read off the pictures by eye, to some five pixels. Only training looks at that: what a
verdict is held against is in the file names of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from edge.types import Array, Image

SCREW, HOLE = 1, 2
RADII: Final = {SCREW: 49.0, HOLE: 24.0}  # px: of a head, and of the dark part of a hole
SIDE: Final = 192  # of a lesson, px
SCALES: Final = (0.45, 1.15)  # the semantic model sees a picture at half its size, the instance model at its own
TURN: Final = 40.0  # degrees
NEAR: Final = 0.8  # share of the lessons that show a place for certain
PLACES: Final[dict[str, list[tuple[int, int]]]] = {  # top left, top right, bottom left, bottom right: x, y
    "4_0001": [(179, 142), (479, 179), (135, 488), (450, 528)],
    "9_1110": [(147, 239), (458, 230), (155, 589), (473, 556)],
    "10_0000": [(124, 228), (427, 220), (135, 574), (447, 556)],
    "16_1101": [(184, 150), (491, 191), (139, 490), (455, 537)],
    "17_1001": [(126, 214), (438, 204), (138, 550), (450, 551)],
    "24_1001": [(84, 220), (400, 201), (110, 562), (424, 551)],
    "26_1111": [(73, 237), (384, 207), (112, 588), (430, 551)],
    "28_1111": [(148, 256), (458, 242), (168, 609), (488, 586)],
    "33_1011": [(107, 199), (419, 170), (136, 551), (456, 517)],
    "36_0100": [(103, 227), (403, 196), (142, 568), (448, 525)],
    "37_1011": [(98, 237), (410, 207), (132, 589), (448, 551)],
    "40_1101": [(119, 265), (432, 250), (139, 606), (456, 597)],
    "41_1111": [(122, 225), (432, 213), (133, 579), (453, 559)],
    "47_0101": [(136, 156), (435, 153), (133, 500), (452, 505)],
    "52_0001": [(96, 211), (400, 213), (89, 557), (406, 565)],
    "59_1001": [(80, 225), (390, 204), (104, 565), (418, 554)],
    "60_1111": [(148, 181), (462, 161), (165, 537), (491, 511)],
    "66_1001": [(145, 184), (453, 204), (119, 522), (435, 554)],
    "75_0000": [(132, 237), (438, 216), (155, 582), (468, 548)],
    "79_1111": [(133, 223), (445, 208), (152, 577), (476, 554)],
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture, and what is where in it."""

    image: Image  # (h, w, 3)
    points: Array  # (4, 2) px
    kinds: Array  # (4,) SCREW or HOLE


@dataclass(frozen=True, slots=True)
class Lesson:
    """A piece of a picture, and its truth."""

    image: Image  # (SIDE, SIDE, 3)
    points: Array  # (4, 2) px of this piece, outside of it too
    kinds: Array  # (4,)
    scale: float  # px of this piece per px of the picture


def there(path: Path) -> list[bool]:
    """Return for each place of a picture, left to right and top to bottom, whether its screw is there."""
    return [digit == "1" for digit in path.stem.split("_")[1]]


def read_labelled(path: Path) -> Labelled:
    """Return a picture with its labels; raises `FileNotFoundError` where it is not there."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(path)
    kinds = [SCREW if screwed else HOLE for screwed in there(path)]
    return Labelled(np.asarray(image, np.uint8), np.asarray(PLACES[path.stem], np.float64), np.asarray(kinds))


def lesson(kept: list[Labelled], rng: Generator) -> Lesson:
    """Return a piece of one of the pictures."""
    taken = kept[int(rng.integers(len(kept)))]
    scale = float(np.exp(rng.uniform(*np.log(SCALES))))
    way = cv2.getRotationMatrix2D((0.0, 0.0), float(rng.uniform(-TURN, TURN)), scale)
    size = np.asarray(taken.image.shape[1::-1])
    aim = taken.points[int(rng.integers(4))] if rng.random() < NEAR else rng.uniform(0, 1, 2) * size
    way[:, 2] = rng.uniform(0.15, 0.85, 2) * SIDE - way[:, :2] @ aim
    image = np.asarray(
        cv2.warpAffine(taken.image, way, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT), np.uint8
    )
    points = taken.points @ way[:, :2].T + way[:, 2]
    if rng.random() < 0.5:
        image, points = image[:, ::-1], points * (-1, 1) + (SIDE, 0)
    return Lesson(_lit(image, rng), points, taken.kinds, scale)


def _lit(image: Image, rng: Generator) -> Image:
    """Vary light, its slope over the picture, colour, focus and noise."""
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5))), np.uint8)
    slope = np.linspace(-1, 1, SIDE, dtype=np.float32)
    across, down = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    light = rng.uniform(0.6, 1.5) * (1 + across * slope[None, :] + down * slope[:, None])
    lit = image * (light[..., None] * rng.uniform(0.88, 1.12, 3)).astype(np.float32)
    lit += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 5))
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
