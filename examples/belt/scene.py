"""What the belt shows and what is true of it: the words that every module here shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""BGR picture, (h, w, 3), uint8."""
Labels: TypeAlias = NDArray[np.uint8]
"""Class map, (h, w), uint8."""
Ids: TypeAlias = NDArray[np.uint16]
"""Part id map, (h, w), uint16; 0 is no part."""
Mask: TypeAlias = NDArray[np.bool_]
"""Pixel set, (h, w), bool."""
Field: TypeAlias = NDArray[np.float32]
"""Per-pixel value, (h, w), float32."""

KINDS: Final = ("washer", "nut", "gear", "bracket")
"""Part classes; the class number is the index + 1."""
DEFECTS: Final = ("scratch", "chip", "stain", "missing_hole")
"""Defect classes; the class number is the index + 1."""
WIDTH: Final = 1920
HEIGHT: Final = 1080
FPS: Final = 30
RAIL_TOP: Final = 72
"""Camera rows above this one show the machine, not the belt."""
RAIL_BOTTOM: Final = 1008
"""First camera row of the machine below the belt."""
MIN_DEFECT_PX: Final = 60
"""Smallest visible area of any defect, frame pixels."""
MIN_VISIBLE: Final = 0.65
"""Smallest fraction of a part that the parts above it leave visible."""
MIN_DEFECT_VISIBLE: Final = 0.7
"""Smallest fraction of a defect that the parts above it leave visible."""
MAX_ID: Final = 65535
"""Part ids run from 1 to this and then start again."""
COUNT_LINE_X: Final = 1200
"""Camera column of the counting line, px."""
GATE_LINE_X: Final = 1480
"""Camera column of the reject gate, px."""

TEST_SEEDS: Final = range(1, 1000)
TRAIN_SEEDS: Final = range(1000, 2000)
VALIDATION_SEEDS: Final = range(2000, 3000)


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part in view: its class, where its visible centroid is, and what is wrong with it."""

    id: int
    kind: str
    x: float
    """Camera column of the centroid of the visible mask, px; may lie outside the frame."""
    y: float
    defects: dict[str, float]
    """Defect name -> visible area of the whole part's defect, frame px."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a perfect observer would say of one frame."""

    semantic: Labels
    """(1080, 1920) uint8: 0 belt, 1..4 the kind."""
    instances: Ids
    """(1080, 1920) uint16: 0 none, else the part id."""
    defects: Labels
    """(1080, 1920) uint8: 0 none, 1..4 the defect; a chip is the missing area, where semantic is 0."""
    parts: tuple[PartInfo, ...]


@dataclass(frozen=True, slots=True)
class View:
    """One frame of the stream."""

    index: int
    image: Image
    """(1080, 1920, 3) uint8 BGR, freshly allocated."""
    travel_px: float
    """How far the belt has moved since frame 0, forward minus backward, at mid-frame scale."""
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class Crossing:
    """A part's centroid passed a camera column, going right, for the first time."""

    id: int
    kind: str
    frame: int
    """First frame whose centroid is at or past the line."""
    y: float
    """Camera row of the centroid, px."""
    defects: dict[str, float]
    """Defect name -> visible area, frame px."""
