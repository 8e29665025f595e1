"""Labels from a teacher, and what is counted of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.street import TILE, marked, tiled
from edge.types import Instances


def test_the_tiles_cover_the_frame_and_overlap() -> None:
    covered = np.zeros((576, 768), np.int64)
    for x0, y0, x1, y1 in tiled().sources.tolist():
        assert (x1 - x0, y1 - y0) == (TILE, TILE)
        covered[y0:y1, x0:x1] += 1
    assert covered.shape == (576, 768)
    assert covered.min() >= 1
    assert (covered > 1).mean() > 0.5


def test_a_box_is_marked_by_the_share_of_its_cells() -> None:
    found = np.zeros((10, 20), np.uint8)
    found[2:4, 4:6] = 1
    boxes = np.asarray([(32, 16, 48, 32), (32, 16, 64, 32), (80, 0, 96, 16)], np.float32)
    assert marked(found, (8.0, 8.0), boxes).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(("score", "label"), [(0.9, 1), (0.2, 255)])
def test_a_cell_is_a_person_only_where_the_teacher_is_sure(score: float, label: int) -> None:
    pytest.importorskip("torch")
    from benchmarks.street_net import labels_of  # noqa: PLC0415

    box = np.asarray([[80, 160, 112, 240]], np.float32)
    one = np.ones(1, np.float32)
    person = np.ones(1, np.uint8)
    masks = [np.ones((5, 5), np.bool_)]
    found = Instances(
        box, one * np.float32(score), person, box[:, :2], one, np.zeros((1, 0), np.float32), masks, one, one > 0
    )
    labels = labels_of(found, (768, 576))
    assert labels.shape == (72, 96)
    assert (labels[20:30, 10:14] == label).all()
    assert (labels > 0).sum() == 40
