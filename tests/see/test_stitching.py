"""Objects that several crops show parts of: joined, and only those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Head
from edge.see.crops import whole
from edge.see.instances import InstancePass
from edge.see.packing import pack
from edge.see.stitching import painted_in, stitch
from edge.types import Array, Image, Instances
from tests.see.made import Box, FakeEngine, boxes_of, instances_of, model_of

SIZE = (400, 300)
LEFT, RIGHT = (0, 0, 220, 200), (180, 0, 400, 200)  # two crops that share 40 pixels


def parts(*boxes: Box, sources: Sequence[Box], defects: int = 0, **fields: Sequence[object]) -> Instances:
    found = instances_of(boxes, defects=defects, whole=[False] * len(boxes), **fields)
    return stitch(found, boxes_of(sources), SIZE)


def test_two_halves_are_one_object_with_its_own_box_area_and_centre() -> None:
    got = parts((100, 50, 220, 90), (180, 50, 300, 90), sources=[LEFT, RIGHT], scores=[0.4, 0.9])
    assert got.boxes.tolist() == [[100, 50, 300, 90]]
    assert got.whole.tolist() == [True]
    assert got.areas_px[0] == pytest.approx(200 * 40, rel=0.05)
    assert got.centers[0].tolist() == pytest.approx([200, 70], abs=3)
    assert got.scores.tolist() == pytest.approx([0.9])
    assert got.masks[0].all()


def test_defects_in_the_overlap_count_once() -> None:
    halves = [(100, 50, 220, 90), (180, 50, 300, 90)]
    got = parts(*halves, sources=[LEFT, RIGHT], defects=1, defects_px=[[60], [60]])
    assert got.defects_px[0, 0] == pytest.approx(100, rel=0.05)  # 240 px of parts make 200 px of object


@pytest.mark.parametrize(
    ("second", "classes"),
    [((180, 120, 300, 160), [1, 1]), ((230, 50, 300, 90), [1, 1]), ((180, 50, 300, 90), [1, 2])],
    ids=["elsewhere in the overlap", "not in the overlap", "of another class"],
)
def test_what_the_overlap_does_not_show_as_the_same_stays_two(second: Box, classes: list[int]) -> None:
    got = parts((100, 50, 220, 90), second, sources=[LEFT, RIGHT], classes=classes)
    assert len(got) == 2
    assert not got.whole.any()


def test_an_object_that_goes_on_beyond_both_crops_is_not_whole() -> None:
    got = parts((60, 50, 220, 90), (180, 50, 300, 90), sources=[(60, 0, 220, 200), RIGHT])
    assert got.boxes.tolist() == [[60, 50, 300, 90]]
    assert got.whole.tolist() == [False]


def test_whole_objects_are_left_alone() -> None:
    found = instances_of([(100, 50, 220, 90), (180, 50, 300, 90)])
    assert stitch(found, boxes_of([LEFT, RIGHT]), SIZE) is found


@given(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(8, 60), st.integers(8, 60)),
    st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_a_mask_is_painted_where_it_lies(box: tuple[int, int, int, int], window: tuple[int, int]) -> None:
    x, y, width, height = box
    random = np.random.default_rng(x + 64 * y)
    mask = random.random((height, width)) < 0.5
    full = np.zeros((200, 200), np.bool_)
    full[y : y + height, x : x + width] = mask
    left, top = window
    got = painted_in(
        np.asarray([x, y, x + width, y + height], float), mask, np.asarray([left, top, left + 50, top + 40], float), 1.0
    )
    np.testing.assert_array_equal(got, full[top : top + 40, left : left + 50])


def bright(image: Image) -> Mapping[str, Array]:
    """Answer as a "prototypes" head with one box round each bright blob, and a mask that fills it."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 200).astype(np.uint8))
    boxes = np.asarray([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], np.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "scores": np.full(len(boxes), 0.9, np.float32),
        "classes": np.ones(len(boxes), np.uint8),
        "coefficients": np.ones((len(boxes), 1), np.float32),
        "prototypes": np.ones((1, image.shape[0] // 4, image.shape[1] // 4), np.float32),
    }


@given(st.integers(4, 200), st.integers(4, 200), st.integers(20, 190), st.integers(20, 90))
def test_a_full_frame_in_tiles_shows_every_object_once_and_whole(x: int, y: int, width: int, height: int) -> None:
    model = model_of((128, 128), Head("prototypes"))
    image = np.zeros((300, 400, 3), np.uint8)
    image[y : y + height, x : x + width] = 255
    looks, _ = pack(whole((400, 300), (128, 128)), (128, 128), 64)
    (found,) = InstancePass(FakeEngine(model, bright), model)([image], looks)
    assert found.boxes.tolist() == [[x, y, x + width, y + height]]
    assert found.whole.tolist() == [True]
    assert found.areas_px[0] == pytest.approx(width * height, rel=0.1)
