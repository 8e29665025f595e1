"""Another reading of a canonical graph gives what an export with that reading would give."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.engines.ort import OrtEngine
from export.candidate import Candidate
from export.readings import NORMALISATIONS, Reading, mixed_readings, other_readings, reread
from export.recipe import Semantic
from tests.export.nets import SIZE, identity_net, semantic, semantic_net

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def source_of(found: Candidate) -> Semantic:
    assert isinstance(found.source, Semantic)
    return found.source


def outputs(graph: bytes, image: np.ndarray) -> dict[str, np.ndarray]:
    engine = OrtEngine("test", graph, 1)
    found = {name: value.copy() for name, value in engine.infer({"image": image}).items()}
    engine.close()
    return found


@pytest.mark.parametrize("keys", [{}, {"color": "rgb"}, IMAGENET, {"scale": 1.0}, {"color": "rgb"} | IMAGENET])
def test_every_reading_is_what_an_export_would_make_of_it(tmp_path: Path, keys: dict[str, object]) -> None:
    path = semantic_net(tmp_path / "net.onnx")
    classes = ["background", "a", "b"]
    own = semantic(path, classes=classes, **keys)
    image = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    source = source_of(own)
    readings = [*other_readings(source, floats=True), *mixed_readings(source, floats=True)]
    assert len(readings) >= 1 + 2 * (len(NORMALISATIONS) - 1)
    for reading in readings:
        told = reading.source
        other = semantic(path, classes=classes, color=told.color, scale=told.scale, mean=told.mean, std=told.std)
        seen = np.ascontiguousarray(image[..., ::-1]) if told.color != source.color else image
        again = outputs(reread(own.graph, source, told).SerializeToString(), seen)
        for name, value in outputs(other.files["float32"], image).items():
            assert np.abs(value.astype(int) - again[name].astype(int)).max() <= 1, (name, reading.text)


def test_channels_last_is_reread_too(tmp_path: Path) -> None:
    own = semantic(identity_net(tmp_path / "net.onnx", channels_first=False), classes=["x", "y", "z"])
    source = source_of(own)
    told = msgspec.structs.replace(source, **IMAGENET)
    other = semantic(tmp_path / "net.onnx", classes=["x", "y", "z"], **IMAGENET)
    image = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    again = outputs(reread(own.graph, source, told).SerializeToString(), image)
    expected = outputs(other.files["float32"], image)
    assert (again["labels"] == expected["labels"]).mean() > 0.999


def test_a_reading_says_which_keys_it_is() -> None:
    source = Semantic(model=Path("x"), head="logits", classes=["a", "b"])
    texts = {reading.text for reading in other_readings(source, floats=True)}
    assert 'color = "bgr"' in texts
    assert "scale = 0.00392157, mean = 0.5, std = 0.5" in texts
    assert Reading(source).text == "as the recipe says"
    assert {cause for reading in mixed_readings(source, floats=True) for cause in reading.causes} == {
        "normalisation",
        "colour order",
    }
