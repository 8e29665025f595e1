"""Thresholds of defects from held-out pictures: what counts as defective, as good, as escaped."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calibration.operating_point import NotEnough, OperatingPoint
from edge.errors import ConfigError
from edge.types import Instances
from export.operate import as_config, operating_points
from export.recipe import load_recipe


def parts(areas: list[list[float]], at: int = 0) -> Instances:
    """Return parts in a row from number `at` on, with `areas` of each defect class."""
    count = len(areas)
    left = np.arange(at, at + count, dtype=np.float32) * 20
    boxes = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    ones = np.ones(count, np.float32)
    return Instances(
        boxes,
        ones,
        np.ones(count, np.uint8),
        boxes[:, :2] + 5,
        ones * 100,
        np.asarray(areas, np.float32).reshape(count, -1),
        [np.ones((10, 10), np.bool_)] * count,
        ones,
        np.ones(count, np.bool_),
    )


def test_scores_are_those_of_the_parts_that_were_found() -> None:
    truth = parts([[50.0, 0.0]] * 60 + [[0.0, 0.0]] * 40)
    shown = parts([[10.0 + i, 0.0] for i in range(60)] + [[5.0, 0.0]] * 39 + [[11.0, 0.0]])
    points = operating_points([(truth, shown)], ["scratch", "chip"], budget=0.05, least_px=30)
    scratch = points.classes["scratch"]
    assert isinstance(scratch, OperatingPoint)
    assert scratch.threshold == 10.0
    assert (scratch.escapes.hits, scratch.escapes.of) == (0, 60)
    assert (scratch.overkill.hits, scratch.overkill.of) == (1, 40)
    assert points.classes["chip"] == NotEnough(bad=0, lost=0, missing=59)


def test_a_part_that_is_not_found_escapes_and_a_small_defect_is_neither() -> None:
    truth = parts([[50.0]] * 100 + [[20.0]] * 7)
    shown = parts([[40.0]] * 98)
    point = operating_points([(truth, shown)], ["scratch"], budget=0.1, least_px=30).classes["scratch"]
    assert isinstance(point, OperatingPoint)
    assert (point.escapes.hits, point.escapes.of, point.overkill.of) == (2, 100, 0)


def test_what_is_printed_is_a_gate_s_table() -> None:
    truth, shown = parts([[50.0, 0.0]] * 60), parts([[40.0, 0.0]] * 60)
    text = as_config(operating_points([(truth, shown)], ["scratch", "chip"], budget=0.05, least_px=30))
    assert msgspec.toml.decode(text) == {"gates": {"defects": {"scratch": {"min_area_px": 40}}}}
    assert "# chip: nothing can be claimed of 0 parts, 0 of them missed; 59 more are needed" in text


def test_a_recipe_without_truth_is_refused(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "\n[operating_point]\nescapes = 0.02\n")
    with pytest.raises(ConfigError, match=r"operating_point needs heldout\.folder"):
        load_recipe(recipe)


def test_json_holds_them() -> None:
    points = operating_points([(parts([[50.0]] * 60), parts([[40.0]] * 60))], ["scratch"], budget=0.05, least_px=30)
    assert json.loads(msgspec.json.encode(points))["classes"]["scratch"]["threshold"] == 40
