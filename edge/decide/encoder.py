"""The belt's motion by the ticks of its encoder, for as long as the labels bear them out.

Ticks know what the labels cannot: how far the belt went while frames were dropped or nothing was in sight. But an
encoder slips, sticks, starts again from 0. Two others are asked: the labels, and that a belt has inertia. A shift that
neither of them can have seen is not taken, and where ticks and labels come apart over some dozen frames the labels are
believed until they agree again.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge.config import Point
from edge.events import EncoderEvent
from edge.types import Frame

LEAST_PX = 8.0  # frame pixels by which ticks and labels may always differ
SHARE = 0.25  # of the way, by which they may beyond that
FADING = 0.97  # weight of a frame against the one after it: some thirty frames count
FARTHEST = 0.5  # of the frame's extent that a belt goes from one frame to the next, at the most
NEAR = 8  # frames apart within which the labels are heard: beyond, one part is easily taken for the next
SILENT = 30  # frames in a row without ticks, or with a jump, after which there is no encoder

Shift = npt.NDArray[np.float32]  # (2,) x, y in frame pixels


class Encoder:
    """Says how far the belt has moved, by ticks or as it was seen."""

    def __init__(self, px_per_tick: Point, size: tuple[int, int]) -> None:
        """`px_per_tick` is how far the belt moves with one tick; `size` is the frame's width and height."""
        self._length = math.hypot(*px_per_tick)
        self._way = np.asarray(px_per_tick, np.float64) / self._length
        self.axis = int(np.abs(self._way).argmax())  # along which it mostly moves
        self._farthest = FARTHEST * size[self.axis]
        self._by_ticks = self._by_labels = 0.0  # frame pixels along the way, over the last frames
        self._without = 0  # frames without ticks
        self.fault = ""  # why ticks are not believed: silent, stuck, backwards or astray; empty: they are
        self._told = ""
        self.reset()

    def reset(self) -> None:
        """Forget where the belt was: the camera was blind."""
        self._ticks: float | None = None
        self._speed = 0.0  # frame pixels per frame along the way

    @property
    def ticks(self) -> float | None:
        """Return the ticks of the last frame; None where there are none to be believed."""
        return None if self.fault else self._ticks

    def step(self, ticks: float | None, seen: Shift, frames: int, *, sure: bool) -> Shift:
        """Return how far the belt moved in the last `frames` frames, after which the encoder says `ticks`.

        By the labels it was `seen`; `sure` says that there was enough in them to tell.
        """
        before, self._ticks = self._ticks, ticks
        by_labels = float(seen @ self._way)
        by_ticks = 0.0 if ticks is None or before is None else (ticks - before) * self._length
        counted = ticks is not None and abs(by_ticks) <= self._farthest * frames  # farther: it began anew elsewhere
        self._note_silence(counted, frames)
        if before is None or not counted:
            self._speed = by_labels / frames
            return seen
        heard = sure and frames <= NEAR
        if heard:
            self._compare(by_ticks, by_labels, frames)
        believed = not self.fault and (not heard or self._can_be(by_ticks, by_labels, frames))
        self._speed = (by_ticks if believed else by_labels) / frames
        return (self._way * by_ticks).astype(np.float32) if believed else seen

    def told(self, frame: Frame) -> list[EncoderEvent]:
        """Return whether ticks are no longer believed from `frame` on, or are again."""
        if self.fault == self._told:
            return []
        fault, self._told = self.fault or self._told, self.fault
        return [
            EncoderEvent(
                time=frame.time,
                camera=frame.camera,
                frame=frame.index,
                alarm=bool(self.fault),
                fault=fault,
                ticks=frame.ticks,
            )
        ]

    def _note_silence(self, counted: bool, frames: int) -> None:
        if counted:
            self._without = 0
            self.fault = "" if self.fault == "silent" else self.fault
            return
        self._without += frames
        if self._without >= SILENT:
            self.fault = "silent"

    def _compare(self, by_ticks: float, by_labels: float, frames: int) -> None:
        """Note whether ticks and labels have come apart, or agree again.

        Of what only the labels say in one frame no more counts than the belt can have gone.
        """
        most = LEAST_PX / 2 + max(abs(self._speed) * frames, abs(by_ticks))
        faded = FADING**frames
        self._by_ticks = faded * self._by_ticks + by_ticks
        self._by_labels = faded * self._by_labels + by_ticks + min(max(by_labels - by_ticks, -most), most)
        apart = abs(self._by_ticks - self._by_labels)
        limit = LEAST_PX + SHARE * max(abs(self._by_ticks), abs(self._by_labels))
        if apart > limit and not self.fault:
            self.fault = _fault_of(by_ticks, by_labels)
        elif apart < limit / 2:
            self.fault = ""

    def _can_be(self, by_ticks: float, by_labels: float, frames: int) -> bool:
        """Tell whether one of the two others can have seen a shift of `by_ticks` frame pixels."""
        most = LEAST_PX + SHARE * abs(by_ticks)
        return min(abs(by_ticks - by_labels), abs(by_ticks - self._speed * frames)) <= most


def _fault_of(by_ticks: float, by_labels: float) -> str:
    """Return what is wrong with ticks that say otherwise than the labels."""
    if abs(by_ticks) < SHARE * abs(by_labels):
        return "stuck"
    return "backwards" if by_ticks * by_labels < 0 and abs(by_ticks) < 2 * abs(by_labels) else "astray"
