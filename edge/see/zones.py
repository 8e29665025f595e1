"""Where in the frame spots may begin: zones that are looked at, and zones that are not."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.config import Zone
from edge.types import Image

SHIFT = 4  # fractional bits of the corners: label pixels are coarse


class ZoneMap:
    """Blanks the foreground of one camera outside its zones of interest.

    Tracks are zones of interest that move: what began inside is followed wherever it goes.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._looked = [zone for zone in zones if zone.attention == "only"]
        self._ignored = [zone for zone in zones if zone.attention == "ignore"]
        self._kept: Image | None = None  # (h, w) of label size: 1 where spots may begin

    def __call__(self, found: Image, scale: tuple[float, float]) -> Image:
        """Return foreground `found` (h, w) uint8 without what is outside; `scale` is frame pixels per label pixel."""
        if not self._looked and not self._ignored:
            return found
        if self._kept is None or self._kept.shape != found.shape:
            self._kept = self._drawn(found.shape, scale)
        return found & self._kept

    def _drawn(self, shape: tuple[int, ...], scale: tuple[float, float]) -> Image:
        kept: Image = np.full(shape, not self._looked, np.uint8)
        for zones, value in ((self._looked, 1), (self._ignored, 0)):
            for zone in zones:
                corners = (np.asarray(zone.points) / scale - 0.5) * (1 << SHIFT)  # the middle of cell 0 is at 0
                cv2.fillPoly(kept, [np.round(corners).astype(np.int32)], value, shift=SHIFT)
        return kept
