"""Whether frames are of the same place and light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from calibration.likeness import foreign_share, is_flat, look
from edge.types import Image


def scene(seed: int, shade: float = 1.0) -> Image:
    """Return a grey belt with a few bright parts somewhere on it."""
    random = np.random.default_rng(seed)
    image = random.integers(80, 100, (180, 320, 3)).astype(np.uint8)
    for x, y in random.integers(0, 140, (6, 2)).tolist():
        cv2.circle(image, (x * 2 + 20, y + 20), 14, (200, 190, 180), -1)
    return np.asarray(image * shade, np.uint8)


def other(seed: int) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 180), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_frames_of_one_place_are_alike_wherever_things_lie() -> None:
    known, seen = [look(scene(i)) for i in range(8)], [look(scene(i)) for i in range(8, 14)]
    share, distance = foreign_share(known, seen)
    assert share == 0
    assert distance < 3


@pytest.mark.parametrize("shade", [0.15, 0.5])
def test_the_same_place_in_the_dark_is_foreign(shade: float) -> None:
    known = [look(scene(i, shade)) for i in range(8)]
    assert foreign_share(known, [look(scene(i)) for i in range(6)])[0] == 1


def test_another_place_is_foreign_unless_frames_of_this_one_are_there_too() -> None:
    foreign, own = [look(other(i)) for i in range(8)], [look(scene(i)) for i in range(3)]
    seen = [look(scene(i)) for i in range(20, 26)]
    assert foreign_share(foreign, seen)[0] == 1
    assert foreign_share([*foreign, *own], seen)[0] == 0


def test_pictures_that_differ_among_each_other_may_differ_from_others() -> None:
    known, seen = [look(other(i)) for i in range(10)], [look(other(i)) for i in range(10, 20)]
    assert foreign_share(known, seen)[0] <= 0.5


def test_flat_pictures_are_black_or_of_one_grey_but_for_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 12, (180, 320, 3)).astype(np.uint8)
    assert is_flat(np.zeros((180, 320, 3), np.uint8))
    assert is_flat(noise)
    assert is_flat(noise + 200)
    assert not is_flat(scene(0))
