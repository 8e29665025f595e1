"""A belt that carries something in 30 % of the frames."""

from __future__ import annotations

import numpy as np

from benchmarks.duty import BUSY, EMPTY, belt_frames, busy, emptied, street_frames
from edge.types import Frame
from examples.belt.belt import Belt


def test_three_frames_of_ten_are_busy() -> None:
    assert np.mean([busy(index) for index in range(2 * (BUSY + EMPTY))]) == 0.3


def test_an_empty_belt_differs_from_a_loaded_one_by_its_parts_alone() -> None:
    frames = belt_frames(3, BUSY + 1)
    (first, loaded), *_, (last, empty) = list(frames)
    assert (loaded, empty) == (True, False)
    belt = Belt(3)
    belt.skip(BUSY)
    assert (belt.step().image == first).all()
    belt.skip(BUSY - 1)
    view = belt.step(truth=True)
    assert view.truth is not None
    parts = view.truth.instances > 0
    changed = np.abs(view.image.astype(int) - last).max(axis=2) > 0
    assert changed[parts].mean() > 0.9
    rows = slice(0, 60)  # the machine's rails: nothing lies there
    assert not changed[rows].any()


def test_what_moves_is_not_in_the_empty_street() -> None:
    images = [np.full((8, 8, 3), 100, np.uint8) for _ in range(5)]
    for number, image in enumerate(images):
        image[number] = 255
    seen = [Frame("street", index, 0.0, image) for index, image in enumerate(images)]
    assert (emptied(seen) == 100).all()
    long = [Frame("street", index, 0.0, images[0]) for index in range(BUSY + 2)]
    shown = [(frame, there) for frame, there in street_frames(long, emptied(seen))]
    assert sum(there for _, there in shown) == BUSY
    assert abs(float(shown[-1][0].image.mean()) - 100) < 2
