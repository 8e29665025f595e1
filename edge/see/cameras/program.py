"""Programs that write raw frames to their standard output: vendors' SDKs, GStreamer, renderers."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras.capture import Source, buffers, without_password
from edge.see.cameras.live import LiveCamera
from edge.types import Frame, Gap, Image

PATIENCE_S = 30.0  # least silence after which a program counts as hung; it may have to start a camera first
START_S = 20.0  # least silence before the first frame after which a live program is started again; below live.STUCK_S
CHECK_S = 0.2  # how often a live program's reader looks whether it is to stop
END_S = 5.0  # how long a program may take to end when its standard input is closed, and again when terminated
PYTHON = "{python}"  # in a command: the interpreter that runs this
PIPE_BYTES = 1 << 20  # what an unprivileged process may ask for
_STDERR_BYTES = 4096  # of which the last line goes into errors
_SAID_CHARACTERS = 300  # of that line

_log = logging.getLogger(__name__)


class ProgramCamera(Source):
    """A program that waits until its frames are read: the end of its output is the end of the recording."""

    live = False

    def __init__(self, name: str, camera: CameraConfig) -> None:
        """Start `camera.command`; without `fps` the time of a frame is when it was complete."""
        self._program = Program(name, camera, max(camera.stall_s, PATIENCE_S))
        self.size, self.fps = self._program.size, camera.fps
        self._name, self._started = name, 0.0
        self._given, self._next = buffers(self.size, 2)

    @property
    def ended(self) -> bool:
        """Whether the program's output has ended."""
        return self._program.ended

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the next frame; None at the end of the output, and where none is whole within `timeout_s`.

        Raises `CameraError`, with the last line the program wrote to its standard error, where it stops in the middle
        of a frame, fails, writes no frame at all or is silent for longer than the larger of `stall_s` and 30 s.
        """
        if self.ended or not self._program.fill(self._next, timeout_s):
            return None
        self._given, self._next = self._next, self._given
        index = self._program.frames - 1
        return Frame(self._name, index, self._time(index), self._given)

    def close(self) -> None:
        """End the program."""
        self._program.close()

    def _time(self, index: int) -> float:
        if self.fps is not None:
            return index / self.fps
        if index == 0:
            self._started = time.monotonic()
        return time.monotonic() - self._started


class LiveProgram(LiveCamera):
    """The newest frame of a program that does not wait. One that ends or falls silent is started again."""

    close_s = 2 * END_S + 1.0  # until it is killed

    def __init__(self, name: str, camera: CameraConfig) -> None:
        """Start the capture thread, which starts `camera.command`."""
        super().__init__(name, camera, lambda config: ProgramHandle(name, config, self._stop))


class ProgramHandle:
    """One run of a live program, in the manner of OpenCV's `VideoCapture`."""

    def __init__(self, name: str, camera: CameraConfig, stop: threading.Event) -> None:
        """Start the program; raises `CameraError` where that cannot be. `stop` ends a `read` early."""
        self._name, self._stall_s, self._stop = name, camera.stall_s, stop
        self._program = Program(name, camera, max(camera.stall_s, START_S))

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        """Return whether the program's output goes on."""
        return not self._program.ended

    def get(self, prop: int, /) -> float:  # noqa: ARG002  a program declares nothing
        """Return 0, as OpenCV does for what it does not know."""
        return 0.0

    def read(self, image: Any = None, /) -> tuple[bool, Any]:
        """Fill `image`; False where the program has ended, has failed or is silent for too long."""
        image = buffers(self._program.size, 1)[0] if image is None else image
        try:
            while not (self._program.ended or self._stop.is_set()):
                if self._program.fill(image, CHECK_S):
                    self._program.patience_s = self._stall_s
                    return True, image
        except CameraError as error:
            _log.warning("camera=%s state=restarting why=%s", self._name, error)
        return False, image

    def release(self) -> None:
        """End the program."""
        self._program.close()


class Program:
    """A running program: the raw BGR24 frames it writes, and what it says on its standard error."""

    def __init__(self, name: str, camera: CameraConfig, patience_s: float) -> None:
        """Start `camera.command`; a frame that takes longer than `patience_s` counts as never coming."""
        if camera.size is None:
            raise CameraError(f"camera {name}: command needs size = [width, height]")
        self.size, self.patience_s, self.frames, self.ended = camera.size, patience_s, 0, False
        self._name, self._command, self._demand = name, camera.command, camera.demand
        self._got = 0  # bytes of the frame that is being written
        self._since: float | None = None  # when that frame was first waited for
        self._stderr = b""
        self._process = _start(name, camera)
        self._group = self._process.pid  # it leads a session, and so a process group, of its own
        self._stdout_fd, self._stderr_fd = (_unblocked(p) for p in (self._process.stdout, self._process.stderr))
        with contextlib.suppress(OSError):  # the limit for this user is lower, or used up: slower, not wrong
            fcntl.fcntl(self._stdout_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout_fd, selectors.EVENT_READ)
        self._selector.register(self._stderr_fd, selectors.EVENT_READ)

    def fill(self, image: Image, timeout_s: float) -> bool:
        """Go on with the next frame; return whether it is whole now. While it is not, come back with the same `image`.

        Sets `ended` at the end of the output; raises `CameraError` where that is no clean one, or patience is over.
        """
        until = time.monotonic() + timeout_s
        if self._since is None:
            self._since = time.monotonic()
            self._ask()
        if not self._read_into(image.data.cast("B"), until):
            return False
        self._got, self._since = 0, None
        self.frames += 1
        return True

    def close(self) -> None:
        """Close the program's standard input, terminate it, kill it; whatever it has started ends with it."""
        self.ended = True
        self._selector.close()
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if not self._demand:  # nothing tells it to end: it learns from its standard output, if ever
            self._signal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._waited(END_S):
                break
            self._signal(number)
        self._waited(None)

    def _waited(self, timeout_s: float | None) -> bool:
        """Return whether the program has ended within `timeout_s`; then what it has left behind is killed."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._signal(signal.SIGKILL)
        self._group = 0
        return True

    def _signal(self, number: int) -> None:
        """Send a signal to the program and all that it has started, unless they have been seen off before."""
        if self._group:  # once it is empty, its number may become another's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)

    def _ask(self) -> None:
        """Write the byte that asks for a frame; a program that has ended is found out when its output is read."""
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(b"\n")

    def _read_into(self, target: memoryview, until: float) -> bool:
        """Read until `target` is full, the output ends, or it is `until` and nothing is there."""
        while self._got < len(target):
            ready = {key.fd for key, _ in self._selector.select(max(0.0, until - time.monotonic()))}
            if self._stderr_fd in ready and not self._note_stderr():  # what it says is not a frame
                self._selector.unregister(self._stderr_fd)
            if self._stdout_fd in ready:
                count = os.readv(self._stdout_fd, [target[self._got :]])
                if count == 0:
                    self._end(len(target))
                    return False
                self._got += count
            elif time.monotonic() >= until:
                self._check_patience()
                return False
        return True

    def _check_patience(self) -> None:
        if self._since is not None and time.monotonic() - self._since > self.patience_s:
            raise self._error(f"wrote no whole frame for {self.patience_s:g} s; mend it or raise stall_s")

    def _note_stderr(self) -> bool:
        """Keep the end of what the program says, so that it never blocks on saying it; False at its end."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._stderr_fd, PIPE_BYTES)
            self._stderr = (self._stderr + data)[-_STDERR_BYTES:]
            return bool(data)
        return True

    def _end(self, wanted: int) -> None:
        """Note the end of the output; raise `CameraError` if it is not a clean one."""
        self.ended = True
        self._waited(END_S)
        self._note_stderr()
        if self._got:
            raise self._error(f"ended within a frame, after {self._got} of {wanted} bytes; is size right?")
        if self._process.poll():
            raise self._error(f"ended with exit code {self._process.returncode}")
        if self.frames == 0:
            raise self._error("ended without a frame")

    def _error(self, what: str) -> CameraError:
        lines = without_password(self._stderr.decode(errors="replace")).strip().splitlines()
        last = "".join(filter(str.isprintable, lines[-1]))[:_SAID_CHARACTERS].strip() if lines else ""
        said = f"; it said: {last}" if last else ""
        return CameraError(f"camera {self._name}: {self._command[0]} {what} (frame {self.frames}){said}")


def _start(name: str, camera: CameraConfig) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable if word == PYTHON else word for word in camera.command],
            bufsize=0,
            stdin=subprocess.PIPE if camera.demand else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: we end the program when we are done with it
        )
    except OSError as error:
        raise CameraError(
            f"camera {name}: cannot start {camera.command[0]}: {error.strerror}; "
            "command is a list: the program, then its arguments"
        ) from error


def _unblocked(pipe: IO[bytes] | None) -> int:
    """Return the descriptor of `pipe`, which from now on never blocks."""
    if pipe is None:
        raise CameraError("a program was started without pipes")  # cannot be: every pipe is asked for above
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()
