"""A network that gives a vector for a crop: exported with its pixels and its length in the graph, or refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edge.bundle import read_engine
from edge.engines import open_engine
from edge.errors import ConfigError
from edge.types import Array
from export.build import export_bundle
from export.candidate import Candidate, candidate
from export.errors import ModelError
from export.recipe import Appearance, load_recipe
from tests.export.nets import SIZE, constant_net, data, engine_of, save

LENGTH = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def vector_net(path: Path, axes: int = 2) -> Path:
    """Write a network that mixes the means of the three colours into a vector, [1, d] or [1, d, 1, 1]."""
    mix = np.random.default_rng(3).normal(size=(LENGTH, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["means"]),
        helper.make_node("Conv", ["means", "mix"], ["vector" if axes == 4 else "wide"]),
        *([helper.make_node("Flatten", ["wide"], ["vector"])] if axes == 2 else []),
    ]
    return save(path, nodes, {"mix": mix}, {"vector": (1, LENGTH, 1, 1)[:axes]})


def exported(path: Path, **keys: object) -> Candidate:
    return candidate("appearance", Appearance(model=path, **keys))  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", [2, 4])
def test_the_vector_is_the_networks_divided_by_its_length(tmp_path: Path, axes: int) -> None:
    found = exported(vector_net(tmp_path / "m.onnx", axes), mean=list(MEAN), std=list(STD))
    assert found.model.classes == []
    assert [(spec.name, spec.shape, spec.dtype) for spec in found.model.outputs] == [
        ("embedding", (LENGTH,), "float32")
    ]
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    vector = engine_of(found).infer({"image": picture})["embedding"]
    pixels = (picture[:, :, ::-1] / 255.0 - MEAN) / STD
    mix = np.random.default_rng(3).normal(size=(LENGTH, 3, 1, 1)).astype(np.float32)[:, :, 0, 0]
    expected = mix @ pixels.mean(axis=(0, 1))
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-4)


def test_a_vector_of_nothing_stays_a_number(tmp_path: Path) -> None:
    found = exported(constant_net(tmp_path / "m.onnx", {"vector": np.zeros((1, LENGTH), np.float32)}))
    vector = engine_of(found).infer({"image": np.zeros((SIZE, SIZE, 3), np.uint8)})["embedding"]
    assert np.isfinite(vector).all()


@pytest.mark.parametrize(
    "raw",
    [
        {"a": np.zeros((1, 4), np.float32), "b": np.zeros((1, 4), np.float32)},
        {"map": np.zeros((1, 2, 4, 4), np.float32)},
        {"rows": np.zeros((2, 4), np.float32)},
        {"score": np.zeros((1, 1), np.float32)},
    ],
    ids=lambda raw: next(iter(raw)),
)
def test_what_is_no_vector_is_refused(tmp_path: Path, raw: dict[str, Array]) -> None:
    with pytest.raises(ModelError, match=r"has one output, a vector \[1, d\]; this one has .*; export it without"):
        exported(constant_net(tmp_path / "m.onnx", raw))


RECIPE = 'name = "a"\nversion = "1"\n[appearance]\nmodel = "m.onnx"\n'


def test_a_recipe_with_it_makes_a_bundle(tmp_path: Path) -> None:
    vector_net(tmp_path / "m.onnx")
    (tmp_path / "r.toml").write_text(RECIPE)
    bundle = export_bundle(tmp_path / "r.toml", tmp_path / "out")
    model = bundle.manifest.models["appearance"]
    (file,) = model.engines
    assert (file.file, file.precision) == ("appearance.float32.onnx", "float32")
    engine = open_engine(read_engine(bundle, file), model, file, 1)
    vector = engine.infer({"image": np.full((SIZE, SIZE, 3), 90, np.uint8)})["embedding"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    engine.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('precision = ["int8", "float32"]', "no crops of objects are collected to calibrate on"),
        ("tensorrt = true", "no crops of objects are collected to calibrate on"),
        ('classes = ["person"]', "it tells no classes apart; remove them"),
        ('head = "logits"', "Invalid enum value"),
    ],
)
def test_what_a_recipe_may_not_ask_of_it(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "r.toml").write_text(RECIPE + line + "\n")
    with pytest.raises(ConfigError, match=said):
        load_recipe(tmp_path / "r.toml")


def test_a_real_network_gives_what_it_gives_by_itself() -> None:
    path = data("weights/osnet_x0_25_msmt17.onnx")
    found = exported(path, mean=list(MEAN), std=list(STD))
    coarse = np.random.default_rng(0).integers(0, 256, (8, 4, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (128, 256)), np.uint8)
    vector = engine_of(found).infer({"image": picture})["embedding"]
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    pixels = ((picture[:, :, ::-1] / 255.0 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
    (expected,) = session.run(None, {session.get_inputs()[0].name: pixels})
    np.testing.assert_allclose(vector, expected[0] / np.linalg.norm(expected), atol=2e-4)
