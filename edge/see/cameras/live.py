"""Live sources, USB and network: a thread per camera keeps the newest frame and opens a lost source again."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras.capture import (
    Handle,
    Source,
    buffers,
    ffmpeg_or_any,
    frames_per_second,
    quiet_opencv,
    size_of,
    without_password,
)
from edge.see.cameras.encoder import LiveTicks
from edge.see.cameras.sight import Stillness, is_picture
from edge.types import Frame, Gap, Image

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0  # waits between attempts to open a lost source; each doubles the one before
MOST_MS = 2**31 - 1  # what OpenCV's settings hold
STUCK_S = 30.0  # least time after which a call into the driver counts as never coming back

_log = logging.getLogger(__name__)


@dataclass
class _Slot:
    """What the capture thread and the reader share, under the lock of `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    newest: Image | None = None  # None: the newest frame has been taken
    spare: Image | None = None  # the reader's way of giving buffers back
    index: int = -1  # of the newest frame
    ticks: float | None = None  # of the belt's encoder, when the newest frame had come
    time: float = 0.0  # s, monotonic, when the newest frame had come
    outage: tuple[float, float, int] | None = None  # since, until, first index after it; None: nothing to report
    corrupt: int = 0  # frames before the newest and after the last one that was taken that were no pictures
    unread: int = 0  # the same after the newest
    repeated: int = 0  # frames after the newest that showed it once more
    frozen_since: float | None = None  # s, monotonic: the newest frame and those before it are all the same
    failure: BaseException | None = None  # why the thread has ended


class LiveCamera(Source):
    """The newest frame of a camera that does not wait. What is not taken in time is dropped and counted."""

    live = True
    ended = False
    close_s = 3.0  # how long a driver may take to come back when all ends

    def __init__(
        self,
        name: str,
        camera: CameraConfig,
        open_handle: Callable[[CameraConfig], Handle] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the capture thread.

        Without a configured size the first frame has to tell it: it is waited for, and `CameraError` raised where there
        is none. With one, the source may come later.
        """
        quiet_opencv()
        self._name, self._config, self._clock = name, camera, clock
        self._shown = without_password(camera.source or camera.command[0])
        self._open_handle = open_handle or open_capture
        self._busy_since: float | None = None  # when the thread went into the driver
        self._stop = threading.Event()
        self._handle: Handle = cv2.VideoCapture()  # not opened yet
        self.fps = camera.fps
        if camera.size is None:
            first = self._first_image()
            self.size, self._slot = size_of(first), _Slot(newest=first, index=0, time=clock())
        else:
            self.size, self._slot = camera.size, _Slot(time=clock())
        self._held, self._writing = buffers(self.size, 2)
        self._last_index = -1
        self._reported: float | None = None  # until when a stall that is not over has been reported
        self._frozen: float | None = None  # until when a frozen picture that is not over has been reported
        self._stillness = Stillness()
        self._encoder = None if camera.encoder is None else LiveTicks(name, camera.encoder)
        self._thread = threading.Thread(target=self._capture, name=f"capture-{name}", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the newest frame if it has not been taken yet, a gap, or None when `timeout_s` is over.

        An outage gives two gaps that touch: "stall" when nothing has come for `stall_s`, "reopened" with the first
        frame after it. A picture that no longer changes gives two as well, both "frozen", and its frames are not given.
        Raises `CameraError` where the frame size has changed or the driver does not come back.
        """
        slot = self._slot
        with slot.changed:
            slot.changed.wait_for(lambda: slot.newest is not None or slot.failure is not None, timeout_s)
            if slot.failure is not None:
                said = str(slot.failure).removeprefix(f"camera {self._name}: ")
                raise CameraError(f"camera {self._name}: {said}") from slot.failure
            if slot.newest is None:
                return self._nothing_new()
            if slot.outage is not None:
                return self._seeing_again(*slot.outage)
            if slot.frozen_since is not None:
                return self._drop_frozen(slot.newest, slot.frozen_since)
            if self._frozen is not None:
                return self._thawed(self._frozen)
            return self._take(slot.newest)

    def close(self) -> None:
        """Ask the capture thread to end, which releases the source; one stuck in its driver is left behind."""
        self._stop.set()
        if self._encoder is not None:
            self._encoder.close()
        self._thread.join(self.close_s)
        if self._thread.is_alive():
            _log.warning("camera=%s its driver does not come back; the thread is left behind", self._name)

    def _first_image(self) -> Image:
        self._open()
        found, image = self._handle.read() if self._handle.isOpened() else (False, None)
        if not found or image is None:
            self._handle.release()
            raise CameraError(
                f"camera {self._name}: no frame from {self._shown}; is it connected, and the address right? "
                "To start without it, set size"
            )
        return np.asarray(image, np.uint8)

    def _take(self, newest: Image) -> Frame:
        """Hand the newest frame out and give the buffer of the one before back to the thread."""
        slot = self._slot
        slot.spare, self._held, slot.newest = self._held, newest, None
        corrupt, slot.corrupt = slot.corrupt, 0
        dropped, self._last_index = slot.index - self._last_index - 1 - corrupt, slot.index
        return Frame(self._name, slot.index, slot.time, newest, dropped, corrupt, slot.ticks)

    def _drop_frozen(self, newest: Image, since: float) -> Gap | None:
        """Let go of a frame that shows what was seen before; the first of them is reported."""
        slot = self._slot
        slot.spare, slot.newest = newest if slot.spare is None else slot.spare, None
        self._last_index, slot.corrupt = slot.index, 0
        if self._frozen is not None:
            return None
        self._frozen = slot.time
        _log.warning("camera=%s state=frozen source=%s same_s=%.1f", self._name, self._shown, slot.time - since)
        return Gap(self._name, slot.index + 1, since, slot.time, "frozen")

    def _thawed(self, reported: float) -> Gap:
        self._frozen = None
        _log.warning("camera=%s state=seeing source=%s", self._name, self._shown)
        return Gap(self._name, self._slot.index, reported, self._slot.time, "frozen")

    def _nothing_new(self) -> Gap | None:
        now = self._clock()
        busy_s = 0.0 if self._busy_since is None else now - self._busy_since
        if busy_s > max(STUCK_S, 2 * self._config.stall_s):
            raise CameraError(
                f"camera {self._name}: {self._shown} has not come back from its driver for {busy_s:.0f} s; "
                "only a restart of this process frees it"
            )
        since = self._slot.time
        if self._reported is not None or now - since < self._config.stall_s:
            return None
        self._reported = now
        _log.warning("camera=%s state=lost source=%s silent_s=%.1f", self._name, self._shown, now - since)
        return Gap(self._name, self._slot.index + 1, since, now, "stall")

    def _seeing_again(self, since: float, until: float, index: int) -> Gap:
        reported, self._reported, self._slot.outage = self._reported, None, None
        _log.warning("camera=%s state=seeing source=%s dark_s=%.1f", self._name, self._shown, until - since)
        return Gap(self._name, index, since if reported is None else reported, until, "reopened")

    # Below runs in the capture thread.

    def _capture(self) -> None:
        retry_s, reopened = FIRST_RETRY_S, False
        try:
            if not self._handle.isOpened():
                self._open()
            while not self._stop.is_set():
                if self._one_frame(reopened):
                    retry_s, reopened = FIRST_RETRY_S, False
                    continue
                reopened = True
                self._handle.release()
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                if not self._stop.is_set():
                    self._open()
        except Exception as error:  # noqa: BLE001  the entry point of a thread: the reader ends the process
            with self._slot.changed:
                self._slot.failure = error
                self._slot.changed.notify()
        finally:
            self._handle.release()

    def _one_frame(self, reopened: bool) -> bool:
        self._busy_since = self._clock()
        found, image = self._handle.read(self._writing)
        self._busy_since = None
        if not found:
            return False
        if size_of(image) != self.size:
            raise self._other_size(size_of(image))
        if is_picture(image):
            self._put(image, reopened)
        else:
            with self._slot.changed:
                self._slot.unread += 1
        return True

    def _put(self, image: Image, reopened: bool) -> None:
        """Make `image` the newest; its predecessor, or a buffer the reader gave back, is written to next."""
        slot, now = self._slot, self._clock()
        if reopened:
            self._stillness.reset()
        frozen_since = None if self._config.static_ok else self._stillness.note(image, now)
        with slot.changed:
            slot.frozen_since = frozen_since
            if self._stillness.repeated and frozen_since is None:  # nobody can decide by what shows nothing new
                slot.repeated += 1
                return
            index, slot.corrupt = slot.index + 1 + slot.unread + slot.repeated, slot.corrupt + slot.unread
            slot.unread = slot.repeated = 0
            if reopened or now - slot.time >= self._config.stall_s:
                since = slot.time if slot.outage is None else slot.outage[0]
                slot.outage = since, now, index
            free = slot.spare if slot.newest is None else slot.newest
            if slot.newest is None:
                slot.spare = None
            slot.newest, slot.index, slot.time = image, index, now
            slot.ticks = None if self._encoder is None else self._encoder.newest
            self._writing = buffers(self.size, 1)[0] if free is None else free
            slot.changed.notify()

    def _other_size(self, size: tuple[int, int]) -> CameraError:
        if self._slot.index < 0:
            return CameraError(
                f"{self._shown} gives frames of {size}, and size is {self.size}; set size to what it gives"
            )
        return CameraError(f"{self._shown} changed its size from {self.size} to {size}; set it back")

    def _open(self) -> None:
        self._busy_since = self._clock()
        self._handle = self._open_handle(self._config)
        self._busy_since = None
        if self.fps is None and self._handle.isOpened():
            self.fps = frames_per_second(self._handle)


def open_capture(camera: CameraConfig) -> Handle:
    """Return OpenCV's handle on a device or URL; it may not be open. A silent URL gives up after `stall_s`."""
    if not camera.source.startswith("usb:"):
        limit_ms = min(round(camera.stall_s * 1000), MOST_MS)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        return cv2.VideoCapture(camera.source, ffmpeg_or_any(), limits)
    number = camera.source.removeprefix("usb:")
    if not re.fullmatch("[0-9]{1,4}", number):
        raise CameraError(f"source {camera.source}: usb: needs the number of a /dev/videoN, such as usb:0")
    handle = cv2.VideoCapture(int(number), cv2.CAP_V4L2)
    if camera.size is not None:
        handle.set(cv2.CAP_PROP_FRAME_WIDTH, camera.size[0])
        handle.set(cv2.CAP_PROP_FRAME_HEIGHT, camera.size[1])
    if camera.fps is not None:
        handle.set(cv2.CAP_PROP_FPS, camera.fps)
    return handle
