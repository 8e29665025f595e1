"""Foreign models on real pictures, through our own export and runtime; skipped where the test data is absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from benchmarks import people
from benchmarks.common import PEOPLE, Options, data_folder
from edge.bundle import Model, open_bundle, read_engine
from edge.engines import open_engine
from edge.errors import FoveateError
from edge.see.instances import distinct, to_frame
from edge.see.prototypes import decode_prototypes
from edge.types import Image, Instances, Looks
from export.build import export_bundle

CANVAS = 320
SMALL_PX = 3500  # mask area below which the way of enlarging counts for much
NEAR_PX = 2.0


@pytest.fixture(scope="module")
def data() -> Path:
    try:
        return data_folder()
    except FoveateError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def yolo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """Export the YOLO network alone."""
    folder = tmp_path_factory.mktemp("yolo")
    recipe = (PEOPLE / "recipe.toml").read_text()
    head, instance = recipe.split("[semantic]")[0], recipe.split("[instance]")[1]
    (folder / "recipe.toml").write_text(f"{head}\n[instance]{instance}".replace("data/", f"{data}/"))
    bundle = export_bundle(folder / "recipe.toml", folder / "bundle")
    return bundle.path, bundle.manifest.models["instance"]


def pictures(data: Path) -> list[dict[str, Any]]:
    expected = json.loads((data / "weights" / "expected_yolov8n-seg_320.json").read_text())
    found: list[dict[str, Any]] = expected["pictures"]
    return found


def read(data: Path, picture: dict[str, Any]) -> Image:
    if "frame_index" not in picture:
        return np.asarray(cv2.imread(str(data / picture["file"])), np.uint8)
    video = cv2.VideoCapture(str(data / picture["file"]))
    for _ in range(picture["frame_index"]):
        video.grab()
    return np.asarray(video.read()[1], np.uint8)


def centred(image: Image) -> Looks:
    """Return one look at the whole picture, in the middle of the canvas, as Ultralytics letterboxes."""
    height, width = image.shape[:2]
    scale = CANVAS / max(width, height)
    size = round(width * scale), round(height * scale)
    x, y = (CANVAS - size[0]) // 2, (CANVAS - size[1]) // 2
    return Looks.at_one(
        np.asarray([[0, 0, width, height]], np.int32),
        np.zeros(1, np.int32),
        np.asarray([[x, y, x + size[0], y + size[1]]], np.int32),
        np.asarray([scale], np.float32),
    )


def letterboxed(image: Image, looks: Looks) -> Image:
    """Return the canvas as Ultralytics makes it: linear, where the runtime averages areas."""
    canvas: Image = np.full((CANVAS, CANVAS, 3), 114, np.uint8)
    x0, y0, x1, y1 = looks.places[0].tolist()
    canvas[y0:y1, x0:x1] = cv2.resize(image, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return canvas


def test_yolo_decodes_to_what_its_makers_get(data: Path, yolo: tuple[Path, Model]) -> None:
    """Boxes within 2 px, scores within 0.01, mask areas within 6 %, 13 % for small objects."""
    path, model = yolo
    engine = open_engine(read_engine(open_bundle(path), model.engines[0]), model, model.engines[0], 2)
    checked = 0
    for picture in pictures(data):
        image = read(data, picture)
        looks = centred(image)
        outputs = engine.infer({model.input.name: letterboxed(image, looks)})
        found = decode_prototypes(outputs, looks.places, model.head, 0.25)
        seen = to_frame(found, looks, np.zeros(1, np.int64), (image.shape[1], image.shape[0]))
        for truth in picture["objects"]:
            checked += 1
            assert_found(seen, truth, model, picture["file"])
        assert len(seen) == len(picture["objects"])
    engine.close()
    assert checked >= 20


def assert_found(seen: Instances, truth: dict[str, Any], model: Model, file: str) -> None:
    box = np.asarray(truth["box_xyxy"])
    same = np.flatnonzero(seen.classes == model.classes.index(truth["class"]))
    away = np.abs(seen.boxes[same] - box).max(axis=1)
    best = same[away.argmin()]
    area, limit = truth["mask_area_px"], 0.13 if truth["mask_area_px"] < SMALL_PX else 0.06
    assert away.min() <= NEAR_PX, (file, truth)
    assert abs(seen.scores[best] - truth["score"]) <= 0.01, (file, truth)
    assert abs(seen.areas_px[best] - area) <= limit * area, (file, truth, seen.areas_px[best])


def test_people_are_found_on_canvases_alone(data: Path) -> None:
    figures = people.run(Options(seed=1, quick=True))
    assert figures["frames"] == people.QUICK_FRAMES
    assert figures["recall"] >= 0.8, figures
    assert figures["precision"] >= 0.85, figures
    assert figures["looked_share"] < 0.25, figures
    assert abs(figures["x=384_left"] - 1) <= 1, "one person crosses to the left in the first 120 frames"
    assert abs(figures["x=384_right"] - 2) <= 1, "two cross to the right"


def test_a_bundle_of_foreign_models_says_what_is_in_it(data: Path, yolo: tuple[Path, Model]) -> None:
    model = yolo[1]
    assert model.classes[:3] == ["background", "person", "bicycle"]
    assert model.input.shape == (CANVAS, CANVAS, 3)
    assert msgspec.json.decode((yolo[0] / "manifest.json").read_bytes())["name"] == "people"
    assert not len(distinct(nothing()))


def nothing() -> Instances:
    empty = np.zeros(0, np.float32)
    boxes, centers = np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32)
    return Instances(boxes, empty, np.zeros(0, np.uint8), centers, empty, boxes, [], empty, np.zeros(0, np.bool_))
