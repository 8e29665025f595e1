"""The belt before a live camera in a time of its own, with faults; what is true of its parts, to the frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import SeedSequence

from edge.see.cameras.sight import Stillness
from edge.types import Frame, Gap, Image
from examples.belt.belt import FPS, Belt, crossings
from examples.belt.motion import Motion
from examples.belt.scene import HEIGHT, WIDTH, Crossing
from examples.belt.score import PIXEL_CENTRE

STALL_S = 5.0  # silence after which a camera is given up, as `stall_s`
REACH_PX = 40.0  # between where a part is said to be and where it is, at the most
Window = tuple[float, float]  # s: from, to


class Clock:
    """A time that goes on while something is computed, and stands still while the belt is drawn."""

    def __init__(self, start_s: float) -> None:
        self._at, self._since = start_s, time.perf_counter()
        self._running = True

    def __call__(self) -> float:
        """Return the present, s."""
        return self._at + (time.perf_counter() - self._since if self._running else 0.0)

    def pause(self) -> None:
        """Stand still."""
        self._at, self._running = self(), False

    def go(self) -> None:
        """Go on."""
        self._since, self._running = time.perf_counter(), True

    def skip(self, seconds: float) -> None:
        """Let some time pass at once."""
        self._at += max(0.0, seconds)


class LiveBelt:
    """A live camera over a belt: the newest frame by `clock`; silent in `stalls`, always the same in `freezes`."""

    live = True
    fps: float | None = float(FPS)
    size = WIDTH, HEIGHT

    def __init__(
        self, seed: int, clock: Clock, frames: int, stalls: Sequence[Window] = (), freezes: Sequence[Window] = ()
    ) -> None:
        self._belt = Belt(seed)
        self._clock, self._frames = clock, frames
        self._stalls, self._freezes = stalls, freezes
        self._last = int(clock() * FPS) - 1
        self._seen_s = clock()  # time of the last frame
        self._dark_s: float | None = None  # until when a gap was told
        self._stillness = Stillness()
        self._image: Image | None = None
        self.handed_s = 0.0  # when the last frame was handed over

    @property
    def ended(self) -> bool:
        """Whether the belt was seen to its last frame."""
        return self._last >= self._frames - 1

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """Return the newest frame, waiting for it up to `timeout_s`; a gap; None where nothing came, or ever will."""
        self._clock.pause()
        try:
            return None if self.ended else self._read(timeout_s)
        finally:
            self.handed_s = self._clock()
            self._clock.go()

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> LiveBelt:  # noqa: PYI034  typing has no Self in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, timeout_s: float) -> Frame | Gap | None:
        now = self._clock()
        index = max(int(now * FPS), self._last + 1)
        if index >= self._frames:  # the belt went on unseen
            self._last = self._frames
            return None
        if within(index / FPS, self._stalls):
            return self._silence(timeout_s)
        if index / FPS - now > timeout_s:
            self._clock.skip(timeout_s)
            return None
        self._clock.skip(index / FPS - now)
        return self._seen(index)

    def _silence(self, timeout_s: float) -> Gap | None:
        self._clock.skip(max(timeout_s, 1 / FPS))
        now = self._clock()
        if self._dark_s is not None or now - self._seen_s < STALL_S:
            return None
        self._dark_s = now
        return Gap("belt", self._last + 1, self._seen_s, now, "stall")

    def _seen(self, index: int) -> Frame | Gap | None:
        time_s = index / FPS
        frozen = within(time_s, self._freezes) and self._image is not None
        if not frozen:
            self._belt.skip(index - self._belt.index)
            self._image = self._belt.step().image
        assert self._image is not None  # noqa: S101  the first frame is never frozen
        dropped, self._last = index - self._last - 1, index
        since = self._stillness.note(self._image, time_s)
        if since is not None:
            first, self._dark_s = self._dark_s is None, time_s if self._dark_s is None else self._dark_s
            return Gap("belt", index + 1, since, time_s, "frozen") if first else None
        if self._stillness.repeated:
            return None
        if self._dark_s is not None:
            told, self._dark_s, self._last = self._dark_s, None, index - 1  # the frame comes with the next call
            self._stillness.reset()
            return Gap("belt", index, told, time_s, "reopened")
        self._seen_s = time_s
        return Frame("belt", index, time_s, self._image, dropped)


def within(time_s: float, windows: Sequence[Window]) -> bool:
    """Tell whether a moment lies in one of `windows`."""
    return any(begin <= time_s < end for begin, end in windows)


@dataclass(frozen=True, slots=True)
class Parts:
    """What is true of all parts that reach the gate within a run, by id."""

    gate_x: float
    at_gate: dict[int, Crossing]
    ejected: dict[int, int]  # first frame at which it is at the ejector
    travels: npt.NDArray[np.float64]  # (frames,) px, of the belt

    def at(self, frame: int, position: tuple[float, float], told: set[int]) -> Crossing | None:
        """Return the part not yet in `told` that is nearest to `position` in `frame`; None where none is near."""
        place = np.asarray(position) - PIXEL_CENTRE
        gaps = {part.id: self._gap(part, frame, place) for part in self.at_gate.values() if part.id not in told}
        nearest = min(gaps, key=gaps.__getitem__, default=None)
        return None if nearest is None or gaps[nearest] > REACH_PX else self.at_gate[nearest]

    def _gap(self, part: Crossing, frame: int, place: npt.NDArray[np.float64]) -> float:
        x = self.gate_x + self.travels[min(frame, len(self.travels) - 1)] - self.travels[part.frame]
        return float(abs(x - place[0]) + abs(part.y - place[1]))


def parts_of(seed: int, frames: int, gate_x: float, ejector_px: float) -> Parts:
    """Return the truth of a belt of so many frames."""
    later = frames + 900  # the last ones are at the ejector only after the run
    at_gate = {c.id: c for c in crossings(seed, frames + 30, gate_x - PIXEL_CENTRE)}
    ejected = {c.id: c.frame for c in crossings(seed, later, gate_x + ejector_px - PIXEL_CENTRE)}
    motion = Motion(np.random.default_rng(SeedSequence(seed).spawn(1)[0]))  # as `crossings` makes it
    return Parts(gate_x, at_gate, ejected, np.asarray(motion.travels(later)))


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile, 0 of nothing."""
    found: npt.NDArray[np.float64] = np.asarray(values, np.float64)
    return float(np.percentile(found, share)) if len(found) else 0.0
