"""Frames to calibrate on, good and bad ones, and truth in another order, for the benchmark `sabotage`."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import data_folder
from edge.errors import FoveateError
from edge.types import Image
from examples.belt.belt import Belt
from examples.belt.heldout import LENGTH

SIZE = (480, 384)  # width, height that pictures of people have as frames of one recording
PERSON = 15  # number of the class in VOC
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def belt_frames(folder: Path, seed: int, count: int) -> None:
    """Write `count` frames of one run of the belt, spread over it."""
    folder.mkdir()
    belt = Belt(seed)
    for index in np.linspace(60, LENGTH - 1, count).round().astype(int).tolist():
        belt.skip(index - belt.index)
        cv2.imwrite(str(folder / f"{index:04}.png"), belt.step().image)


def dark_frames(folder: Path, count: int, seed: int) -> None:
    """Write frames of a camera whose lens cap is on: black but for noise."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:04}.png"), random.integers(0, 3 + i, (270, 480, 3)).astype(np.uint8))


def other_frames(folder: Path, count: int, seed: int) -> None:
    """Write frames of a street where the video is there, drawn blots of colour where it is not."""
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(_street(count) or _blots(count, seed)):
        cv2.imwrite(str(folder / f"{i:04}.png"), image)


def _street(count: int) -> list[Image]:
    with contextlib.suppress(FoveateError):
        video = cv2.VideoCapture(str(data_folder() / "vtest" / "vtest.avi"))
        frames: list[Image] = []
        while len(frames) < 40 * count:
            done, frame = video.read()
            if not done:
                break
            frames.append(np.asarray(frame, np.uint8))
        return frames[::40]
    return []


def _blots(count: int, seed: int) -> list[Image]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 10, 3)).astype(np.uint8)
    return [np.asarray(cv2.resize(one, (1920, 1080), interpolation=cv2.INTER_CUBIC), np.uint8) for one in coarse]


def renumbered(folder: Path, out: Path, order: Sequence[int]) -> None:
    """Copy held-out frames, their semantic maps in other numbers: what was `order[i]` is i."""
    shutil.copytree(folder, out)
    table = np.full(256, 255, np.uint8)
    for i, number in enumerate(order):
        table[number] = i
    for path in (out / "semantic").iterdir():
        classes = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        cv2.imwrite(str(path), table[classes])


def people(data: Path, out: Path) -> tuple[Path, Path]:
    """Write Penn-Fudan, every second picture to calibrate on and the others held out; return both folders."""
    calibration, heldout = out / "calibration", out / "heldout"
    if out.exists():
        return calibration, heldout
    for folder in (calibration, *(heldout / kind for kind in ("images", "semantic", "instances"))):
        folder.mkdir(parents=True)
    kinds = {}
    for i, path in enumerate(sorted((data / "penn-fudan" / "images").iterdir())):
        image = np.asarray(cv2.imread(str(path)))
        if i % 2 == 0:
            cv2.imwrite(str(calibration / f"{path.stem}.png"), cv2.resize(image, SIZE))
            continue
        (mask,) = (data / "penn-fudan" / "masks").glob(f"{path.stem}*")
        ids = np.asarray(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
        cv2.imwrite(str(heldout / "images" / f"{path.stem}.png"), image)
        cv2.imwrite(str(heldout / "semantic" / f"{path.stem}.png"), ((ids > 0) * PERSON).astype(np.uint8))
        cv2.imwrite(str(heldout / "instances" / f"{path.stem}.png"), ids.astype(np.uint16))
        kinds[path.stem] = {str(number): "person" for number in np.unique(ids).tolist() if number}
    (heldout / "kinds.json").write_text(json.dumps(kinds))
    return calibration, heldout
