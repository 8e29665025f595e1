"""Networks that give a small mask for each box, against how torchvision lays it on the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.see.prototypes import decode_prototypes
from edge.types import Array
from export.errors import ModelError
from tests.export.nets import box_masks_net, constant_net, engine_of, instance, pictures

LARGE, SIDE, COUNT = 96, 7, 5
WHOLE = np.asarray([[0, 0, LARGE, LARGE]], np.int32)
reuse = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def net(folder: Path, boxes: Array, scores: Array, labels: Array, masks: Array) -> Path:
    """Write a network that sees these in every picture."""
    return box_masks_net(folder / "net.onnx", boxes, scores, labels, masks, LARGE)


def smooth(random: np.random.Generator, count: int = COUNT) -> Array:
    """Return masks (n, 1, s, s) of blobs, 0 to 1."""
    coarse = random.uniform(0, 1, (count, 3, 3)).astype(np.float32)
    return np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for each in coarse])[:, None]


def pasted(mask: Array, box: Array) -> npt.NDArray[np.float32]:
    """Return (h, w) probabilities as torchvision's `paste_masks_in_image` gives them."""
    padded = np.pad(mask, 1)
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (SIDE + 2) / SIDE
    (x0, y0), (x1, y1) = (center - half).astype(int).tolist(), (center + half).astype(int).tolist()
    width, height = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
    laid = cv2.resize(padded, (width, height), interpolation=cv2.INTER_LINEAR)
    full = np.zeros((LARGE, LARGE), np.float32)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, LARGE), min(y1 + 1, LARGE)
    full[top:bottom, left:right] = laid[top - y0 : bottom - y0, left - x0 : right - x0]
    return full


def given_boxes(random: np.random.Generator) -> Array:
    low = random.uniform(-4, 50, (COUNT, 2))
    return np.concatenate([low, low + random.uniform(28, 48, (COUNT, 2))], axis=1).astype(np.float32)


@reuse
@given(seed=st.integers(0, 2**32 - 1))
def test_planes_are_the_pasted_masks_at_the_centres_of_cells(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes, masks = given_boxes(random), smooth(random)
    scores = np.sort(random.uniform(0.3, 1, COUNT))[::-1].astype(np.float32)
    labels = random.integers(1, 3, COUNT)
    path = net(tmp_path, boxes, scores, labels, masks)
    found = instance(path, head="box-masks", classes=["no", "a", "b"])
    outputs = engine_of(found).infer({"image": pictures(1, LARGE)[0]})
    assert np.array_equal(outputs["boxes"], boxes)
    assert np.array_equal(outputs["scores"], scores)
    assert np.array_equal(outputs["classes"], labels)
    for plane, mask, box in zip(outputs["prototypes"], masks[:, 0], boxes, strict=True):
        full = pasted(mask, box)
        # between the four pixels round the centre of a cell, whatever kinks there are between them
        middle = (full[1::4, 1::4] + full[1::4, 2::4] + full[2::4, 1::4] + full[2::4, 2::4]) / 4
        assert np.abs(plane + 0.5 - middle).max() < 0.1


def test_the_runtime_finds_the_masks(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    boxes, masks = given_boxes(random), smooth(random)
    masks = np.clip(masks * 2, 0, 1)  # none without an inside
    path = net(tmp_path, boxes, np.full(COUNT, 0.9, np.float32), np.ones(COUNT, int), masks)
    found = instance(path, head="box-masks", classes=["no", "a"])
    outputs = engine_of(found).infer({"image": pictures(1, LARGE)[0]})
    seen = decode_prototypes(outputs, WHOLE, found.model.head, 0.25)
    assert len(seen.masks) == COUNT  # whatever they overlap
    for mask, box, whole in zip(
        seen.masks, seen.boxes, (pasted(*each) for each in zip(masks[:, 0], boxes, strict=True)), strict=True
    ):
        x0, y0, x1, y1 = np.round(box).astype(int)
        assert (mask == (whole[y0:y1, x0:x1] > 0.5)).mean() > 0.9


def test_objects_without_a_score_are_dropped_and_fewer_can_be_asked_for(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scores = np.asarray([0.9, 0.8, 0, 0, 0], np.float32)
    path = net(tmp_path, given_boxes(random), scores, np.ones(COUNT, int), smooth(random) + 1)
    found = instance(path, head="box-masks", classes=["no", "a"], top_k=3)
    outputs = engine_of(found).infer({"image": pictures(1, LARGE)[0]})
    assert outputs["prototypes"].shape[0] == 3
    assert len(decode_prototypes(outputs, WHOLE, found.model.head, found.model.head.score).boxes) == 2


def test_numbers_that_no_class_has_become_the_last(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = np.asarray([0, 1, 2, 3, 99])
    path = net(tmp_path, given_boxes(random), np.ones(COUNT, np.float32), numbers, smooth(random))
    found = instance(path, head="box-masks", classes=["no", "a", "b"])
    assert engine_of(found).infer({"image": pictures(1, LARGE)[0]})["classes"].tolist() == [0, 1, 2, 2, 2]


def test_outputs_that_do_not_fit(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    raw = {"boxes": given_boxes(random), "scores": np.ones(COUNT, np.float32), "masks": smooth(random)}
    with pytest.raises(ModelError, match=r'head "box-masks" reads boxes \[n, 4\].*from_torch'):
        instance(constant_net(tmp_path / "net.onnx", raw), head="box-masks", classes=["no", "a"])
