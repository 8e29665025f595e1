"""All tracks of one camera: a row of arrays for each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.decide.kalman import first_covariances
from edge.types import Array, Boxes


@dataclass(slots=True)
class Rows:
    """Every track as a row of arrays of equal length.

    No array is ever written to: a step puts another in its place. What has been handed out stays as it was, and nobody
    needs a copy.
    """

    keys: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    points: npt.NDArray[np.float32]  # (n, 3, 2) both corners of the box and the centre, x and y
    velocities: npt.NDArray[np.float32]  # (n, 2)
    covariances: npt.NDArray[np.float32]  # (n, 3) of position and velocity, where each moves by itself
    astray: npt.NDArray[np.float32]  # (n, 3, 2) what all looks say of the points, less what the last one says
    votes: npt.NDArray[np.int32]  # (n, classes) looks that gave it each class
    classes: npt.NDArray[np.uint8]  # (n,) the class with most votes
    looks: npt.NDArray[np.int32]
    since_look: npt.NDArray[np.int32]
    instances: npt.NDArray[np.int32]
    missed: npt.NDArray[np.int32]  # looks in a row that covered it and did not show it
    corrected: npt.NDArray[np.float32]  # (n, 2) frame pixels by which other parts' looks moved it since its own
    born: npt.NDArray[np.int64]  # frames of the camera before its first look
    supported_in: npt.NDArray[np.int64]  # the last frame in which the labels supported it or a look showed it
    known_in: npt.NDArray[np.int64]  # the last frame in which a look showed how the belt moves
    shown: npt.NDArray[np.bool_]  # the labels have supported it at least once
    supported: npt.NDArray[np.bool_]  # they do in this frame
    followed: npt.NDArray[np.bool_]  # a blob of the labels says where it is
    masks: list[npt.NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def boxes(self) -> Boxes:
        """Return (n, 4) the boxes."""
        return self.points.reshape(-1, 6)[:, :4]

    @property
    def centers(self) -> npt.NDArray[np.float32]:
        """Return (n, 2) the centres."""
        return self.points[:, 2]

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Forget every row that is not in `rows`."""
        for name in ARRAYS:
            setattr(self, name, getattr(self, name)[rows])
        self.masks = [mask for mask, kept in zip(self.masks, rows.tolist(), strict=True) if kept]

    def append(self, other: Rows) -> None:
        """Add the rows of `other`."""
        for name in ARRAYS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
        self.masks = self.masks + other.masks

    def put(self, at: npt.NDArray[np.int64], **values: Any) -> None:
        """Put `values` into the rows `at` of the arrays of these names."""
        for name, value in values.items():
            array: Array = getattr(self, name).copy()
            array[at] = value
            setattr(self, name, array)


ARRAYS = tuple(field.name for field in fields(Rows) if field.name != "masks")


def new_rows(count: int, classes: int, now: int = 0) -> Rows:
    """Return rows of `count` tracks that begin in frame `now`; `classes` is how many there are."""
    ints, zeros = np.zeros(count, np.int32), np.zeros((count, 2), np.float32)
    return Rows(
        keys=np.zeros(count, np.int64),
        ids=np.zeros(count, np.int64),
        points=np.zeros((count, 3, 2), np.float32),
        velocities=zeros,
        covariances=first_covariances(count),
        astray=np.zeros((count, 3, 2), np.float32),
        votes=np.zeros((count, classes), np.int32),
        classes=np.zeros(count, np.uint8),
        looks=ints,
        since_look=ints,
        instances=ints - 1,
        missed=ints,
        corrected=zeros,
        born=np.full(count, now, np.int64),
        supported_in=np.full(count, now, np.int64),
        known_in=np.full(count, now, np.int64),
        shown=ints > 0,
        supported=ints > 0,
        followed=ints > 0,
        masks=[],
    )
