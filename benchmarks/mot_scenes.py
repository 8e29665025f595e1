"""What the tracker takes per frame: `predict` and `update`, with the labels and looks of scenes that move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from edge.config import TrackRules
from edge.decide.tracks import Tracker
from edge.types import Boxes, Image, Instances, Looks

SIZE: Final = (1920, 1080)  # of a frame, width and height
CELL: Final = 8  # frame pixels per label pixel
SIDE: Final = 64  # frame pixels of an object
FULL: Final = np.ones((16, 16), np.bool_)
WARM: Final = 10  # frames before the clock counts


def frame_ms(motion: Literal["belt", "free"], objects: int, frames: int, every: int) -> list[float]:
    """Return the milliseconds of `frames` frames with so many objects, each looked at in every `every`th frame.

    On a belt they lie apart in rows and move together, 4 pixels a frame; free ones walk about, and over each other.
    """
    ids = count(1)
    tracker = Tracker(TrackRules(motion=motion), [1], 2, SIZE, lambda: next(ids))
    spent = []
    walk = _belt(objects) if motion == "belt" else _crowd(objects)
    for number, boxes in zip(range(frames + WARM), walk, strict=False):
        found = labels_of(boxes)
        looked = np.arange(len(boxes)) if number < WARM else np.arange(number % every, len(boxes), every)
        instances, looks = instances_in(boxes[looked]), looks_at(boxes[looked])
        started = time.perf_counter()
        tracker.predict(found, (CELL, CELL), 1)
        tracker.update(instances, looks)
        spent.append((time.perf_counter() - started) * 1e3)
    return spent[WARM:]


def _belt(objects: int) -> Iterator[Boxes]:
    """Yield the boxes of rows of objects, frame by frame; who leaves at the right comes in again at the left."""
    spots = np.stack(np.meshgrid(np.arange(12) * 150 + 60, np.arange(9) * 110 + 60), axis=2).reshape(-1, 2)[:objects]
    for number in count():
        x = (spots[:, 0] + 4 * number) % (SIZE[0] - SIDE)
        corners = np.stack([x, spots[:, 1]], axis=1).astype(np.float32)
        yield np.hstack([corners, corners + SIDE])


def _crowd(objects: int, seed: int = 1) -> Iterator[Boxes]:
    """Yield the boxes of objects that walk about at 2 to 6 pixels a frame, and turn at the border."""
    random = np.random.default_rng(seed)
    room = np.asarray(SIZE) - SIDE
    at, angle = random.uniform(0, room, (objects, 2)), random.uniform(0, 2 * np.pi, objects)
    speed = random.uniform(2, 6, objects)
    while True:
        angle += random.normal(0, 0.1, objects)
        at += np.stack([np.cos(angle), np.sin(angle)], axis=1) * speed[:, None]
        angle[((at < 0) | (at > room)).any(axis=1)] += np.pi
        at = np.clip(at, 0, room)
        corners = at.astype(np.float32)
        yield np.hstack([corners, corners + SIDE])


def labels_of(boxes: Boxes) -> Image:
    """Return the foreground (h, w) that `boxes` (n, 4) make."""
    found = np.zeros((SIZE[1] // CELL, SIZE[0] // CELL), np.uint8)
    for x0, y0, x1, y1 in (boxes // CELL).astype(int).tolist():
        found[y0:y1, x0:x1] = 1
    return found


def looks_at(boxes: Boxes) -> Looks:
    """Return a look at each of `boxes` (n, 4)."""
    sources = (boxes + np.asarray([-16, -16, 16, 16], np.float32)).astype(np.int32)
    return Looks.at_one(sources, np.zeros(len(boxes), np.int32), sources, np.ones(len(boxes), np.float32))


def instances_in(boxes: Boxes, scores: npt.NDArray[np.float32] | None = None) -> Instances:
    """Return objects of class 1 that fill `boxes` (n, 4), with `scores` (n,) or all sure."""
    n, ones = len(boxes), np.ones(len(boxes), np.float32)
    return Instances(
        boxes=boxes,
        scores=ones if scores is None else scores,
        classes=ones.astype(np.uint8),
        centers=np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32),
        areas_px=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        defects_px=np.zeros((n, 0), np.float32),
        masks=[FULL] * n,
        scales=ones,
        whole=ones > 0,
    )
