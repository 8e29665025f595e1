"""What the comparison with a library counts, and that every family has what it needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import parity, parity_worker
from benchmarks.common import ROOT, Options
from benchmarks.parity import Agreement, mask_iou
from edge.errors import FoveateError
from edge.see.found import Found
from edge.types import Array

BOXES = np.asarray([[0, 0, 8, 8], [10, 10, 18, 18]], np.float32)
SCORES, CLASSES = np.asarray([0.9, 0.5], np.float32), np.asarray([1, 2])


def found(boxes: Array = BOXES, classes: Array = CLASSES) -> Found:
    count = len(boxes)
    masks = [np.ones((8, 8), np.bool_)] * count
    none = np.zeros(count, np.float32)
    return Found(
        boxes, SCORES[:count], classes.astype(np.uint8), boxes[:, :2], none, none[:, None], masks, none.astype(np.int32)
    )


def full(boxes: Array = BOXES) -> Array:
    masks = np.zeros((len(boxes), 20, 20), np.bool_)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_the_same_objects_agree() -> None:
    agreement = Agreement()
    agreement.add(found(), BOXES[::-1], SCORES[::-1], CLASSES[::-1], full()[::-1])
    figures = agreement.figures()
    assert (figures["objects"], figures["missed"], figures["extra"], figures["bare"]) == (2, 0, 0, 0)
    assert (figures["box_iou_least"], figures["mask_iou_least"], figures["score_difference_most"]) == (1, 1, 0)


def test_each_difference_is_counted_as_what_it_is() -> None:
    agreement = Agreement()
    masks = full()
    masks[0, :, :4] = False  # half of the first mask
    agreement.add(found(), BOXES + np.asarray([0, 0, 0, 1], np.float32), SCORES - np.float32(0.1), CLASSES, masks)
    figures = agreement.figures()
    assert figures["mask_iou_least"] == pytest.approx(0.5)
    assert figures["box_iou"] == pytest.approx(8 / 9)
    assert figures["score_difference_most"] == pytest.approx(0.1)
    agreement.add(found(), BOXES, SCORES, CLASSES + 1, full())  # other classes
    agreement.add(found(BOXES[:1], CLASSES[:1]), BOXES, SCORES, CLASSES, masks * np.asarray([1, 0])[:, None, None] > 0)
    figures = agreement.figures()
    assert (figures["objects"], figures["missed"], figures["extra"], figures["bare"]) == (5, 2, 2, 1)


def test_masks_of_other_sizes_have_nothing_in_common() -> None:
    assert mask_iou(np.ones((3, 3), np.bool_), np.ones((3, 4), np.bool_)) == 0
    assert mask_iou(np.zeros((3, 3), np.bool_), np.zeros((3, 3), np.bool_)) == 1


def test_packed_masks_are_unpacked_as_they_were() -> None:
    own = parity_worker.Own()
    masks = np.random.default_rng(0).random((2, 5, 13)) > 0.5
    own.objects(BOXES, SCORES, CLASSES, masks)
    assert np.array_equal(np.unpackbits(own.arrays["masks_0"], axis=-1)[..., :13], masks)


def test_every_library_has_a_version() -> None:
    lines = (ROOT / "benchmarks" / "parity.txt").read_text().splitlines()
    pinned = {line.split("==")[0].replace("-", "_") for line in lines if not line.startswith("#")}
    assert {name.replace("cv2", "opencv_python") for name in parity.NEEDED} <= pinned
    assert set(parity.SIZES) <= set(parity_worker.FAMILIES)


def test_without_the_libraries_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "data_folder", lambda: tmp_path)
    with pytest.raises(FoveateError, match=r"pip install -r benchmarks/parity\.txt"):
        parity.run(Options(1, quick=True))
