"""What a YOLO network learns of a canvas of the belt."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed (pip install -e '.[train]')")

from benchmarks.belt_yolo_data import labels_of, outline
from examples.belt.defects import CHIP
from examples.belt.scene import DEFECTS, KINDS
from examples.belt.training_data import Canvas

SIDE = 320


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_what_an_outline_holds_is_the_mask_with_its_holes(seed: int, holes: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((120, 120), np.uint8)
    cv2.circle(mask, (60, 60), 50, 1, -1)
    for x, y in random.integers(35, 85, (holes, 2)).tolist():
        cv2.circle(mask, (x, y), int(random.integers(4, 10)), 0, -1)
    mask[:, 100:] = random.random() < 0.5  # another piece, at times
    filled = np.zeros_like(mask)
    cv2.fillPoly(filled, [outline(mask).astype(np.int32)], 1)
    assert np.count_nonzero(filled != mask) <= 0.02 * mask.sum()  # the slits


def canvas(
    codes: list[tuple[int, tuple[int, int, int, int]]], flaws: list[tuple[int, tuple[int, int, int, int]]]
) -> Canvas:
    owner, defects = np.zeros((SIDE, SIDE), np.uint16), np.zeros((SIDE, SIDE), np.uint8)
    for value, (x0, y0, x1, y1) in codes:
        owner[y0:y1, x0:x1] = value
    for kind, (x0, y0, x1, y1) in flaws:
        defects[y0:y1, x0:x1] = kind
    return Canvas(np.zeros((SIDE, SIDE, 3), np.uint8), owner, defects)


def read(line: str) -> tuple[str, list[float]]:
    number, *shares = line.split()
    points = np.asarray(shares, np.float64).reshape(-1, 2) * SIDE
    return [*KINDS, *DEFECTS][int(number)], [*points.min(axis=0).round(), *points.max(axis=0).round()]


def test_parts_and_the_pieces_of_their_defects_are_labelled() -> None:
    nut, gear = 1 + KINDS.index("nut"), 1 + 4 + KINDS.index("gear")
    scratch = 1 + DEFECTS.index("scratch")
    made = canvas(
        [(nut, (10, 10, 60, 60)), (gear, (100, 100, 180, 150))],
        [
            (scratch, (20, 20, 30, 24)),
            (scratch, (40, 40, 50, 44)),
            (CHIP, (170, 100, 180, 150)),
            (scratch, (0, 0, 9, 9)),
        ],
    )
    assert sorted(map(read, labels_of(made))) == [
        ("chip", [170, 100, 179, 149]),
        ("gear", [100, 100, 169, 149]),  # without what was broken off
        ("nut", [10, 10, 59, 59]),
        ("scratch", [20, 20, 29, 23]),
        ("scratch", [40, 40, 49, 43]),
    ]


def test_slivers_and_specks_are_no_objects() -> None:
    assert labels_of(canvas([(1, (10, 10, 12, 40))], [(1, (10, 10, 11, 20))])) == []
