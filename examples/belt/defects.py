"""What can be wrong with a part, as exact pixel sets, and the finished part's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from examples.belt.scene import DEFECTS, MIN_DEFECT_PX, Field, Labels, Mask
from examples.belt.shapes import Outline, draw_outline

SCRATCH, CHIP, STAIN, MISSING_HOLE = range(1, len(DEFECTS) + 1)
MIN_STRIP_PX: Final = 1.25 * MIN_DEFECT_PX
"""Smallest visible defect, strip px^2: covers perspective and pixel rounding in the frame."""
_DEFECTIVE: Final = 0.15
_TWO: Final = 0.2
"""Share of the defective parts that have two defects."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A part's exact geometry, defects applied. Fields are (n, n), n odd, centre pixel in the middle."""

    outline: Outline
    solid: Field
    """Signed distance to the material, px, negative inside."""
    mask: Mask
    """Pixels of material."""
    defects: Labels
    """0 none, 1..4; chips lie outside the mask."""
    softness: Field
    """0..1, how strongly a scratch or stain covers the surface."""
    filled: int | None
    """Index of the hole that was never made."""


def draw_shape(rng: Generator) -> Shape:
    """Return a random part: most are good, some have one defect, a few have two."""
    outline = draw_outline(rng)
    wanted = _wanted(rng)
    filled = int(rng.integers(len(outline.holes))) if MISSING_HOLE in wanted else None
    solid = _solid(outline, filled)
    whole = solid < 0
    labels: Labels = np.zeros(whole.shape, np.uint8)
    softness: Field = np.zeros(whole.shape, np.float32)
    if filled is not None:
        labels[outline.hole(filled) < 0] = MISSING_HOLE
    if CHIP in wanted:
        bite = _bite(rng, outline)
        labels[(bite < 0) & whole] = CHIP
        solid = _without_splinters(np.maximum(solid, -bite))
        labels[whole & (solid >= 0) & (labels == 0)] = CHIP
    for kind in (SCRATCH, STAIN):
        if kind in wanted:
            cover = _scratch(rng, solid) if kind == SCRATCH else _stain(rng, solid)
            fresh = (cover > 0.5) & (solid < -1) & (labels == 0)
            labels[fresh] = kind
            softness = np.maximum(softness, cover * (fresh | ((labels == 0) & (solid < -1))))
    return Shape(outline, solid, solid < 0, labels, softness, filled)


def _wanted(rng: Generator) -> frozenset[int]:
    if rng.random() >= _DEFECTIVE:
        return frozenset()
    count = 2 if rng.random() < _TWO else 1
    return frozenset((rng.permutation(len(DEFECTS))[:count] + 1).tolist())


def _solid(outline: Outline, filled: int | None) -> Field:
    solid = outline.outer
    for index in range(len(outline.holes)):
        if index != filled:
            solid = np.maximum(solid, -outline.hole(index))
    return solid


def _bite(rng: Generator, outline: Outline) -> Field:
    """Return the signed distance to a ragged bite out of the outer contour."""
    rows, columns = np.nonzero(np.abs(outline.outer) < 0.7)
    spot = int(rng.integers(len(rows)))
    reach = outline.outer.shape[0] // 2
    width = outline.radius * (1 - 0.9 * max(hole.radius for hole in outline.holes) / outline.radius)
    size = float(np.clip(rng.uniform(7.5, 0.42 * outline.radius), 7.5, 0.8 * width))
    line = np.arange(-reach, reach + 1, dtype=np.float32)
    x = line[None, :] - line[columns[spot]]
    y = line[:, None] - line[rows[spot]]
    distance: Field = np.hypot(x, y) - np.float32(size) * _ragged(rng, np.arctan2(y, x), 0.1)
    return distance


def _without_splinters(solid: Field) -> Field:
    """Keep the largest connected piece: what a bite cuts off falls away."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((solid < 0).astype(np.uint8), connectivity=4)
    if count <= 2:
        return solid
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    result: Field = np.where((pieces == largest) | (pieces == 0), solid, np.maximum(-solid, np.float32(0.5)))
    return result


def _ragged(rng: Generator, turn: Field, depth: float) -> Field:
    """Return a radius around 1 that wobbles with the angle."""
    radius: Field = np.ones_like(turn)
    for lobes in (1, 2, 3, 5, 9):
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        radius += np.float32(depth * rng.uniform(0.4, 1.6) / np.sqrt(lobes)) * np.cos(np.float32(lobes) * turn + phase)
    return radius


def _inside(rng: Generator, solid: Field, margin: float) -> tuple[int, int]:
    """Return a random (row, column) at least ``margin`` px inside the material."""
    rows, columns = np.nonzero(solid < max(-margin, 0.8 * float(solid.min())))
    spot = int(rng.integers(len(rows)))
    return int(rows[spot]), int(columns[spot])


def _scratch(rng: Generator, solid: Field) -> Field:
    """Return the coverage 0..1 of a thin curved line through a point of the surface."""
    row, column = _inside(rng, solid, 4)
    length = float(rng.uniform(36, 36 + solid.shape[0] * 0.6)) / 2
    turn, bend = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(-0.35, 0.35))
    along = np.linspace(-1, 1, 17)
    x = column + length * (along * np.cos(turn) - bend * along**2 * np.sin(turn))
    y = row + length * (along * np.sin(turn) + bend * along**2 * np.cos(turn))
    points = np.stack((x, y), axis=1) * 4 + 1.5
    large: Labels = np.zeros((4 * solid.shape[0], 4 * solid.shape[1]), np.uint8)
    width = int(rng.integers(9, 16))
    cv2.polylines(large, [np.round(points * 16).astype(np.int32)], isClosed=False, color=255, thickness=width, shift=4)
    small = cv2.resize(large, solid.shape[::-1], interpolation=cv2.INTER_AREA)
    cover: Field = np.asarray(small, np.float32) / np.float32(255)
    return cover


def _stain(rng: Generator, solid: Field) -> Field:
    """Return the coverage 0..1 of a ragged blotch."""
    row, column = _inside(rng, solid, 7)
    size = float(np.exp(rng.uniform(np.log(6.5), np.log(0.24 * solid.shape[0]))))
    stretch = float(rng.uniform(0.75, 1.3))
    line = np.arange(solid.shape[0], dtype=np.float32)
    x, y = (line[None, :] - column) * np.float32(stretch), (line[:, None] - row) / np.float32(stretch)
    edge = np.hypot(x, y) - np.float32(size) * _ragged(rng, np.arctan2(y, x), 0.1)
    return np.asarray(np.clip(np.float32(0.5) - edge / np.float32(5), 0, 1), np.float32)
