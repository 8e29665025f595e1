"""Where places are that have moved together: the rigid motion that brings them onto what is seen."""

from __future__ import annotations

import math

import numpy as np

from edge.rigid import Motion, Points

REFINED = 3  # times that a motion is fitted to the pairs that it gives
FINE = 0.25  # of `near`: shifts that differ by less are tried once
STEPS = 4  # angles that are tried, for each so far as moves the outermost place by half of `near`


class Arrangement:
    """Places that keep their distances, on something that may lie elsewhere or turned.

    The motion that is found brings the most places to within `near` of what is seen, half the least distance of two
    places; among several of these it is the one with the least squared distances, then the smallest. It is looked for
    exhaustively, one pair of place and thing after the other at a few angles (as in the generalised Hough transform;
    Ballard 1981), and then fitted to all pairs (Kabsch 1976) as in iterative closest point (Besl and McKay 1992).
    """

    def __init__(self, places: Points, move: float, turn: float) -> None:
        """`places` (n, 2) are where they are said to be; `move` in the same unit and `turn` in radians at the most."""
        self._places, self._move, self._turn = places, move, turn
        self._middle = places.mean(axis=0)
        apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1)) + np.diag(np.full(len(places), np.inf))
        self._near = max(1.0, float(apart.min() / 2)) if len(places) > 1 else math.inf
        self._farthest = float(np.hypot(*(places - self._middle).T).max())
        sides = math.ceil(self._farthest * turn * STEPS / (2 * self._near)) if turn else 0
        self._angles = sorted(np.linspace(-turn, turn, 2 * sides + 1).tolist() if sides else [0.0], key=abs)

    def find(self, things: Points) -> Motion:
        """Return the motion that brings the places onto `things` (m, 2); none at all where nothing fits."""
        x, y = self._middle.tolist()
        best = Motion((x, y))
        if not len(things):
            return best
        tried = [self._shifted(things, angle) for angle in self._angles]
        costs = np.concatenate([cost for _, cost in tried])
        shifts = np.concatenate([shift for shift, _ in tried])
        if not len(costs):
            return best
        angles = np.repeat(self._angles, [len(cost) for _, cost in tried])
        sizes = np.hypot(*shifts.T) + self._farthest * np.abs(angles)
        row = int(np.lexsort((sizes, *costs.T[::-1]))[0])
        return self._fitted(things, Motion((x, y), float(angles[row]), (float(shifts[row, 0]), float(shifts[row, 1]))))

    def _shifted(self, things: Points, angle: float) -> tuple[Points, Points]:
        """Return the shifts (k, 2) that bring a place onto a thing after a turn, and (k, 2) what is lost with each.

        What is lost: minus the places that are near a thing, and the sum of their squared distances.
        """
        x, y = self._middle.tolist()
        turned = Motion((x, y), angle)(self._places)
        shifts = (things[:, None] - turned).reshape(-1, 2)
        shifts = _apart(shifts[np.hypot(*shifts.T) <= self._move], self._near * FINE)
        lost = np.zeros((len(shifts), 2))
        for place in turned:  # one at a time: room for all shifts and things
            gaps = ((place + shifts)[:, None] - things) ** 2
            nearest = gaps.sum(axis=2).min(axis=1)
            fits = nearest <= self._near**2
            lost += np.stack([np.where(fits, -1.0, 0.0), np.where(fits, nearest, 0.0)], axis=1)
        return shifts, np.round(lost, 6)

    def _fitted(self, things: Points, motion: Motion) -> Motion:
        """Return `motion` after it was fitted to the pairs that it gives, within the limits."""
        x, y = self._middle.tolist()
        for _ in range(REFINED):
            gaps = np.hypot(*(motion(self._places)[:, None] - things).transpose(2, 0, 1))
            nearest = gaps.argmin(axis=1)
            fits = gaps.min(axis=1) <= self._near
            source, target = self._places[fits], things[nearest[fits]]
            turn = motion.turn
            if len(source) > 1:
                turn = float(np.clip(_turn_between(source, target), -self._turn, self._turn))
            shift = target.mean(axis=0) - Motion((x, y), turn)(source).mean(axis=0)
            far = float(np.hypot(*shift))
            dx, dy = (shift * min(1.0, self._move / far) if far else shift).tolist()
            motion = Motion((x, y), turn, (dx, dy))
        return motion


def _apart(shifts: Points, step: float) -> Points:
    """Return of `shifts` (n, 2) the first in each square of side `step`; all of them where that is infinite."""
    if not math.isfinite(step):
        return shifts
    _, first = np.unique(np.floor(shifts / step), axis=0, return_index=True)
    return np.asarray(shifts[np.sort(first)])


def _turn_between(source: Points, target: Points) -> float:
    """Return by how much `source` (n, 2) must turn to lie as `target` (n, 2) does, least squares, radians."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    return math.atan2(float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()), float((a * b).sum()))
