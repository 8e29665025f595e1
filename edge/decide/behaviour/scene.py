"""What the rules of one camera's zones decide by at one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.decide.zones import Presence, Stay
from edge.events import Alert, Event
from edge.types import Frame, Gap, Seen


@dataclass(frozen=True, slots=True)
class Scene:
    """One frame, who is in which zone, and how fast everything goes; rows are those of the frame's tracks."""

    seen: Seen
    places: Mapping[str, Presence]  # by the name of the zone
    speeds: npt.NDArray[np.float64]  # (n,) frame pixels per second, infinite while unknown


class ZoneRule(Protocol):
    """One rule about what happens in a zone; what it remembers of a track dies with the track."""

    def decide(self, scene: Scene) -> Sequence[Event]:
        """Return what is decided in this frame."""
        ...

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Event]:
        """Return what a time without sight decides, and forget everything; `left` says who was in which zone."""
        ...

    def open(self) -> list[Alert]:
        """Return the alerts that last, as they began."""
        ...


def when(moment: Frame | Gap) -> dict[str, Any]:
    """Return the fields of an event that say when and where it was decided: in a frame, or at the end of a gap."""
    time = moment.until if isinstance(moment, Gap) else moment.time
    return {"time": time, "camera": moment.camera, "frame": moment.index}
