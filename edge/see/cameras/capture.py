"""What several families of sources share: closing, and the manners of OpenCV's VideoCapture."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

from edge.types import Image

# FFmpeg writes straight to standard error; what matters of it is in our own one-line errors.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET

_S = TypeVar("_S", bound="Source")


class Source:
    """Something that is closed at the end of a `with`."""

    def close(self) -> None:
        """Let go of what is open; may be called twice."""

    def __enter__(self: _S) -> _S:  # noqa: PYI019  typing has no Self in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Handle(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802, D102  OpenCV's name
    def get(self, prop: int, /) -> float: ...  # noqa: D102
    def read(self, image: Any = None, /) -> tuple[bool, Any]: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


def quiet_opencv() -> None:
    """Stop OpenCV from writing its own warnings about sources to standard error."""
    if hasattr(cv2, "setLogLevel"):  # 4.x
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def ffmpeg_or_any() -> int:
    """Return OpenCV's FFmpeg back end, or the wildcard where OpenCV was built without (Jetson's own package)."""
    return cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends() else cv2.CAP_ANY


def frames_per_second(handle: Handle) -> float | None:
    """Return the frame rate that the source declares, or None where it declares none."""
    fps = float(handle.get(cv2.CAP_PROP_FPS))
    return fps if math.isfinite(fps) and fps > 0 else None


def without_password(source: str) -> str:
    """Return `source`, or any text, as it may be logged: its URLs without the user and password they may hold.

    All up to the last @ goes, not only up to a slash: a password may hold one that should have been written as %2F.
    """
    return re.sub(r"(?<=://)\S*@", "", source)


def size_of(image: Image) -> tuple[int, int]:
    """Return width and height of a picture."""
    return image.shape[1], image.shape[0]


def buffers(size: tuple[int, int], count: int) -> list[Image]:
    """Return `count` unfilled pictures of `size` (width, height)."""
    return [np.empty((size[1], size[0], 3), np.uint8) for _ in range(count)]
