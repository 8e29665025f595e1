"""All tracks of one camera: columns of four arrays, with a row for each track."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.decide.kalman import first_covariances
from edge.types import Boxes, Instances, Tracks

Masks = list[npt.NDArray[np.bool_]]
FLOATS, NUMBERS, COUNTS, FLAGS = 19, 4, 4, 4  # numbers per track in each array, votes left out


class Rows:
    """The columns of four arrays, one per type, and a mask of each track; the last axis of all columns is the track.

    What is done to all tracks at once is then done to numbers that lie side by side. Columns are views, and may be
    written to until a frame is over: `Tracker` begins the next one with a copy, which takes four calls.
    """

    def __init__(
        self,
        floats: npt.NDArray[np.float32],
        numbers: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int32],
        flags: npt.NDArray[np.uint8],
        masks: Masks,
    ) -> None:
        """Take arrays of n columns, and n `masks`."""
        self._arrays = floats, numbers, counts, flags
        self.masks = masks
        self.points = floats[:6].reshape(3, 2, -1)  # both corners of the box and the centre; x and y; n
        self.astray = floats[6:12].reshape(3, 2, -1)  # what all looks say of the points, less what the last one says
        self.velocities = floats[12:14]  # (2, n)
        self.covariances = floats[14:17]  # (3, n) of position and velocity, where each moves by itself
        self.corrected = floats[17:]  # (2, n) frame pixels by which other parts' looks moved it since its own
        self.keys, self.ids = numbers[0], numbers[1]
        self.supported_in = numbers[2]  # the last frame in which the labels supported it or a look showed it
        self.known_in = numbers[3]  # the last frame in which a look showed how the belt moves
        self.looks, self.since_look, self.instances = counts[0], counts[1], counts[2]
        self.missed = counts[3]  # looks in a row that covered it and did not show it
        self.votes = counts[COUNTS:]  # (classes, n) looks that gave it each class
        self.classes = flags[0]  # the class with most votes
        self.shown, self.supported, self.followed = flags[1:].view(np.bool_)  # the labels have supported it at least
        # once; they do in this frame; a blob of them says where it is

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def boxes(self) -> Boxes:
        """Return (n, 4) the boxes."""
        return np.asarray(self._arrays[0][:4].T)

    @property
    def centers(self) -> npt.NDArray[np.float32]:
        """Return (n, 2) the centres."""
        return np.asarray(self.points[2].T)

    def copy(self) -> Rows:
        """Return the same rows, to be changed."""
        floats, numbers, counts, flags = self._arrays
        return Rows(floats.copy(), numbers.copy(), counts.copy(), flags.copy(), self.masks.copy())

    def only(self, kept: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows `kept` (n,)."""
        floats, numbers, counts, flags = self._arrays
        masks = [mask for mask, keep in zip(self.masks, kept.tolist(), strict=True) if keep]
        return Rows(floats[:, kept], numbers[:, kept], counts[:, kept], flags[:, kept], masks)

    def and_those_of(self, other: Rows) -> Rows:
        """Return these rows, then those of `other`."""
        (floats, numbers, counts, flags), more = self._arrays, other._arrays
        return Rows(
            np.concatenate([floats, more[0]], axis=1),
            np.concatenate([numbers, more[1]], axis=1),
            np.concatenate([counts, more[2]], axis=1),
            np.concatenate([flags, more[3]], axis=1),
            self.masks + other.masks,
        )

    def tracks(self, carried: npt.NDArray[np.bool_]) -> Tracks:
        """Return the rows as others see them; those `carried` (n,) are where they are expected, without a look too."""
        return Tracks(
            keys=self.keys,
            ids=self.ids,
            boxes=self.boxes,
            classes=self.classes,
            centers=self.centers,
            velocities=self.velocities.T,
            looks=self.looks,
            since_look=self.since_look,
            supported=self.supported,
            instances=self.instances,
            located=(self.since_look == 0) | carried,
            masks=self.masks,
        )


def new_rows(count: int, classes: int, now: int = 0) -> Rows:
    """Return rows of `count` tracks that begin in frame `now`, without masks; `classes` is how many there are."""
    rows = Rows(
        np.zeros((FLOATS, count), np.float32),
        np.zeros((NUMBERS, count), np.int64),
        np.zeros((COUNTS + classes, count), np.int32),
        np.zeros((FLAGS, count), np.uint8),
        [],
    )
    rows.covariances[:] = first_covariances(count)
    rows.instances[:] = -1
    for column in (rows.supported_in, rows.known_in):
        column[:] = now
    return rows


def points_of(instances: Instances, found: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return (3, 2, k) both corners of the boxes and the centres of the instances `found` (k,)."""
    return np.concatenate([instances.boxes[found].T, instances.centers[found].T]).reshape(3, 2, -1)


def all_but(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return all rows below `count` that are not in `rows`."""
    others = np.ones(count, np.bool_)
    others[rows] = False
    return others.nonzero()[0]
