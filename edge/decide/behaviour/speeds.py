"""How fast tracks go, over about the last second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.decide.records import Records
from edge.types import Seen

FAST_S, SLOW_S = 0.125, 0.5  # time constants of the two averages: one that stops is slow within a second
LEAST_S = 0.2  # between the two averages' times, below which the speed is not yet known: the first half second

_KIND = np.dtype([("seen", "?"), ("last", "f8"), ("fast", "f8", 3), ("slow", "f8", 3)])


class Speeds:
    """Compares a quick and a slow exponential average of where each object is (the difference of two such averages).

    The averages are of place and of time, so the speed of steady motion is exact whatever the times between sightings
    are, and noise of single boxes is smoothed away.
    """

    def __init__(self) -> None:
        self._rows = Records(_KIND)

    def update(self, seen: Seen) -> npt.NDArray[np.float64]:
        """Return (n,) frame pixels per second of every track's centre as far as it was sighted; infinity: unknown."""
        tracks, time = seen.tracks, seen.frame.time
        self._rows.follow(tracks.keys)
        at, here = self._rows.at, tracks.located
        now = np.column_stack([tracks.centers, np.full(len(tracks), time)])
        new = here & ~at["seen"]
        at["fast"][new] = at["slow"][new] = now[new]
        at["last"][new] = time
        at["seen"] |= new
        elapsed = time - at["last"][here, None]
        for name, constant_s in (("fast", FAST_S), ("slow", SLOW_S)):
            at[name][here] += elapsed / (elapsed + constant_s) * (now[here] - at[name][here])
        at["last"][here] = time
        ahead = at["fast"] - at["slow"]
        known = ahead[:, 2] >= LEAST_S
        speeds = np.hypot(ahead[:, 0], ahead[:, 1]) / np.where(known, ahead[:, 2], 1.0)
        return np.asarray(np.where(known, speeds, np.inf))

    def clear(self) -> None:
        """Forget everything: nobody has looked."""
        self._rows.clear()
