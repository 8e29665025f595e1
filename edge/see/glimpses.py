"""Objects that a tile of the audit showed in part, until a look shows them whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of
from edge.types import Boxes, Instances

SHOWN = 0.5  # share of an object that the tile must have shown
SAME = 0.5  # share of what was shown that lies in the box of the whole: it has moved on since
LASTS_FRAMES = 4  # in which the look at the whole object comes, or none does
MOST = 256


@dataclass(frozen=True, slots=True)
class _Glimpse:
    frame: int
    boxes: Boxes  # (n, 4)
    areas: npt.NDArray[np.float32]  # (n,) frame pixels of the masks


class Glimpses:
    """What the newest tiles cut."""

    def __init__(self) -> None:
        self._kept: list[_Glimpse] = []

    def __bool__(self) -> bool:
        """Tell whether there is anything to look out for."""
        return bool(self._kept)

    def note(self, frame: int, boxes: Boxes, areas: npt.NDArray[np.float32]) -> None:
        """Remember objects that the tile of `frame` cut: `boxes` (n, 4) round what it showed, `areas` (n,) of that."""
        if len(boxes):
            self._kept.append(_Glimpse(frame, boxes[:MOST], areas[:MOST]))

    def followed(self, frame: int, objects: Instances) -> npt.NDArray[np.bool_]:
        """Return (n,) which of the whole `objects` of `frame` a tile before it showed half of, at the least."""
        self._kept = [one for one in self._kept if frame - one.frame <= LASTS_FRAMES]
        found = np.zeros(len(objects), np.bool_)
        for one in self._kept:
            if one.frame < frame:
                found |= half_of(one.boxes, one.areas, objects.boxes, objects.areas_px).any(axis=0)
        return found & objects.whole

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def half_of(
    boxes: Boxes, areas: npt.NDArray[np.float32], wholes: Boxes, whole_areas: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return (n, m) whether `boxes` (n, 4) with mask `areas` (n,) show at least half of `wholes` (m, 4), (m,)."""
    within = common_of(boxes, wholes) >= SAME * areas_of(boxes)[:, None]
    return np.asarray(within & (areas[:, None] >= SHOWN * whole_areas))
