"""The truth that measured sizes are held against is the drawn geometry."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measure import MM_PER_STRIP_PX, _contour, _extent, measuring, placed, true_size
from edge.config import load_config
from edge.decide.measure import plane_of
from examples.belt.belt import COUNT_LINE_X, crossings
from examples.belt.demo import HERE
from examples.belt.optics import project


def test_a_drawn_disc_has_its_diameter_to_a_hundredth_of_a_pixel() -> None:
    line = np.arange(-50, 51, dtype=np.float32)
    for radius in (30.0, 30.3, 41.77):
        field = np.hypot(line[None] - 0.3, line[:, None] + 0.2) - np.float32(radius)
        said = _extent(_contour(field), float(np.clip(0.5 - field, 0, 1).sum()))
        assert said["length_mm"] == pytest.approx(2 * radius * MM_PER_STRIP_PX, abs=0.01)
        assert said["width_mm"] == pytest.approx(2 * radius * MM_PER_STRIP_PX, abs=0.01)
        assert said["area_mm2"] == pytest.approx(np.pi * radius**2 * MM_PER_STRIP_PX**2, rel=1e-3)


def test_every_part_that_crosses_has_a_true_size_like_its_kind() -> None:
    crossed = crossings(1, 300, COUNT_LINE_X)
    parts = placed(1, crossed)
    assert set(parts) == {part.id for part in crossed}
    for part in crossed:
        size = true_size(parts[part.id])
        reach = 2 * parts[part.id].shape.outline.radius * MM_PER_STRIP_PX
        assert size["width_mm"] <= size["length_mm"] <= 1.1 * reach
        assert {name.split("/")[0] for name in size if "/" in name} == set(part.defects)


def test_the_marks_give_the_belt_in_millimetres() -> None:
    camera = measuring(load_config(HERE / "config.toml")).cameras["belt"]
    plane = plane_of(camera, "camera belt")
    for x, v in ((300.0, 100.0), (1500.0, 900.0)):
        here = np.asarray([project(x, v)]) + 0.5
        assert plane.to_mm(here)[0] == pytest.approx([x * MM_PER_STRIP_PX, v * MM_PER_STRIP_PX], abs=1e-4)
