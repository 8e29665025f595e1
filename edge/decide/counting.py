"""Line crossings -> count events."""

from __future__ import annotations

from edge.config import Line
from edge.decide.lines import Crossing, LineWatch
from edge.events import Count
from edge.types import Frame, Gap, Seen, Tracks


class LineCounter:
    """Counts what crosses one line: `<line>/<class>/<direction>`, or `<line>/<class>` where one direction counts."""

    def __init__(self, line: Line, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._line = line
        self._classes = classes
        self._watch = LineWatch(line.start, line.end, line.anchor, line.hysteresis_px, line.settle_looks)
        self._counted: dict[int, set[str]] = {}

    def decide(self, seen: Seen) -> list[Count]:
        """Return the counts of this frame."""
        tracks = seen.tracks
        events = [self._event(seen.frame, tracks, c) for c in self._watch.crossings(tracks) if self._counts(tracks, c)]
        self._watch.forget(seen.ended)
        for key in seen.ended:
            self._counted.pop(key, None)
        return events

    def blind(self, gap: Gap, tracks: Tracks) -> list[Count]:  # noqa: ARG002
        """Return nothing: who crossed meanwhile nobody saw; all tracks are forgotten."""
        self._watch.reset()
        self._counted.clear()
        return []

    def _counts(self, tracks: Tracks, crossing: Crossing) -> bool:
        if self._line.direction not in {"both", crossing.direction}:
            return False
        before = self._counted.setdefault(int(tracks.keys[crossing.row]), set())
        if self._line.once and crossing.direction in before:
            return False
        before.add(crossing.direction)
        return True

    def _event(self, frame: Frame, tracks: Tracks, crossing: Crossing) -> Count:
        name = f"{self._line.name}/{self._classes[tracks.classes[crossing.row]]}"
        return Count(
            time=frame.time,
            camera=frame.camera,
            frame=frame.index,
            counter=name if self._line.direction != "both" else f"{name}/{crossing.direction}",
            track=int(tracks.ids[crossing.row]),
            position=crossing.position,
        )
