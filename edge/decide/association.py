"""Which instance of a frame is which track."""

from __future__ import annotations

import lap
import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, overlaps
from edge.types import Instances, Tracks

LARGEST_COST = 0.9  # association cost above which a pair is never made
RIGID_REACH = 0.45  # sizes of the smaller object within which an instance is the same part on a belt
OTHER_CLASS_COST = 0.15
REACH_GROWTH = 0.05  # by which a track's reach grows with every frame without a look
LOST_COST = 0.005  # per frame without a look: who was seen last is matched first

Pairs = list[tuple[int, int]]


def associate(tracks: Tracks, instances: Instances, usable: npt.NDArray[np.int64], *, rigid: bool) -> Pairs:
    """Return (track, instance) pairs of least total cost, by track; `usable` (m,) are the instances to choose from.

    The cost is the distance of the centres in units of the smaller object; where things do not move rigidly together,
    1 - IoU if that is less. Another class costs more, and so does time without a look.
    """
    if not len(tracks) or not len(usable):
        return []
    boxes, centers = instances.boxes[usable], instances.centers[usable]
    sizes = np.sqrt(np.minimum(areas_of(tracks.boxes)[:, None], areas_of(boxes)))
    cost = _distances(tracks.centers, centers) / np.maximum(sizes, 1.0)
    limit = RIGID_REACH
    if not rigid:
        waited = tracks.since_look[:, None]
        cost = np.minimum(1.0 - overlaps(tracks.boxes, boxes), 0.3 + cost / (1 + REACH_GROWTH * waited))
        cost, limit = cost + LOST_COST * np.minimum(waited, 20), LARGEST_COST
    cost = cost + OTHER_CLASS_COST * (tracks.classes[:, None] != instances.classes[usable])
    return [(row, int(usable[column])) for row, column in assigned(cost, limit)]


def assigned(cost: npt.NDArray[np.float64], limit: float) -> Pairs:
    """Return the (row, column) pairs of `cost` (n, m) that cost less than `limit` and, `limit` taken off, least in all.

    Most objects have one candidate, and are its only one: no other pair can do better. What is left is the assignment
    problem of Jonker and Volgenant (1987), by `lap`.
    """
    near = cost < limit
    of_row, of_column = near.sum(axis=1), near.sum(axis=0)
    contested = near & ((of_row > 1)[:, None] | (of_column > 1))
    rows, columns = np.nonzero(near & ~contested)
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    if not contested.any():
        return pairs
    rows, columns = np.flatnonzero(contested.any(axis=1)), np.flatnonzero(contested.any(axis=0))
    _, found, _ = lap.lapjv(cost[np.ix_(rows, columns)].astype(np.float64), extend_cost=True, cost_limit=limit)
    pairs += [(int(row), int(columns[i])) for row, i in zip(rows, found.tolist(), strict=True) if i >= 0]
    return sorted(pairs)


def _distances(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (n, m) how far points `a` (n, 2) and `b` (m, 2) are from each other."""
    across, down = a[:, :1] - b[:, 0], a[:, 1:] - b[:, 1]
    return np.asarray(np.sqrt(across * across + down * down))
