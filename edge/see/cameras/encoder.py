"""Ticks of a belt's encoder: the newest of a live source, and one per frame of a recording."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import selectors
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edge.config import Encoder
from edge.errors import CameraError
from edge.see.cameras.capture import Source
from edge.types import Frame, Gap

if TYPE_CHECKING:  # it opens us
    from edge.see.cameras import Camera

PYTHON = "{python}"  # in a command: the interpreter that runs this
RETRY_S = 0.5  # until a pipe or a program that has ended is opened again
CHECK_S = 0.2  # how often the reader looks whether it is to stop
END_S = 2.0  # how long a program may take to end
MOST_BYTES = 4096  # that are read at a time; a line is far shorter

_log = logging.getLogger(__name__)


class LiveTicks:
    """The newest number that a pipe, a serial device or a program has written, a line each; a thread reads them."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        """Start to read; raises `CameraError` where `encoder.source` is a file or folder: it has no newest line."""
        self._name, self._encoder = name, encoder
        mode = _mode(encoder.source) if encoder.source else 0
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            raise CameraError(
                f"camera {name}: encoder {encoder.source} is a {'folder' if stat.S_ISDIR(mode) else 'file'}; for a "
                "live camera name a pipe or a serial device, or give a command"
            )
        self.newest: float | None = None
        self._lost = False  # and nothing has come since
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"encoder-{name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the program."""
        self._stop.set()
        self._thread.join(2 * END_S + 1.0)

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                if self._encoder.command:
                    self._run()
                else:
                    self._follow(os.open(self._encoder.source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
            except OSError as error:
                self._lose(error.strerror or str(error))
            self._stop.wait(RETRY_S)

    def _lose(self, why: str) -> None:
        """Forget the ticks, which would say that the belt stands."""
        self.newest = None
        if not (self._lost or self._stop.is_set()):
            _log.warning("camera=%s encoder=%s state=lost why=%s", self._name, self._shown, why)
        self._lost = True

    @property
    def _shown(self) -> str:
        return self._encoder.source or self._encoder.command[0]

    def _run(self) -> None:
        """Follow what the program writes, until it ends or is to end."""
        words = [sys.executable if word == PYTHON else word for word in self._encoder.command]
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we end the program when we are done with it
        ) as process:
            try:
                if process.stdout is not None:
                    self._follow(os.dup(process.stdout.fileno()))
            finally:
                _end(process)
        self._lose("it has ended")

    def _follow(self, descriptor: int) -> None:
        """Keep the newest whole line of what can be read from `descriptor`, until its end; close it."""
        rest = b""
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            ready = stack.enter_context(selectors.DefaultSelector())
            os.set_blocking(descriptor, False)
            ready.register(descriptor, selectors.EVENT_READ)
            while not self._stop.is_set():
                if not ready.select(CHECK_S):
                    continue
                try:
                    data = os.read(descriptor, MOST_BYTES)
                except BlockingIOError:
                    continue
                if not data:
                    return
                *whole, rest = (rest + data)[-MOST_BYTES:].split(b"\n")
                self._note(whole)

    def _note(self, lines: list[bytes]) -> None:
        told = [ticks for ticks in map(_number, lines) if ticks is not None]
        if told:
            self.newest, self._lost = told[-1], False


class TicksOfFrames:
    """The numbers of a file, one per line, frame by frame; it may grow while it is read."""

    def __init__(self, name: str, path: str) -> None:
        """Take the name of the file: it is opened with the first frame, for a program of frames may write it."""
        self._name, self._path, self._line = name, path, 0
        self._file: TextIO | None = None

    def next(self) -> float | None:
        """Return the ticks of the next frame, None beyond the last line.

        Raises `CameraError` where there is no such file, or a line is no number.
        """
        try:
            if self._file is None:
                self._file = _opened(self._path)
            line = self._file.readline(MOST_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            raise CameraError(
                f"camera {self._name}: encoder {self._path} cannot be read: {error}; it is a text file with the ticks "
                "of one frame in each line"
            ) from error
        if not line:
            return None
        self._line += 1
        ticks = _number(line.encode())
        if ticks is None:
            raise CameraError(
                f"camera {self._name}: encoder {self._path}: line {self._line} is {line.strip()[:40]!r}; write the "
                "ticks of one frame there, a number"
            )
        return ticks

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class WithTicks(Source):
    """A recording whose frames have ticks."""

    live = False

    def __init__(self, camera: Camera, ticks: TicksOfFrames) -> None:
        self._camera, self._ticks = camera, ticks
        self.size, self.fps = camera.size, camera.fps

    @property
    def ended(self) -> bool:
        """Whether the recording is over."""
        return self._camera.ended

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the next frame, with its ticks; raises `CameraError` as the recording does, and for a bad line."""
        got = self._camera.read(timeout_s)
        return replace(got, ticks=self._ticks.next()) if isinstance(got, Frame) else got

    def close(self) -> None:
        """Close both."""
        self._camera.close()
        self._ticks.close()


def _opened(path: str) -> TextIO:
    """Return the file `path`; what would be waited for, or has no end, is none."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file", path)
    return Path(path).open(encoding="utf-8")


def _number(line: bytes) -> float | None:
    """Return the number in a line, or None where there is none."""
    try:
        number = float(line)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _mode(path: str) -> int:
    """Return what kind of file `path` is; 0 where nothing is there yet."""
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return
