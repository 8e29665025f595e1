"""Programs that write raw frames to their standard output: vendors' SDKs, GStreamer, renderers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import sys
import time
from typing import IO

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras.capture import Source, buffers
from edge.types import Frame, Gap, Image

PATIENCE_S = 30.0  # least silence after which a program counts as hung; it may have to start a camera first
END_S = 5.0  # how long a program may take to end when its standard input is closed, and again when terminated
PYTHON = "{python}"  # in a command: the interpreter that runs this
PIPE_BYTES = 1 << 20  # what an unprivileged process may ask for
_STDERR_BYTES = 4096  # of which the last line goes into errors


class ProgramCamera(Source):
    """A program's raw BGR24 frames of a fixed size; the end of its output is the end of the recording."""

    live = False

    def __init__(self, name: str, camera: CameraConfig) -> None:
        """Start `camera.command`; without `fps` the time of a frame is when it was complete."""
        if camera.size is None:
            raise CameraError(f"camera {name}: command needs size = [width, height]")
        self.size, self.fps = camera.size, camera.fps
        self._name, self._command, self._demand = name, camera.command, camera.demand
        self._patience_s = max(camera.stall_s, PATIENCE_S)
        self._index, self._started, self._ended = 0, 0.0, False
        self._buffers = buffers(camera.size, 2)
        self._stderr = b""
        self._process = _start(name, camera)
        self._stdout_fd, self._stderr_fd = (_unblocked(p) for p in (self._process.stdout, self._process.stderr))
        with contextlib.suppress(OSError):  # the limit for this user is lower, or used up: slower, not wrong
            fcntl.fcntl(self._stdout_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout_fd, selectors.EVENT_READ)
        self._selector.register(self._stderr_fd, selectors.EVENT_READ)

    def read(self, timeout_s: float) -> Frame | Gap | None:  # noqa: ARG002  a recording waits for nobody
        """Return the next frame, or None at the end of the output.

        Raises `CameraError`, with the last line the program wrote to its standard error, where it stops in the middle
        of a frame, fails, writes no frame at all or is silent for longer than the larger of `stall_s` and 30 s.
        """
        if self._ended:
            return None
        self._buffers.reverse()
        image = self._buffers[0]
        if self._demand:
            self._ask()
        got = self._fill(image.data.cast("B"))
        if got < image.nbytes:
            self._end(got, image)
            return None
        self._index += 1
        return Frame(self._name, self._index - 1, self._time(), image)

    def close(self) -> None:
        """Close the program's standard input, then terminate it, then kill it."""
        self._ended = True
        self._selector.close()
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if not self._demand:  # nothing tells it to end: it learns from its standard output, if ever
            self._process.terminate()
        for insist in (self._process.terminate, self._process.kill):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
                return
            insist()
        self._process.wait()

    def _ask(self) -> None:
        """Write the byte that asks for a frame; a program that has ended is found out when its output is read."""
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(b"\n")

    def _fill(self, target: memoryview) -> int:
        """Read into `target` until it is full or the output ends; return the number of bytes."""
        got, deadline = 0, time.monotonic() + self._patience_s
        while got < len(target):
            left_s = deadline - time.monotonic()
            ready = self._selector.select(left_s) if left_s > 0 else []  # what it says is not a frame
            if not ready:
                raise self._error(f"wrote no whole frame for {self._patience_s:g} s; mend it or raise stall_s")
            for key, _ in ready:
                if key.fd == self._stderr_fd:
                    if not self._note_stderr():
                        self._selector.unregister(self._stderr_fd)
                    continue
                count = os.readv(self._stdout_fd, [target[got:]])
                if count == 0:
                    return got
                got += count
        return got

    def _note_stderr(self) -> bool:
        """Keep the end of what the program says, so that it never blocks on saying it; False at its end."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._stderr_fd, PIPE_BYTES)
            self._stderr = (self._stderr + data)[-_STDERR_BYTES:]
            return bool(data)
        return True

    def _end(self, got: int, image: Image) -> None:
        """Note the end of the output; raise `CameraError` if it is not a clean one."""
        self._ended = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._note_stderr()
        if got:
            raise self._error(f"ended within a frame, after {got} of {image.nbytes} bytes; is size right?")
        if self._process.poll():
            raise self._error(f"ended with exit code {self._process.returncode}")
        if self._index == 0:
            raise self._error("ended without a frame")

    def _error(self, what: str) -> CameraError:
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        said = f"; it said: {lines[-1].strip()}" if lines else ""
        return CameraError(f"camera {self._name}: {self._command[0]} {what} (frame {self._index}){said}")

    def _time(self) -> float:
        if self.fps is not None:
            return (self._index - 1) / self.fps
        if self._index == 1:
            self._started = time.monotonic()
        return time.monotonic() - self._started


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
