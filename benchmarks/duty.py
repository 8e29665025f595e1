"""Scenes with something in view in 30 % of the frames: stretches with, then stretches without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

import numpy as np
from numpy.random import SeedSequence

from edge.types import Frame, Image
from examples.belt.belt import Belt
from examples.belt.camera import Camera
from examples.belt.motion import Motion
from examples.belt.strip import Strip

BUSY, EMPTY = 90, 210  # frames in turn, with something and without
NOISE: Final = 3.0  # standard deviation, grey levels, of what a camera adds to a street where nothing moves


def busy(index: int) -> bool:
    """Return whether frame number `index` is one with something in view."""
    return index % (BUSY + EMPTY) < BUSY


def belt_frames(seed: int, frames: int) -> Iterator[tuple[Image, bool]]:
    """Yield frames of a belt, and whether it was drawn with its parts; rubber, lamps and motion are the same."""
    motion_seed, _, strip_seed, camera_seed = SeedSequence(seed).spawn(4)
    motion = Motion(np.random.default_rng(motion_seed))
    bare, camera = Strip(strip_seed, ((end * 1000.0, []) for end in count())), Camera(camera_seed)
    loaded, furthest = Belt(seed), 0.0
    for index in range(frames):
        at = index + BUSY  # the window is full by then
        furthest = max(furthest, motion.travel(at))
        if busy(index):
            loaded.skip(at - loaded.index)
            yield loaded.step().image, True
        else:
            bare.advance(furthest)
            yield camera.expose(bare.picture(motion.travel(at)), at, motion.speed(at)), False


def emptied(seen: Iterable[Frame]) -> Image:
    """Return the picture (h, w, 3) of a scene without what moves in it: the median over frames."""
    return np.asarray(np.median(np.stack([frame.image for frame in seen]), axis=0), np.uint8)


def street_frames(seen: Iterable[Frame], empty: Image) -> Iterator[tuple[Frame, bool]]:
    """Yield the frames `seen`, those of empty stretches replaced by `empty` (h, w, 3) with a camera's noise."""
    rng = np.random.default_rng(1)
    for number, frame in enumerate(seen):
        if busy(number):
            yield frame, True
        else:
            noise = rng.normal(0.0, NOISE, empty.shape)
            image = np.clip(empty + noise, 0, 255).astype(np.uint8)
            yield Frame(frame.camera, frame.index, frame.time, image), False
