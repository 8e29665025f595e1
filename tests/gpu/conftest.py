"""What the tests that need an NVIDIA driver have in common. `make gpu` runs them; where there is none, they say so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle
from edge.engines.builder import import_tensorrt, version_of
from edge.engines.device_memory import open_memory
from edge.errors import EngineError
from examples.belt.demo import HERE
from export.build import cached_bundle

FRAMES = 16  # calibration frames: what is tested is the runtime


def why_not() -> str:
    """Return why nothing can run on a GPU here; empty where it can."""
    try:
        import_tensorrt()
        open_memory().close()
    except (ImportError, EngineError) as error:
        return " ".join(str(error).split())
    return ""


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """Skip, with the reason, where there is no GPU that can be used."""
    if reason := why_not():
        pytest.skip(f"no GPU: {reason}")


@pytest.fixture(scope="session")
def figures(gpu: None) -> Iterator[dict[str, Any]]:
    """Collect what was measured; at the end it is printed, and written to the file that FOVEATE_GPU_JSON names."""
    trt, memory = import_tensorrt(), open_memory()
    found: dict[str, Any] = {"tensorrt": version_of(trt), "gpu": memory.gpu, "cuda": memory.cuda}
    found["memory"] = type(memory).__name__
    memory.close()
    yield found
    text = json.dumps(found, indent=2)
    print(f"\n{text}")
    if name := os.environ.get("FOVEATE_GPU_JSON"):
        Path(name).write_text(f"{text}\n")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the belt's bundle with files for TensorRT; the builder here has tried them."""
    folder = tmp_path_factory.mktemp("gpu")
    for name in ("semantic", "instance"):
        (folder / f"{name}.onnx").symlink_to(HERE / f"{name}.onnx")
    text = (HERE / "recipe.toml").read_text().split("[heldout]")[0]
    for name in ("semantic", "instance"):
        text = text.replace(f"[{name}]", f"[{name}]\ntensorrt = true")
    (folder / "recipe.toml").write_text(text.replace("frames = 48", f"frames = {FRAMES}").replace('"auto"', '"mse"'))
    return cached_bundle(folder / "recipe.toml", folder / "cache")


@pytest.fixture(autouse=True)
def plans(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep plans in a folder of this run: nothing that was built before is used, and each is built once."""
    folder = tmp_path_factory.getbasetemp() / "plans-of-all-tests"
    monkeypatch.setenv("CACHE_DIRECTORY", str(folder))
    return folder / "plans"
