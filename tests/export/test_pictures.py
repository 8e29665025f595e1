"""The report's pictures: readable, and of the place where the two sides differ."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.bundle import Head, Model, TensorSpec
from edge.types import Image, Labels
from export.cascade import Result
from export.heldout import true_instances
from export.pictures import DIFFERENT, GAP, ONLY_BUNDLE, ONLY_FLOAT, TITLE, WIDTH, panels

MODEL = Model(["background", "part"], Head("centers"), TensorSpec("image", (8, 8, 3), "uint8"), [], [])
HEIGHT = WIDTH * 9 // 16
SIZE = (1080, 1920)


def result(labels: Image, ids: Image) -> Result:
    return Result(Labels(labels, None, (4.0, 4.0)), None, true_instances(ids, None, {}, MODEL))


def drawn(first: Result, second: Result) -> tuple[Image, Image]:
    """Return the whole picture and its difference panel."""
    data = panels(np.full((*SIZE, 3), 100, np.uint8), first, second)
    shown = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return shown, shown[TITLE : TITLE + HEIGHT, WIDTH + GAP :]


def near(panel: Image, color: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the places (n, 2) of about this colour; a JPEG has none exactly."""
    return np.argwhere((np.abs(panel.astype(int) - color) < 60).all(axis=2))


def nothing() -> tuple[Image, Image]:
    return np.zeros((270, 480), np.uint8), np.zeros(SIZE, np.uint8)


@pytest.mark.parametrize(("x", "y"), [(960, 540), (1900, 1060), (8, 8)])
def test_a_pixel_of_another_class_is_in_the_window_and_large(x: int, y: int) -> None:
    labels, ids = nothing()
    other = labels.copy()
    other[y // 4, x // 4] = 1
    shown, difference = drawn(result(labels, ids), result(other, ids))
    assert shown.shape == (2 * (TITLE + HEIGHT) + GAP, 2 * WIDTH + GAP, 3)
    found = near(difference, DIFFERENT)
    assert len(found) >= 9, "a label is four frame pixels wide"
    if (x, y) == (960, 540):
        assert np.abs(found.mean(axis=0) - (HEIGHT / 2, WIDTH / 2)).max() < 8


def test_objects_that_only_one_side_has_are_drawn() -> None:
    labels, ids = nothing()
    left, right = ids.copy(), ids.copy()
    left[700:760, 1500:1560], right[700:760, 1700:1760] = 1, 1
    _, difference = drawn(result(labels, left), result(labels, right))
    assert len(near(difference, ONLY_FLOAT)) > 100
    assert len(near(difference, ONLY_BUNDLE)) > 100


def test_without_a_difference_the_window_is_where_something_is() -> None:
    labels, ids = nothing()
    ids[900:1000, 100:200] = 1
    shown, difference = drawn(result(labels, ids), result(labels, ids))
    outlined = shown[-HEIGHT:, :WIDTH]
    assert len(near(outlined, (255, 255, 255))) > 200
    assert len(near(difference, ONLY_FLOAT)) == 0


def test_nothing_at_all_and_a_small_frame_are_shown_too() -> None:
    data = panels(np.zeros((40, 30, 3), np.uint8), Result(None, None, None), Result(None, None, None))
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape[1] == 2 * WIDTH + GAP
