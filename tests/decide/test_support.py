"""What the labels say of tracks between looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.support import blob_offsets, support
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
    np.testing.assert_allclose(offsets, [[dx, dy]])


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
    np.testing.assert_allclose(offsets, [[0, 0], [0, 0], [-4, 0]])


def test_no_boxes() -> None:
    offsets, known = blob_offsets(labels((200, 160, 280, 240)), SCALE, boxes())
    assert (offsets.shape, known.shape) == ((0, 2), (0,))
