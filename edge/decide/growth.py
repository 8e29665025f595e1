"""Defects at fixed places, picture after picture: which persist, and which of these grow."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.blobs import blobs_of
from edge.boxes import common_of
from edge.config import Growth
from edge.events import GrowthEvent
from edge.types import Boxes, Gap, Image, Seen, Tracks

MOST_DEFECTS: Final = 256  # of one rule, and spots of one picture, the largest: bounded state
REACH: Final = 0.01  # of the frame's sides: how far a defect may be from where it was
FEWEST: Final = 8  # pictures without which there is no trend: the normal approximation needs them
SURE: Final = 3.09  # standard deviations that chance exceeds once in a thousand times: each picture asks anew
SPOTTED, PERSISTS, GROWS = range(3)
UNSEEN = -1


class GrowthWatch:
    """Remembers each defect by its place, as shares of the frame, and what share of the frame it had.

    A defect that enough of the last pictures show persists. It grows when its shares since it was first seen have a
    rising trend by the Mann-Kendall test (Mann 1945, Kendall 1975; ties, continuity corrected; one-sided, 0.1 %) and
    the median of the newest third is `factor` times that of the oldest. One that the whole window does not show is
    gone.
    """

    def __init__(self, rule: Growth) -> None:
        self._rule = rule
        self._needed = max(1, math.ceil(rule.seen * rule.window))
        self._due: float | None = None  # s, of the next picture
        self._next = 1
        self._numbers = np.zeros(0, np.int64)
        self._boxes: Boxes = np.zeros((0, 4), np.float32)  # shares of the frame
        self._shares = np.zeros((0, rule.window), np.float32)  # newest last; UNSEEN before there was a defect
        self._stages = np.zeros(0, np.int8)

    def decide(self, seen: Seen) -> list[GrowthEvent]:
        """Return which defects begin to persist or to grow with this picture, and which are gone."""
        if self._due is not None and seen.frame.time < self._due:
            return []
        self._due = seen.frame.time + self._rule.every_s
        self._note(*_spots(seen.found, self._rule.least_share))
        events = [event for row in range(len(self._numbers)) for event in self._judged(seen, row)]
        self._keep(np.asarray((self._shares > 0).any(axis=1)))
        return events

    def blind(self, gap: Gap, tracks: Tracks) -> list[GrowthEvent]:  # noqa: ARG002  as all rules have it
        """Return nothing, and forget nothing: defects stay where they are."""
        return []

    def _note(self, boxes: Boxes, shares: npt.NDArray[np.float32]) -> None:
        """Add a picture with spots at `boxes` (n, 4) that have `shares` (n,) of it, largest first."""
        common = common_of(boxes, self._boxes + np.asarray([-REACH, -REACH, REACH, REACH], np.float32))
        known = common.any(axis=1)
        owners = common.argmax(axis=1)[known] if len(self._boxes) else np.zeros(0, np.int64)
        self._shares[:, :-1] = self._shares[:, 1:]
        self._shares[:, -1] = np.bincount(owners, shares[known], len(self._boxes))
        for row in np.unique(owners).tolist():
            mine = boxes[known][owners == row]
            self._boxes[row] = [*mine[:, :2].min(axis=0), *mine[:, 2:].max(axis=0)]
        self._begin(boxes[~known], shares[~known])

    def _begin(self, boxes: Boxes, shares: npt.NDArray[np.float32]) -> None:
        room = MOST_DEFECTS - len(self._numbers)
        boxes, shares = boxes[:room], shares[:room]
        history = np.full((len(boxes), self._rule.window), UNSEEN, np.float32)
        history[:, -1] = shares
        self._numbers = np.append(self._numbers, np.arange(self._next, self._next + len(boxes)))
        self._boxes = np.concatenate([self._boxes, boxes])
        self._shares = np.concatenate([self._shares, history])
        self._stages = np.append(self._stages, np.zeros(len(boxes), np.int8))
        self._next += len(boxes)

    def _judged(self, seen: Seen, row: int) -> list[GrowthEvent]:
        shares = self._shares[row]
        told = []
        if not (shares > 0).any():
            return [self._event(seen, row, "gone")] if self._stages[row] != SPOTTED else []
        if self._stages[row] == SPOTTED and np.count_nonzero(shares > 0) >= self._needed:
            self._stages[row] = PERSISTS
            told.append(self._event(seen, row, "persists"))
        if self._stages[row] == PERSISTS and self._grows(shares[shares != UNSEEN]):
            self._stages[row] = GROWS
            told.append(self._event(seen, row, "grows"))
        return told

    def _grows(self, shares: npt.NDArray[np.float32]) -> bool:
        if len(shares) < FEWEST:
            return False
        third = len(shares) // 3
        first, last = np.median(shares[:third]), np.median(shares[-third:])
        return bool(last >= self._rule.factor * first) and mann_kendall(shares) >= SURE

    def _event(self, seen: Seen, row: int, stage: str) -> GrowthEvent:
        shares = self._shares[row][self._shares[row] != UNSEEN]
        x0, y0, x1, y1 = np.round(self._boxes[row].astype(float), 4).tolist()
        return GrowthEvent(
            time=seen.frame.time,
            camera=seen.frame.camera,
            frame=seen.frame.index,
            rule=self._rule.name,
            defect=int(self._numbers[row]),
            stage=stage,
            place=(x0, y0, x1, y1),
            share=round(float(shares[-1]), 7),
            seen=int(np.count_nonzero(shares)),
            of=len(shares),
            trend=round(mann_kendall(shares), 2),
        )

    def _keep(self, rows: npt.NDArray[np.bool_]) -> None:
        if not rows.all():
            self._numbers, self._boxes = self._numbers[rows], self._boxes[rows]
            self._shares, self._stages = self._shares[rows], self._stages[rows]


def mann_kendall(values: npt.NDArray[np.float32]) -> float:
    """Return how many standard deviations the trend of `values` (n,) is from none; above 0: it rises."""
    count = len(values)
    rises = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(count, 1)].sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (_spread(np.asarray([count])) - _spread(ties)) / 18
    return (rises - math.copysign(1.0, rises)) / math.sqrt(variance) if rises and variance > 0 else 0.0


def _spread(counts: npt.NDArray[np.int64]) -> float:
    return float((counts * (counts - 1) * (2 * counts + 5)).sum())


def _spots(found: Image, least: float) -> tuple[Boxes, npt.NDArray[np.float32]]:
    """Return boxes (n, 4) and areas (n,) of the spots of foreground `found` (h, w), largest first, as shares of it."""
    _, stats = blobs_of(found)
    shares = stats[1:, 4] / np.float32(found.size)
    rows = np.flatnonzero(shares >= least)
    rows = rows[np.argsort(-shares[rows], kind="stable")][:MOST_DEFECTS]
    sides = np.asarray([*found.shape[::-1]] * 2, np.float32)
    boxes = stats[1:, :4][rows].astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes / sides, shares[rows].astype(np.float32)
