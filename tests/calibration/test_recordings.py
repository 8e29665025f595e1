"""Which frames calibration looks at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.recordings import choose_frames, farthest_points, frames, read_frames, spread_frames, unlike_frames
from edge.config import Camera
from edge.errors import CameraError


def recording(folder: Path, levels: list[int]) -> Camera:
    """Write a folder of grey pictures and return it as a recording."""
    folder.mkdir()
    for i, level in enumerate(levels):
        cv2.imwrite(str(folder / f"{i:03}.png"), np.full((18, 32, 3), level, np.uint8))
    return Camera(source=str(folder))


def silent(share: float) -> None:
    assert 0 <= share <= 1


def test_unlike_frames_are_chosen(tmp_path: Path) -> None:
    camera = recording(tmp_path / "a", [100] * 20 + [250] + [100] * 20 + [10] + [100] * 5)
    assert {i for _, i in choose_frames([camera], 4, 1000, silent)} == {0, 20, 41}


def test_like_frames_are_chosen_far_apart_in_time(tmp_path: Path) -> None:
    camera = recording(tmp_path / "a", [100, 102] * 20 + [100])
    chosen = sorted(i for _, i in choose_frames([camera], 2, 1000, silent))
    assert chosen == [0, 1]  # all others are the same as one of these
    drift = recording(tmp_path / "b", [100 + 2 * (i // 4) for i in range(41)])
    chosen = sorted(i for _, i in choose_frames([drift], 5, 1000, silent))
    assert min(np.diff(chosen)) >= 5
    assert chosen[0] == 0
    assert chosen[-1] == 40


def test_choice_covers_all_recordings_and_repeats(tmp_path: Path) -> None:
    cameras = [recording(tmp_path / "a", [50, 60, 70, 80]), recording(tmp_path / "b", [180, 200, 220])]
    first = choose_frames(cameras, 4, 1000, silent)
    assert first == choose_frames(cameras, 4, 1000, silent)
    assert {number for number, _ in first} == {0, 1}
    first = sorted(first)
    images = list(read_frames(cameras, first))
    assert [int(image[0, 0, 0]) for image in images] == [[[50, 60, 70, 80], [180, 200, 220]][n][i] for n, i in first]


def test_fewer_frames_than_wanted_gives_all(tmp_path: Path) -> None:
    camera = recording(tmp_path / "a", [1, 3, 5])
    assert sorted(choose_frames([camera], 10, 1000, silent)) == [(0, 0), (0, 1), (0, 2)]
    assert spread_frames([camera], 10, 1000) == [(0, 0), (0, 1), (0, 2)]


def test_limit_is_kept(tmp_path: Path) -> None:
    camera = recording(tmp_path / "a", [10] * 30)
    assert len(list(frames(camera, 7))) == 7
    assert max(i for _, i in choose_frames([camera], 5, 7, silent)) < 7
    assert spread_frames([camera], 3, 11) == [(0, 0), (0, 5), (0, 10)]


def test_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="nowhere"):
        list(frames(Camera(source=str(tmp_path / "nowhere")), 5))


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_farthest_points_are_different_points(points: int, count: int, seed: int) -> None:
    places = np.random.default_rng(seed).normal(size=(points, 3)).astype(np.float32)
    chosen = farthest_points(places, count)
    assert len(chosen) == len(set(chosen)) == min(points, count)


def test_near_duplicates_are_left_out_whenever_they_come(tmp_path: Path) -> None:
    points = np.asarray([[0, 0], [0.5, 1], [1.5, 0], [0.2, 0.9], [1.4, 0.5], [9, 9]], np.float32)
    assert unlike_frames(points).tolist() == [0, 2, 5]
    camera = recording(tmp_path / "a", [100, 150, 100, 150, 100])
    again = recording(tmp_path / "b", [150, 200])
    assert sorted(choose_frames([camera, again], 9, 1000, silent)) == [(0, 0), (0, 1), (1, 1)]
