"""What the report shows beside figures: whoever finds something out fills a list in; what is empty is not shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from export.trial import Tried


@dataclass(frozen=True)
class Plan:
    """One way to run a model that was measured, or for that of all a point of the front that nobody ran."""

    role: str
    name: str  # what differs: "float32", "int8", "int8, 3 layers float"
    ms: float  # of one inference, median
    accuracy: float  # higher is better
    measure: str  # what `accuracy` is: "mean IoU with the truth"; the same for all plans of a role
    kept: bool = False  # whether the bundle prefers it
    note: str = ""  # why it was refused, for example


@dataclass(frozen=True)
class Layer:
    """One layer, and what quantizing it alone costs."""

    role: str
    name: str
    harm: float  # higher is worse
    measure: str  # what `harm` is; the same for all layers of a role
    precision: str  # that the bundle has: "int8", "float32"


@dataclass(frozen=True)
class Seen:
    """One frame that calibration looked at."""

    caption: str
    sha256: str  # of its pixels
    picture: bytes  # JPEG


@dataclass
class Shown:
    """All of it."""

    tried: list[Tried] = field(default_factory=list)  # readings of the input, and what they are worth
    frames: list[Seen] = field(default_factory=list)
    recordings: dict[int, str] = field(default_factory=dict)  # that they are of, as the captions number them
    frames_sha256: str = ""  # of the list of them, which lies beside the report
    inputs: dict[str, str] = field(default_factory=dict)  # what went in, by name -> SHA-256
    notes: list[str] = field(default_factory=list)
