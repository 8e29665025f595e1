"""The belt itself: dark rubber with weave, wear lanes, dirt and a seam, without end."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator, SeedSequence

from examples.belt.optics import BELT_HEIGHT
from examples.belt.scene import Field, Image, Labels

CHUNK: Final = 128
"""Length of belt that is made at once, px."""
_PERIOD: Final = 12 * CHUNK
_WEAVE: Final = 6
"""Thread spacing of the fabric under the rubber, px."""
_TINT: Final = (1.02, 1.0, 0.97)
_SEAM_EVERY: Final = 37
"""Chunks from one seam to the next."""


class Rubber:
    """Endless belt surface; chunk k covers positions [k * CHUNK, (k + 1) * CHUNK)."""

    def __init__(self, seed: SeedSequence) -> None:
        """Make the repeating base, (BELT_HEIGHT, _PERIOD) uint8 grey levels."""
        own, self._chunks = seed.spawn(2)
        self._base = _base(np.random.default_rng(own))

    def chunk(self, number: int) -> Image:
        """Return (BELT_HEIGHT, CHUNK, 3) uint8; columns run downstream, so positions fall."""
        start = -(number + 1) * CHUNK % _PERIOD
        grey = self._base[:, start : start + CHUNK].astype(np.float32)
        rng = np.random.default_rng((self._chunks.generate_state(1)[0], number & 0xFFFFFFFF))
        _dirt(rng, grey)
        if number % _SEAM_EVERY == _SEAM_EVERY // 2:
            _seam(grey)
        tint = np.array(_TINT, np.float32)
        picture: Image = np.clip(grey[..., None] * tint, 4, 200).astype(np.uint8)
        return picture


def _base(rng: Generator) -> Labels:
    """Return rubber that repeats along the belt: weave, mottling, wear lanes and streaks."""
    shape = (BELT_HEIGHT, _PERIOD)
    turns = np.arange(_PERIOD, dtype=np.float32) * np.float32(2 * np.pi / _WEAVE)
    weave = np.cos(turns[:BELT_HEIGHT, None]) + np.cos(turns[None, :])
    grey = np.float32(0.7) * weave + np.float32(5.5) * _wrapped(rng.standard_normal(shape, dtype=np.float32), 0.8)
    grey += np.float32(2.5) * _coarse(rng, shape, 24)
    grey += np.float32(50) + np.float32(4.5) * _lanes(rng)
    return np.asarray(np.clip(grey, 8, 120), np.uint8)


def _wrapped(tile: Field, sigma: float) -> Field:
    """Blur a tile that repeats along its columns."""
    pad = 8
    wide = cv2.copyMakeBorder(tile, 0, 0, pad, pad, cv2.BORDER_WRAP)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma)[:, pad:-pad], np.float32)


def _coarse(rng: Generator, shape: tuple[int, int], cell: int) -> Field:
    """Return slow mottling with deviation about 1 that repeats along its columns."""
    small = rng.standard_normal((shape[0] // cell, shape[1] // cell), dtype=np.float32)
    wide = cv2.copyMakeBorder(small, 0, 0, 4, 4, cv2.BORDER_WRAP)
    large = cv2.resize(wide, (wide.shape[1] * cell, shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[:, 4 * cell : 4 * cell + shape[1]], np.float32)


def _lanes(rng: Generator) -> Field:
    """Return wear along the belt, one value per row (BELT_HEIGHT, 1), deviation about 1."""
    rows = rng.standard_normal((BELT_HEIGHT, 1), dtype=np.float32)
    broad = cv2.GaussianBlur(rows, (0, 0), sigmaX=0.1, sigmaY=40)
    fine = cv2.GaussianBlur(rows, (0, 0), sigmaX=0.1, sigmaY=1.5)
    return np.asarray(broad / broad.std() + np.float32(0.45) * fine / fine.std(), np.float32).reshape(-1, 1)


def _dirt(rng: Generator, grey: Field) -> None:
    """Add a few smudges and scuffs, soft enough not to pass for a defect of a part."""
    for _ in range(int(rng.poisson(2.5))):
        length, width = int(rng.integers(12, 56)), int(rng.integers(3, 14))
        centre = (int(rng.integers(length, CHUNK - length)), int(rng.integers(60, BELT_HEIGHT - 60)))
        spot = np.zeros_like(grey[centre[1] - 40 : centre[1] + 40])
        cv2.ellipse(spot, (centre[0], 40), (length // 2, width), float(rng.normal(0, 8)), 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(spot, (0, 0), 4)
        grey[centre[1] - 40 : centre[1] + 40] += np.float32(rng.uniform(-12, 18)) * soft


def _seam(grey: Field) -> None:
    """Draw the slanted splice of the belt."""
    low, high = CHUNK // 2 - 30, CHUNK // 2 + 30
    for shift, level in ((0, 26.0), (4, 74.0), (7, 38.0)):
        cv2.line(grey, (low + shift, 0), (high + shift, BELT_HEIGHT), level, 3, cv2.LINE_AA)
