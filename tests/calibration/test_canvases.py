"""Calibration canvases are what the runtime would show the instance model."""

from __future__ import annotations

import numpy as np

from calibration.canvases import fill_canvases, find_looks
from edge.config import RegionRules
from edge.types import Labels


def test_regions_of_the_labels_are_packed_at_native_resolution() -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    classes = np.zeros((60, 80), np.uint8)
    classes[10:30, 20:40] = 1  # frame pixels 40..80, 20..60
    classes[40:50, 60:70] = 2  # not wanted
    looks = find_looks(image, Labels(classes, None, (2.0, 2.0)), RegionRules(pad_px=4), [1], (64, 64))
    assert looks.sources.tolist() == [[36, 16, 84, 64]]
    assert looks.scales.tolist() == [1.0]
    (canvas,) = fill_canvases(image, looks, (64, 64), 114)
    x0, y0, x1, y1 = looks.places[0].tolist()
    assert np.array_equal(canvas[y0:y1, x0:x1], image[16:64, 36:84])
    assert (canvas[y1:] == 114).all()


def test_a_region_too_large_for_a_canvas_is_cut_into_tiles_as_at_run_time() -> None:
    image = np.zeros((120, 400, 3), np.uint8)
    classes = np.zeros((60, 200), np.uint8)
    classes[5:55] = 1
    looks = find_looks(image, Labels(classes, None, (2.0, 2.0)), RegionRules(), [1], (64, 64))
    assert len(looks) > 1
    assert looks.scales.min() >= 0.5


def test_without_labels_the_whole_frame_is_one_look() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    looks = find_looks(image, None, RegionRules(), [], (80, 80))
    assert looks.sources.tolist() == [[0, 0, 160, 120]]
    assert looks.places.tolist() == [[0, 0, 80, 60]]


def test_empty_frame_needs_no_canvas() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    looks = find_looks(image, Labels(np.zeros((60, 80), np.uint8), None, (2.0, 2.0)), RegionRules(), [1], (64, 64))
    assert fill_canvases(image, looks, (64, 64), 114) == []
