"""Line crossings -> count events, and what the counts may be off by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.config import Line
from edge.decide.contested import Doubt, Doubts
from edge.decide.handover import Handover, Told
from edge.decide.lasting import Lasting
from edge.decide.lines import Crossing, LineWatch
from edge.events import Contested, Count, Event
from edge.types import Frame, Gap, Seen, Tracks

Bar = tuple[int, int | None]  # what a count is between; None: no bound
Misses = Callable[[str], float | None]  # upper 95 % bound of the share of a class that is missed, by its name


@dataclass(slots=True)
class _Tally:
    """One counter since the start."""

    label: int  # class
    counted: int = 0
    missed: int = 0  # crossings that may not have been counted
    doubled: int = 0  # crossings that may have been counted twice


class LineCounter:
    """Counts what crosses one line: `<line>/<class>/<direction>`, or `<line>/<class>` where one direction counts."""

    def __init__(self, line: Line, classes: list[str], told: Sequence[Count] = ()) -> None:
        """`classes` are the names of the instance classes, the background first.

        `told` are counts of earlier processes, the newest first, where the order of parts says which were counted.
        """
        self._line = line
        self._classes = classes
        self._watch = LineWatch(line.start, line.end, line.anchor, line.hysteresis_px, line.settle_looks)
        self._doubts = Doubts(self._watch, line.direction)
        self._counted: dict[int, tuple[int, set[str]]] = {}  # by key: its id, and the directions it was counted in
        self._before: Lasting[set[str]] = Lasting()  # these directions, of objects that left and may come back
        self._tallies: dict[str, _Tally] = {}
        self._handover = Handover(self._watch, [one for count in told if (one := self._told(count)) is not None])

    def decide(self, seen: Seen) -> list[Event]:
        """Return the counts of this frame, and the crossings in it of which nobody can be sure."""
        tracks = seen.tracks
        crossings = [crossing for crossing in self._watch.crossings(tracks) if self._counts(tracks, crossing)]
        doubts = self._doubts.note(seen, crossings)
        if not self._handover.done:
            unseen, doubts = self._handover.settle(seen, doubts, self._doubts.inside)
            crossings += [crossing for crossing in unseen if self._counts(tracks, crossing)]
        events: list[Event] = [self._event(seen.frame, tracks, crossing) for crossing in crossings]
        events += [self._contested(seen.frame, doubt) for doubt in doubts]
        self._watch.forget(seen.ended)
        for key in seen.ended:
            self._leave(key)
        return events

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:  # noqa: ARG002  as all rules have it
        """Return what was still to be settled: who crossed meanwhile nobody saw; all tracks are forgotten."""
        doubts = [] if self._handover.done else self._handover.give_up()
        self._watch.reset()
        self._doubts.reset()
        for key in list(self._counted):
            self._leave(key)
        return [self._contested(gap, doubt) for doubt in doubts]

    def bars(self, misses: Misses) -> dict[str, Bar]:
        """Return between what every counter of this line is since the start, by its name.

        Contested crossings count fully, in whichever direction they may be wrong. What is missed so entirely that no
        track ever was there is bounded by `misses`: of n that were counted with a share of at most u missed there
        were n / (1 - u) at the most. Without such a bound there is none above.
        """
        return {name: self._bar(tally, misses(self._classes[tally.label])) for name, tally in self._tallies.items()}

    def _bar(self, tally: _Tally, upper: float | None) -> Bar:
        low = max(0, tally.counted - tally.doubled)
        if upper is None or upper >= 1:
            return low, None
        return low, tally.counted + tally.missed + math.ceil(tally.counted * upper / (1 - upper))

    def _counts(self, tracks: Tracks, crossing: Crossing) -> bool:
        if self._line.direction not in {"both", crossing.direction}:
            return False
        if not self._line.once:
            return True
        key, track = int(tracks.keys[crossing.row]), int(tracks.ids[crossing.row])
        if key not in self._counted:
            self._counted[key] = track, self._before.take(track) or set()
        _, before = self._counted[key]
        if crossing.direction in before:
            return False
        before.add(crossing.direction)
        return True

    def _leave(self, key: int) -> None:
        """Forget a track that has ended; where it was counted is remembered by its id, should it come back."""
        if key in self._counted:
            self._before.keep(*self._counted.pop(key))

    def _event(self, frame: Frame, tracks: Tracks, crossing: Crossing) -> Count:
        label = int(tracks.classes[crossing.row])
        counter = self._counter(label, crossing.direction)
        self._tally(counter, label).counted += 1
        return Count(
            time=frame.time,
            camera=frame.camera,
            frame=frame.index,
            counter=counter,
            track=int(tracks.ids[crossing.row]),
            position=crossing.position,
        )

    def _contested(self, frame: Frame | Gap, doubt: Doubt) -> Contested:
        counter = self._counter(doubt.label, doubt.direction)
        tally = self._tally(counter, doubt.label)
        error = "doubled" if doubt.why == "again" else "missed"
        setattr(tally, error, getattr(tally, error) + 1)
        return Contested(
            time=frame.time if isinstance(frame, Frame) else frame.until,
            camera=frame.camera,
            frame=frame.index,
            counter=counter,
            error=error,
            why=doubt.why,
            track=doubt.track,
            other=doubt.other,
            position=doubt.position,
        )

    def _told(self, count: Count) -> Told | None:
        """Return what `count` says of this line; None where it is of another one."""
        for label in range(1, len(self._classes)):
            for direction in self._watch.directions if self._line.direction == "both" else [self._line.direction]:
                if count.counter == self._counter(label, direction):
                    return Told(label, direction, count.position, count.time)
        return None

    def _tally(self, counter: str, label: int) -> _Tally:
        return self._tallies.setdefault(counter, _Tally(label))

    def _counter(self, label: int, direction: str) -> str:
        name = f"{self._line.name}/{self._classes[label]}"
        return name if self._line.direction != "both" else f"{name}/{direction}"
