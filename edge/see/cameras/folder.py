"""Folders of pictures: a recording with one file per frame."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from edge.errors import CameraError
from edge.see.cameras.capture import Source, quiet_opencv, size_of
from edge.types import Frame, Gap, Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # by first bytes: how a whole JPEG or PNG ends


class PictureFolder(Source):
    """The pictures of a folder, 2 before 10. Without `fps` they count as one a second."""

    live = False

    def __init__(self, name: str, path: Path, fps: float | None) -> None:
        """List the folder and decode its first picture."""
        quiet_opencv()
        self._name, self.fps = name, fps
        try:
            self._files = sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES), key=natural)
        except OSError as error:
            raise CameraError(
                f"camera {name}: {path} cannot be listed: {error.strerror}; give this user the right to read it"
            ) from error
        if not self._files:
            raise CameraError(f"camera {name}: no picture in {path}; put png, jpg, bmp or tif files into it")
        self._index = 0
        self._next: Image | None = self._decode(self._files[0])
        self.size = size_of(self._next)

    def read(self, timeout_s: float) -> Frame | Gap | None:  # noqa: ARG002  a recording waits for nobody
        """Return the next picture, or None after the last; raises `CameraError` naming a file that does not fit."""
        if self._index == len(self._files):
            return None
        file = self._files[self._index]
        image = self._decode(file) if self._next is None else self._next
        if size_of(image) != self.size:
            raise CameraError(
                f"camera {self._name}: {file} is {_by(size_of(image))} pixels, the pictures before it are "
                f"{_by(self.size)}; keep one folder per size"
            )
        self._next = None
        self._index += 1
        return Frame(self._name, self._index - 1, (self._index - 1) / (self.fps or 1.0), image)

    @property
    def ended(self) -> bool:
        """Whether the last picture has been given."""
        return self._index == len(self._files)

    def _decode(self, file: Path) -> Image:
        try:
            if not file.is_file():  # a pipe would be waited for without end
                raise CameraError(f"camera {self._name}: {file} is no file; remove it")
            data = file.read_bytes()
        except OSError as error:
            raise CameraError(f"camera {self._name}: {file} cannot be read: {error.strerror}; remove it") from error
        # OpenCV decodes half a JPEG "successfully", with grey where the rest was: look for its end.
        cut_short = _ENDS.get(data[:2], b"") not in data[-4096:]
        try:
            image = None if cut_short or not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise CameraError(
                f"camera {self._name}: {file} cannot be decoded: {error.err}; make it smaller or remove it"
            ) from error
        if image is None:
            raise CameraError(f"camera {self._name}: {file} is no picture or is cut short; remove it or copy it again")
        return np.asarray(image, np.uint8)


def natural(path: Path) -> list[str | int]:
    """Return a key that sorts the numbers in file names by value."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
