"""What is known of spots that no track explains, from one frame to the next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.boxes import CORNERS, areas_of, common_of
from edge.types import Array, Boxes

NEW_SPOT_VALUE = 3.0  # of a look at a spot never looked at: a track that is overdue thrice comes first
SAME_SPOT = 0.5  # share of a spot inside a remembered one above which it is the same
MOST_DOUBLINGS = 3  # of the interval between looks at a spot that shows nothing
WAITS = 2 ** np.clip(np.arange(MOST_DOUBLINGS + 2) - 1, 0, None)  # by tries, times the shortest
MEMORY_FRAMES = 256  # after which a look at a spot is forgotten
MOST_REMEMBERED = 512
# of the last look or else the first sight; looks; 1: one could show all of it; of the first and last one in sight
NOTES = FRAME, TRIES, WHOLE, SINCE, SEEN = range(5)


class SpotMemory:
    """Spots that wait for a look, and where was looked in vain; carried along with what lies there.

    The last row, -1, stands for every spot that is not remembered: no box, no looks, in sight since this frame.
    """

    def __init__(self) -> None:
        self._boxes = np.zeros((1, 4), np.float32)
        self._notes = np.zeros((1, len(NOTES)), np.int64)
        self._before = 0  # number of the frame before this one
        self._spots = np.zeros((0, 4), np.float32)  # of this frame
        self._known = np.zeros(0, np.int64)  # (n,) which remembered spot each of them mostly lies in, -1 for none

    def see(self, spots: Boxes, shift: npt.NDArray[np.float32]) -> None:
        """Note which `spots` (n, 4) are in this frame; what is remembered has moved by `shift` (2,) frame pixels."""
        self._boxes += shift[CORNERS]
        self._spots, self._known = spots, np.full(len(spots), -1)
        if len(spots) and len(self._boxes) > 1:
            shares = common_of(spots, self._boxes) / np.maximum(areas_of(spots), 1.0)[:, None]
            self._known = np.where(shares.max(axis=1) >= SAME_SPOT, shares.argmax(axis=1), -1)

    def values(
        self, frame: int, retry_frames: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return what a look at each spot is worth (n,), for how many frames it is due, and whether it is new.

        A value of 1 is due.
        """
        if not len(self._spots):
            return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_)
        self._notes[-1, [FRAME, SINCE]] = frame
        back = self._known[self._notes[self._known, SEEN] < self._before]  # it was not in sight: nothing has waited
        self._notes[back, SINCE] = frame
        self._notes[self._known, SEEN] = frame
        last, tries, _, begun, _ = self._notes[self._known].T
        since = frame - last
        interval = retry_frames * WAITS[np.minimum(tries, MOST_DOUBLINGS + 1)]
        new = tries == 0
        values = since / interval
        values[new] += NEW_SPOT_VALUE
        due = np.where(new, since, np.maximum(since - interval, 0))
        return values, np.minimum(due, frame - begun), new

    def unseen(self) -> npt.NDArray[np.bool_]:
        """Return (n,) the spots of this frame of which no look could show all."""
        return np.asarray(self._notes[self._known, WHOLE] == 0)

    def note(self, frame: int, looked: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]) -> None:
        """Remember which of the spots of this frame were `looked` at (n,) in it, and which of them are `whole` (n,)."""
        spots, known, self._before = self._spots, self._known, frame
        kept = frame - self._notes[:, FRAME] < MEMORY_FRAMES
        if not len(spots) and kept[:-1].all():
            return
        notes = self._notes[known]
        follows = (known >= 0) & (notes[:, TRIES] == 0)  # what was looked at may grow to be another
        self._boxes[known[follows]] = spots[follows]
        notes[:, FRAME] = frame
        notes[:, TRIES] += looked
        notes[:, WHOLE] |= looked & whole
        kept[known[looked]] = kept[-1] = False
        old, told = kept.nonzero()[0], (looked | (known < 0)).nonzero()[0]
        self._boxes = _joined(self._boxes, old, spots, told)
        self._notes = _joined(self._notes, old, notes, told)


def _joined(old: Array, kept: npt.NDArray[np.int64], new: Array, told: npt.NDArray[np.int64]) -> Array:
    """Return the rows `kept` of `old`, the rows `told` of `new`, and the last one of `old`, which stands for none."""
    return np.concatenate([old[kept], new[told], old[-1:]])[-1 - MOST_REMEMBERED :]
