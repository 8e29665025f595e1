"""What the labels say of tracks between looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.blobs import blobs_of
from edge.decide.support import _main_blobs, blob_offsets, support
from edge.types import Boxes, Image

SCALE = (4.0, 8.0)  # frame pixels per label pixel: a map of 160 x 60 for 640 x 480


def labels(*boxes: tuple[float, ...]) -> Image:
    found = np.zeros((60, 160), np.uint8)
    for x0, y0, x1, y1 in boxes:
        found[int(y0) // 8 : int(y1) // 8, int(x0) // 4 : int(x1) // 4] = 1
    return found


def boxes(*corners: tuple[float, ...]) -> Boxes:
    return np.asarray(corners, np.float32).reshape(-1, 4)


def test_support_is_the_share_of_the_box_that_is_foreground() -> None:
    found = labels((100, 80, 140, 120))
    shares = support(
        found, SCALE, boxes((100, 80, 140, 120), (100, 80, 180, 120), (300, 300, 340, 340), (-90, -90, -9, -9))
    )
    np.testing.assert_allclose(shares, [1, 0.5, 0, 0])


@given(st.integers(-24, 24), st.integers(-24, 24))
def test_a_box_finds_the_blob_it_stands_on(dx: int, dy: int) -> None:
    blob = (200, 160, 280, 240)
    moved = boxes(tuple(v - d for v, d in zip(blob, (dx, dy, dx, dy), strict=True)))
    offsets, known = blob_offsets(labels(blob), SCALE, moved)
    assert known.all()
    np.testing.assert_allclose(offsets, [[dx], [dy]])


@pytest.mark.parametrize(
    ("seen", "box"),
    [
        ([], (200, 160, 280, 240)),  # nothing there
        ([(0, 160, 80, 240)], (0, 160, 80, 240)),  # cut by the border: its middle is not the object's
        ([(200, 160, 440, 240)], (200, 160, 280, 240)),  # a blob of several
        ([(200, 160, 240, 240)], (200, 160, 280, 240)),  # half hidden
        ([(400, 160, 480, 240)], (200, 160, 280, 240)),  # elsewhere
        ([(200, 160, 280, 240)], (-300, -300, -200, -200)),  # the box is outside
    ],
)
def test_what_the_blob_does_not_tell_is_not_corrected(seen: list[tuple[float, ...]], box: tuple[float, ...]) -> None:
    offsets, known = blob_offsets(labels(*seen), SCALE, boxes(box))
    assert not known.any()
    assert not offsets.any()


def test_a_blob_under_two_boxes_tells_of_neither_and_others_are_not_hurt() -> None:
    found = labels((200, 160, 280, 240), (400, 160, 480, 240))
    offsets, known = blob_offsets(found, SCALE, boxes((200, 160, 280, 240), (208, 160, 288, 240), (404, 160, 484, 240)))
    assert known.tolist() == [False, False, True]
    np.testing.assert_allclose(offsets, [[0, 0, -4], [0, 0, 0]])


def test_no_boxes() -> None:
    offsets, known = blob_offsets(labels((200, 160, 280, 240)), SCALE, boxes())
    assert (offsets.shape, known.shape) == ((2, 0), (0,))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_a_box_stands_on_the_blob_with_most_of_its_foreground(seed: int, count: int) -> None:
    """Where one blob has two thirds of it and there is enough to be hit by points at all."""
    random, found = np.random.default_rng(seed), np.zeros((60, 160), np.uint8)
    for _ in range(6):
        x, y = random.integers(0, 140), random.integers(0, 45)
        found[y : y + random.integers(3, 15), x : x + random.integers(3, 20)] = 1
    blobs, _ = blobs_of(found)
    corners = np.sort(random.integers(0, (160, 60), (count, 2, 2)), axis=1).reshape(-1, 4)
    for (x0, y0, x1, y1), number in zip(corners.tolist(), _main_blobs(blobs, corners.T).tolist(), strict=True):
        cells = np.bincount(blobs[y0:y1, x0:x1].ravel(), minlength=2)
        if x0 == x1 or y0 == y1 or not cells[1:].any():
            assert number == 0
        elif cells[1:].max() > 2 / 3 * cells[1:].sum() and cells[1:].sum() > 0.5 * cells.sum():
            assert number == cells[1:].argmax() + 1


def test_a_ring_is_stood_on_too() -> None:
    found = np.zeros((60, 160), np.uint8)
    cv2.circle(found, (80, 30), 20, (1,), 3)
    _, known = blob_offsets(found, (4.0, 4.0), boxes((238, 38, 402, 202)))
    assert known.tolist() == [True]


@pytest.mark.parametrize("flip", [1, -1])
def test_a_small_blob_at_the_edge_of_a_box_is_not_what_it_stands_on(flip: int) -> None:
    found = np.zeros((60, 160), np.uint8)
    found[10:14, 20:44] = 1
    found[18:40, 20:44] = 1
    blobs, _ = blobs_of(np.ascontiguousarray(found[::flip]))
    corners = np.asarray([(20, 10, 44, 40)] if flip > 0 else [(20, 20, 44, 50)])
    assert _main_blobs(blobs, corners.T).tolist() == [2 if flip > 0 else 1]
