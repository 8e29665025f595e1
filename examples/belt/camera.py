"""What lens, lamps and sensor do to the belt: rails, vignette, drifting light, glare, blur and noise.

Every effect depends on the seed and the frame number alone, so any frame can be had without the ones before.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator, SeedSequence

from examples.belt.scene import HEIGHT, RAIL_BOTTOM, RAIL_TOP, WIDTH, Image

_GAIN_ONE: Final = 200
_TILE: Final = 256
_NOISE_MEAN: Final = 10
_NOISE_SIGMA: Final = 2.4
_GLARE: Final = (900, 620)
"""Size of the glare, (width, height) px."""
_BLUR_SHARE: Final = 0.22
"""Exposure time over frame time: 14 px a frame smear over 3 px."""


class Camera:
    """The fixed camera above the belt."""

    def __init__(self, seed: SeedSequence) -> None:
        """Draw what never changes: rails, vignette, glare and noise tile."""
        look, self._grain = seed.spawn(2)
        rng = np.random.default_rng(look)
        self._key = int(self._grain.generate_state(1)[0])
        self._rails = _rails(rng)
        self._gain = _vignette(rng)
        self._glare = _glare(rng)
        self._noise = _noise(rng)
        self._mean = np.full(4, _NOISE_MEAN, np.float64)
        self._phases = rng.uniform(0, 2 * np.pi, 6)

    def expose(self, belt: Image, frame: int, speed: float) -> Image:
        """Return the frame (1080, 1920, 3) uint8 from the belt between the rails and its speed, px / frame."""
        picture: Image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        picture[:RAIL_TOP], picture[RAIL_BOTTOM:] = self._rails
        _smear(belt, abs(speed) * _BLUR_SHARE, picture[RAIL_TOP:RAIL_BOTTOM])
        cv2.multiply(picture, self._gain, picture, self._drift(frame) / _GAIN_ONE)
        self._shine(picture, frame)
        rng = np.random.default_rng((self._key, frame))
        top, left = (int(value) for value in rng.integers(0, _TILE, 2))
        cv2.add(picture, self._noise[top : top + HEIGHT, left : left + WIDTH], picture)
        cv2.subtract(picture, self._mean, picture)
        return picture

    def _drift(self, frame: int) -> float:
        """Return the lamps' brightness, 0.9..1.1, slow."""
        slow = np.sin(2 * np.pi * frame / 1100 + self._phases[0])
        slower = np.sin(2 * np.pi * frame / 370 + self._phases[1])
        return float(1 + 0.06 * slow + 0.025 * slower)

    def _shine(self, picture: Image, frame: int) -> None:
        """Add the soft glare where it is now."""
        width, height = _GLARE
        across = 0.5 + 0.5 * np.sin(2 * np.pi * frame / 1500 + self._phases[2])
        down = 0.5 + 0.5 * np.sin(2 * np.pi * frame / 1900 + self._phases[3])
        left = int(across * (WIDTH - width))
        top = RAIL_TOP + int(down * (RAIL_BOTTOM - RAIL_TOP - height))
        spot = picture[top : top + height, left : left + width]
        cv2.add(spot, self._glare, spot)


def _smear(belt: Image, length: float, out: Image) -> None:
    """Blur along the motion: a box of 1 + ``length`` px from up to three shifted copies."""
    side = min(length / 2, 1.0) / (1 + length)
    if side < 0.02:
        out[:] = belt
        return
    kernel = np.array([[side, 1 - 2 * side, side]], np.float32)
    cv2.filter2D(belt, -1, kernel, out, borderType=cv2.BORDER_REPLICATE)


def _rails(rng: Generator) -> tuple[Image, Image]:
    """Return the machine above and below the belt: aluminium profile, slot, bolts and shadow line."""
    top = _rail(rng, RAIL_TOP)
    bottom = _rail(rng, HEIGHT - RAIL_BOTTOM)[::-1].copy()
    return top, bottom


def _rail(rng: Generator, height: int) -> Image:
    """Return one rail (height, 1920, 3); its last row touches the belt."""
    profile = np.interp(
        np.arange(height),
        (0, 6, 8, 22, 24, 30, 32, height - 14, height - 12, height - 5, height - 4, height - 1),
        (96, 118, 128, 134, 52, 48, 120, 132, 150, 112, 26, 14),
    )
    grain = cv2.GaussianBlur(rng.standard_normal((height, WIDTH), dtype=np.float32), (0, 0), 20, sigmaY=0.6)
    grey = (profile[:, None] * (1 + 0.5 * grain)).astype(np.float32)
    picture: Image = np.clip(grey[..., None] * np.array((1.03, 1.0, 0.97)), 0, 235).astype(np.uint8)
    for x in range(int(rng.integers(60, 200)), WIDTH, 310):
        _bolt(picture, x, height // 2 + 9)
    return picture


def _bolt(picture: Image, x: int, y: int) -> None:
    cv2.circle(picture, (x + 2, y + 3), 12, (58, 58, 58), -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), 11, (128, 132, 134), -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), 11, (176, 178, 180), 1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), 5, (36, 36, 38), -1, cv2.LINE_AA)


def _vignette(rng: Generator) -> Image:
    """Return the gain map (1080, 1920, 3), _GAIN_ONE is 1: darker corners and a slightly uneven lamp."""
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    lean_x, lean_y = rng.uniform(-0.05, 0.05, 2).astype(np.float32)
    gain = np.float32(1.04) - np.float32(0.13) * (x * x + np.float32(0.6) * y * y) + lean_x * x + lean_y * y
    level = np.clip(gain * _GAIN_ONE, 0, 255).astype(np.uint8)
    return np.asarray(cv2.merge((level, level, level)), np.uint8)


def _glare(rng: Generator) -> Image:
    """Return the glare to add, (h, w, 3), zero at its edge."""
    width, height = _GLARE
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    fall = np.clip(1 - x * x - y * y, 0, 1) ** 2 * np.float32(rng.uniform(14, 26))
    planes = [np.round(fall * np.float32(share)).astype(np.uint8) for share in (1.0, 0.98, 0.92)]
    return np.asarray(cv2.merge(planes), np.uint8)


def _noise(rng: Generator) -> Image:
    """Return sensor noise around _NOISE_MEAN, repeated so that any offset below _TILE can be cut."""
    small = rng.standard_normal((_TILE, _TILE, 3), dtype=np.float32) * np.float32(_NOISE_SIGMA) + _NOISE_MEAN
    tile = np.clip(np.round(small), 0, 2 * _NOISE_MEAN).astype(np.uint8)
    down, right = HEIGHT, WIDTH
    return np.asarray(cv2.copyMakeBorder(tile, 0, down, 0, right, cv2.BORDER_WRAP), np.uint8)
