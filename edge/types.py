"""What flows between the rooms of `edge`: frozen records of arrays.

Boxes are ``x0, y0, x1, y1``, half-open, in frame pixels unless a name says otherwise. Images are BGR uint8 of shape
``(h, w, 3)``. ``time`` is in monotonic seconds (for a recording: seconds since its first frame) and is the only time
that is ever subtracted; ``utc`` is for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.events import Alert, Event

Array: TypeAlias = npt.NDArray[Any]
Image: TypeAlias = npt.NDArray[np.uint8]  # (h, w, 3) BGR, or (h, w) for maps
Boxes: TypeAlias = npt.NDArray[np.float32]  # (n, 4) x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera."""

    camera: str
    index: int  # frames since the camera was opened, dropped ones included
    time: float  # s, monotonic
    image: Image  # (h, w, 3) BGR, valid until the next frame of this camera is taken
    dropped: int = 0  # frames lost between the previous frame handed out and this one
    corrupt: int = 0  # frames between these two that were no pictures
    ticks: float | None = None  # of the encoder of the belt that it shows, when it was taken


@dataclass(frozen=True, slots=True)
class Effort:
    """What may be spent on the frames that are looked at together: everything, or what the governor leaves."""

    part: float = 1.0  # of the canvases
    audit: bool = True  # pieces that nothing points to are looked at too
    coarse: bool = False  # the semantic model sees the frame smaller, where the bundle has it with a smaller input
    deadlines: bool = False  # looks only at what is unknown, and at what has had too few on its way to a line or gate
    every: int = 1  # frames of each camera of which one is looked at

    @property
    def full(self) -> bool:
        """Tell whether nothing is held back."""
        return self == FULL

    def canvases(self, most: int) -> int:
        """Return how many of `most` canvases may be run."""
        return max(1, int(most * self.part))


FULL = Effort()


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a camera did not see."""

    camera: str
    index: int  # index of the first frame after the gap
    since: float  # s, monotonic
    until: float  # s, monotonic
    reason: str  # "stall", "reopened" or "frozen"


@dataclass(frozen=True, slots=True)
class Labels:
    """What the semantic pass says of one frame."""

    classes: npt.NDArray[np.uint8]  # (h, w) class per label pixel, 0 = background
    confidence: npt.NDArray[np.uint8] | None  # (h, w) 0..255, None where the model gives none
    scale: tuple[float, float]  # frame pixels per label pixel, (x, y)


@dataclass(frozen=True, slots=True)
class Regions:
    """Parts of the frame where something is that no track explains."""

    boxes: npt.NDArray[np.int32]  # (n, 4) frame pixels, padded, inside the frame
    area_px: npt.NDArray[np.float32]  # (n,) frame pixels of foreground inside

    def __len__(self) -> int:
        return len(self.boxes)


REASONS = ("new", "spot", "cut", "young", "refresh", "early", "audit", "whole", "doubt")  # why something gets a look


@dataclass(frozen=True, slots=True)
class Looks:
    """Which crops of one or several frames the instance model sees, and where they lie on its canvases."""

    sources: npt.NDArray[np.int32]  # (n, 4) frame pixels
    canvases: npt.NDArray[np.int32]  # (n,) index of the canvas
    places: npt.NDArray[np.int32]  # (n, 4) canvas pixels
    scales: npt.NDArray[np.float32]  # (n,) canvas pixels per frame pixel; 1 = native resolution
    frames: npt.NDArray[np.int32]  # (n,) index of the frame, among those that are looked at together
    reasons: npt.NDArray[np.int32]  # (n,) index into `REASONS`

    def __len__(self) -> int:
        return len(self.sources)

    @classmethod
    def at_one(
        cls,
        sources: npt.NDArray[np.int32],
        canvases: npt.NDArray[np.int32],
        places: npt.NDArray[np.int32],
        scales: npt.NDArray[np.float32],
    ) -> Looks:
        """Return looks at one frame, for no reason that matters."""
        zeros = np.zeros(len(sources), np.int32)
        return cls(sources, canvases, places, scales, zeros, zeros)

    def of(self, frame: int) -> Looks:
        """Return the looks at frame number `frame` of those that are looked at together."""
        kept = self.frames == frame
        return self if kept.all() else Looks(*(getattr(self, name)[kept] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Instances:
    """Objects found in the looks of one frame, in frame coordinates; a structure of arrays."""

    boxes: Boxes  # (n, 4) float32
    scores: npt.NDArray[np.float32]  # (n,) 0..1
    classes: npt.NDArray[np.uint8]  # (n,) index into the instance model's classes, 0 = background
    centers: npt.NDArray[np.float32]  # (n, 2) centroid of the mask, x, y
    areas_px: npt.NDArray[np.float32]  # (n,) frame pixels
    defects_px: npt.NDArray[np.float32]  # (n, d) frame pixels of each defect class inside the object
    masks: list[npt.NDArray[np.bool_]]  # n x (h, w), stretched over the box, at look resolution or coarser
    scales: npt.NDArray[np.float32]  # (n,) canvas pixels per frame pixel of the look it was found in
    whole: npt.NDArray[np.bool_]  # (n,) False where an edge of the look cuts the object
    flaws_px: npt.NDArray[np.float32] | None = None  # (n, d, 2) their length and width, frame pixels; None: not asked
    flaw_counts: npt.NDArray[np.int32] | None = None  # (n, d) connected spots of each defect class; None: not asked

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True)
class Tracks:
    """The tracks of one camera at one frame, whether or not they were looked at in it."""

    keys: npt.NDArray[np.int64]  # (n,) of every track of this camera in this process, from its first look on
    ids: npt.NDArray[np.int64]  # (n,) never reused, not even after a restart; 0 = not yet confirmed
    boxes: Boxes  # (n, 4)
    classes: npt.NDArray[np.uint8]  # (n,) instance classes, by vote over the looks
    centers: npt.NDArray[np.float32]  # (n, 2) centroid of the mask, x, y
    velocities: npt.NDArray[np.float32]  # (n, 2) frame pixels per frame
    looks: npt.NDArray[np.int32]  # (n,) looks so far in which the object was complete
    since_look: npt.NDArray[np.int32]  # (n,) frames since the last of them; 0 = seen in this frame
    supported: npt.NDArray[np.bool_]  # (n,) the semantic labels show something there in this frame
    instances: npt.NDArray[np.int32]  # (n,) index of the instance that was matched in this frame, or -1
    located: npt.NDArray[np.bool_]  # (n,) the position is good enough to decide by
    masks: list[npt.NDArray[np.bool_]]  # n masks of the last look, stretched over the box it had then

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame once it has been looked at, and what was made of it: all that rules and audit decide by."""

    frame: Frame
    found: Image  # (h, w) of label size: 1 where there is foreground
    scale: tuple[float, float]  # frame pixels per label pixel (x, y)
    instances: Instances
    tracks: Tracks  # after this frame
    ended: list[int]  # keys of the tracks that are no more
    labels: Image = field(default_factory=lambda: np.zeros((1, 1), np.uint8))  # (h, w) semantic class of each cell
    ticks: float | None = None  # of the frame, where the encoder is to be believed


@dataclass(frozen=True, slots=True)
class Stakes:
    """What the rules have to say about tracks before they are looked at."""

    deadlines: npt.NDArray[np.float64]  # (n,) frames until a line or gate is reached; infinity: none will be
    doubtful: npt.NDArray[np.bool_]  # (n,) looks so far contradict each other
    away_px: Callable[[Boxes], npt.NDArray[np.float64]] | None = None  # of boxes (m, 4), to the nearest line or gate


@dataclass(frozen=True, slots=True)
class Moment:
    """All that is known of one frame once it has been looked at; what overlays and reports are drawn from."""

    frame: Frame
    labels: Labels
    regions: Regions
    looks: Looks
    instances: Instances
    tracks: Tracks
    events: list[Event]  # decided in this frame, not yet numbered
    stages_ms: dict[str, float]
    zones: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # how many are inside, by zone and class
    alerts: Sequence[Alert] = ()  # those that last, as they began
    early: int = 0  # so many of the events, the first ones, were decided before anything was looked at
