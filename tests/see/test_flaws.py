"""Objects that are defects: which part they are added to, and that they are no objects themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from edge.bundle import Head
from edge.errors import EngineError
from edge.see.flaws import laid_on_parts
from edge.see.instances import InstancePass
from edge.see.packing import pack
from edge.types import Array, Image
from tests.see.made import FakeEngine, instances_of, model_of

PARTS = 3  # classes, the background among them
SCRATCH, CHIP = 3, 4


def test_a_defect_is_added_to_the_part_it_lies_on_and_is_no_object() -> None:
    boxes = [(0, 0, 40, 40), (60, 0, 100, 40), (70, 10, 80, 14), (10, 30, 14, 34), (20, 20, 24, 24)]
    found = laid_on_parts(instances_of(boxes, classes=[1, 2, SCRATCH, CHIP, SCRATCH], defects=2), PARTS)
    assert found.boxes.tolist() == [[0, 0, 40, 40], [60, 0, 100, 40]]
    assert found.classes.tolist() == [1, 2]
    assert found.defects_px.tolist() == [[16, 16], [40, 0]]


def test_pieces_of_one_defect_add_up() -> None:
    boxes = [(0, 0, 40, 40), (5, 5, 9, 9), (20, 20, 24, 26)]
    assert laid_on_parts(instances_of(boxes, classes=[1, CHIP, CHIP], defects=2), PARTS).defects_px.tolist() == [
        [0, 40]
    ]


def test_of_two_parts_whose_boxes_hold_a_defect_the_nearer_mask_has_it() -> None:
    found = instances_of([(0, 0, 40, 40), (0, 0, 40, 40), (30, 2, 34, 6)], classes=[1, 2, SCRATCH], defects=2)
    upper_right, lower_left = np.triu(np.ones((8, 8), np.bool_), 1), np.tril(np.ones((8, 8), np.bool_))
    found.masks[0], found.masks[1] = lower_left, upper_right
    assert laid_on_parts(found, PARTS).defects_px.tolist() == [[0, 0], [16, 0]]


def test_a_chip_beside_what_is_left_of_its_part_belongs_to_it() -> None:
    found = instances_of([(10, 0, 40, 40), (4, 10, 10, 20), (80, 0, 90, 40)], classes=[1, CHIP, 1], defects=2)
    assert laid_on_parts(found, PARTS).defects_px.tolist() == [[0, 60], [0, 0]]


def test_a_defect_on_nothing_says_nothing() -> None:
    found = instances_of([(10, 0, 40, 40), (60, 10, 70, 20)], classes=[1, CHIP], defects=2)
    assert laid_on_parts(found, PARTS).defects_px.tolist() == [[0, 0]]
    alone = laid_on_parts(instances_of([(60, 10, 70, 20)], classes=[CHIP], defects=2), PARTS)
    assert len(alone) == 0
    assert alone.defects_px.shape == (0, 2)


def test_without_defects_nothing_changes() -> None:
    found = instances_of([(10, 0, 40, 40)], classes=[2], defects=2)
    assert laid_on_parts(found, PARTS) is found


def answer(number: int) -> Mapping[str, Array]:
    """Return a part and in it an object of class `number`, as a "prototypes" head gives them."""
    return {
        "boxes": np.asarray([[8, 8, 40, 40], [12, 12, 20, 20]], np.float32),
        "scores": np.asarray([0.9, 0.8], np.float32),
        "classes": np.asarray([1, number], np.uint8),
        "coefficients": np.ones((2, 1), np.float32),
        "prototypes": np.ones((1, 16, 16), np.float32),
    }


@pytest.mark.parametrize("number", [SCRATCH, CHIP])
def test_the_instance_pass_gives_parts_with_their_defects(number: int) -> None:
    model = model_of((64, 64), Head("prototypes"), defects=["scratch", "chip"])
    looks, _ = pack(np.asarray([[100, 50, 164, 114]], np.int32), (64, 64), 1)
    found = InstancePass(FakeEngine(model, lambda _: answer(number)), model)([blank()], looks)[0]
    assert found.boxes.tolist() == [[108, 58, 140, 90]]
    assert found.defects_px[0, number - PARTS] == 64
    assert found.defects_px.sum() == 64


@pytest.mark.parametrize("flaw", [(8, 8, 40, 40), (10, 10, 40, 40), (8, 8, 40, 32)])
def test_a_defect_that_covers_its_part_is_not_taken_for_the_part_under_another_name(flaw: tuple[int, ...]) -> None:
    model = model_of((64, 64), Head("prototypes"), defects=["scratch", "chip"])
    looks, _ = pack(np.asarray([[100, 50, 164, 114]], np.int32), (64, 64), 1)
    seen = {**answer(CHIP), "boxes": np.asarray([[8, 8, 40, 40], flaw], np.float32)}
    found = InstancePass(FakeEngine(model, lambda _: seen), model)([blank()], looks)[0]
    assert found.classes.tolist() == [1]
    assert found.defects_px[0, CHIP - PARTS] == (flaw[2] - flaw[0]) * (flaw[3] - flaw[1])


def test_a_class_beyond_all_defects_is_refused() -> None:
    model = model_of((64, 64), Head("prototypes"), defects=["scratch", "chip"])
    looks, _ = pack(np.asarray([[100, 50, 164, 114]], np.int32), (64, 64), 1)
    with pytest.raises(EngineError, match="gives class 5, the manifest names 5"):
        InstancePass(FakeEngine(model, lambda _: answer(5)), model)([blank()], looks)


def blank() -> Image:
    return np.zeros((300, 400, 3), np.uint8)
