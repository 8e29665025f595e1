"""A gate: every part that was seen before it gets one verdict, in time for the ejector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edge.config import Gate, Point
from edge.decide.ejector import Clock, Ejector
from edge.decide.evidence import Evidence, Finding
from edge.decide.lane import Floats, Lane
from edge.decide.passage import Keys, Passage, Rows, Steps
from edge.decide.sizes import SEVERITY, Sizes, conformity
from edge.decide.tallies import Tallies
from edge.events import Arrival, Verdict
from edge.types import Frame, Gap, Image, Seen, Tracks

AHEAD = 1.5  # frames: who will be at the gate within them may be there in the next one
WAIT_S = 0.25  # how long the loop may wait for a frame before it asks again

Told = list[Arrival | Verdict]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a gate is told of one frame, the picture left out."""

    camera: str
    index: int
    time: float  # s, monotonic
    tracks: Tracks
    ticks: float | None = None  # of the belt's encoder, in the frame that shows them


class QualityGate:
    """Gives the parts that come before its line one verdict each, and says so when one arrives.

    A part is judged by its looks (`Evidence`, and `Sizes` where it measures) when it is seen beyond the line, or before
    that where it would be at the ejector before the next frame. Where these looks are enough nobody waits for one more:
    the labels alone say that it is there. One that was not seen to cross, that comes too late, or that was under way
    while the camera was blind gets the fail-safe. One that ends where it cannot have crossed is EXPIRED.
    """

    def __init__(
        self,
        gate: Gate,
        classes: list[str],
        defects: list[str],
        mm_per_px: float | None = None,
        clock: Clock | None = None,
        px_per_tick: Point | None = None,
        *,
        sizes: Sizes | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        """`classes` are the instance classes, the background first; `defects` the defect classes.

        `mm_per_px` is the camera's scale; `clock` is that of a live camera, s, monotonic; `px_per_tick` is how far the
        belt moves with a tick of its encoder. `sizes` and `tallies` are those of the parts, where the gate minds them;
        they are told of each frame before it is.
        """
        self._gate = gate
        self._classes = classes
        self._lane = Lane(gate.start, gate.end, gate.direction)
        self._passage = Passage(self._lane)
        self._evidence = Evidence(gate, defects)
        self._sizes, self._tallies = sizes, tallies
        ticks_way = self._lane.speeds(np.asarray([px_per_tick or (0.0, 0.0)], np.float32))
        self._ejector = Ejector(gate, mm_per_px, clock, float(ticks_way[0]))
        self._last: _Sight | None = None

    def early(self, frame: Frame, expected: Tracks, ticks: float | None = None) -> list[Verdict]:
        """Return the verdicts that no look at `frame` is needed for: of parts at the gate that have had enough looks.

        `expected` are all tracks where the labels of the frame alone say that they are, `ticks` those of the encoder.
        """
        self._ejector.see(frame)
        rows = np.flatnonzero(self._passage.reached(expected))
        ready = [row for row in rows.tolist() if self._is_ready(int(expected.keys[row]))]
        if not ready:
            return []
        sight = _Sight(frame.camera, frame.index, frame.time, expected, ticks)
        due = self._due(sight)
        told = [self._judged(sight, row, due) for row in ready]
        self._close(expected.keys[ready])
        return told

    def awaits(self, expected: Tracks) -> bool:
        """Tell whether a part will be at the gate in the next frame, by where all tracks are `expected` in this one."""
        return bool(self._passage.reached(expected, AHEAD).any())

    def decide(self, seen: Seen) -> Told:
        """Return who arrived in this frame, and the verdicts of those that have none yet."""
        frame, tracks = seen.frame, seen.tracks
        sight = _Sight(frame.camera, frame.index, frame.time, tracks, seen.ticks)
        self._evidence.gather(seen.instances, tracks, self._passage.judged)
        self._ejector.see(frame)
        told: Told = [*self._ended(seen, sight)]
        steps = self._passage.follow(tracks)
        told += [self._arrival(sight, row) for row in np.flatnonzero(steps.arrived).tolist()]
        told += self._verdicts(sight, steps)
        self._evidence.forget(seen.ended)
        self._last = sight
        return told

    def inspect(self, seen: Seen) -> list[Verdict]:
        """Return what each part in sight would be told now, wherever it lies: nobody arrives, and nothing is late."""
        frame, tracks = seen.frame, seen.tracks
        self._evidence.gather(seen.instances, tracks, self._passage.judged)
        sight, never = _Sight(frame.camera, frame.index, frame.time, tracks), np.full(len(tracks), np.inf)
        rows = np.flatnonzero(tracks.ids).tolist()
        return [self._judged(sight, row, never) for row in rows]

    def doubtful(self, tracks: Tracks) -> Rows:
        """Return (n,) the tracks whose looks do not agree on a defect that would reject them."""
        return self._evidence.doubtful(tracks)

    def blind(self, gap: Gap, tracks: Tracks) -> list[Verdict]:  # noqa: ARG002  they are those of the last frame
        """Return the fail-safe for each part that was on its way when the camera went blind, and forget them all."""
        told: list[Verdict] = []
        if self._last is not None:
            sight = _Sight(gap.camera, gap.index, gap.until, self._last.tracks)
            told = self._unseen(sight, self._passage.under_way, self._due(self._last), "camera was blind")
        self._passage.reset()
        self._evidence.clear()
        self._ejector.reset()
        self._last = None
        return told

    def overdue(self) -> list[Verdict]:
        """Return the fail-safe for parts that will be at the ejector before a silent live camera can show them."""
        silent_s = self._ejector.silent_s(WAIT_S)
        if self._last is None or silent_s is None:
            return []
        due = self._due(self._last)
        now = self._ejector.now(self._last.time)
        rows = self._passage.under_way & (self._ejector.late_s(now + WAIT_S, due) > 0)
        sight = _Sight(self._last.camera, self._last.index, now, self._last.tracks, self._last.ticks)
        told = self._unseen(sight, rows, due, f"nothing seen for {silent_s:.1f} s")
        self._close(sight.tracks.keys[rows])
        return told

    def _is_ready(self, key: int) -> bool:
        """Tell whether a part has had as many looks as its verdict needs."""
        measured = self._sizes is None or self._sizes.looks(key) > 0
        return measured and self._evidence.is_enough(key) and (self._tallies is None or self._tallies.agree(key))

    def _verdicts(self, sight: _Sight, steps: Steps) -> list[Verdict]:
        """Return the verdicts of those that are through, beside the gate, or cannot wait any longer."""
        tracks, due = sight.tracks, self._due(sight)
        pressing = self._passage.under_way & ~steps.through & ~steps.beside
        pressing &= self._ejector.pressing(self._ejector.now(sight.time), due)
        judged = steps.through | (pressing & tracks.located)
        found = [self._judged(sight, row, due) for row in np.flatnonzero(judged).tolist()]
        found += self._unseen(sight, pressing & ~tracks.located, due, "crossing not seen")
        found += [self._expired(sight, row, "beside the gate") for row in np.flatnonzero(steps.beside).tolist()]
        self._close(tracks.keys[judged | pressing | steps.beside])
        return found

    def _close(self, keys: Keys) -> None:
        """Note that the parts with these `keys` (n,) have their verdict: what their looks showed is needed no more."""
        self._passage.done(keys)
        self._evidence.forget(keys.tolist())
        if self._tallies is not None:
            self._tallies.done(keys.tolist())

    def _ended(self, seen: Seen, sight: _Sight) -> list[Verdict]:
        """Return the verdicts of parts whose tracks ended under way: the fail-safe where they may have crossed."""
        last = self._last
        if last is None or not seen.ended:
            return []
        lost = self._passage.under_way & np.isin(last.tracks.keys, seen.ended)
        if not lost.any():
            return []
        moved = last.tracks.centers + last.tracks.velocities * (sight.index - last.index)
        beyond, inside = self._lane.place(moved)
        crossed = inside & (beyond >= -self._lane.reaches(last.tracks.boxes))
        due = self._ejector.deadlines(sight.time, beyond, self._lane.speeds(last.tracks.velocities))
        gone = _Sight(sight.camera, sight.index, sight.time, last.tracks, last.ticks)
        told = self._unseen(gone, lost & crossed, due, "crossing not seen")
        outside = _outside(moved, seen.frame.image)
        for row in np.flatnonzero(lost & ~crossed).tolist():
            told.append(self._expired(gone, row, "left the frame" if outside[row] else "lost before the gate"))
        return told

    def _due(self, sight: _Sight) -> Floats:
        """Return (n,) when the tracks of `sight` will be at the ejector, s."""
        beyond, _ = self._lane.place(sight.tracks.centers)
        return self._ejector.deadlines(sight.time, beyond, self._lane.speeds(sight.tracks.velocities))

    def _judged(self, sight: _Sight, row: int, due: Floats) -> Verdict:
        """Return the verdict of a part by its looks; it never gets better by its numbers, or by its size."""
        key, label = int(sight.tracks.keys[row]), int(sight.tracks.classes[row])
        verdict = self._verdict(sight, row, self._evidence.finding(key), due)
        if self._tallies is not None:
            verdict = _worse(verdict, *self._tallies.finding(key, label, self._gate.doubt))
        if self._sizes is None:
            return verdict
        measures = self._sizes.of(key).measures
        limits = self._gate.limits.get(verdict.label)
        if limits is not None:
            verdict = _worse(verdict, *conformity(measures, limits, self._gate.fail_safe))
        return msgspec.structs.replace(verdict, measures=measures)

    def _unseen(self, sight: _Sight, rows: Rows, due: Floats, reason: str) -> list[Verdict]:
        """Return the fail-safe of the tracks `rows` (n,), which nobody saw cross, for `reason`."""
        return [
            self._verdict(
                sight,
                row,
                Finding(self._gate.fail_safe, [reason], {}, self._evidence.looks(int(sight.tracks.keys[row]))),
                due,
            )
            for row in np.flatnonzero(rows).tolist()
        ]

    def _verdict(self, sight: _Sight, row: int, finding: Finding, due: Floats) -> Verdict:
        """Return the verdict of a part as `finding` has it, or the fail-safe where it would come too late."""
        late_s = float(self._ejector.late_s(self._ejector.now(sight.time), due[row]))
        verdict, reasons = finding.verdict, finding.reasons
        if late_s > 0:
            verdict = verdict if verdict == "REJECT" else self._gate.fail_safe
            reasons = [*reasons, f"late by {late_s * 1000:.0f} ms"]
        return Verdict(
            **self._part(sight, row),
            verdict=verdict,
            reasons=reasons,
            defects_px=finding.defects_px,
            looks=finding.looks,
            deadline=round(float(due[row]), 4) if np.isfinite(due[row]) else None,
            late=late_s > 0,
            ejector_ticks=self._ejector_ticks(sight, row),
        )

    def _ejector_ticks(self, sight: _Sight, row: int) -> float | None:
        """Return what the encoder will say when a part is at the ejector, whatever the belt does until then."""
        beyond, _ = self._lane.place(sight.tracks.centers[row : row + 1])
        return self._ejector.ticks(sight.ticks, float(beyond[0]))

    def _expired(self, sight: _Sight, row: int, reason: str) -> Verdict:
        looks = self._evidence.looks(int(sight.tracks.keys[row]))
        return Verdict(**self._part(sight, row), verdict="EXPIRED", reasons=[reason], defects_px={}, looks=looks)

    def _arrival(self, sight: _Sight, row: int) -> Arrival:
        return Arrival(**self._part(sight, row))

    def _part(self, sight: _Sight, row: int) -> dict[str, Any]:
        """Return the fields that say of which part an event is, and of when."""
        tracks = sight.tracks
        x, y = tracks.centers[row].tolist()
        return {
            "time": sight.time,
            "camera": sight.camera,
            "frame": sight.index,
            "gate": self._gate.name,
            "track": int(tracks.ids[row]),
            "label": self._classes[tracks.classes[row]],
            "position": (x, y),
        }


def _worse(verdict: Verdict, other: str, reasons: list[str]) -> Verdict:
    """Return the worse of a verdict and an `other`, with the reasons of both."""
    worst = max(verdict.verdict, other, key=SEVERITY.index)
    return msgspec.structs.replace(verdict, verdict=worst, reasons=[*verdict.reasons, *reasons])


def _outside(points: npt.NDArray[np.float32], image: Image) -> Rows:
    """Return (n,) which of `points` (n, 2) lie outside a picture (h, w, 3)."""
    return np.asarray((points < 0).any(axis=1) | (points >= image.shape[1::-1]).any(axis=1))
