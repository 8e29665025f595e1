"""A picture from a file: whole, or an error that says what is wrong with it."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

from edge.see.cameras.capture import quiet_opencv
from edge.types import Image

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # by first bytes: how a whole JPEG or PNG ends


class NoPictureError(Exception):
    """A file holds no picture that can be taken; `fix` is what may help."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.fix = fix


def read_still(file: Path) -> Image:
    """Return the picture (h, w, 3) in `file`; raises `NoPictureError`.

    OpenCV does not read the file itself: it waits for pipes, and ends the process at a name that is not UTF-8.
    """
    quiet_opencv()
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for without end
            raise NoPictureError("is no file", "")
        data = file.read_bytes()
    except OSError as error:
        raise NoPictureError(f"cannot be read: {error.strerror}", "") from error
    # OpenCV decodes half a JPEG "successfully", with grey where the rest was: look for its end.
    cut_short = _ENDS.get(data[:2], b"") not in data[-4096:]
    try:
        image = None if cut_short or not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise NoPictureError(f"cannot be decoded: {error.err}", "make it smaller") from error
    if image is None:
        raise NoPictureError("is no picture or is cut short", "copy it again")
    return np.asarray(image, np.uint8)
