"""Figures of quality, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.bundle import Head, Model, TensorSpec
from edge.types import Image, Instances
from export.heldout import true_instances
from export.metrics import Panoptic, confusion, mask_ap, mask_iou, matches, mean_iou

MODEL = Model(
    ["background", "nut", "bolt"], Head("centers"), TensorSpec("image", (8, 8, 3), "uint8"), [], [], ["scratch"]
)


def objects(ids: Image, kinds: dict[int, str] | None = None, defects: Image | None = None) -> Instances:
    """Return the objects of an id map; all are nuts unless `kinds` says otherwise."""
    return true_instances(ids, defects, dict.fromkeys(range(1, 10), "nut") | (kinds or {}), MODEL)


def two_squares() -> Image:
    ids = np.zeros((20, 30), np.uint8)
    ids[2:10, 2:10] = 1
    ids[5:15, 15:25] = 2
    return ids


def test_mean_iou_by_hand() -> None:
    truth = np.asarray([[0, 0, 1, 1], [255, 255, 2, 2]], np.uint8)
    found = np.asarray([[0, 1, 1, 1], [2, 2, 2, 0]], np.uint8)
    # class 0: 1 of 3, class 1: 2 of 3, class 2: 1 of 2; class 3 is nowhere
    assert mean_iou(confusion(truth, found, 4)) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)


def test_a_class_that_the_truth_lacks_is_no_class_more() -> None:
    truth = np.asarray([[0, 0, 1, 1]], np.uint8)
    found = np.asarray([[0, 0, 1, 2]], np.uint8)
    assert mean_iou(confusion(truth, found, 3)) == pytest.approx((1 + 1 / 2) / 2)


@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 3)))
def test_a_map_agrees_with_itself(labels: Image) -> None:
    assert mean_iou(confusion(labels, labels, 4)) == 1.0


def test_objects_of_an_id_map() -> None:
    defects = np.zeros((20, 30), np.uint8)
    defects[2:4, 2:5] = 1
    found = objects(two_squares(), {2: "bolt"}, defects)
    assert found.boxes.tolist() == [[2, 2, 10, 10], [15, 5, 25, 15]]
    assert found.classes.tolist() == [1, 2]
    assert found.areas_px.tolist() == [64, 100]
    assert found.defects_px.tolist() == [[6], [0]]
    assert found.centers.tolist() == [[6, 6], [20, 10]]
    assert all(mask.all() for mask in found.masks)


def test_matching_needs_the_same_class_and_more_than_half() -> None:
    first, second = objects(two_squares()), objects(np.roll(two_squares(), 1, axis=1))
    assert mask_iou(first, 0, second, 0) == pytest.approx(56 / 72)
    assert sorted((i, j) for i, j, _ in matches(first, second)) == [(0, 0), (1, 1)]
    assert [(i, j) for i, j, _ in matches(first, objects(two_squares(), {2: "bolt"}))] == [(0, 0)]
    assert matches(first, objects(np.roll(two_squares(), 5, axis=1))) == []


def test_panoptic_quality_by_hand() -> None:
    lone = two_squares()
    lone[lone == 2] = 0
    sums = Panoptic()
    sums.add(objects(two_squares()), objects(lone), defect_px=3)
    assert (sums.matched, sums.only_first, sums.only_second) == (1, 1, 0)
    assert sums.quality == pytest.approx(1 / 1.5)
    assert Panoptic().quality == 1.0


def test_defects_are_compared_on_matched_objects() -> None:
    defects = np.zeros((20, 30), np.uint8)
    defects[2:4, 2:5] = 1
    sums = Panoptic()
    sums.add(objects(two_squares(), defects=defects), objects(two_squares()), defect_px=6)
    assert (sums.matched, sums.defects_equal) == (2, 1)


def test_mask_ap_of_perfect_half_and_empty_results(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed (pip install -e '.[bench]')")
    truth = objects(two_squares())
    lone, none = two_squares(), np.zeros((20, 30), np.uint8)
    lone[lone == 2] = 0
    for found, expected in ((truth, 1.0), (objects(lone), 0.505), (objects(none), 0.0)):
        result = mask_ap([(truth, found)], [(30, 20)], MODEL.classes)
        assert result["ap"] == pytest.approx(expected, abs=0.01)
        assert result["ap50"] == pytest.approx(expected, abs=0.01)
    assert capsys.readouterr().out == ""
