"""Networks whose queries find one object each, against what RF-DETR's post-processing is defined to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.see.prototypes import decode_prototypes
from edge.types import Array
from export.errors import ModelError
from tests.export.nets import SIZE, constant_net, engine_of, instance, pictures

QUERIES, QUARTER = 9, SIZE // 4
reuse = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def raw(seed: int = 0, count: int = 4, cells: int = QUARTER) -> dict[str, Array]:
    """Return what a network of `count` logits gives; no two logits are alike."""
    random = np.random.default_rng(seed)
    logits = (random.permutation(QUERIES * count) / 5 - 4).reshape(1, QUERIES, count)
    return {
        "dets": random.uniform(0.1, 0.9, (1, QUERIES, 4)).astype(np.float32),
        "labels": logits.astype(np.float32),
        "masks": random.normal(0, 1, (1, QUERIES, cells, cells)).astype(np.float32),
    }


def expected(given: dict[str, Array], classes: int, k: int) -> tuple[Array, Array, Array, Array]:
    """Return boxes, scores, classes and queries of the `k` best pairs, as RF-DETR's `PostProcess` has them."""
    shares = 1 / (1 + np.exp(-given["labels"][0, :, :classes].astype(np.float64)))
    order = np.argsort(-shares, axis=None, kind="stable")[:k]
    rows, numbers = np.divmod(order, classes)
    x, y, w, h = given["dets"][0, rows].T * SIZE
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1).clip(0, SIZE)
    return boxes, shares.reshape(-1)[order], numbers, rows


@reuse
@given(seed=st.integers(0, 2**32 - 1), spare=st.booleans(), k=st.sampled_from([1, 8, 500]))
def test_best_pairs_of_query_and_class_equal_numpy(tmp_path: Path, seed: int, spare: bool, k: int) -> None:
    given_ = raw(seed)
    names = [f"c{i}" for i in range(3 if spare else 4)]
    found = instance(constant_net(tmp_path / "net.onnx", given_), head="queries", classes=names, top_k=k)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    boxes, scores, classes, rows = expected(given_, len(names), min(k, QUERIES * len(names)))
    assert np.allclose(outputs["boxes"], boxes, atol=1e-4)
    assert np.allclose(outputs["scores"], scores, atol=1e-6)
    assert np.array_equal(outputs["classes"], classes + 1)
    assert np.array_equal(outputs["prototypes"], given_["masks"][0, rows])
    assert np.array_equal(outputs["coefficients"], np.eye(len(rows)))
    assert found.model.classes == ["background", *names]


def test_the_runtime_reads_the_mask_of_each_query(tmp_path: Path) -> None:
    given_ = raw(3, cells=QUARTER * 2)
    given_["dets"][:] = [0.5, 0.5, 0.5, 0.5]
    found = instance(constant_net(tmp_path / "net.onnx", given_), head="queries", classes=list("abcd"), top_k=5)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    seen = decode_prototypes(outputs, np.asarray([[0, 0, SIZE, SIZE]], np.int32), found.model.head, 0.0)
    rows = expected(given_, 4, 5)[3]
    assert len(seen.masks) == 5  # of boxes that lie on each other: nothing is suppressed
    for mask, plane in zip(seen.masks, given_["masks"][0, rows], strict=True):
        quarter = cv2.resize(plane, (QUARTER, QUARTER), interpolation=cv2.INTER_LINEAR)
        fine = cv2.resize(quarter, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)[8:24, 8:24] > 0
        assert (mask == fine).mean() > 0.99


def test_defects_are_numbered_after_all_others(tmp_path: Path) -> None:
    path = constant_net(tmp_path / "net.onnx", raw())
    found = instance(path, head="queries", classes=["hole", "a", "b", "c"], defects=["hole"], top_k=36)
    numbers = engine_of(found).infer({"image": pictures(1)[0]})["classes"]
    assert numbers.tolist() == [[4, 1, 2, 3][i] for i in expected(raw(), 4, 36)[2]]
    assert (found.model.classes, found.model.defects) == (["background", "a", "b", "c"], ["hole"])


@pytest.mark.parametrize(
    ("change", "classes", "said"),
    [
        ({}, 2, r"'labels' is \[1, 9, 4\], the recipe names 2 classes; name 3, or 4"),
        ({"masks": np.zeros((1, 8, 8, 8), np.float32)}, 4, r"reads boxes \[1, q, 4\]"),
        ({"dets": np.zeros((1, 9, 5), np.float32), "labels": np.zeros((1, 9, 5), np.float32)}, 4, "reads boxes"),
    ],
)
def test_outputs_that_do_not_fit(tmp_path: Path, change: dict[str, Array], classes: int, said: str) -> None:
    path = constant_net(tmp_path / "net.onnx", raw() | change)
    with pytest.raises(ModelError, match=said):
        instance(path, head="queries", classes=[f"c{i}" for i in range(classes)])


def test_with_four_classes_the_name_tells_which_are_boxes(tmp_path: Path) -> None:
    given_ = raw()
    path = constant_net(tmp_path / "net.onnx", given_)
    found = instance(path, head="queries", classes=list("abcd"))
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    assert np.allclose(outputs["boxes"], expected(given_, 4, 36)[0], atol=1e-4)
    renamed = {"one": given_["dets"], "two": given_["labels"], "masks": given_["masks"]}
    with pytest.raises(ModelError, match='where C is 4 too, call the boxes "boxes"'):
        instance(constant_net(path, renamed), head="queries", classes=list("abcd"))
