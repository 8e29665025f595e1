"""Where the parts lie on the belt: seeded placement, nothing rendered.

A new part always slides under the ones that lie there already, so what is visible of it is known when it is placed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.random import Generator

from examples.belt.defects import MIN_STRIP_PX, Shape, draw_shape
from examples.belt.motion import Stretch, stretches
from examples.belt.optics import BELT_HEIGHT, magnification
from examples.belt.scene import DEFECTS, KINDS, MAX_ID, MIN_DEFECT_VISIBLE, MIN_VISIBLE, Labels, Mask

CELL: Final = 64
"""Parts are placed in slices of belt of this length, px."""
EDGE: Final = 36
"""Free belt at either side, strip px."""
REACH: Final = 80
"""No part reaches further than this from its centre, px."""
APART: Final = 48
"""Between the centres of what is seen of two parts, strip px, at the least."""
_TRIES: Final = 40
_SHY: Final = 0.7
"""Chance that a part does not go under another one, but at most beside it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to say of a placed part, without its maps."""

    id: int
    kind: str
    position: int
    """Of the centre along the belt, growing upstream, px."""
    centre: tuple[float, float]
    """Centroid of the visible mask: position along the belt, v."""
    defects: dict[str, float]
    """Defect name -> visible area, frame px."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A part at rest on the belt. Maps are (n, n) like its shape's."""

    id: int
    shape: Shape
    position: int
    """Of the centre along the belt, growing upstream, px."""
    v: int
    """Of the centre across the belt, px."""
    visible: Mask
    """Pixels of the part that no other part covers."""
    marks: Labels
    """Visible defect pixels, 0 or 1..4."""
    centre: tuple[float, float]
    """Centroid of the visible mask: position along the belt, v."""

    @property
    def known(self) -> Known:
        """Return the part without its maps."""
        areas = np.bincount(self.marks.ravel(), minlength=len(DEFECTS) + 1)[1:]
        scale = magnification(self.centre[1])
        defects = {name: float(area) * scale for name, area in zip(DEFECTS, areas, strict=True) if area}
        return Known(self.id, KINDS[self.shape.outline.kind - 1], self.position, self.centre, defects)

    @property
    def reach(self) -> int:
        """Half the side of the part's maps, px."""
        return int(self.visible.shape[0]) // 2


@dataclass(frozen=True, slots=True)
class _Slice:
    start: float
    end: float
    load: Stretch


def layout(seed: np.random.SeedSequence) -> Iterator[tuple[float, list[Placed]]]:
    """Yield slices of belt going upstream: where each ends (px), and its parts, upper ones first."""
    load_rng, part_rng = (np.random.default_rng(child) for child in seed.spawn(2))
    nearby: list[Placed] = []
    number, owed = 0, 0.0
    for piece in _slices(stretches(load_rng)):
        owed += (piece.end - piece.start) * piece.load.parts_per_px
        fresh: list[Placed] = []
        while owed >= 1:
            owed -= 1
            part = _place(part_rng, piece, nearby + fresh, number % MAX_ID + 1)
            if part is not None:
                number += 1
                fresh.append(part)
        nearby = [part for part in nearby + fresh if part.position > piece.end - 3 * REACH]
        yield piece.end, fresh


def _slices(loads: Iterator[Stretch]) -> Iterator[_Slice]:
    for load in loads:
        count = max(1, round((load.end - load.start) / CELL))
        cuts = np.linspace(load.start, load.end, count + 1)
        for start, end in pairwise(cuts):
            yield _Slice(float(start), float(end), load)


def _place(rng: Generator, piece: _Slice, others: list[Placed], number: int) -> Placed | None:
    """Try spots for a part until one keeps it and its defects in sight; None when there is no room."""
    shape = draw_shape(rng)
    reach = shape.mask.shape[0] // 2
    for attempt in range(_TRIES):
        if attempt % 10 == 9:
            shape = draw_shape(rng)
            reach = shape.mask.shape[0] // 2
        position = round(float(rng.uniform(piece.start, piece.end)))
        v = int(rng.integers(EDGE + reach, BELT_HEIGHT - EDGE - reach))
        shy = bool(rng.random() < _SHY)
        covered = _covered(shape, position, v, others, shy=shy)
        if covered is not None and _acceptable(shape, covered):
            part = _settle(shape, position, v, covered, number)
            if _apart(part, others):
                return part
    return None


def _apart(part: Placed, others: list[Placed]) -> bool:
    """Tell whether a part's visible centre keeps its distance: stacked like on a spindle, two cannot be told apart."""
    away = [np.hypot(part.centre[0] - other.centre[0], part.centre[1] - other.centre[1]) for other in others]
    return min(away, default=np.inf) >= APART


def _covered(shape: Shape, position: int, v: int, others: list[Placed], *, shy: bool) -> Mask | None:
    """Return which pixels lie under other parts; None where the part would show through one, or is too shy.

    A hole or chip with metal behind it looks like no hole or a stain: nobody could say what is true of such a part.
    """
    covered: Mask = np.zeros(shape.mask.shape, np.bool_)
    reach = covered.shape[0] // 2
    for other in others:
        # Columns run downstream, positions upstream.
        right, down = position - other.position, other.v - v
        near = reach + other.reach
        if abs(right) > near or abs(down) > near:
            continue
        mine, theirs = _overlap(reach, other.reach, right, down)
        taken = other.shape.outline.outer[theirs] < 0
        touching = shape.mask[mine] & (taken if shy else taken & ~other.shape.mask[theirs])
        if touching.any():
            return None
        covered[mine] |= taken
    return covered


def _overlap(mine: int, theirs: int, right: int, down: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the common window of two square maps of given reaches, in each one's indices."""
    pairs = []
    for offset in (down, right):
        low, high = max(-mine, offset - theirs), min(mine, offset + theirs) + 1
        pairs.append((slice(low + mine, high + mine), slice(low - offset + theirs, high - offset + theirs)))
    (row_a, row_b), (column_a, column_b) = pairs
    return (row_a, column_a), (row_b, column_b)


def _acceptable(shape: Shape, covered: Mask) -> bool:
    """Tell whether enough of the part and of each defect stays in sight."""
    if np.count_nonzero(shape.mask & ~covered) < MIN_VISIBLE * np.count_nonzero(shape.mask):
        return False
    if not shape.defects.any():
        return True
    whole = np.bincount(shape.defects.ravel(), minlength=len(DEFECTS) + 1)[1:]
    seen = np.bincount(shape.defects[~covered], minlength=len(DEFECTS) + 1)[1:]
    wanted = whole > 0
    enough = (seen >= MIN_DEFECT_VISIBLE * whole) & (seen >= MIN_STRIP_PX)
    return bool(enough[wanted].all())


def _settle(shape: Shape, position: int, v: int, covered: Mask, number: int) -> Placed:
    visible = shape.mask & ~covered
    marks = np.where(covered, np.uint8(0), shape.defects)
    rows, columns = np.nonzero(visible)
    reach = visible.shape[0] // 2
    centre = (position - (float(columns.mean()) - reach), v + float(rows.mean()) - reach)
    return Placed(number, shape, position, v, visible, marks, centre)
