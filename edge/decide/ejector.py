"""When a part is at the ejector, and whether a verdict can still be there before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edge.config import Gate
from edge.decide.lane import Floats
from edge.types import Frame

STANDING = 0.25  # frame pixels per frame, below which nothing moves: no time can be told
NEWEST = 9  # frames whose times say how long it is from one to the next
SILENT = 2.0  # times the longest of these, after which nothing is coming

Clock = Callable[[], float]


class Ejector:
    """Tells deadlines in s, monotonic: the time of a frame, and how long what it shows takes to the ejector.

    Without a clock the time of a frame is the present, as in recordings: nobody waits for their verdicts.
    """

    def __init__(self, gate: Gate, mm_per_px: float | None, clock: Clock | None, px_per_tick: float = 0.0) -> None:
        """`mm_per_px` is the camera's, `clock` that of a live one: s, monotonic.

        `px_per_tick` is how far parts go towards the ejector with a tick of the encoder, 0 where there is none.
        """
        self._px = gate.ejector_px
        if gate.ejector_mm is not None and mm_per_px is not None:
            self._px = gate.ejector_mm / mm_per_px
        self._s = gate.ejector_s
        self._answer_s = gate.answer_ms / 1000
        self._clock = clock
        self._px_per_tick = px_per_tick
        self._frames: deque[tuple[int, float]] = deque(maxlen=NEWEST)  # index and time

    @property
    def known(self) -> bool:
        """Tell whether the configuration says where the ejector is."""
        return self._px is not None or self._s is not None

    def see(self, frame: Frame) -> None:
        """Note that `frame` is decided on; the same frame counts once."""
        if not self._frames or self._frames[-1] != (frame.index, frame.time):
            self._frames.append((frame.index, frame.time))

    def reset(self) -> None:
        """Forget the frames: the camera was blind."""
        self._frames.clear()

    def now(self, time: float) -> float:
        """Return the present, s, while a frame of `time` is decided on."""
        return time if self._clock is None else max(time, self._clock())

    def deadlines(self, time: float, beyond: Floats, speeds: Floats) -> Floats:
        """Return (n,) when parts are at the ejector; infinity where nobody knows.

        At `time` they are `beyond` (n,) frame pixels beyond the line and go `speeds` (n,) frame pixels per frame.
        """
        period_s = self._period_s()
        if not (self.known and period_s):
            return np.full(len(beyond), np.inf)
        moves = speeds > STANDING
        rates = np.where(moves, speeds, 1.0) / period_s  # px/s
        if self._px is not None:
            return np.where(moves, time + (self._px - beyond) / rates, np.inf)
        crossed = np.where(moves, time - beyond / rates, np.where(beyond > 0, time, np.inf))
        return np.asarray(crossed + (self._s or 0.0))

    def ticks(self, ticks: float | None, beyond: float) -> float | None:
        """Return what the encoder says when a part is at the ejector that is `beyond` frame pixels at `ticks`.

        None where the way there or the ticks are not known.
        """
        if ticks is None or self._px is None or not self._px_per_tick:
            return None
        return round(ticks + (self._px - beyond) / self._px_per_tick, 3)

    def late_s(self, now: float, deadlines: Floats) -> Floats:
        """Return (n,) by how many seconds the ejector hears too late of what is decided now; below 0: in time."""
        return np.asarray(now + self._answer_s - deadlines)

    def pressing(self, now: float, deadlines: Floats) -> npt.NDArray[np.bool_]:
        """Return (n,) which parts cannot wait for the next frame."""
        return np.asarray(self.late_s(now + self._pace_s(), deadlines) > 0)

    def silent_s(self, wait_s: float) -> float | None:
        """Return for how long nothing has come from a live camera, where it is too long; None where it is not.

        `wait_s` is for how long nobody looks.
        """
        if self._clock is None or not self.known or len(self._frames) < 2:  # no pace is known
            return None
        silent_s = self._clock() - self._frames[-1][1]
        return silent_s if silent_s > max(SILENT * self._pace_s(), wait_s) else None

    def _period_s(self) -> float:
        """Return the seconds from one frame of the camera to the next, 0 where nobody knows."""
        (first, begin), (last, end) = self._frames[0], self._frames[-1]
        return (end - begin) / (last - first) if last > first and end > begin else 0.0

    def _pace_s(self) -> float:
        """Return the longest of the last times between two frames that were decided on."""
        times = [time for _, time in self._frames]
        return max((later - time for time, later in pairwise(times)), default=0.0)
