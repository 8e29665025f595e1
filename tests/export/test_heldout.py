"""Folders with truth: what is read, and what is said of one that is not laid out as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import Head, Model, TensorSpec
from edge.config import Camera
from edge.errors import ConfigError
from export.heldout import HeldFrame, held_frames
from export.recipe import HeldOut
from tests.export.nets import squares

PICTURE = TensorSpec("image", (8, 8, 3), "uint8")
MODEL = Model(["background", "nut", "bolt"], Head("centers"), PICTURE, [], [], ["scratch"])
LABELS = Model(["background", "metal"], Head("labels"), PICTURE, [], [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write three frames of which each has two objects."""
    squares(tmp_path / "images", 3)
    (tmp_path / "instances").mkdir()
    ids = np.zeros((64, 64), np.uint16)
    ids[5:9, 5:9], ids[20:30, 20:30] = 1, 300
    for path in (tmp_path / "images").iterdir():
        cv2.imwrite(str(tmp_path / "instances" / path.name), ids)
    kinds = {path.stem: {"1": "nut", "300": "bolt"} for path in (tmp_path / "images").iterdir()}
    (tmp_path / "kinds.json").write_text(json.dumps(kinds))
    return tmp_path


def read(folder: Path, frames: int = 24) -> list[HeldFrame]:
    count, frames_of = held_frames(HeldOut(folder=folder, frames=frames), {"semantic": LABELS, "instance": MODEL})
    found = list(frames_of())
    assert len(found) == count
    return found


def test_truth_is_read(folder: Path) -> None:
    first, *others = read(folder)
    assert len(others) == 2
    assert first.name == "000"
    assert first.image.shape == (64, 64, 3)
    assert first.semantic is None
    assert first.instances is not None
    assert first.instances.classes.tolist() == [1, 2]
    assert first.instances.areas_px.tolist() == [16, 100]
    assert [frame.name for frame in read(folder, 2)] == ["000", "002"]


def test_unknown_class_lists_the_known_ones(folder: Path) -> None:
    text = (folder / "kinds.json").read_text()
    (folder / "kinds.json").write_text(text.replace("bolt", "screw"))
    with pytest.raises(ConfigError, match="gives object 300 class 'screw'; the model has nut, bolt"):
        read(folder)


def test_object_without_a_class_is_named(folder: Path) -> None:
    (folder / "kinds.json").unlink()
    with pytest.raises(ConfigError, match="gives object 1 class None"):
        read(folder)


def test_missing_truth_of_one_frame_is_named(folder: Path) -> None:
    (folder / "instances" / "001.png").unlink()
    with pytest.raises(ConfigError, match=r"instances/001.png is missing or no picture"):
        read(folder)


def test_truth_of_another_size_is_named(folder: Path) -> None:
    cv2.imwrite(str(folder / "instances" / "001.png"), np.zeros((3, 4), np.uint8))
    with pytest.raises(ConfigError, match=r"001.png has shape \(3, 4\), its frame \(64, 64\)"):
        read(folder)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("semantic", 2, "holds 2; give class numbers, 0 to 1, or 255 where"),
        ("semantic", 257, "holds 257; give class numbers, 0 to 1, or 255 where"),
        ("defects", 2, "holds 2; give class numbers, 0 to 1$"),
        ("defects", 256, "holds 256; give class numbers, 0 to 1$"),
    ],
)
def test_a_number_that_is_no_class_is_named(folder: Path, kind: str, value: int, said: str) -> None:
    (folder / kind).mkdir()
    for path in (folder / "images").iterdir():
        truth = np.zeros((64, 64), np.uint16)
        truth[3, 4] = value if path.stem == "001" else 1
        cv2.imwrite(str(folder / kind / path.name), truth)
    with pytest.raises(ConfigError, match=rf"{kind}/001\.png {said}"):
        read(folder)


def test_pixels_that_are_not_judged_are_taken(folder: Path) -> None:
    (folder / "semantic").mkdir()
    for path in (folder / "images").iterdir():
        cv2.imwrite(str(folder / "semantic" / path.name), np.full((64, 64), 255, np.uint16))
    assert all(frame.semantic is not None and (frame.semantic == 255).all() for frame in read(folder))


def test_a_recording_that_is_shorter_the_second_time_is_named(tmp_path: Path) -> None:
    heldout = HeldOut(recordings=[Camera(source=str(squares(tmp_path / "pictures", 5)))])
    count, frames = held_frames(heldout, {})
    assert count == 5
    (tmp_path / "pictures" / "004.png").unlink()
    with pytest.raises(ConfigError, match="gave 4 frames of the 5 chosen when read again"):
        list(frames())


def test_kinds_that_are_no_json_are_named(folder: Path) -> None:
    (folder / "kinds.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"kinds.json: Expected `object`"):
        read(folder)


def test_folder_without_frames_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images cannot be listed: No such file"):
        read(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigError, match="no png or jpg in"):
        read(tmp_path)
