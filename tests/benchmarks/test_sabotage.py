"""The networks of the honest exports say what the belt's own do, each by its own reading of the input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks.sabotage import HONEST, SABOTAGED, Setup, as_toml
from benchmarks.sabotage_models import MEAN, STD, Edit, dead, edited, reordered, wants_bytes, wants_imagenet, wants_rgb
from export.recipe import load_recipe

Read = Callable[[np.ndarray], np.ndarray]
EDGE = 24  # cells from the border that a padding of zeros may reach


def per_channel(values: tuple[float, ...]) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def logits(path: Path, picture: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": np.ascontiguousarray(picture, np.float32)})
    return np.asarray(found)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (1, 3, 272, 480)).astype(np.float32)


@pytest.mark.parametrize(
    ("edit", "read"),
    [
        (wants_rgb, lambda picture: picture[:, ::-1] / 255),
        (wants_bytes, lambda picture: picture),
        (wants_imagenet, lambda picture: (picture / 255 - per_channel(MEAN)) / per_channel(STD)),
    ],
)
def test_another_reading_gives_the_same(tmp_path: Path, picture: np.ndarray, edit: Edit, read: Read) -> None:
    expected = logits(edited("semantic", tmp_path / "own.onnx"), picture / 255)
    found = logits(edited("semantic", tmp_path / "other.onnx", edit), read(picture))
    inner = np.s_[..., EDGE:-EDGE, EDGE:-EDGE]
    assert np.abs(found - expected)[inner].max() < 1e-2 * np.abs(expected).max()


def test_classes_come_in_another_order(tmp_path: Path, picture: np.ndarray) -> None:
    own = logits(edited("semantic", tmp_path / "own.onnx"), picture / 255)
    other = logits(edited("semantic", tmp_path / "other.onnx", reordered([0, 2, 3, 4, 1])), picture / 255)
    assert np.array_equal(other, own[:, [0, 2, 3, 4, 1]])


def test_a_dead_network_says_the_same(tmp_path: Path, picture: np.ndarray) -> None:
    path = edited("semantic", tmp_path / "dead.onnx", dead)
    assert np.array_equal(logits(path, picture / 255), logits(path, picture / 300))


def test_there_are_ten_of_each_and_every_recipe_can_be_read(tmp_path: Path) -> None:
    assert len(SABOTAGED) >= 10
    assert len(HONEST) >= 10
    table = {"model": "x.onnx", "head": "logits", "classes": ["a", "b"], "mean": [0.1, 0.2, 0.3], "fit": "letterbox"}
    (tmp_path / "recipe.toml").write_text(as_toml(Setup(table, None, tmp_path / "frames", tmp_path / "heldout")))
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert recipe.semantic is not None
    assert recipe.semantic.mean == [0.1, 0.2, 0.3]
