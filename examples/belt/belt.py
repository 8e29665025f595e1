"""The belt as a stream of frames with exact truth, and the exact list of line crossings, both from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.random import SeedSequence

from examples.belt.camera import Camera
from examples.belt.layout import Known, layout
from examples.belt.motion import Motion
from examples.belt.optics import project, unproject_x
from examples.belt.scene import (
    COUNT_LINE_X,
    DEFECTS,
    FPS,
    GATE_LINE_X,
    HEIGHT,
    KINDS,
    MIN_DEFECT_PX,
    RAIL_BOTTOM,
    RAIL_TOP,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    WIDTH,
    Crossing,
    Ids,
    Image,
    Labels,
    PartInfo,
    Truth,
    View,
)
from examples.belt.strip import Strip

__all__ = [
    "COUNT_LINE_X",
    "DEFECTS",
    "FPS",
    "GATE_LINE_X",
    "HEIGHT",
    "KINDS",
    "MIN_DEFECT_PX",
    "TEST_SEEDS",
    "TRAIN_SEEDS",
    "VALIDATION_SEEDS",
    "WIDTH",
    "Belt",
    "Crossing",
    "PartInfo",
    "Truth",
    "View",
    "crossings",
]

_MOTION, _LAYOUT, _STRIP, _CAMERA = range(4)
_CONCERNS: Final = 4
_SPREAD: Final = 300
"""No centroid lies further than this downstream of its slice's end, perspective included, px."""


class Belt:
    """One seeded run of the belt. Frame n is the same whichever frames were rendered before, with truth or without."""

    def __init__(self, seed: int) -> None:
        """Stand before frame 0."""
        seeds = SeedSequence(seed).spawn(_CONCERNS)
        self._motion = Motion(np.random.default_rng(seeds[_MOTION]))
        self._strip = Strip(seeds[_STRIP], layout(seeds[_LAYOUT]))
        self._camera = Camera(seeds[_CAMERA])
        self._index = 0
        self._furthest = 0.0

    @property
    def index(self) -> int:
        """Number of the frame that the next step renders."""
        return self._index

    def step(self, *, truth: bool = False) -> View:
        """Render the next frame, with its truth if asked."""
        index, travel = self._index, self._motion.travel(self._index)
        self._furthest = max(self._furthest, travel)
        self._strip.advance(self._furthest)
        image = self._camera.expose(self._strip.picture(travel), index, self._motion.speed(index))
        known = self._truth(travel) if truth else None
        self._index += 1
        return View(index, image, travel, known)

    def skip(self, frames: int) -> None:
        """Let the belt run for a number of frames unseen; what nobody sees is not painted."""
        for index in range(self._index, self._index + frames):
            self._furthest = max(self._furthest, self._motion.travel(index))
        self._index += frames

    def frames(self, count: int | None = None) -> Iterator[Image]:
        """Yield the next ``count`` images (1080, 1920, 3) uint8 BGR; without end when None."""
        left = count
        while left is None or left > 0:
            yield self.step().image
            left = None if left is None else left - 1

    def views(self, count: int | None = None) -> Iterator[View]:
        """Yield the next ``count`` frames with their truth; without end when None."""
        left = count
        while left is None or left > 0:
            yield self.step(truth=True)
            left = None if left is None else left - 1

    def _truth(self, travel: float) -> Truth:
        semantic: Labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        defects: Labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        instances: Ids = np.zeros((HEIGHT, WIDTH), np.uint16)
        between = slice(RAIL_TOP, RAIL_BOTTOM)
        semantic[between], instances[between], defects[between] = self._strip.labels(travel)
        parts = tuple(_info(part, travel) for part in self._strip.present(instances[between]))
        return Truth(semantic, instances, defects, parts)


def _info(part: Known, travel: float) -> PartInfo:
    x, y = project(travel - part.centre[0], part.centre[1])
    return PartInfo(part.id, part.kind, x, y, part.defects)


def crossings(seed: int, frames: int, x: float) -> list[Crossing]:
    """Return, in order, every part whose visible centroid first passes camera column x within the first frames.

    Nothing is rendered: placement and motion say it all. The centroid is that of the part's whole visible mask,
    taken on the belt and projected, so it does not change with the frame's border.
    """
    if frames < 1:
        return []
    seeds = SeedSequence(seed).spawn(_CONCERNS)
    travels = np.array(Motion(np.random.default_rng(seeds[_MOTION])).travels(frames))
    furthest = np.maximum.accumulate(travels)
    found: list[Crossing] = []
    for end, parts in layout(seeds[_LAYOUT]):
        for part in (placed.known for placed in parts):
            along, v = part.centre
            frame = int(np.searchsorted(furthest, along + unproject_x(x, v), side="left"))
            if frame < frames:
                found.append(Crossing(part.id, part.kind, frame, project(0.0, v)[1], part.defects))
        if end - _SPREAD + unproject_x(x, 0.0) > furthest[-1]:
            break
    return sorted(found, key=lambda crossing: (crossing.frame, crossing.id))
