"""What is known of spots that no track explains, from one frame to the next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of
from edge.types import Boxes

NEW_SPOT_VALUE = 3.0  # of a look at a spot never looked at: a track that is overdue thrice comes first
SAME_SPOT = 0.5  # share of a spot inside a remembered one above which it is the same
MOST_DOUBLINGS = 3  # of the interval between looks at a spot that shows nothing
MEMORY_FRAMES = 256  # after which a look at a spot is forgotten
MOST_REMEMBERED = 512


class SpotMemory:
    """Spots that wait for a look, and where was looked in vain; carried along with what lies there."""

    def __init__(self) -> None:
        self._boxes = np.zeros((0, 4), np.float32)
        self._frames = np.zeros(0, np.int64)  # of the last look; where there was none, of the first sight
        self._tries = np.zeros(0, np.int64)
        self._whole = np.zeros(0, np.bool_)  # one of these looks could show all of it
        self._spots = np.zeros((0, 4), np.float32)  # of this frame
        self._known = np.zeros(0, np.int64)  # (n,) which remembered spot each of them mostly lies in, -1 for none

    def see(self, spots: Boxes, shift: npt.NDArray[np.float32]) -> None:
        """Note which `spots` (n, 4) are in this frame; what is remembered has moved by `shift` (2,) frame pixels."""
        self._boxes[:, :2] += shift
        self._boxes[:, 2:] += shift
        self._spots, self._known = spots, np.full(len(spots), -1, np.int64)
        if len(self._boxes) and len(spots):
            shares = common_of(spots, self._boxes) / np.maximum(areas_of(spots), 1.0)[:, None]
            np.copyto(self._known, shares.argmax(axis=1), where=shares.max(axis=1) >= SAME_SPOT)

    def values(
        self, frame: int, retry_frames: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return what a look at each spot is worth (n,), for how many frames it is due, and whether it is new.

        A value of 1 is due.
        """
        if not len(self._spots):
            return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_)
        tries = np.append(self._tries, 0)[self._known]
        since = frame - np.append(self._frames, frame)[self._known]
        interval = retry_frames * 2 ** np.clip(tries - 1, 0, MOST_DOUBLINGS)
        new = tries == 0
        values = since / interval + np.where(new, NEW_SPOT_VALUE, 0.0)
        return values, np.where(new, since, np.maximum(since - interval, 0)), new

    def unseen(self) -> npt.NDArray[np.bool_]:
        """Return (n,) the spots of this frame of which no look could show all."""
        return ~np.append(self._whole, False)[self._known]

    def note(self, frame: int, looked: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]) -> None:
        """Remember which of the spots of this frame were `looked` at (n,) in it, and which of them are `whole` (n,)."""
        spots, known = self._spots, self._known
        kept = frame - self._frames < MEMORY_FRAMES
        if not len(spots) and kept.all():
            return
        follows = (known >= 0) & (np.append(self._tries, 1)[known] == 0)  # what was looked at may grow to be another
        self._boxes[known[follows]] = spots[follows]
        kept[known[looked & (known >= 0)]] = False
        told = looked | (known < 0)
        tries = np.append(self._tries, 0)[known] + looked
        seen = np.append(self._whole, False)[known] | (looked & whole)
        self._whole = np.concatenate([self._whole[kept], seen[told]])[-MOST_REMEMBERED:]
        self._boxes = np.concatenate([self._boxes[kept], spots[told]])[-MOST_REMEMBERED:]
        self._frames = np.concatenate([self._frames[kept], np.full(int(told.sum()), frame)])[-MOST_REMEMBERED:]
        self._tries = np.concatenate([self._tries[kept], tries[told]])[-MOST_REMEMBERED:]
