"""The piece of belt that the camera may still see, kept as pictures from above.

Columns run downstream; new belt enters at the left. Every part is painted once, when the belt brings it near.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from examples.belt.layout import CELL, REACH, Known, Placed
from examples.belt.motion import MAX_BACK_PX
from examples.belt.optics import BELT_HEIGHT, camera_from_strip
from examples.belt.parts import Paint, Sprite
from examples.belt.rubber import CHUNK, Rubber
from examples.belt.scene import MAX_ID, RAIL_BOTTOM, RAIL_TOP, WIDTH, Field, Ids, Image, Labels, Mask

_SIDE: Final = 40
"""Belt beyond the frame's left and right that the perspective shows, px."""
_PAD: Final = 24
"""Room for the shadow around a part's map, px."""
_DRAW: Final = _SIDE + REACH + CELL + 40
"""A part is painted when its centre comes this near to the left edge, still unseen, px."""
_AHEAD: Final = _DRAW + REACH + _PAD
_BEHIND: Final = WIDTH + _SIDE + int(MAX_BACK_PX) + 60
_COLUMNS: Final = (_BEHIND + _AHEAD) // CHUNK * CHUNK + 5 * CHUNK
_ROLL: Final = 4 * CHUNK
"""How far the maps move at once when the left end is reached, px."""
_SHADOW: Final = 0.62
"""Darkest shadow, share of the light that it takes."""


class Strip:
    """Rolling maps of the belt, (BELT_HEIGHT, _COLUMNS): picture, ids, defects, cover and shade."""

    def __init__(self, seed: SeedSequence, parts: Iterator[tuple[float, list[Placed]]]) -> None:
        """Prepare an empty strip; ``advance`` lays the belt."""
        rubber, metal, each = seed.spawn(3)
        self._rubber = Rubber(rubber)
        self._paint = Paint(np.random.default_rng(metal))
        self._part_key = int(each.generate_state(1)[0])
        self._parts = parts
        self._known = -np.inf
        self._waiting: deque[Placed] = deque()
        self._painted: deque[Known] = deque()
        shape = (BELT_HEIGHT, _COLUMNS)
        self._image: Image = np.zeros((*shape, 3), np.uint8)
        self._ids: Ids = np.zeros(shape, np.uint16)
        self._marks: Labels = np.zeros(shape, np.uint8)
        self._cover: Labels = np.zeros(shape, np.uint8)
        self._shade: Labels = np.full(shape, 255, np.uint8)
        self._kind_of: Labels = np.zeros(MAX_ID + 1, np.uint8)
        self._restart(0.0)

    def advance(self, furthest: float) -> None:
        """Lay belt and parts for the furthest travel so far, px; a long leap only lays what can be seen."""
        if self._next * CHUNK < furthest - _BEHIND:
            self._restart(furthest)
        while self._next * CHUNK < furthest + _AHEAD:
            self._lay()
        self._learn(furthest + _AHEAD)
        while self._waiting and self._waiting[0].position <= furthest + _DRAW:
            self._put(self._waiting.popleft())
        while self._painted and self._painted[0].position < furthest - _BEHIND - REACH:
            self._painted.popleft()

    def picture(self, travel: float) -> Image:
        """Return the belt as the lens shows it between the rails, (936, 1920, 3) uint8."""
        columns, matrix = self._window(travel)
        return _warped(self._image[:, columns], matrix, cv2.INTER_LINEAR)

    def labels(self, travel: float) -> tuple[Labels, Ids, Labels]:
        """Return semantic, id and defect maps of the same view, (936, 1920)."""
        columns, matrix = self._window(travel)
        size = (WIDTH, RAIL_BOTTOM - RAIL_TOP)
        seen = cv2.warpPerspective(self._ids[:, columns], matrix, size, flags=cv2.INTER_NEAREST)
        ids: Ids = np.asarray(seen, np.uint16)
        marks = _warped(self._marks[:, columns], matrix, cv2.INTER_NEAREST)
        return np.take(self._kind_of, ids), ids, marks

    def present(self, ids: Ids) -> list[Known]:
        """Return the parts that an id map shows."""
        seen: Mask = np.zeros(MAX_ID + 1, np.bool_)
        seen[ids] = True
        return [part for part in self._painted if seen[part.id]]

    def _window(self, travel: float) -> tuple[slice, NDArray[np.float64]]:
        """Return the columns in view, and the matrix from them to the rows between the rails.

        The matrix depends on the travel alone, not on where the strip keeps it: rounding is always the same.
        """
        whole = math.floor(travel)
        start = self._base - whole - _SIDE - 1
        up = np.eye(3)
        up[1, 2] = -RAIL_TOP
        matrix: NDArray[np.float64] = up @ camera_from_strip(travel - whole - _SIDE - 1)
        return slice(start, start + WIDTH + 2 * _SIDE + 2), matrix

    def _restart(self, furthest: float) -> None:
        """Begin with no belt, at the oldest position that may still be seen."""
        self._next = int((furthest - _BEHIND) // CHUNK)
        self._base = self._next * CHUNK + _COLUMNS - 1
        for clean in (self._ids, self._marks, self._cover):
            clean[:] = 0
        self._shade[:] = 255
        self._painted.clear()
        self._learn(self._next * CHUNK)
        while self._waiting and self._waiting[0].position < self._next * CHUNK - REACH - CELL:
            self._waiting.popleft()

    def _learn(self, position: float) -> None:
        """Ask for the parts up to a position."""
        while self._known < position:
            self._known, fresh = next(self._parts)
            self._waiting.extend(fresh)

    def _lay(self) -> None:
        """Lay the next chunk of bare belt, making room first if there is none."""
        left = self._base - (self._next + 1) * CHUNK + 1
        if left < 0:
            self._roll(_ROLL)
            left += _ROLL
        columns = slice(left, left + CHUNK)
        self._image[:, columns] = self._rubber.chunk(self._next)
        for clean in (self._ids, self._marks, self._cover):
            clean[:, columns] = 0
        self._shade[:, columns] = 255
        self._next += 1

    def _roll(self, step: int) -> None:
        """Move everything downstream, dropping the oldest belt; band by band, so that the copy stays small."""
        for field in (self._image, self._ids, self._marks, self._cover, self._shade):
            for top in range(0, BELT_HEIGHT, 64):
                band = field[top : top + 64]
                band[:, step:] = band[:, :-step]
        self._base += step

    def _put(self, part: Placed) -> None:
        """Paint a part under the ones that lie there, with its shadow."""
        reach = part.reach
        top, left = part.v - reach, self._base - part.position - reach
        if left - _PAD >= _COLUMNS:
            return
        sprite = self._paint.sprite(np.random.default_rng((self._part_key, part.id)), part.shape)
        side = 2 * reach + 1
        cut = slice(max(0, _PAD - left), min(side + 2 * _PAD, _COLUMNS - left + _PAD))
        self._shine(sprite, top - _PAD, left - _PAD, cut)
        inner = slice(max(0, -left), max(0, min(side, _COLUMNS - left)))
        rows, columns = slice(top, top + side), slice(left + inner.start, left + inner.stop)
        visible = part.visible[:, inner]
        self._ids[rows, columns][visible] = part.id
        marked = part.marks[:, inner]
        self._marks[rows, columns][marked > 0] = marked[marked > 0]
        self._kind_of[part.id] = part.shape.outline.kind
        self._painted.append(part.known)

    def _shine(self, sprite: Sprite, top: int, left: int, cut: slice) -> None:
        """Blend a sprite and its shadow into the picture, below what covers it."""
        rows = slice(top, top + sprite.cover.shape[0] + 2 * _PAD)
        columns = slice(left + cut.start, left + cut.stop)
        picture, cover, shade = (field[rows, columns] for field in (self._image, self._cover, self._shade))
        alpha = np.pad(sprite.cover, _PAD)
        dark = _shadow(alpha)[:, cut]
        alpha = alpha[:, cut]
        colour = cv2.copyMakeBorder(sprite.colour, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)[:, cut]
        free = np.float32(1) - cover.astype(np.float32) / np.float32(255)
        own = (free * alpha)[..., None]
        lit = colour * (shade.astype(np.float32) / np.float32(255))[..., None]
        belt = picture * (1 - dark * free * (1 - alpha))[..., None]
        picture[:] = np.round(belt * (1 - own) + lit * own).astype(np.uint8)
        cover[:] = np.maximum(cover, np.round(alpha * 255).astype(np.uint8))
        shade[:] = (shade * (1 - dark)).astype(np.uint8)


def _shadow(alpha: Field) -> Field:
    """Return how much light a part takes from its surroundings, 0..1: a soft fall and a contact line."""
    fall = cv2.GaussianBlur(alpha, (0, 0), 5.0)
    contact = cv2.GaussianBlur(alpha, (0, 0), 1.8)
    moved = np.zeros_like(alpha)
    moved[7:, 6:] = fall[:-7, :-6]
    moved[2:, 2:] = np.maximum(moved[2:, 2:], np.float32(0.8) * contact[:-2, :-2])
    result: Field = np.float32(_SHADOW) * moved
    return result


def _warped(field: NDArray[np.uint8], matrix: NDArray[np.float64], how: int) -> NDArray[np.uint8]:
    size = (WIDTH, RAIL_BOTTOM - RAIL_TOP)
    return np.asarray(cv2.warpPerspective(field, matrix, size, flags=how), np.uint8)
