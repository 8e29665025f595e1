"""The models that the exports are measured on: recipes, and pictures in three parts.

Calibration takes recordings, and every fourth picture, as a site would take frames of its own. What is chosen (methods,
float layers) is chosen on another quarter; what is claimed is claimed on the half that nobody has looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import ROOT, data_folder
from edge.types import Array
from examples.belt.heldout import write_heldout

BELT = ROOT / "examples" / "belt"
CALIBRATE, CHOOSE, CLAIM = "calibrate", "choose", "claim"  # the parts
TURNS = (CALIBRATE, CLAIM, CHOOSE, CLAIM)
VALIDATION_SEEDS = range(2002, 2010)  # of the belt: chosen on; seeds from 1 on are claimed on
BELT_FRAMES = 4  # of each seed
PERSON, CAR = 15, 7  # of Pascal VOC
IGNORED = 255
CAMVID = {8: CAR, 9: PERSON, 10: IGNORED, 11: IGNORED}  # car, pedestrian, cyclist, unlabelled; others are background
VOC = [
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
CALIBRATION = """
[calibration]
frames = 128
recordings = [
    {{ source = "{data}/vtest/vtest.avi" }},
    {{ source = "{data}/clips/car-detection.mp4" }},
    {{ source = "{data}/clips/bottle-detection.mp4" }},
    {pictures}
]
[heldout]
folder = "{folder}/choose"
frames = 1000
"""
YOLO_RECIPE = """
name = "yolo"
version = "1"
[instance]
model = "{data}/weights/yolov8n-seg_320.onnx"
head = "yolo"
"""
VOC_RECIPE = """
name = "voc"
version = "1"
[semantic]
model = "{data}/weights/deeplabv3_voc_257.onnx"
head = "logits"
classes = {classes}
scale = 0.00784313725490196
mean = 1.0
std = 1.0
"""


def belt(folder: Path, seed: int, *, quick: bool) -> Path:
    """Write the belt's recipe, and frames of validation and of test seeds with their truth."""
    seeds = 1 if quick else len(VALIDATION_SEEDS)
    write_heldout(folder / CHOOSE, [*VALIDATION_SEEDS][:seeds], BELT_FRAMES)
    write_heldout(folder / CLAIM, [*range(seed, seed + seeds)], BELT_FRAMES)
    for model in ("semantic.onnx", "instance.onnx"):
        (folder / model).write_bytes((BELT / model).read_bytes())
    recipe = (BELT / "recipe.toml").read_text().split("[heldout]")[0]
    (folder / "recipe.toml").write_text(f'{recipe}\n[heldout]\nfolder = "{CHOOSE}"\nframes = 1000\n')
    return folder / "recipe.toml"


def yolo(folder: Path, *, quick: bool) -> Path:
    """Write the recipe of YOLOv8n-seg, and the people of Penn-Fudan."""
    _write(folder, _penn_fudan(), quick=quick)
    return _recipe(folder, YOLO_RECIPE)


def voc(folder: Path, *, quick: bool) -> Path:
    """Write the recipe of DeepLab v3, and the people of Penn-Fudan with the cars and pedestrians of CamVid."""
    pictures = [*_penn_fudan(), *_camvid()]
    _write(folder, iter(pictures), quick=quick)
    return _recipe(folder, VOC_RECIPE)


def _recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    own = ", ".join(f'{{ source = "{place}" }}' for place in sorted((folder / CALIBRATE).iterdir()))
    whole = text + CALIBRATION
    path.write_text(whole.format(data=data_folder(), folder=folder, classes=json.dumps(VOC), pictures=own))
    return path


def _penn_fudan() -> Iterator[tuple[str, Array, dict[str, Array]]]:
    """Yield name, picture and truth of each picture: people by number, and their pixels."""
    folder = data_folder() / "penn-fudan"
    for path in sorted((folder / "images").iterdir()):
        numbers = _read(folder / "masks" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED)
        labels = np.where(numbers > 0, PERSON, 0).astype(np.uint8)
        yield path.stem, _read(path, cv2.IMREAD_COLOR), {"instances": numbers, "semantic": labels}


def _camvid() -> Iterator[tuple[str, Array, dict[str, Array]]]:
    folder = data_folder() / "camvid"
    table = np.zeros(256, np.uint8)
    for theirs, ours in CAMVID.items():
        table[theirs] = ours
    for path in sorted((folder / "images").iterdir()):
        labels = table[_read(folder / "labels" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED)]
        yield path.stem, _read(path, cv2.IMREAD_COLOR), {"semantic": labels, "instances": np.zeros_like(labels)}


def _read(path: Path, mode: int) -> Array:
    return np.asarray(cv2.imread(str(path), mode))


def _write(folder: Path, pictures: Iterator[tuple[str, Array, dict[str, Array]]], *, quick: bool) -> None:
    """Write pictures in turns into the parts, as `export/heldout.py` reads them; every third four where it is quick."""
    kinds: dict[str, dict[str, dict[str, str]]] = {CHOOSE: {}, CLAIM: {}}
    for number, (name, picture, truth) in enumerate(pictures):
        part = TURNS[number % len(TURNS)]
        if quick and number // len(TURNS) % 3:
            continue
        if part == CALIBRATE:  # a recording has pictures of one size
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / part / name / "picture.png"), picture)
            continue
        for kind, array in {"images": picture, **truth}.items():
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / part / kind / f"{name}.png"), array)
        kinds[part][name] = {str(i): "person" for i in np.unique(truth["instances"]).tolist() if i}
    for part, found in kinds.items():
        (folder / part / "kinds.json").write_text(json.dumps(found))
