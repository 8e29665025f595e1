"""Video files and folders of pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras import open_camera
from edge.types import Frame, Gap

SIZE = (64, 48)
MJPG = int.from_bytes(b"MJPG", "little")  # OpenCV's function for it is not in its 5.0 stubs


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), 10 * index % 256, np.uint8)


def write_video(path: Path, frames: int, size: tuple[int, int] = SIZE) -> Path:
    writer = cv2.VideoWriter(str(path), MJPG, 25.0, size)
    for index in range(frames):
        writer.write(picture(index, size))
    writer.release()
    return path


def frames_of(source: Path | str, fps: float | None = None) -> list[tuple[int, float, int]]:
    """Return index, time and mean grey value of every frame."""
    found = []
    with open_camera("belt", CameraConfig(source=str(source), fps=fps)) as camera:
        while (frame := camera.read(0.0)) is not None:
            assert isinstance(frame, Frame)
            found.append((frame.index, frame.time, round(float(frame.image.mean()))))
        assert (camera.read(0.0), camera.ended) == (None, True)
    return found


def test_video_gives_every_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = frames_of(write_video(tmp_path / "belt.avi", 12))
    assert [index for index, _, _ in found] == list(range(12))
    assert [time for _, time, _ in found] == pytest.approx([index / 25 for index in range(12)])
    assert all(abs(grey - 10 * index) <= 2 for index, _, grey in found)
    assert not caplog.records


def test_video_says_what_it_is(tmp_path: Path) -> None:
    with open_camera("belt", CameraConfig(source=str(write_video(tmp_path / "belt.avi", 3)))) as camera:
        assert (camera.size, camera.fps, camera.live) == (SIZE, 25.0, False)
    with open_camera("belt", CameraConfig(source=str(tmp_path / "belt.avi"), fps=10)) as camera:
        assert camera.fps == 10.0


def test_video_keeps_its_buffers(tmp_path: Path) -> None:
    with open_camera("belt", CameraConfig(source=str(write_video(tmp_path / "belt.avi", 20)))) as camera:
        places = set()
        while isinstance(frame := camera.read(0.0), Frame):
            places.add(frame.image.ctypes.data)
    assert len(places) <= 3


def test_frame_is_untouched_by_the_next_read(tmp_path: Path) -> None:
    with open_camera("belt", CameraConfig(source=str(write_video(tmp_path / "belt.avi", 4)))) as camera:
        previous = None
        while isinstance(frame := camera.read(0.0), Frame):
            assert previous is None or abs(float(previous.image.mean()) - 10 * previous.index) <= 2
            previous = frame


def test_video_cut_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "belt.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        found = frames_of(path)
    assert 0 < len(found) < 40
    assert f"camera=belt ended after {len(found)} of 40 frames" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("content", [b"", b"junk" * 1000, b"RIFF\x00\x00\x00\x00AVI "])
def test_not_a_video(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "belt.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=r"belt\.mp4"):
        frames_of(tmp_path / "belt.mp4")
    assert capfd.readouterr().err == ""


def test_video_without_frames(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"belt\.avi"):
        frames_of(write_video(tmp_path / "belt.avi", 0))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"camera belt: there is no file or folder .*nowhere"):
        frames_of(tmp_path / "nowhere.mp4")


def test_folder_in_natural_order(tmp_path: Path) -> None:
    for index in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"part{index}.png"), picture(index))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert frames_of(tmp_path) == [(0, 0.0, 10), (1, 1.0, 20), (2, 2.0, 100)]
    assert frames_of(tmp_path, fps=4) == [(0, 0.0, 10), (1, 0.25, 20), (2, 0.5, 100)]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "JPEG"])
def test_folder_takes(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), picture(5))
    with open_camera("belt", CameraConfig(source=str(tmp_path))) as camera:
        assert (camera.size, camera.fps, camera.live) == (SIZE, None, False)
        frame = camera.read(0.0)
        assert isinstance(frame, Frame)
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8


def test_grey_and_deep_pictures_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64), 100, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((48, 64, 3), 100 * 257, np.uint16))
    assert [grey for _, _, grey in frames_of(tmp_path)] == [100, 100]


def test_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no picture in"):
        frames_of(tmp_path)


def test_folder_changes_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    cv2.imwrite(str(tmp_path / "b.png"), picture(1, (32, 48)))
    with pytest.raises(CameraError, match=r"b\.png is 32 x 48 pixels, .* 64 x 48"):
        frames_of(tmp_path)


@pytest.mark.parametrize(("suffix", "keep"), [("jpg", 0.6), ("png", 0.3), ("jpg", 0.0)])
def test_picture_cut_short(tmp_path: Path, suffix: str, keep: float, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"b.{suffix}"
    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    cv2.imwrite(str(path), rng.integers(0, 255, (48, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CameraError, match=f"b.{suffix} is no picture or is cut short"):
        frames_of(tmp_path)
    assert capfd.readouterr().err == ""


def test_recordings_never_give_gaps(tmp_path: Path) -> None:
    with open_camera("belt", CameraConfig(source=str(write_video(tmp_path / "belt.avi", 3)))) as camera:
        assert not any(isinstance(camera.read(0.0), Gap) for _ in range(5))
