"""How the parts look: metal, relief, wear and defects, lit from the upper left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from examples.belt.defects import SCRATCH, STAIN, Shape
from examples.belt.scene import Field, Image

_TILE: Final = 384
_LIGHT: Final = (-0.55, -0.75)
"""Direction to the light in the picture (x, y): upper left."""
_WASHER, _NUT, _GEAR, _BRACKET = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Metal:
    """One surface: its colour and how its texture and relief show."""

    colour: tuple[float, float, float]
    """BGR, 0..255."""
    texture: int
    """Index into the texture tiles."""
    grain: float
    """Strength of the texture, share of the colour."""
    gloss: float
    """Strength of the directional sheen, share of the colour."""


_METALS: Final = (
    Metal((172, 174, 172), 0, 0.065, 0.16),
    Metal((150, 146, 140), 0, 0.08, 0.12),
    Metal((112, 114, 116), 1, 0.085, 0.04),
    Metal((86, 90, 94), 1, 0.10, 0.03),
    Metal((180, 175, 167), 2, 0.07, 0.08),
    Metal((150, 166, 164), 2, 0.07, 0.10),
    Metal((108, 156, 176), 0, 0.065, 0.14),
    Metal((92, 130, 150), 1, 0.075, 0.06),
)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A painted part: colour (n, n, 3) uint8 BGR, cover (n, n) float32 0..1 (anti-aliased)."""

    colour: Image
    cover: Field


class Paint:
    """The metal textures of one run, and the brush that uses them."""

    def __init__(self, rng: Generator) -> None:
        """Make the texture tiles, (n, n) float32 with mean 0 and deviation 1."""
        self._tiles = tuple(_unit(tile) for tile in (_brushed(rng), _cast(rng), _spangled(rng)))

    def sprite(self, rng: Generator, shape: Shape) -> Sprite:
        """Paint one part; ``rng`` belongs to this part alone."""
        metal = _METALS[int(rng.integers(len(_METALS)))]
        light = self._light(rng, shape, metal)
        tint = np.array(metal.colour, np.float32) * rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, 3)
        colour = light[..., None] * tint.astype(np.float32)
        colour = _blemish(rng, colour, shape)
        cover = np.clip(np.float32(0.5) - shape.solid, 0, 1)
        return Sprite(np.clip(colour, 6, 236).astype(np.uint8), cover)

    def _light(self, rng: Generator, shape: Shape, metal: Metal) -> Field:
        """Return the brightness of every pixel, around 1."""
        height = _relief(shape)
        slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
        slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
        facing = -(np.float32(_LIGHT[0]) * slope_x + np.float32(_LIGHT[1]) * slope_y)
        light = 1 + np.float32(0.5) * np.tanh(np.float32(1.2) * facing)
        light += np.float32(metal.gloss) * _sheen(rng, shape)
        light *= 1 + np.float32(metal.grain) * self._grain(rng, shape, metal)
        result: Field = light
        return result

    def _grain(self, rng: Generator, shape: Shape, metal: Metal) -> Field:
        """Return a patch of the metal's texture, turned at random."""
        side = shape.mask.shape[0]
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), 1.0)
        turn = np.asarray(turn, np.float64) + np.array(((0, 0, 1),) * 2) * rng.uniform(0, _TILE, (2, 1))
        patch = cv2.warpAffine(
            self._tiles[metal.texture], turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        return np.asarray(patch, np.float32)


def _relief(shape: Shape) -> Field:
    """Return the height of the surface, px: bevelled edges and the features of each kind."""
    outline = shape.outline
    height = np.float32(2.6) * _ramp(shape.solid, 0.5, -3.5)
    far = np.hypot(outline.x, outline.y) / np.float32(outline.radius)
    if outline.kind == _NUT:
        height -= np.float32(3.0) * np.clip((far - np.float32(0.83)) * np.float32(6), 0, 1.5)
    if outline.kind == _NUT and shape.filled is None:
        height += np.float32(0.9) * np.cos(np.minimum(outline.hole(0), 9) * np.float32(2 * np.pi / 4.5))
    elif outline.kind == _GEAR:
        height -= np.float32(1.8) * (_ramp(far, 0.70, 0.66) - _ramp(far, 0.48, 0.44))
    elif outline.kind == _BRACKET:
        for index in range(len(outline.holes)):
            height -= np.float32(0.9) * _ramp(outline.hole(index), 4.5, 2.0)
    if shape.filled is not None:
        height -= np.float32(1.1) * np.exp(-((outline.hole(shape.filled) / np.float32(1.4)) ** 2))
    result: Field = height
    return result


def _ramp(value: Field, zero: float, one: float) -> Field:
    """Return a smooth ramp from 0 where the value is ``zero`` to 1 where it is ``one``, whichever is larger."""
    share: Field = np.clip((value - np.float32(zero)) / np.float32(one - zero), 0, 1)
    return share * share * (3 - 2 * share)


def _sheen(rng: Generator, shape: Shape) -> Field:
    """Return the broad reflection: fans on turned parts, a slant on flat ones, -1..1."""
    x, y = shape.outline.x, shape.outline.y
    turn = np.float32(rng.uniform(0, 2 * np.pi))
    if shape.outline.kind in (_WASHER, _GEAR):
        return np.asarray(np.cos(2 * np.arctan2(y, x) + turn), np.float32)
    slant: Field = (np.cos(turn) * x + np.sin(turn) * y) / np.float32(shape.outline.radius)
    return slant


def _blemish(rng: Generator, colour: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Paint scratches and stains over the surface."""
    for kind in (SCRATCH, STAIN):
        if not (shape.defects == kind).any():
            continue
        near = cv2.dilate((shape.defects == kind).astype(np.uint8), np.ones((7, 7), np.uint8))
        tone = _scratch_tone(rng, colour) if kind == SCRATCH else _stain_tone(rng)
        strength = np.float32(rng.uniform(0.78, 0.95)) * shape.softness * near
        if kind == STAIN:
            strength *= np.clip(np.float32(0.86) + np.float32(0.14) * _mottle(rng, near.shape), 0.5, 1)
        colour = colour * (1 - strength[..., None]) + tone * strength[..., None]
    return colour


def _scratch_tone(rng: Generator, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a bright or dark tone that stands off from the metal."""
    bright = float(colour.mean()) < 120 or (float(colour.mean()) < 150 and rng.random() < 0.5)
    level = rng.uniform(222, 245) if bright else rng.uniform(30, 60)
    return np.full(3, level, np.float32)


def _mottle(rng: Generator, shape: tuple[int, ...]) -> Field:
    """Return cloudy noise with deviation about 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 2.0)
    cloud: Field = np.asarray(noise, np.float32) * np.float32(7)
    return cloud


def _stain_tone(rng: Generator) -> NDArray[np.float32]:
    """Return rust or dark oil, BGR."""
    rust = np.array((28, 58, 112)) if rng.random() < 0.5 else np.array((26, 28, 32))
    return (rust * rng.uniform(0.8, 1.15)).astype(np.float32)


def _noise(rng: Generator) -> Field:
    return rng.standard_normal((_TILE, _TILE), dtype=np.float32)


def _unit(tile: Field) -> Field:
    """Return the tile with mean 0 and deviation 1, its rare extremes cut."""
    return np.asarray(np.clip((tile - tile.mean()) / tile.std(), -2.2, 2.2), np.float32)


def _smooth(tile: Field, sigma_x: float, sigma_y: float) -> Field:
    """Blur a tile that repeats in both directions, so that its copies meet without a seam."""
    pad = _TILE // 4
    wide = cv2.copyMakeBorder(tile, pad, pad, pad, pad, cv2.BORDER_WRAP)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma_x, sigmaY=sigma_y)[pad:-pad, pad:-pad], np.float32)


def _mixed(main: Field, detail: Field, share: float) -> Field:
    both: Field = _unit(main) + np.float32(share) * _unit(detail)
    return both


def _brushed(rng: Generator) -> Field:
    fine, short = _smooth(_noise(rng), 24, 0.6), _smooth(_noise(rng), 6, 0.8)
    return _mixed(fine, short, 0.5)


def _cast(rng: Generator) -> Field:
    return _mixed(_smooth(_noise(rng), 1.3, 1.3), _smooth(_noise(rng), 6, 6), 0.5)


def _spangled(rng: Generator) -> Field:
    """Return zinc flakes: the cell of the nearest of many seeds, each with its own tone."""
    small = _TILE // 2
    seeds = np.full((small, small), 255, np.uint8)
    spots = rng.integers(0, small, (900, 2))
    seeds[spots[:, 0], spots[:, 1]] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tones = rng.standard_normal(int(cells.max()) + 1, dtype=np.float32)
    flakes = cv2.resize(tones[cells], (_TILE, _TILE), interpolation=cv2.INTER_LINEAR)
    return _mixed(_smooth(np.asarray(flakes, np.float32), 1.0, 1.0), _smooth(_noise(rng), 0.8, 0.8), 0.4)
