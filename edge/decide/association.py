"""Which instance of a frame is which track."""

from __future__ import annotations

from typing import TypeAlias

import lap
import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, overlaps
from edge.decide.meetings import Places
from edge.types import Boxes, Instances, Tracks

FREE_LIMIT = 0.9  # cost above which a pair is never made, where each moves by itself
UNSURE_LIMIT = 0.5  # the same for instances that nobody is sure of
RIGID_LIMIT = 0.45  # the same on a belt: sizes of the smaller object
OTHER_CLASS_COST = 0.15
GROWTH = 0.02  # of a box's sides, by which it grows on each of them with every frame without a look
MOST_GROWTH = 0.4
NEVER = 9.0  # the cost of what cannot be a pair

Pairs: TypeAlias = npt.NDArray[np.int64]  # (k, 2) row of the track, index of the instance; by track
Costs: TypeAlias = npt.NDArray[np.float32]  # (n, m)
NO_PAIRS: Pairs = np.zeros((0, 2), np.int64)


def associate(
    tracks: Tracks,
    instances: Instances,
    usable: npt.NDArray[np.int64],
    *,
    rigid: bool,
    least_score: float = 0.0,
    in_sight: npt.NDArray[np.bool_] | None = None,
    also: Places | None = None,
) -> Pairs:
    """Return the pairs of tracks and instances of least total cost; `usable` (m,) are the instances to choose from.

    On a belt the cost is the distance of the centres in units of the smaller object, elsewhere 1 - IoU of the boxes,
    those of tracks being larger the longer they were not looked at (buffered IoU: Yang et al., 2023). Another class
    costs more. In passes, as in ByteTrack (Zhang et al., 2022): instances of at least `least_score` continue confirmed
    tracks, then, where each moves by itself, the others; those below it continue what is left and `in_sight` (n,), not
    lost already, where they surely are the same. Tracks that may `also` be elsewhere are taken for where they fit best.
    """
    if not len(tracks) or not len(usable):
        return NO_PAIRS
    cost = _costs(tracks.boxes, tracks.centers, tracks.since_look, instances, usable, rigid=rigid)
    if also is not None:
        waited = tracks.since_look[also.rows]
        np.minimum.at(cost, also.rows, _costs(also.boxes, also.centers, waited, instances, usable, rigid=rigid))
    cost = cost + np.float32(OTHER_CLASS_COST) * (tracks.classes[:, None] != instances.classes[usable])
    limit = RIGID_LIMIT if rigid else FREE_LIMIT
    sure, known = instances.scores[usable] >= least_score, tracks.ids > 0
    if sure.all() and (rigid or known.all()):
        pairs = assigned(cost, limit)
    else:
        everyone = np.ones(len(tracks), np.bool_)
        first, there = everyone if rigid else known, everyone if in_sight is None else in_sight
        passes = ((first, sure, limit), (~first, sure, limit), (there, ~sure, min(limit, UNSURE_LIMIT)))
        pairs = np.concatenate([_taken(cost, rows, columns, most) for rows, columns, most in passes])
        pairs = pairs[pairs[:, 0].argsort()]
    pairs[:, 1] = usable[pairs[:, 1]]
    return pairs


def _taken(cost: Costs, rows: npt.NDArray[np.bool_], columns: npt.NDArray[np.bool_], limit: float) -> Pairs:
    """Return the pairs of those `rows` (n,) and `columns` (m,), and leave these out of `cost` (n, m) from now on."""
    if not rows.any() or not columns.any():
        return NO_PAIRS
    pairs = assigned(np.where(rows[:, None] & columns, cost, np.float32(NEVER)), limit)
    cost[pairs[:, 0]] = NEVER
    cost[:, pairs[:, 1]] = NEVER
    return pairs


def _costs(
    boxes: Boxes,
    centers: npt.NDArray[np.float32],
    waited: npt.NDArray[np.int32],
    instances: Instances,
    usable: npt.NDArray[np.int64],
    *,
    rigid: bool,
) -> Costs:
    """Return (n, m) what it costs that tracks at `boxes` (n, 4) and `centers` (n, 2) are the instances `usable` (m,).

    `waited` (n,) are the frames since they were looked at.
    """
    theirs = instances.boxes[usable]
    return (
        _rigid_costs(boxes, centers, theirs, instances.centers[usable]) if rigid else _free_costs(boxes, waited, theirs)
    )


def _free_costs(boxes: Boxes, waited: npt.NDArray[np.int32], theirs: Boxes) -> Costs:
    """Return (n, m) 1 - IoU of the boxes, those of tracks grown by the time since they were looked at."""
    grown = boxes
    if waited.max() > 1:
        by = np.minimum(GROWTH * np.maximum(waited - 1, 0), MOST_GROWTH)[:, None] * (grown[:, 2:] - grown[:, :2])
        grown = np.concatenate([grown[:, :2] - by, grown[:, 2:] + by], axis=1).astype(np.float32)
    cost = overlaps(grown, theirs)
    return np.subtract(1.0, cost, out=cost)


def _rigid_costs(
    boxes: Boxes, centers: npt.NDArray[np.float32], theirs: Boxes, their_centers: npt.NDArray[np.float32]
) -> Costs:
    """Return (n, m) how far the centres are from each other, in units of the smaller object."""
    areas = np.minimum(areas_of(boxes)[:, None], areas_of(theirs))
    (x0, y0), (x1, y1) = centers.T, their_centers.T
    across, down = x0[:, None] - x1, y0[:, None] - y1
    cost = (across * across + down * down) / np.maximum(areas, 1.0, out=areas)
    return np.asarray(np.sqrt(cost, out=cost))


def assigned(cost: Costs, limit: float) -> Pairs:
    """Return the pairs (k, 2) of rows and columns that cost less than `limit` and, `limit` taken off, least in all.

    Most rows of `cost` (n, m) have one candidate, and are its only one: no other pair can do better. What is left is
    the assignment problem of Jonker and Volgenant (1987), by `lap`.
    """
    rows, columns = (cost < limit).nonzero()
    of_row, of_column = np.bincount(rows, minlength=1), np.bincount(columns, minlength=1)
    if of_row.max() <= 1 and of_column.max() <= 1:
        return _paired(rows, columns)
    lone = (of_row[rows] == 1) & (of_column[columns] == 1)
    pairs = _paired(rows[lone], columns[lone])
    rows, columns = _distinct(rows[~lone], len(cost)), _distinct(columns[~lone], cost.shape[1])
    _, found, _ = lap.lapjv(cost[np.ix_(rows, columns)].astype(np.float64), extend_cost=True, cost_limit=limit)
    made = found >= 0
    pairs = np.concatenate([pairs, _paired(rows[made], columns[found[made]])])
    return np.asarray(pairs[pairs[:, 0].argsort()])


def _distinct(numbers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return which of the numbers below `count` there are."""
    there = np.zeros(count, np.bool_)
    there[numbers] = True
    return there.nonzero()[0]


def _paired(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Pairs:
    pairs = np.empty((len(rows), 2), np.int64)
    pairs[:, 0], pairs[:, 1] = rows, columns
    return pairs
