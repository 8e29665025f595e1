"""Frame -> labels: how a frame comes into the model, and what a label pixel means in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Head
from edge.errors import EngineError
from edge.see.semantic import SemanticPass
from edge.types import Array, Frame, Image
from tests.see.made import FakeEngine, model_of

INPUT = (96, 64)  # width, height


def bright(stride: int) -> Callable[[Image], Mapping[str, Array]]:
    """Return what answers with label 1 where the blue channel is bright, at `stride`, and how bright it is."""

    def answer(image: Image) -> Mapping[str, Array]:
        cells = image[:, :, 0].reshape(image.shape[0] // stride, stride, image.shape[1] // stride, stride)
        blue = cells.max(axis=(1, 3))
        return {"labels": (blue > 127).astype(np.uint8), "confidence": blue}

    return answer


def semantic(fit: str, stride: int = 1, fill: int = 114) -> tuple[SemanticPass, FakeEngine]:
    model = model_of(INPUT, Head("labels"), fit=fit, fill=fill)
    engine = FakeEngine(model, bright(stride))
    return SemanticPass(engine, model), engine


def frame(width: int, height: int, level: int = 40) -> Frame:
    return Frame("c", 0, 0.0, np.full((height, width, 3), level, np.uint8))


@given(st.integers(20, 400), st.integers(20, 300), st.sampled_from(["stretch", "letterbox"]), st.sampled_from([1, 4]))
def test_a_label_pixel_lies_where_its_scale_says(width: int, height: int, fit: str, stride: int) -> None:
    look, _ = semantic(fit, stride)
    seen = frame(width, height)
    x0, y0, x1, y1 = width // 4, height // 3, width // 4 + max(8, width // 3), height // 3 + max(8, height // 2)
    seen.image[y0:y1, x0:x1, 0] = 255
    labels = look(seen)
    ys, xs = np.nonzero(labels.classes)
    tolerance = 1.01 * labels.scale[0], 1.01 * labels.scale[1]
    assert xs.min() * labels.scale[0] == pytest.approx(x0, abs=tolerance[0])
    assert (xs.max() + 1) * labels.scale[0] == pytest.approx(min(x1, width), abs=tolerance[0])
    assert ys.min() * labels.scale[1] == pytest.approx(y0, abs=tolerance[1])
    assert (ys.max() + 1) * labels.scale[1] == pytest.approx(min(y1, height), abs=tolerance[1])


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(["stretch", "letterbox"]), st.sampled_from([1, 4]))
def test_the_label_map_spans_the_frame_and_no_more(width: int, height: int, fit: str, stride: int) -> None:
    look, _ = semantic(fit, stride)
    labels = look(frame(width, height))
    rows, columns = labels.classes.shape
    assert rows >= 1
    assert columns >= 1
    assert labels.confidence is not None
    assert labels.confidence.shape == labels.classes.shape
    if min(width, height) * 8 > max(width, height):  # beyond, a frame is thinner than a label pixel
        assert abs(columns * labels.scale[0] - width) <= labels.scale[0] * 0.51
        assert abs(rows * labels.scale[1] - height) <= labels.scale[1] * 0.51


def test_stretch_fills_the_whole_input() -> None:
    look, engine = semantic("stretch")
    labels = look(frame(333, 77, level=200))
    assert (engine.seen[0] == 200).all()
    assert labels.scale == pytest.approx((333 / 96, 77 / 64))


@pytest.mark.parametrize(
    ("width", "height", "fitted"), [(192, 64, (96, 32)), (64, 128, (32, 64)), (97, 63, (96, 62)), (48, 32, (96, 64))]
)
def test_letterbox_keeps_the_aspect_at_the_top_left_and_fills_with_grey(
    width: int, height: int, fitted: tuple[int, int]
) -> None:
    look, engine = semantic("letterbox", fill=99)
    look(frame(width, height, level=200))
    inside = np.zeros((64, 96), np.bool_)
    inside[: fitted[1], : fitted[0]] = True
    assert (engine.seen[0][inside] == 200).all()
    assert (engine.seen[0][~inside] == 99).all()


def test_nothing_of_another_cameras_frame_is_left_beside_a_letterboxed_one() -> None:
    look, engine = semantic("letterbox", fill=99)
    look(frame(96, 64, level=255))
    labels = look(frame(96, 32, level=10))
    assert (engine.seen[1][32:] == 99).all()
    assert labels.classes.shape == (32, 96)
    assert not labels.classes.any()


def test_a_thin_line_survives_the_reduction() -> None:
    look, engine = semantic("stretch")
    seen = frame(960, 640, level=0)
    seen.image[:, 300:302] = 250
    look(seen)
    assert engine.seen[0][:, 30].min() >= 40  # a fifth of it; nearest neighbour would skip it


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 4), (4, 8), (10, 6), (16, 16)])
def test_whole_factors_average_just_the_pixels_of_each_cell(factors: tuple[int, int]) -> None:
    look, engine = semantic("stretch")
    shape = 64 * factors[0], 96 * factors[1]
    seen = Frame("c", 0, 0.0, np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8))
    look(seen)
    cells = seen.image.reshape(64, factors[0], 96, factors[1], 3).mean(axis=(1, 3))
    np.testing.assert_allclose(engine.seen[0], cells, atol=2)  # every halving rounds


@given(st.integers(64, 400), st.integers(96, 900), st.sampled_from(["stretch", "letterbox"]), st.data())
def test_a_thin_line_anywhere_keeps_half_of_its_share_at_least(
    height: int, width: int, fit: str, data: st.DataObject
) -> None:
    look, engine = semantic(fit)
    seen, x = frame(width, height, level=0), data.draw(st.integers(0, width - 2))
    seen.image[:, x : x + 2] = 240
    labels = look(seen)
    share = min(1.0, 2 / labels.scale[0])
    assert engine.seen[0][: len(labels.classes), :, 0].max(axis=1).min() >= 240 * share / 2 - 3


def test_a_model_without_confidence_gives_none() -> None:
    model = model_of(INPUT, Head("labels"))
    engine = FakeEngine(model, lambda image: {"labels": np.zeros(image.shape[:2], np.uint8)})
    assert SemanticPass(engine, model)(frame(50, 50)).confidence is None


def test_a_class_without_a_name_is_refused() -> None:
    model, labels = model_of(INPUT, Head("labels")), np.full((64, 96), 2, np.uint8)
    look = SemanticPass(FakeEngine(model, lambda _: {"labels": labels}), model)
    assert look(frame(96, 64)).classes.max() == 2
    labels[5, 7] = 3
    with pytest.raises(EngineError, match="gives class 3, the manifest names 3 with the background"):
        look(frame(96, 64))
