"""What several test files of the export begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.nets import bright_net, centers_net, squares

RECIPE = """
name = "small"
version = "1"
[semantic]
model = "semantic.onnx"
head = "logits"
classes = ["background", "a", "b"]
color = "bgr"
[instance]
model = "instance.onnx"
head = "centers"
classes = ["background", "square"]
defects = ["scratch"]
color = "bgr"
[regions]
min_area_px = 50
[calibration]
frames = 8
method = "minmax"
recordings = [{ source = "pictures" }]
[heldout]
frames = 3
recordings = [{ source = "others" }]
[bounds]
speedup = 0  # nobody times networks as small as these
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write a recipe with its models and recordings."""
    bright_net(tmp_path / "semantic.onnx")
    centers_net(tmp_path / "instance.onnx")
    squares(tmp_path / "pictures", 10)
    squares(tmp_path / "others", 5)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path
