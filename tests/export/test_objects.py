"""The canonical graph after instance networks, against NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.types import Array, Image
from export.errors import ModelError
from tests.export.nets import SIZE, constant_net, data, engine_of, instance, pictures

reuse = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUARTER, HALF = SIZE // 4, SIZE // 2


def centers(heatmap: Array | None = None, classes: int = 3, defects: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(0)
    raw = {
        "heatmap": np.full((1, 1, QUARTER, QUARTER), -9, np.float32) if heatmap is None else heatmap,
        "offsets": random.normal(0, 80, (1, 2, HALF, HALF)).astype(np.float32),
        "logits": random.normal(0, 1, (1, classes, HALF, HALF)).astype(np.float32),
    }
    return raw | ({"defects": random.normal(0, 1, (1, defects + 1, SIZE, SIZE)).astype(np.float32)} if defects else {})


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def true_peaks(heatmap: Array) -> set[tuple[int, int, int]]:
    """Return (x, y, score) of every cell that is higher than its eight neighbours."""
    plane = heatmap[0, 0]
    padded = np.pad(plane, 1, constant_values=-np.inf)
    around = [padded[dy : dy + QUARTER, dx : dx + QUARTER] for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)]
    rows, columns = np.nonzero(plane > np.max(around, axis=0))
    scores = np.round(sigmoid(plane[rows, columns]) * 255)
    return {(4 * x + 2, 4 * y + 2, int(s)) for x, y, s in zip(columns.tolist(), rows.tolist(), scores, strict=True)}


@reuse
@given(seed=st.integers(0, 2**32 - 1))
def test_peaks_are_the_local_maxima(tmp_path: Path, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(QUARTER * QUARTER)  # steps wide enough for the tie break
    heatmap = (order * 0.125 - 4).astype(np.float32).reshape(1, 1, QUARTER, QUARTER)
    found = instance(constant_net(tmp_path / "net.onnx", centers(heatmap)), classes=["background", "a", "b"])
    peaks = engine_of(found).infer({"image": pictures(1)[0]})["peaks"]
    assert peaks.dtype == np.int16
    assert peaks.shape == (64, 3)
    assert (np.diff(peaks[:, 2].astype(int)) <= 0).all()
    seen = {(x, y, s) for x, y, s in peaks.tolist() if s > 0}
    assert seen == {peak for peak in true_peaks(heatmap) if peak[2] > 0}


def test_plateau_has_one_peak(tmp_path: Path) -> None:
    heatmap = np.full((1, 1, QUARTER, QUARTER), -9, np.float32)
    heatmap[0, 0, 2:4, 2:5] = 3
    found = instance(constant_net(tmp_path / "net.onnx", centers(heatmap)), classes=list("abc"))
    peaks = engine_of(found).infer({"image": pictures(1)[0]})["peaks"]
    assert (peaks[:, 2] > 100).sum() == 1


def test_other_maps_of_centers(tmp_path: Path) -> None:
    raw = centers(defects=2)
    found = instance(
        constant_net(tmp_path / "net.onnx", raw),
        classes=list("abc"),
        defects=["scratch", "chip"],
        offset_px=2.0,
        top_k=5,
    )
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    assert outputs["peaks"].shape == (5, 3)
    assert np.array_equal(outputs["labels"], raw["logits"][0].argmax(axis=0))
    assert np.array_equal(outputs["defects"], raw["defects"][0].argmax(axis=0))
    assert np.array_equal(outputs["offsets"], np.clip(np.round(raw["offsets"][0] / 2), -128, 127))
    assert outputs["offsets"].dtype == np.int8
    assert (found.model.head.label_stride, found.model.head.offset_px) == (2, 2.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["a", "b"]}, r"'logits' is \[1, 3, 16, 16\].*want \[1, 2, 16, 16\]"),
        ({"defects": ["scratch"]}, "needs output 'defects'"),
    ],
)
def test_centers_that_do_not_fit_the_recipe(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = constant_net(tmp_path / "net.onnx", centers())
    with pytest.raises(ModelError, match=said):
        instance(path, **{"classes": list("abc"), **change})


@pytest.mark.parametrize(
    ("width", "output", "columns"), [(SIZE + 1, "logits", HALF), (SIZE, "logits", QUARTER), (SIZE, "heatmap", HALF)]
)
def test_a_stride_must_divide_the_width_as_it_does_the_height(
    tmp_path: Path, width: int, output: str, columns: int
) -> None:
    raw = centers()
    raw[output] = np.zeros((*raw[output].shape[:3], columns), np.float32)
    path = constant_net(tmp_path / "net.onnx", raw, shape=(1, 3, SIZE, width))
    with pytest.raises(ModelError, match=rf"output '{output}' is .*; needs \[1, C, h / n, w / n\]"):
        instance(path, classes=list("abc"))


def test_prototypes_of_another_stride_are_refused_at_once(tmp_path: Path) -> None:
    rows, _ = yolo_rows(10, 3, 4, 0)
    masks = np.zeros((1, 4, 16, 16), np.float32)
    path = constant_net(tmp_path / "net.onnx", {"output0": rows, "output1": masks})
    with pytest.raises(ModelError, match=r"has an output 'prototypes' of \[4, 16, 16\]"):
        instance(path, head="yolo", classes=list("abc"))


def yolo_rows(count: int, classes: int, coefficients: int, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    boxes = random.uniform(2, 30, (4, count))
    scores = random.permutation(classes * count).reshape(classes, count) / (classes * count)
    rows = np.concatenate([boxes, scores, random.normal(0, 1, (coefficients, count))])
    return rows[None].astype(np.float32), random.normal(0, 1, (1, coefficients, 8, 8)).astype(np.float32)


@reuse
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 6), top_k=st.sampled_from([1, 7, 50]))
def test_dense_rows_equal_numpy(tmp_path: Path, seed: int, classes: int, top_k: int) -> None:
    rows, prototypes = yolo_rows(40, classes, 4, seed)
    path = constant_net(tmp_path / "net.onnx", {"output0": rows, "output1": prototypes})
    names = [f"c{i}" for i in range(classes)]
    found = instance(path, head="yolo", classes=names, top_k=top_k)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    scores = rows[0, 4 : 4 + classes]
    order = np.argsort(-scores.max(axis=0), kind="stable")[:top_k]
    x, y, w, h = rows[0, :4, order].T
    assert found.model.classes == ["background", *names]
    assert np.array_equal(outputs["scores"], scores.max(axis=0)[order])
    assert np.array_equal(outputs["classes"], scores.argmax(axis=0)[order] + 1)
    assert np.allclose(outputs["boxes"], np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1))
    assert np.array_equal(outputs["coefficients"], rows[0, 4 + classes :, order])
    assert np.array_equal(outputs["prototypes"], prototypes[0])
    assert found.model.head.nms


def test_end_to_end_rows_equal_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 30, (1, 12, 6 + 4)).astype(np.float32)
    rows[0, :, 4] = random.permutation(12) / 12
    rows[0, :, 5] = random.integers(0, 3, 12)
    prototypes = random.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)
    path = constant_net(tmp_path / "net.onnx", {"rows": rows, "masks": prototypes})
    found = instance(path, head="yolo-end2end", classes=list("abc"), top_k=5)
    outputs = engine_of(found).infer({"image": pictures(1)[0]})
    order = np.argsort(-rows[0, :, 4])[:5]
    assert np.array_equal(outputs["boxes"], rows[0, order, :4])
    assert np.array_equal(outputs["classes"], rows[0, order, 5] + 1)
    assert np.array_equal(outputs["coefficients"], rows[0, order, 6:])
    assert not found.model.head.nms


def test_yolo_with_wrong_classes_says_how_many_it_has(tmp_path: Path) -> None:
    rows, prototypes = yolo_rows(10, 3, 4, 0)
    path = constant_net(tmp_path / "net.onnx", {"output0": rows, "output1": prototypes})
    with pytest.raises(ModelError, match="it has 3 classes"):
        instance(path, head="yolo", classes=["a"])
    with pytest.raises(ModelError, match="names no classes"):
        instance(path, head="yolo")


@pytest.mark.parametrize("head", ["yolo", "yolo-end2end"])
def test_defects_of_yolo_are_its_last_classes_wherever_the_file_has_them(tmp_path: Path, head: str) -> None:
    rows, prototypes = yolo_rows(60, 4, 4, 1)
    classes = rows[0, 4:8].argmax(axis=0)
    order = np.argsort(-rows[0, 4:8].max(axis=0), kind="stable")
    if head == "yolo-end2end":
        best = np.stack([rows[0, 4:8].max(axis=0), classes.astype(np.float32)])
        rows = np.concatenate([rows[0, :4], best, rows[0, 8:]]).T[None].astype(np.float32)
    path = constant_net(tmp_path / "net.onnx", {"output0": rows, "output1": prototypes})
    names = ["scratch", "nut", "chip", "bolt"]
    found = instance(path, head=head, classes=names, defects=["chip", "scratch"])
    assert found.model.classes == ["background", "nut", "bolt"]
    assert found.model.defects == ["chip", "scratch"]
    numbers = engine_of(found).infer({"image": pictures(1)[0]})["classes"]
    assert numbers.tolist() == [[4, 1, 3, 2][i] for i in classes[order]]


def test_defects_of_yolo_that_are_none_of_its_classes_or_all_of_them(tmp_path: Path) -> None:
    rows, prototypes = yolo_rows(10, 3, 4, 0)
    path = constant_net(tmp_path / "net.onnx", {"output0": rows, "output1": prototypes})
    with pytest.raises(ModelError, match="names 'scratch', which is none of its classes"):
        instance(path, head="yolo", classes=list("abc"), defects=["scratch"])
    with pytest.raises(ModelError, match="names 'b' twice"):
        instance(path, head="yolo", classes=["a", "b", "b"])
    with pytest.raises(ModelError, match="names all of its classes"):
        instance(path, head="yolo", classes=list("abc"), defects=list("cab"))


def test_real_yolo_finds_what_its_makers_find() -> None:
    """Boxes within 2 canvas pixels and scores within 0.01 of Ultralytics' own results, where the test data is."""
    found = instance(data("weights/yolov8n-seg_320.onnx"), head="yolo", color="rgb")
    expected = json.loads(data("weights/expected_yolov8n-seg_320.json").read_text())
    assert found.model.classes[:2] == ["background", "person"]
    assert len(found.model.classes) == 81
    engine = engine_of(found)
    for picture in expected["pictures"]:
        if "frame_index" in picture:
            continue
        canvas, scale, corner = centred(np.asarray(cv2.imread(str(data(picture["file"]))), np.uint8))
        outputs = engine.infer({"image": canvas})
        for truth in picture["objects"]:
            box = np.asarray(truth["box_xyxy"]) * scale + np.tile(corner, 2)
            same = outputs["classes"] == found.model.classes.index(truth["class"])
            near = np.abs(outputs["boxes"] - box).max(axis=1) < 2
            assert np.abs(outputs["scores"][same & near] - truth["score"]).min(initial=1) < 0.01


def centred(image: Image) -> tuple[Image, float, tuple[int, int]]:
    """Return a letterboxed 320 x 320 canvas, its scale, and where the picture's corner lies."""
    scale = 320 / max(image.shape[:2])
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    x, y = (320 - width) // 2, (320 - height) // 2
    canvas = np.full((320, 320, 3), 114, np.uint8)
    canvas[y : y + height, x : x + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas, scale, (x, y)
