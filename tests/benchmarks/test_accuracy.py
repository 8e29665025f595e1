"""AP, defect recall and what tracks carry: each of them falls where it has to."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy import Average, Carried, Flags, Judged, of_instances, overlap_of
from benchmarks.cascade import rival_of, word
from edge.types import Frame, Instances, Labels, Looks, Moment, Regions, Tracks

NONE = np.zeros((0, 4), np.float32)


def judged(*boxes: tuple[float, float, float, float], ignored: tuple[int, ...] = (), score: float = 0.9) -> Judged:
    """Return objects of class 1 that fill their boxes."""
    size = len(boxes)
    return Judged(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.full(size, score, np.float32),
        np.ones(size, np.uint8),
        [np.ones((4, 4), np.bool_)] * size,
        np.zeros((size, 1), np.bool_),
        np.isin(np.arange(size), ignored),
    )


def ap_of(truth: Judged, found: Judged) -> dict[str, float]:
    pytest.importorskip("pycocotools")
    average = Average(2, masks=True, small_px=500.0)
    average.add(truth, found, overlap_of(found, truth, masks=True))
    return average.figures()


def test_what_is_there_and_found_is_perfect() -> None:
    truth = judged((0, 0, 20, 20), (100, 50, 140, 90))
    assert ap_of(truth, truth) == pytest.approx({"ap": 1.0, "ap50": 1.0, "ap_small": 1.0})


def test_a_mask_that_is_carried_to_a_wrong_place_costs_ap() -> None:
    figures = ap_of(judged((0, 0, 40, 40)), judged((8, 0, 48, 40)))  # IoU 0.667: 4 thresholds of 10
    assert figures["ap"] == pytest.approx(0.4)
    assert figures["ap50"] == pytest.approx(1.0)


def test_masks_are_compared_and_not_boxes() -> None:
    half = judged((0, 0, 40, 40))
    half.masks[0] = np.asarray([[1, 1, 0, 0]] * 4, np.bool_)
    assert overlap_of(half, judged((0, 0, 40, 40)), masks=True)[0, 0] == pytest.approx(0.5)
    assert overlap_of(half, judged((0, 0, 40, 40)), masks=False)[0, 0] == 1.0


def test_what_the_border_cuts_counts_neither_for_nor_against() -> None:
    truth = judged((0, 0, 20, 20), (100, 50, 140, 90), ignored=(0,))
    assert ap_of(truth, judged((100, 50, 140, 90)))["ap"] == pytest.approx(1.0)
    assert ap_of(truth, judged((0, 0, 20, 20), (100, 50, 140, 90)))["ap"] == pytest.approx(1.0)
    false = judged((300, 300, 320, 320), (100, 50, 140, 90))
    assert ap_of(truth, false)["ap"] < 1.0


def test_small_objects_have_an_ap_of_their_own() -> None:
    figures = ap_of(judged((0, 0, 20, 20), (100, 50, 140, 90)), judged((100, 50, 140, 90)))
    assert figures["ap_small"] == 0.0
    assert figures["ap"] == pytest.approx(0.5, abs=0.01)


def test_defects_count_on_the_part_that_they_are_on() -> None:
    truth = judged((0, 0, 20, 20), (100, 50, 140, 90))
    found = of_instances(instances((100, 50, 140, 90), defect_px=50.0), np.asarray([30.0]))
    flags = Flags(small_px=100.0)
    flags.add(truth, np.asarray([[60.0], [150.0]]), found, overlap_of(found, truth, masks=True))
    assert flags.figures() == {
        "defects": 2,
        "small_defects": 1,
        "defect_recall": 0.5,
        "small_defect_recall": 0.0,
        "defect_precision": 1.0,
    }


def test_a_track_carries_mask_score_and_the_vote_on_defects() -> None:
    carried = Carried(np.asarray([30.0]), np.asarray([0.5]))
    carried(moment(instances((0, 0, 40, 40), defect_px=50.0), (0, 0, 40, 40), matched=0))
    there = carried(moment(instances((5, 0, 45, 40), defect_px=0.0), (5, 0, 45, 40), matched=0))
    assert there.flags.tolist() == [[True]], "one look of two is half"
    there = carried(moment(instances(), (10, 0, 50, 40), matched=-1))
    assert there.boxes.tolist() == [[10, 0, 50, 40]]
    assert there.scores == pytest.approx([0.9])
    assert overlap_of(there, judged((10, 0, 50, 40)), masks=True)[0, 0] == 1.0


def test_the_rival_is_the_fastest_pass_that_is_as_good() -> None:
    ways = {
        "cascade_int8": {"ms": 5.0, "ap": 0.6, "recall": 0.8},
        "full640_int8": {"ms": 20.0, "ap": 0.7, "recall": 0.7},
        "full960_int8": {"ms": 40.0, "ap": 0.6, "recall": 0.8},
        "full1920_int8": {"ms": 90.0, "ap": 0.9, "recall": 0.9},
    }
    assert rival_of(ways, "cascade_int8", "int8", ("ap", "recall")) == ("full960_int8", True)
    ways["cascade_int8"]["recall"] = 0.95
    assert rival_of(ways, "cascade_int8", "int8", ("ap", "recall")) == ("full1920_int8", False)
    assert [word(times, 8.0, 5.0) for times in (8.0, 7.9, 4.9)] == ["goal", "floor", "no"]


def instances(*boxes: tuple[float, float, float, float], defect_px: float = 0.0) -> Instances:
    size = len(boxes)
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Instances(
        corners,
        np.full(size, 0.9, np.float32),
        np.ones(size, np.uint8),
        ((corners[:, :2] + corners[:, 2:]) / 2).astype(np.float32),
        np.full(size, 1600.0, np.float32),
        np.full((size, 1), defect_px, np.float32),
        [np.ones((4, 4), np.bool_)] * size,
        np.ones(size, np.float32),
        np.ones(size, np.bool_),
    )


def moment(found: Instances, box: tuple[float, float, float, float], *, matched: int) -> Moment:
    """Return a frame with one confirmed track."""
    one = np.ones(1, np.int32)
    tracks = Tracks(
        keys=np.asarray([7]),
        ids=np.asarray([1]),
        boxes=np.asarray([box], np.float32),
        classes=np.ones(1, np.uint8),
        centers=np.zeros((1, 2), np.float32),
        velocities=np.zeros((1, 2), np.float32),
        looks=one,
        since_look=np.asarray([0 if matched >= 0 else 3], np.int32),
        supported=np.ones(1, np.bool_),
        instances=np.asarray([matched], np.int32),
        located=np.ones(1, np.bool_),
        masks=[np.ones((4, 4), np.bool_)],
    )
    nothing = np.zeros((0, 4), np.int32)
    looks = Looks.at_one(nothing, nothing[:, 0], nothing, np.zeros(0, np.float32))
    image = np.zeros((1, 1, 3), np.uint8)
    labels = Labels(np.zeros((1, 1), np.uint8), None, (1.0, 1.0))
    regions = Regions(nothing, np.zeros(0, np.float32))
    return Moment(Frame("c", 0, 0.0, image), labels, regions, looks, found, tracks, [], {})
