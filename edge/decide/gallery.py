"""Objects that have left: what they looked like, and which of them one that comes is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.types import Array

MOST_REMEMBERED = 1000  # of one camera, those that left last: bounded state
MOST_CANDIDATES = 8  # named where nobody can tell which of them it is

Vectors = npt.NDArray[np.float32]  # (n, d) of length 1
Rows = npt.NDArray[np.int64]  # (n,)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Some objects, what they look like, and of which class they are; structure of arrays."""

    ids: npt.NDArray[np.int64]  # (n,)
    labels: npt.NDArray[np.int64]  # (n,)
    looks: Vectors  # (n, d)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Matches:
    """What the remembered ones are to those that come."""

    rows: Rows  # (q,) of what is remembered: the one that each looks like most; -1 where there is none of its class
    known: npt.NDArray[np.bool_]  # (q,) it is that one
    doubtful: npt.NDArray[np.bool_]  # (q,) it may be that one, or another
    similarities: npt.NDArray[np.float32]  # (q,) to that one
    candidates: list[list[int]]  # q x ids of the remembered ones that each may be, those most alike first


class Gallery:
    """Remembers who left, for `memory_s` seconds, and at most `MOST_REMEMBERED` of them."""

    def __init__(self, memory_s: float, size: int) -> None:
        """`size` is that of a vector."""
        self._memory_s = memory_s
        kind = [("id", "i8"), ("label", "i8"), ("left", "f8"), ("look", "f4", (size,))]
        self._rows: Array = np.zeros(0, np.dtype(kind))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def crowd(self) -> Crowd:
        """Return who is remembered, those that left last at the end."""
        return Crowd(self._rows["id"], self._rows["label"], self._rows["look"])

    def add(self, crowd: Crowd, left: npt.NDArray[np.float64]) -> None:
        """Remember `crowd`, each of which was last seen at `left` (n,) s."""
        rows = np.zeros(len(crowd), self._rows.dtype)
        fields: dict[str, Any] = {"id": crowd.ids, "label": crowd.labels, "left": left, "look": crowd.looks}
        for name, values in fields.items():
            rows[name] = values
        self._rows = np.concatenate([self._rows, rows])[-MOST_REMEMBERED:]

    def expire(self, time: float) -> None:
        """Forget who was last seen too long before `time`, s."""
        late = time - self._rows["left"] > self._memory_s
        if late.any():
            self._rows = self._rows[~late]

    def take(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Forget those in `rows` (n,), who are back; return when they were last seen, s."""
        left: npt.NDArray[np.float64] = self._rows["left"][rows].copy()
        if len(rows):
            self._rows = np.delete(self._rows, rows)
        return left


def compared(a: Crowd, b: Crowd) -> npt.NDArray[np.float32]:
    """Return (n, m) how alike two crowds are, -1 where their classes differ."""
    alike = np.asarray(a.looks @ b.looks.T, np.float32)
    return np.where(a.labels[:, None] == b.labels, alike, np.float32(-1))


def match(come: Crowd, remembered: Crowd, present: Crowd, least: float, margin: float) -> Matches:
    """Return which of the `remembered` those are that `come`, where nobody else is as likely to be it.

    Known is one that is at least `least` alike, and by `margin` more so than to anybody else, remembered or `present`;
    and nobody else who comes or is present is as much like that one, but for `margin`: a test in both directions.
    """
    count = len(come)
    alike = compared(come, remembered)
    if not len(remembered) or not count:
        nothing = np.zeros(count, np.bool_)
        return Matches(np.full(count, -1), nothing, nothing, np.full(count, -1, np.float32), [[] for _ in range(count)])
    each = np.arange(count)
    rows = alike.argmax(axis=1)
    top = alike[each, rows]
    others = alike.copy()
    others[each, rows] = -1
    runner_up = np.maximum(others.max(axis=1), compared(come, present).max(axis=1, initial=-1))
    claims = alike[:, rows]  # (q, q) how much each of those that come is like the best of another
    claims[each, each] = -1
    chosen = Crowd(remembered.ids[rows], remembered.labels[rows], remembered.looks[rows])
    rival = np.maximum(claims.max(axis=0), compared(present, chosen).max(axis=0, initial=-1))
    lead = top - np.maximum(runner_up, rival)
    enough = top >= least
    known = enough & (lead >= margin) & (lead > 0)
    doubtful = enough & ~known
    near = np.where(doubtful, np.maximum(least, top - margin), np.inf)
    candidates = [_near(one, remembered.ids, limit) for one, limit in zip(alike, near.tolist(), strict=True)]
    return Matches(np.where(top > -1, rows, -1), known, doubtful, top, candidates)


def _near(alike: npt.NDArray[np.float32], ids: npt.NDArray[np.int64], least: float) -> list[int]:
    """Return the `ids` (m,) of those that are at least so `alike` (m,), those most alike first."""
    order = np.argsort(-alike, kind="stable")[:MOST_CANDIDATES]
    found: list[int] = ids[order[alike[order] >= least]].tolist()
    return found
