"""Video files: every frame, in order, with the time that its number gives it."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2

from edge.errors import CameraError
from edge.see.cameras.capture import Handle, Source, buffers, ffmpeg_or_any, frames_per_second, quiet_opencv, size_of
from edge.types import Frame, Gap

_log = logging.getLogger(__name__)


class VideoFile(Source):
    """A recording in one file. Nothing is dropped; `time` is the frame's number over `fps`."""

    live = False

    def __init__(self, name: str, path: Path, fps: float | None) -> None:
        """Open `path` and decode its first frame; `fps` overrides the rate the file declares."""
        quiet_opencv()
        self._name, self._path, self._index, self.ended = name, path, 0, False
        self._handle: Handle = cv2.VideoCapture(str(path), ffmpeg_or_any())
        if not self._handle.isOpened():
            raise CameraError(f"camera {name}: {path} is not a video that can be read; convert it with ffmpeg")
        self._expected = int(self._handle.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps: float | None = fps or frames_per_second(self._handle)
        self._first = self._start()
        self.size = size_of(self._first.image)
        self._spare = buffers(self.size, 2)

    def read(self, timeout_s: float) -> Frame | Gap | None:  # noqa: ARG002  a recording waits for nobody
        """Return the next frame, or None at the end; raises `CameraError` where the picture changes its size."""
        if self._index == 0:
            self._index = 1
            return self._first
        self._spare.reverse()
        found, image = self._handle.read(self._spare[0])
        if not found:
            self._end()
            return None
        if size_of(image) != self.size:
            raise CameraError(
                f"camera {self._name}: {self._path} changes its size from {self.size} to {size_of(image)} at frame "
                f"{self._index}; cut the recording there"
            )
        self._index += 1
        return Frame(self._name, self._index - 1, self._time(self._index - 1), image)

    def close(self) -> None:
        """Close the file."""
        self._handle.release()

    def _start(self) -> Frame:
        found, image = self._handle.read()
        if not found:
            self.close()
            raise CameraError(f"camera {self._name}: no frame can be decoded from {self._path}; convert it with ffmpeg")
        if self.fps is None:
            self.close()
            raise CameraError(f"camera {self._name}: {self._path} does not say its frame rate; set fps")
        return Frame(self._name, 0, 0.0, image)

    def _time(self, index: int) -> float:
        return index / self.fps if self.fps else 0.0

    def _end(self) -> None:
        """Say once if there are fewer frames than the file promises; many containers only estimate, so no error."""
        if self._index < self._expected:
            _log.warning(
                "camera=%s ended after %d of %d frames: %s is cut short or damaged",
                *(self._name, self._index, self._expected, self._path),
            )
        self._expected, self.ended = 0, True
