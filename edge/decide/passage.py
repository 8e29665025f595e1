"""Where each track stands on its way through a gate: not yet seen before it, under way, or done with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.decide.lane import Floats, Lane
from edge.types import Tracks

NEW, UNDER_WAY, DONE = 0, 1, 2
AT_PX = 2.0  # frame pixels before the line within which a part is at it: a look moves tracks by about as much
Rows = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """What became of the tracks of one frame; (n,) each."""

    beyond: Floats  # frame pixels beyond the line, negative before it
    arrived: Rows  # seen before the gate for the first time
    through: Rows  # seen beyond the line, between its ends, and under way
    beside: Rows  # the same beside its ends


class Passage:
    """Follows every track by the side of the line it was last surely seen on; what it knows dies with the track.

    A part has arrived when its track is confirmed and seen before the line, between its ends. It is through when it is
    seen beyond; where that is the first that is seen of a confirmed track it arrives in the same frame.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.reset()

    def reset(self) -> None:
        """Forget all tracks."""
        self._keys = np.zeros(0, np.int64)
        self._sides = np.zeros(0, np.int8)  # -1 before the line, 1 beyond, 0 not known
        self._states = np.zeros(0, np.int8)

    @property
    def under_way(self) -> Rows:
        """Return (n,) which tracks of the last frame are under way."""
        return np.asarray(self._states == UNDER_WAY)

    @property
    def judged(self) -> Keys:
        """Return the keys of those tracks of the last frame that have their verdict."""
        return np.asarray(self._keys[self._states == DONE])

    def done(self, keys: Keys) -> None:
        """Note that the tracks of the last frame with these `keys` (n,) have their verdict."""
        if len(keys):
            self._states[np.isin(self._keys, keys)] = DONE

    def reached(self, expected: Tracks, ahead: float = 0.0) -> Rows:
        """Return (n,) which of the tracks under way are at the line, between its ends, where they are `expected`.

        With `ahead`, which will be so many frames later. Nothing is noted: a look may still move them.
        """
        beyond, inside = self._lane.place(expected.centers + np.float32(ahead) * expected.velocities)
        there = expected.located & inside & (beyond > -AT_PX)
        if there.any():
            there &= np.isin(expected.keys, self._keys[self.under_way])
        return np.asarray(there)

    def follow(self, tracks: Tracks) -> Steps:
        """Take in where all tracks are, and return what they did."""
        sides, states = np.zeros(len(tracks), np.int8), np.zeros(len(tracks), np.int8)
        _, old, new = np.intersect1d(self._keys, tracks.keys, assume_unique=True, return_indices=True)
        sides[new], states[new] = self._sides[old], self._states[old]
        beyond, inside = self._lane.place(tracks.centers)
        clear = tracks.located & (beyond != 0)
        now = np.sign(beyond).astype(np.int8)
        sure = tracks.ids > 0
        crossed = clear & sure & (sides < 0) & (now > 0)
        through = crossed & inside & (states != DONE)
        arrived = (states == NEW) & (through | (clear & sure & inside & (now < 0)))
        beside = crossed & ~inside & (states == UNDER_WAY)
        states[arrived] = UNDER_WAY
        known = clear & (sure | (sides == 0))  # one that is not confirmed keeps its first side
        self._keys, self._sides, self._states = tracks.keys, np.where(known, now, sides), states
        return Steps(beyond, arrived, through, beside)
