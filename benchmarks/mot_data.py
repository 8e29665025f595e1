"""Detections of real sequences and their truth, as `benchmarks.mot` gives them to trackers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.tracked import Tracked, corners_of, read_rows, read_tracked
from edge.boxes import overlaps
from edge.types import Boxes

HALF: Final = 400  # frames of vtest that thresholds may be chosen on
KITTI_SIZE: Final = (1242, 375)
SIDE: Final = 50  # frame pixels of a box where nothing is


@dataclass(frozen=True, slots=True)
class Sequence:
    """Detections of one recording, and the truth."""

    size: tuple[int, int]  # of a frame, width and height
    boxes: list[Boxes]  # of each frame (n, 4)
    marks: list[npt.NDArray[np.float64]]  # of each frame (n,), the detector's own score
    truth: Tracked

    def part(self, first: int, last: int | None = None) -> Sequence:
        """Return the frames from `first` to before `last`."""
        return Sequence(self.size, self.boxes[first:last], self.marks[first:last], self.truth.part(first, last))


@dataclass(frozen=True, slots=True)
class Curve:
    """The share of boxes with a score that are right: 1 / (1 + exp(-(slope * score + offset)))."""

    slope: float
    offset: float

    def __call__(self, marks: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return (n,) the confidence of boxes with scores `marks` (n,)."""
        return (1 / (1 + np.exp(-(self.slope * marks + self.offset)))).astype(np.float32)


def read_sequences(data: Path, seed: int) -> dict[str, Sequence]:
    """Return all sequences by name; `seed` is that of the noise which makes KITTI's truth into detections."""
    vtest = _read(data / "vtest", (768, 576), 795)
    return {
        "vtest": vtest,
        "vtest_first": vtest.part(0, HALF),
        "vtest_second": vtest.part(HALF),
        "tud_campus": _read(data / "mot" / "TUD-Campus", (640, 480), 71),
        "kitti_17": _read(data / "mot" / "KITTI-17", (1224, 370), 145),
        "kitti_0006": noisy(data / "mot" / "KITTI-train-0006" / "gt.txt", 269, seed),
        "kitti_0010": noisy(data / "mot" / "KITTI-train-0010" / "gt.txt", 294, seed + 1),
    }


def _read(folder: Path, size: tuple[int, int], frames: int) -> Sequence:
    rows = read_rows(folder / "det.txt")
    each = [rows[rows[:, 0] == number] for number in range(1, frames + 1)]
    truth = read_tracked(folder / "gt.txt", frames)
    return Sequence(size, [corners_of(one) for one in each], [one[:, 6] for one in each], truth)


def noisy(path: Path, frames: int, seed: int) -> Sequence:
    """Return detections made of the truth: corners off by 5 % of the sides, 10 % missing, 40 % of the hidden.

    Every second frame has a box where nothing is. Scores are normal with a deviation of 15, about 60 where something is
    and 25 where nothing is; hidden are those that KITTI calls largely occluded.
    """
    random = np.random.default_rng(seed)
    rows, truth = read_rows(path), read_tracked(path, frames)
    boxes, marks = [], []
    for number in range(1, frames + 1):
        real = rows[rows[:, 0] == number]
        real = real[random.random(len(real)) >= np.where(real[:, 9] >= 2, 0.4, 0.1)]
        right = corners_of(real) + random.normal(0, 0.05, (len(real), 4)) * np.tile(real[:, 4:6], 2)
        middles = random.uniform((SIDE, SIDE), KITTI_SIZE, (number % 2, 2))
        wrong = np.hstack([middles - SIDE / 2, middles + SIDE / 2])
        boxes.append(np.concatenate([right, wrong]).astype(np.float32))
        marks.append(random.normal(np.repeat([60.0, 25.0], [len(right), len(wrong)]), 15.0))
    return Sequence(KITTI_SIZE, boxes, marks, truth)


def fitted(sequence: Sequence) -> Curve:
    """Return the curve of greatest likelihood through what is right in `sequence`: Newton's method, two unknowns."""
    right = np.concatenate([_are_right(b, t) for b, t in zip(sequence.boxes, sequence.truth.boxes, strict=True)])
    marks = np.concatenate(sequence.marks)
    inputs, unknown = np.stack([marks / 100, np.ones(len(marks))], axis=1), np.zeros(2)
    for _ in range(25):
        share = 1 / (1 + np.exp(-(inputs @ unknown)))
        weights = np.maximum(share * (1 - share), 1e-9)
        unknown += np.linalg.solve((inputs.T * weights) @ inputs, inputs.T @ (right - share))
    return Curve(float(unknown[0]) / 100, float(unknown[1]))


def _are_right(boxes: Boxes, truth: Boxes) -> npt.NDArray[np.bool_]:
    """Return (n,) whether each of `boxes` is the best one for something of the `truth`, at IoU 0.5 at least."""
    right = np.zeros(len(boxes), np.bool_)
    if len(boxes) and len(truth):
        iou = overlaps(boxes, truth)
        right[iou.argmax(axis=0)[iou.max(axis=0) >= 0.5]] = True
    return right
