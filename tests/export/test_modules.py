"""`export.from_torch`: what it refuses needs no torch; what it writes is taken in like any file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from export import from_torch
from export.errors import ModelError


def test_without_torch_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModelError, match=r"needs onnxscript, which is not installed; pip install"):
        from_torch(object(), np.zeros((1, 3, 32, 32)), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("torch")
    with pytest.raises(ModelError, match="got str, no module; pickles are never loaded here"):
        from_torch("best.pt", np.zeros((1, 3, 32, 32)), tmp_path / "net.onnx")


def test_a_module_becomes_a_file_that_needs_no_words(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch = pytest.importorskip("torch")
    from export.candidate import candidate  # noqa: PLC0415
    from export.recipe import Semantic  # noqa: PLC0415

    net = torch.nn.Conv2d(3, 2, 1)
    path = from_torch(net, torch.zeros(1, 3, 32, 32), tmp_path / "net.onnx", classes=["no", "yes"], mean=0.5)
    found = candidate("semantic", Semantic(model=path))
    assert (found.source.head, found.source.mean, found.model.classes) == ("logits", 0.5, ["no", "yes"])
    assert [value.name for value in onnx.load(str(path)).graph.output] == ["output"]
    with pytest.raises(ModelError, match="the recipe names 3 classes"):
        from_torch(net, torch.zeros(1, 3, 32, 32), tmp_path / "other.onnx", classes=["a", "b", "c"])
    with pytest.raises(ModelError, match=r"example is \[1, 4, 32, 32\]"):
        from_torch(net, torch.zeros(1, 4, 32, 32), tmp_path / "other.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
