"""Live sources: a fake driver for what must be exact, a real stream over HTTP for the rest."""

from __future__ import annotations

import http.server
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras import live, open_camera, sight
from edge.see.cameras.capture import without_password
from edge.see.cameras.live import LiveCamera
from edge.types import Frame, Gap, Image

SIZE = (64, 48)
CONFIG = CameraConfig(source="usb:0", stall_s=0.15)


class Driver:
    """A fake of OpenCV's handle; the test says frame by frame what the camera sees: pictures of one level."""

    def __init__(self, size: tuple[int, int] = SIZE, present: bool = True) -> None:
        self.size, self.present = size, present
        self.steps = threading.Semaphore(1)  # one frame is there at once
        self.taken = threading.Semaphore(0)
        self.broken = self.still = False
        self.paint: Image | None = None  # instead of the level
        self.opened = self.released = self.count = 0
        self.error: Exception | None = None

    def open(self, _: CameraConfig) -> Driver:
        self.opened += 1
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.present

    def get(self, prop: int, /) -> float:
        return 30.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def read(self, image: Any = None, /) -> tuple[bool, Any]:
        while not self.steps.acquire(timeout=0.01):
            if self.error is not None:
                raise self.error
            if self.broken or not self.present:
                return False, None
        if image is None or image.shape[:2] != self.size[::-1]:
            image = np.empty((self.size[1], self.size[0], 3), np.uint8)
        image[:] = self.count if self.paint is None else self.paint
        self.count += not self.still
        return True, image

    def release(self) -> None:
        self.released += 1

    def give(self, camera: LiveCamera, frames: int = 1) -> None:
        """Let the camera see `frames` frames and wait until the capture thread has them."""
        for _ in range(frames):
            before = camera._slot.index
            self.steps.release()
            _wait_until(lambda before=before: camera._slot.index > before)


def _wait_until(condition: Any, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(live, "FIRST_RETRY_S", 0.01)
    return Driver()


@pytest.fixture
def camera(driver: Driver) -> Iterator[LiveCamera]:
    with LiveCamera("belt", CONFIG, driver.open) as opened:
        yield opened
        driver.broken = True


def frame_of(camera: LiveCamera) -> Frame:
    frame = camera.read(2.0)
    assert isinstance(frame, Frame)
    return frame


def test_newest_frame_and_what_was_dropped(driver: Driver, camera: LiveCamera) -> None:
    assert (camera.size, camera.fps, camera.live) == (SIZE, 30.0, True)
    assert frame_of(camera).index == 0
    driver.give(camera, 4)
    frame = frame_of(camera)
    assert (frame.index, frame.dropped) == (4, 3)
    assert (frame.image == 4).all()
    driver.give(camera)
    assert (frame_of(camera).dropped, camera.read(0.0)) == (0, None)


def test_frame_held_is_not_written_to(driver: Driver, camera: LiveCamera) -> None:
    held = frame_of(camera)
    driver.give(camera, 7)
    assert (held.image == 0).all()
    later = frame_of(camera)
    driver.give(camera, 7)
    assert (later.image == 7).all()


def test_memory_is_three_buffers(driver: Driver, camera: LiveCamera) -> None:
    places = set()
    for burst in (1, 2, 3, 1, 5, 2):
        places.add(frame_of(camera).image.ctypes.data)
        driver.give(camera, burst)
    assert len(places) <= 3


def test_read_waits_no_longer_than_asked(camera: LiveCamera) -> None:
    frame_of(camera)
    before = time.monotonic()
    assert camera.read(0.05) is None
    assert 0.04 < time.monotonic() - before < 0.14


def test_read_wakes_with_the_frame(driver: Driver, camera: LiveCamera) -> None:
    frame_of(camera)
    threading.Timer(0.03, driver.steps.release).start()
    before = time.monotonic()
    assert frame_of(camera).index == 1
    assert time.monotonic() - before < 0.14


def read_until_gap(camera: LiveCamera) -> Gap:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if isinstance(found := camera.read(0.02), Gap):
            return found
        assert found is None
    raise AssertionError("no gap")


def test_outage_gives_two_gaps_that_touch(driver: Driver, camera: LiveCamera, caplog: pytest.LogCaptureFixture) -> None:
    seen = frame_of(camera)
    driver.broken = True
    stall = read_until_gap(camera)
    assert (stall.reason, stall.since, stall.index) == ("stall", seen.time, 1)
    assert stall.until - stall.since >= CONFIG.stall_s
    assert [camera.read(0.01) for _ in range(20)] == [None] * 20
    driver.broken = False
    driver.give(camera)
    over = read_until_gap(camera)
    frame = frame_of(camera)
    assert (over.reason, over.since, over.until, over.index) == ("reopened", stall.until, frame.time, 1)
    assert driver.opened > 1
    assert [r.message.split(" source")[0] for r in caplog.records] == [
        "camera=belt state=lost",
        "camera=belt state=seeing",
    ]


def test_a_picture_that_no_longer_changes_is_no_sight_until_it_does(
    driver: Driver, camera: LiveCamera, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sight, "FROZEN_S", 0.05)
    frame_of(camera)
    driver.still = True
    found: list[Frame | Gap | None] = []
    while not any(isinstance(one, Gap) for one in found):
        driver.steps.release()
        time.sleep(0.01)
        found.append(camera.read(0.0))
    assert sum(isinstance(one, Frame) for one in found) <= 2, "nobody decides by what shows nothing new"
    changed, frozen = found[0], found[-1]
    assert isinstance(changed, Frame)
    assert isinstance(frozen, Gap)
    assert (frozen.reason, frozen.since) == ("frozen", changed.time)
    assert 0.05 <= frozen.until - frozen.since < 2.0
    for _ in range(5):
        driver.give(camera)
        assert camera.read(0.0) is None
    driver.still = False
    driver.give(camera)
    assert camera.read(0.0) is None
    driver.give(camera)
    over, frame = camera.read(0.0), frame_of(camera)
    assert isinstance(over, Gap)
    assert (over.reason, over.since, over.until) == ("frozen", frozen.until, frame.time)
    assert (frame.index, frame.dropped) == (over.index, 0), "what shows nothing new was not dropped"
    assert [record.message.split(" source")[0] for record in caplog.records] == [
        "camera=belt state=frozen",
        "camera=belt state=seeing",
    ]


def test_a_picture_may_stand_still_where_that_is_configured(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "FROZEN_S", 0.0)
    still = CameraConfig(source="usb:0", stall_s=5.0, static_ok=True)
    with LiveCamera("belt", still, driver.open) as camera:
        frame_of(camera)
        driver.still = True
        for _ in range(10):
            driver.give(camera)
            assert frame_of(camera).dropped == 0
        driver.broken = True


def test_frames_that_are_no_pictures_are_left_out_and_counted(driver: Driver, camera: LiveCamera) -> None:
    frame_of(camera)
    driver.give(camera)
    half = np.arange(48 * 64 * 3).astype(np.uint8).reshape(48, 64, 3)
    half[24:] = sight.GREY  # as a decoder leaves half of a JPEG
    for lost, image in enumerate((np.zeros((48, 64, 3), np.uint8), half, half), start=1):
        driver.paint = image
        driver.steps.release()
        _wait_until(lambda lost=lost: camera._slot.unread == lost)
    assert frame_of(camera).index == 1
    assert camera.read(0.0) is None
    driver.paint = None
    driver.give(camera)
    frame = frame_of(camera)
    assert (frame.index, frame.corrupt, frame.dropped) == (5, 3, 0)


def test_a_single_pixel_that_changes_is_a_change() -> None:
    stillness = sight.Stillness()
    image: Image = np.full((480, 640, 3), 7, np.uint8)
    for i in range(100):
        image[3, 5, 2] = i
        assert stillness.note(image, i / 10) is None
    found = [stillness.note(image, i / 10) for i in range(100, 130)]
    assert found[:9] == [None] * 9
    assert set(found[10:]) == {9.9}, "since the last picture that was another one"


def test_a_slow_camera_that_shows_the_same_twice_now_and_then_is_not_frozen() -> None:
    stillness = sight.Stillness()
    for i in range(20):
        image: Image = np.full((480, 640, 3), i // 2, np.uint8)
        assert stillness.note(image, 2.0 * i) is None


def test_short_break_is_one_gap(driver: Driver, camera: LiveCamera) -> None:
    seen = frame_of(camera)
    driver.broken = True
    _wait_until(lambda: driver.opened > 1)
    driver.broken = False
    driver.give(camera, 2)
    gap, frame = camera.read(1.0), frame_of(camera)
    assert isinstance(gap, Gap)
    assert (gap.reason, gap.since, gap.index) == ("reopened", seen.time, 1)
    assert (frame.index, frame.dropped) == (2, 1)
    assert gap.until < frame.time


def test_silence_that_nobody_waited_for(driver: Driver, camera: LiveCamera) -> None:
    """A stall is found even where the reader was busy all through it."""
    seen = frame_of(camera)
    time.sleep(0.2)
    driver.give(camera)
    gap = camera.read(0.0)
    assert isinstance(gap, Gap)
    assert (gap.since, gap.index) == (seen.time, 1)
    assert gap.until == frame_of(camera).time


def test_back_off_doubles_to_a_limit(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(live, "FIRST_RETRY_S", 1.0)
    with LiveCamera("belt", CONFIG, driver.open) as camera:
        stop = camera._stop

        def wait(seconds: float) -> bool:
            waits.append(seconds)
            if len(waits) == 8:
                stop.set()
            return False

        monkeypatch.setattr(stop, "wait", wait)
        driver.broken = True
        camera._thread.join(5.0)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_size_that_changes(driver: Driver, camera: LiveCamera) -> None:
    frame_of(camera)
    driver.size = (32, 48)
    driver.steps.release()
    with pytest.raises(CameraError, match=r"camera belt: usb:0 changed its size from \(64, 48\) to \(32, 48\)"):
        camera.read(2.0)


def test_error_in_the_thread_reaches_the_reader(driver: Driver, camera: LiveCamera) -> None:
    frame_of(camera)
    driver.error = ValueError("a bug")
    with pytest.raises(CameraError, match="a bug"):
        camera.read(2.0)


def test_driver_that_never_comes_back(driver: Driver, camera: LiveCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STUCK_S", 0.4)
    frame_of(camera)
    time.sleep(0.45)
    with pytest.raises(CameraError, match="has not come back from its driver"):
        camera.read(0.0)


def test_close_twice_releases(driver: Driver) -> None:
    camera = LiveCamera("belt", CONFIG, driver.open)
    driver.broken = True
    camera.close()
    camera.close()
    assert not camera._thread.is_alive()
    assert driver.released >= 1


@pytest.mark.parametrize("source", ["usb:97", "http://127.0.0.1:9/stream", "rtsp://127.0.0.1:9/stream"])
def test_nobody_there(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError, match=f"camera belt: no frame from {source}"):
        open_camera("belt", CameraConfig(source=source, stall_s=1.0))
    assert capfd.readouterr().err == ""


def test_a_patience_of_a_month() -> None:
    with pytest.raises(CameraError, match="no frame from http"):
        open_camera("belt", CameraConfig(source="http://127.0.0.1:9/stream", stall_s=3_000_000))


ABSENT = CameraConfig(source="rtsp://admin:hunter2@cam/1", size=SIZE, stall_s=0.15)


def test_a_camera_that_is_not_there_at_the_start_is_waited_for(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    driver.present, driver.steps, driver.count = False, threading.Semaphore(0), 1
    with LiveCamera("belt", ABSENT, driver.open) as camera:
        assert (camera.size, camera.fps, camera.ended) == (SIZE, None, False)
        stall = read_until_gap(camera)
        assert (stall.reason, stall.index) == ("stall", 0)
        _wait_until(lambda: driver.opened > 2)
        driver.present = True
        driver.give(camera)
        over, frame = read_until_gap(camera), frame_of(camera)
        assert (over.reason, over.since, over.index) == ("reopened", stall.until, 0)
        assert (frame.index, frame.dropped, camera.fps) == (0, 0, 30.0)
        driver.broken = True
    assert "hunter2" not in caplog.text
    assert "source=rtsp://cam/1" in caplog.text


def test_a_camera_of_another_size_than_configured(driver: Driver) -> None:
    driver.size = (32, 48)
    with (
        LiveCamera("belt", ABSENT, driver.open) as camera,
        pytest.raises(CameraError, match=r"belt: rtsp://cam/1 gives frames of \(32, 48\), and size is \(64, 48\)"),
    ):
        camera.read(5.0)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:hunter2@cam:554/1", "rtsp://cam:554/1"),
        ("rtsp://admin@cam/1", "rtsp://cam/1"),
        ("http://a:p@ss/w?rd@cam/1", "http://cam/1"),
        ("rtsp://cam/1?channel=1", "rtsp://cam/1?channel=1"),
        ("usb:0", "usb:0"),
        ("open rtsp://a:b@c/1 failed: x@y", "open rtsp://c/1 failed: x@y"),
    ],
)
def test_passwords_are_not_shown(source: str, shown: str) -> None:
    assert without_password(source) == shown


def test_error_at_the_start_has_no_password(driver: Driver) -> None:
    driver.present = False
    config = CameraConfig(source=ABSENT.source)
    with pytest.raises(CameraError, match="no frame from rtsp://cam/1; is it connected") as raised:
        LiveCamera("belt", config, driver.open)
    assert "hunter2" not in str(raised.value)


def test_usb_without_a_number() -> None:
    with pytest.raises(CameraError, match="needs the number"):
        open_camera("belt", CameraConfig(source="usb:front"))


class Stream(http.server.BaseHTTPRequestHandler):
    """Motion JPEG at about 50 frames a second; `Stream.mode` is "send", "hang" or "end"."""

    mode = "send"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
        try:
            while Stream.mode != "end":
                if Stream.mode == "send":
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass  # the camera has hung up

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(live, "FIRST_RETRY_S", 0.1)
    Stream.mode = "send"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/belt"
    Stream.mode = "end"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("fault", ["end", "hang"])
def test_stream_that_breaks_and_comes_back(stream: str, fault: str) -> None:
    with open_camera("belt", CameraConfig(source=stream, stall_s=0.5, static_ok=True)) as camera:
        assert (camera.size, camera.live) == (SIZE, True)
        frames = [camera.read(1.0) for _ in range(10)]
        assert all(isinstance(frame, Frame) for frame in frames)
        Stream.mode = fault
        gaps = _gaps(camera, 1)
        Stream.mode = "send"
        gaps += _gaps(camera, 1)
        assert [gap.reason for gap in gaps] == ["stall", "reopened"]
        assert gaps[0].until == gaps[1].since
        assert isinstance(camera.read(1.0), Frame)


def _gaps(camera: Any, wanted: int) -> list[Gap]:
    found: list[Gap] = []
    deadline = time.monotonic() + 20
    while len(found) < wanted and time.monotonic() < deadline:
        if isinstance(moment := camera.read(0.05), Gap):
            found.append(moment)
    return found


def test_log_has_no_line_per_frame(stream: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), open_camera("belt", CameraConfig(source=stream, static_ok=True)) as camera:
        for _ in range(10):
            camera.read(1.0)
    assert not caplog.records
