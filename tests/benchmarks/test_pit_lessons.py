"""What the pit network learns from: pits where the mask says, and nothing where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pit_lessons import SIDE, lesson, read_labelled, stock


def write_picture(path: Path, pits: list[tuple[int, int]]) -> Path:
    """Write a grey picture with dark squares of 60 pixels, and their polygons beside it."""
    image = np.full((400, 700, 3), 150, np.uint8)
    shapes = []
    for x, y in pits:
        image[y : y + 60, x : x + 60] = 60
        shapes.append({"points": [[x, y], [x + 59, y], [x + 59, y + 59], [x, y + 59]]})
    cv2.imwrite(str(path), image)
    if pits:
        path.with_suffix(".json").write_text(json.dumps({"shapes": shapes}))
    return path


def test_polygons_become_masks(tmp_path: Path) -> None:
    _, mask = read_labelled(write_picture(tmp_path / "a.png", [(100, 50), (300, 200)]))
    assert mask.sum() == 2 * 60 * 60
    assert mask[50:110, 100:160].all()
    assert read_labelled(write_picture(tmp_path / "b.png", []))[1].sum() == 0


def test_lessons_show_pits_where_they_say(tmp_path: Path) -> None:
    kept = stock([write_picture(tmp_path / "a.png", [(100, 50), (400, 200)])], [write_picture(tmp_path / "b.png", [])])
    assert len(kept.pits) == 2
    rng = np.random.default_rng(1)
    sizes, darker = [], []
    for _ in range(120):
        image, mask = lesson(kept, rng)
        assert image.shape == (SIDE, SIDE, 3)
        assert mask.shape == (SIDE, SIDE)
        assert set(np.unique(mask).tolist()) <= {0, 1}
        sizes.append(int(mask.sum()))
        if mask.any() and not mask.all():
            darker.append(np.median(image[mask == 0]) - np.median(image[mask > 0]))
    assert 10 < sizes.count(0) < 90
    assert min(size for size in sizes if size) < 100
    assert max(sizes) > 1000
    assert np.mean(np.asarray(darker) > 10) > 0.95
