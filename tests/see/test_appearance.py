"""What an object looks like: alike is what is the same thing, turned, moved or in other light."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import EngineFile, Head, Model, TensorSpec
from edge.errors import ConfigError
from edge.see.appearance import RATIO_STEP, Appearance, Embedder, Rings, Stripes, _bump, appearance_of
from edge.types import Image, Instances
from tests.see.made import FakeEngine, instances_of

FIRST = np.asarray([0])
PIXEL_KINDS: list[Appearance] = [Stripes(), Rings()]


def scene(
    top: tuple[int, int, int], bottom: tuple[int, int, int], ground: int = 90, size: tuple[int, int] = (40, 80)
) -> tuple[Image, Instances]:
    """Return an ellipse of two colours, (width, height) large, on grey ground, and what is found of it."""
    image: Image = np.full((200, 200, 3), ground, np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(mask, (100, 100), (size[0] // 2, size[1] // 2), 0, 0, 360, 1, -1)
    image[mask > 0] = bottom
    image[:100][mask[:100] > 0] = top
    return image, found_in(mask)


def found_in(mask: npt.NDArray[np.uint8]) -> Instances:
    rows, columns = mask.nonzero()
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    found = instances_of([(x0, y0, x1, y1)], areas_px=[float(mask.sum())])
    found.masks[0] = mask[y0:y1, x0:x1] > 0
    return found


def alike(appearance: Appearance, a: tuple[Image, Instances], b: tuple[Image, Instances]) -> float:
    return float(appearance(*a, FIRST)[0] @ appearance(*b, FIRST)[0])


RED, BLUE, GREEN = (40, 40, 180), (170, 60, 40), (50, 150, 60)


@pytest.mark.parametrize("appearance", PIXEL_KINDS, ids=lambda each: type(each).__name__)
def test_the_same_thing_is_alike_and_another_colour_is_not(appearance: Appearance) -> None:
    same, other = (
        alike(appearance, scene(RED, BLUE), scene(RED, BLUE)),
        alike(appearance, scene(RED, BLUE), scene(GREEN, GREEN)),
    )
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.8


@pytest.mark.parametrize("appearance", PIXEL_KINDS, ids=lambda each: type(each).__name__)
def test_what_is_behind_an_object_does_not_matter(appearance: Appearance) -> None:
    assert alike(appearance, scene(RED, BLUE, 90), scene(RED, BLUE, 230)) > 0.99


@pytest.mark.parametrize("appearance", PIXEL_KINDS, ids=lambda each: type(each).__name__)
def test_noise_changes_little(appearance: Appearance) -> None:
    image, found = scene(RED, BLUE)
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    assert alike(appearance, (image, found), (noisy, found)) > 0.95


def test_what_is_upright_is_known_by_what_is_above() -> None:
    assert alike(Stripes(), scene(RED, BLUE), scene(BLUE, RED)) < 0.3


def turned(given: tuple[Image, Instances], degrees: float) -> tuple[Image, Instances]:
    matrix = cv2.getRotationMatrix2D((99.5, 99.5), degrees, 1.0)
    image = cv2.warpAffine(given[0], matrix, (200, 200), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.uint8((given[0] != 90).any(axis=2)), matrix, (200, 200), flags=cv2.INTER_NEAREST)
    return np.asarray(image, np.uint8), found_in(np.asarray(mask, np.uint8))


@pytest.mark.parametrize("degrees", [30, 90, 145, 180, 260])
def test_what_lies_any_way_round_is_known_turned(degrees: float) -> None:
    part = scene(RED, BLUE, size=(50, 80))
    assert alike(Rings(), part, turned(part, degrees)) > 0.97
    assert alike(Rings(), part, scene(RED, BLUE, size=(80, 50))) > 0.9  # colours change places, the shape is the same
    assert alike(Rings(), part, scene(RED, BLUE, size=(66, 66))) < 0.93


def test_brighter_light_leaves_the_tint() -> None:
    image, found = scene((90, 100, 110), (90, 100, 110), size=(60, 60))
    bright = np.clip(image * 1.1, 0, 255).astype(np.uint8)
    tinted = np.clip(image * np.asarray([1.1, 1, 1]), 0, 255).astype(np.uint8)
    light, tint = (alike(Rings(), (image, found), (other, found)) for other in (bright, tinted))
    assert tint < light - 0.1


@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_two_numbers_are_as_alike_as_is_said(a: float, b: float) -> None:
    first, second = (_bump(value, -0.5, 0.5, RATIO_STEP) for value in (a, b))
    assert float(first @ second) == pytest.approx(np.exp(-(((a - b) / RATIO_STEP) ** 2) / 8), abs=0.02)


@given(
    st.tuples(*[st.floats(-60, 130)] * 2, *[st.floats(0.1, 120)] * 2),
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
)
def test_any_box_and_mask_give_a_vector_of_length_1(
    box: tuple[float, float, float, float], height: int, width: int, full: bool
) -> None:
    x, y, across, down = box
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    found = instances_of([(x, y, x + across, y + down)])
    found.masks[0] = np.full((height, width), full)
    for appearance in PIXEL_KINDS:
        vectors = appearance(image, found, FIRST)
        assert vectors.shape == (1, appearance.size)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("appearance", PIXEL_KINDS, ids=lambda each: type(each).__name__)
def test_of_nobody_there_are_no_vectors(appearance: Appearance) -> None:
    image, found = scene(RED, BLUE)
    assert appearance(image, found, FIRST[:0]).shape == (0, appearance.size)


def test_a_network_sees_the_crop_of_each_object() -> None:
    model = Model(
        classes=[],
        head=Head("embedding"),
        input=TensorSpec("image", (16, 8, 3), "uint8"),
        outputs=[TensorSpec("embedding", (3,), "float32")],
        engines=[EngineFile("onnxruntime", "float32", "m.onnx", 0, "")],
    )
    answer = np.zeros(3, np.float32)

    def mean(image: Image) -> dict[str, npt.NDArray[np.float32]]:
        answer[:] = image.mean(axis=(0, 1)) / np.linalg.norm(image.mean(axis=(0, 1)))
        return {"embedding": answer}  # the same array each time, as engines may

    engine = FakeEngine(model, mean)
    image: Image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30], image[:, 30:] = RED, GREEN
    found = instances_of([(-5, 0, 30, 40), (30, 0, 60, 40)])
    vectors = Embedder(engine, model)(image, found, np.asarray([1, 0]))
    assert [each.shape for each in engine.seen] == [(16, 8, 3)] * 2
    for vector, colour in zip(vectors, (GREEN, RED), strict=True):
        np.testing.assert_allclose(vector, np.asarray(colour) / np.linalg.norm(colour), atol=0.01)


def test_a_network_that_is_not_there_is_named() -> None:
    assert isinstance(appearance_of("stripes", None), Stripes)
    assert isinstance(appearance_of("rings", None), Rings)
    with pytest.raises(
        ConfigError, match=r"tracks\.reidentify\.appearance: is model, and the bundle has no appearance"
    ):
        appearance_of("model", None)
