"""Folders of pictures: a recording with one file per frame."""

from __future__ import annotations

import re
from pathlib import Path

from edge.errors import CameraError
from edge.see.cameras.capture import Source, size_of
from edge.see.cameras.stills import NoPictureError, read_still
from edge.types import Frame, Gap, Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


class PictureFolder(Source):
    """The pictures of a folder, 2 before 10. Without `fps` they count as one a second."""

    live = False

    def __init__(self, name: str, path: Path, fps: float | None) -> None:
        """List the folder and decode its first picture."""
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
            return read_still(file)
        except NoPictureError as error:
            fix = f"{error.fix} or remove it" if error.fix else "remove it"
            raise CameraError(f"camera {self._name}: {file} {error}; {fix}") from error


def natural(path: Path) -> list[str | int]:
    """Return a key that sorts the numbers in file names by value."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
