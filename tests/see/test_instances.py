"""Canvases -> instances in frame coordinates."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import EngineFile, Head
from edge.engines import Engine
from edge.see.found import Found
from edge.see.instances import MOST_INSTANCES, InstancePass, distinct, surest, to_frame
from edge.see.packing import pack
from edge.types import Array, Image, Instances
from edge.workers import Workers
from tests.see.coded import instance_model, picture, read_parts
from tests.see.made import FakeEngine, boxes_of, instances_of, looks_of, model_of

FRAME = (400, 300)
HERE = np.zeros(1, np.int64)


def found_of(boxes: list[list[float]], places: list[int] | None = None, defects: int = 0) -> Found:
    corners = boxes_of(boxes)
    n = len(corners)
    return Found(
        boxes=corners,
        scores=np.full(n, 0.9, np.float32),
        classes=np.ones(n, np.uint8),
        centers=((corners[:, :2] + corners[:, 2:]) / 2).astype(np.float32),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        defects=np.full((n, defects), 8, np.float32),
        masks=[np.ones((3, 3), np.bool_)] * n,
        places=np.asarray(places or [0] * n, np.int32),
    )


def test_canvas_pixels_become_frame_pixels() -> None:
    looks = looks_of([(100, 50, 180, 130)], [(40, 10, 80, 50)], [0.5])
    got = to_frame(found_of([[50, 20, 70, 30]], defects=2), looks, HERE, FRAME)
    assert got.boxes.tolist() == [[120, 70, 160, 90]]
    assert got.centers.tolist() == [[140, 80]]
    assert got.areas_px.tolist() == [800]
    assert got.defects_px.tolist() == [[32, 32]]
    assert got.scales.tolist() == [0.5]


def test_each_object_is_mapped_by_the_look_it_is_in() -> None:
    looks = looks_of(
        [(0, 0, 20, 20), (100, 50, 140, 90), (200, 0, 220, 20)], [(0, 0, 20, 20), (28, 0, 68, 40), (76, 0, 96, 20)]
    )
    got = to_frame(found_of([[30, 10, 40, 20], [80, 5, 90, 15]], places=[0, 1]), looks, np.asarray([1, 2]), FRAME)
    assert got.boxes.tolist() == [[102, 60, 112, 70], [204, 5, 214, 15]]


@given(
    st.integers(0, 300),
    st.integers(0, 200),
    st.integers(4, 100),
    st.integers(4, 100),
    st.floats(0, 0.8),
    st.floats(0.1, 1),
)
def test_there_and_back_is_the_same_place(x: int, y: int, width: int, height: int, left: float, share: float) -> None:
    source = np.asarray([[x, y, min(x + width, 400), min(y + height, 300)]], np.int32)
    looks, _ = pack(source, (64, 48), 1)
    size, place, scale = source[0, 2:] - source[0, :2], looks.places[0], looks.scales[0]
    inside = source[0, 0] + left * size[0], source[0, 1] + left * size[1]
    extent = size * (1 - left) * share
    frame_box = np.asarray([*inside, *(np.asarray(inside) + extent)])
    canvas_box = (frame_box - np.tile(source[0, :2], 2)) * scale + np.tile(place[:2], 2)
    got = to_frame(found_of([canvas_box.tolist()]), looks, HERE, FRAME)
    np.testing.assert_allclose(got.boxes[0], frame_box, atol=0.01)


@pytest.mark.parametrize(
    ("box", "whole"),
    [
        ([20, 20, 40, 40], True),
        ([1, 20, 40, 40], False),
        ([20, 2, 40, 40], False),
        ([20, 20, 79, 40], False),
        ([20, 20, 40, 78.5], False),
        ([3, 3, 77, 77], True),
    ],
)
def test_what_the_edge_of_its_crop_cuts_is_not_whole(box: list[float], whole: bool) -> None:
    got = to_frame(found_of([box]), looks_of([(100, 100, 180, 180)], [(0, 0, 80, 80)]), HERE, FRAME)
    assert got.whole.tolist() == [whole]


@pytest.mark.parametrize(
    ("source", "box"),
    [
        ((0, 100, 80, 180), [0, 20, 40, 40]),
        ((100, 0, 180, 80), [20, 0, 40, 40]),
        ((320, 100, 400, 180), [20, 20, 80, 40]),
        ((100, 220, 180, 300), [20, 20, 40, 80]),
        ((0, 0, 400, 300), [0, 0, 80, 60]),
    ],
)
def test_the_frames_own_border_cuts_nothing(source: tuple[int, ...], box: list[float]) -> None:
    scale = 80 / (source[2] - source[0])
    place = (0, 0, 80, round((source[3] - source[1]) * scale))
    looks = looks_of([source], [place], [scale])
    assert to_frame(found_of([box]), looks, HERE, FRAME).whole.tolist() == [True]
    inner = looks_of([(source[0] + 1, source[1] + 1, source[2] - 1, source[3] - 1)], [place], [scale])
    assert to_frame(found_of([box]), inner, HERE, FRAME).whole.tolist() == [False]


def test_of_the_same_object_in_two_looks_the_whole_one_stays() -> None:
    both = instances_of([(0, 0, 50, 50), (2, 0, 52, 50)], whole=[False, True], scores=[0.99, 0.5])
    assert distinct(both).boxes.tolist() == [[2, 0, 52, 50]]


def test_of_two_whole_ones_the_sharper_stays_then_the_larger_then_the_surer() -> None:
    boxes = [(0, 0, 50, 50), (2, 0, 52, 50)]
    assert distinct(instances_of(boxes, scales=[0.5, 1.0], scores=[0.9, 0.1])).boxes[0, 0] == 2
    assert distinct(instances_of(boxes, areas_px=[100, 90], scores=[0.1, 0.9])).boxes[0, 0] == 0
    assert distinct(instances_of(boxes, scores=[0.1, 0.9])).boxes[0, 0] == 2


def test_a_part_of_an_object_seen_in_another_look_is_not_a_second_object() -> None:
    both = instances_of([(0, 0, 100, 100), (30, 30, 70, 70)], whole=[True, False])
    assert distinct(both).boxes.tolist() == [[0, 0, 100, 100]]


def test_one_thing_under_two_names_is_one_object() -> None:
    both = instances_of([(0, 0, 50, 50), (2, 0, 52, 50)], classes=[1, 2], scores=[0.4, 0.9])
    assert distinct(both).classes.tolist() == [2]


@pytest.mark.parametrize(
    ("boxes", "classes"),
    [
        ([(0, 0, 50, 50), (12, 0, 62, 50)], [1, 2]),  # of two classes, IoU 0.61
        ([(0, 0, 50, 50), (30, 0, 80, 50)], [1, 1]),  # overlapping neighbours
        ([(0, 0, 100, 100), (2, 2, 20, 20)], [1, 1]),  # a small one in the corner of a large one's box
    ],
)
def test_different_objects_stay(boxes: list[tuple[int, ...]], classes: list[int]) -> None:
    assert len(distinct(instances_of(boxes, classes=classes))) == 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_distinct_keeps_one_of_each_group_and_is_idempotent(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.integers(0, 5, (count, 2)) * 60
    jitter = random.integers(0, 3, (count, 2))
    boxes = np.concatenate([corners + jitter, corners + jitter + 40], axis=1)
    once = distinct(instances_of(boxes.tolist(), scores=random.random(count).tolist()))
    assert len(once) == len(set(map(tuple, corners.tolist())))
    assert len(once.masks) == len(once)
    assert distinct(once).boxes.tolist() == once.boxes.tolist()


def bright_box(image: Image) -> Mapping[str, Array]:
    """Answer as a "prototypes" head with one box round everything bright, and a mask that fills it."""
    ys, xs = np.nonzero(image[:, :, 0] > 200)
    box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 1, 1]
    return {
        "boxes": np.asarray([box], np.float32),
        "scores": np.asarray([0.8 if len(xs) else 0.0], np.float32),
        "classes": np.ones(1, np.uint8),
        "coefficients": np.ones((1, 1), np.float32),
        "prototypes": np.ones((1, image.shape[0] // 4, image.shape[1] // 4), np.float32),
    }


def instance_pass(score: float | None = None) -> tuple[InstancePass, FakeEngine]:
    model = model_of((64, 64), Head("prototypes"))
    engine = FakeEngine(model, bright_box)
    return InstancePass(engine, model, score), engine


def see(
    passed: InstancePass, boxes: Sequence[tuple[int, ...]], sources: Sequence[tuple[int, ...]], canvases: int = 1
) -> Instances:
    image = np.zeros((300, 400, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 255
    looks, _ = pack(np.asarray(sources, np.int32).reshape(-1, 4), (64, 64), canvases)
    return passed([image], looks)[0]


def test_an_object_is_found_where_it_is_in_the_frame() -> None:
    passed, _ = instance_pass()
    got = see(passed, [(110, 60, 130, 75)], [(100, 50, 140, 90)])
    assert got.boxes.tolist() == [[110, 60, 130, 75]]
    assert got.areas_px.tolist() == [300]
    assert got.whole.tolist() == [True]


def test_one_inference_per_canvas_and_all_objects_together() -> None:
    passed, engine = instance_pass()
    boxes = [(110, 60, 130, 75), (210, 160, 230, 175)]
    got = see(passed, boxes, [(100, 50, 160, 110), (200, 150, 260, 210)], canvases=2)
    assert sorted(map(tuple, got.boxes.tolist())) == boxes
    assert passed.runs == len(engine.seen) == 2


def test_without_looks_nothing_runs() -> None:
    passed, engine = instance_pass()
    got = see(passed, [], [])
    assert len(got) == passed.runs == len(engine.seen) == 0
    assert got.boxes.shape == (0, 4)


def test_the_configured_score_goes_before_the_bundles() -> None:
    assert len(see(instance_pass(0.9)[0], [(110, 60, 130, 75)], [(100, 50, 140, 90)])) == 0
    assert len(see(instance_pass(0.7)[0], [(110, 60, 130, 75)], [(100, 50, 140, 90)])) == 1


def test_a_flood_leaves_the_surest_in_their_order() -> None:
    many = MOST_INSTANCES + 50
    scores = np.linspace(0.1, 0.9, many)[::-1].copy()
    scores[[0, -1]] = scores[[-1, 0]]
    kept = surest(instances_of([(i, 0, i + 1, 1) for i in range(many)], scores=scores.tolist()))
    assert kept.tolist() == [*range(1, MOST_INSTANCES), many - 1]
    assert surest(instances_of([(0, 0, 1, 1)])).tolist() == [0]


def test_canvases_that_are_looked_at_side_by_side_are_not_mixed_up() -> None:
    """Both are filled before either is read."""
    model, meeting = instance_model(EngineFile("onnxruntime", "float32", "m.onnx", 0, "")), threading.Barrier(2)

    def answer(image: Image) -> Mapping[str, Array]:
        meeting.wait(20.0)
        return read_parts(image)

    boxes = [(0, 0, 96, 96), (64, 24, 160, 120)]
    looks = replace(looks_of(boxes, [(0, 0, 96, 96)] * 2), canvases=np.asarray([0, 1], np.int32))
    image = picture([(30, 40), (130, 80)])
    alone = InstancePass(FakeEngine(model, read_parts), model)([image], looks)[0]
    workers: Workers[Engine] = Workers("w", lambda _: FakeEngine(model, answer), 2)
    seen = InstancePass(FakeEngine(model, read_parts), model, workers=workers)([image], looks)[0]
    workers.close()
    assert seen.centers.tolist() == alone.centers.tolist()
    assert len(seen) == 2
