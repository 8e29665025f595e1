"""Whether a live camera still sees: pictures that are no pictures, and one picture for ever."""

from __future__ import annotations

import zlib

import numpy as np

from edge.types import Image

FROZEN_S = 1.0  # for how long a live picture may be the same to the last bit
LEAST_SAME = 3  # pictures in a row that are: a slow camera shows two of them in that time
SAMPLES = 64  # of each side, which tell most pictures apart
GREY = 128  # what a JPEG decoder makes of the part of a picture that never came


class Stillness:
    """Tells since when the pictures have been the same: no sensor is so quiet, but a driver that repeats itself is.

    A sample of the pixels tells pictures apart; only where it does not is all of the picture compared, by its CRC-32.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._sample, self._crc = b"", 0
        self._same = 0  # pictures in a row that were like the one before them
        self._since = 0.0  # s: time of the first of them
        self.repeated = False  # the newest picture is that before it, all of it compared

    def note(self, image: Image, time: float) -> float | None:
        """Take in a picture (h, w, 3) of `time`, s; return since when nothing has changed, where that is too long."""
        sample = _sample(image)
        alike = sample == self._sample
        crc = zlib.crc32(image.data) if alike else 0
        if alike and self._crc in {0, crc}:  # 0: the one before was not compared as a whole
            self._same += 1
        else:
            self._same, self._since = 0, time
        self.repeated = alike and crc == self._crc
        self._sample, self._crc = sample, crc
        frozen = self._same >= LEAST_SAME and time - self._since >= FROZEN_S
        return self._since if frozen else None


def is_picture(image: Image) -> bool:
    """Tell whether `image` (h, w, 3) shows anything: it is not black to the last bit, nor cut off above its last row.

    What a decoder does not get of a picture it leaves grey: a last row of nothing but that is no scene's.
    """
    if (image[-1] == GREY).all():
        return False
    return any(_sample(image)) or bool(image.any())


def _sample(image: Image) -> bytes:
    down, across = (max(1, side // SAMPLES) for side in image.shape[:2])
    return np.ascontiguousarray(image[::down, ::across, 1]).tobytes()
