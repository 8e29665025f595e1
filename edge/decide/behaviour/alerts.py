"""The alerts of one rule: each begins once and ends once, whatever happens to its tracks or its camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edge.config import BehaviourRule
from edge.decide.behaviour.scene import Scene, when
from edge.decide.records import Records
from edge.events import Alert
from edge.types import Array, Frame, Gap

MOST_NAMED = 16  # tracks that one alert names
ONE = np.zeros(1, np.int64)  # the key of a rule that has one alert at a time

_KIND = np.dtype([("key", "i8"), ("on", "?"), ("value", "f8")])


class Alerts:
    """What is wrong now by one rule; at most one alert at a time for each key."""

    def __init__(self, rule: BehaviourRule, limit: float, classes: list[str]) -> None:
        """`limit` is what a value must not be beyond; `classes` are the names of the instance classes."""
        self._rule, self._limit, self._classes = rule, limit, classes
        self._rows = Records(_KIND)
        self._open: dict[int, Alert] = {}

    def update(
        self,
        scene: Scene,
        keys: npt.NDArray[np.int64],
        on: npt.NDArray[np.bool_],
        values: npt.NDArray[Any],
        who: Callable[[int], Sequence[int]],
    ) -> list[Alert]:
        """Return the alerts that begin and end at this frame.

        `keys` (n,) are the things that can be wrong, `on` (n,) those that are, `values` (n,) by how much; `who` gives
        the rows of the tracks that one of the n is about.
        """
        gone = self._rows.follow(keys)
        events = [self._over(scene.seen.frame, row, "ended") for row in gone[gone["on"]]]
        at = self._rows.at
        was = at["on"].copy()
        at["key"], at["on"], at["value"] = keys, on, values
        if self._open or on.any():
            events += [self._over(scene.seen.frame, row, "cleared") for row in at[was & ~on]]
            events += [self._begun(scene, at[row], who(row)) for row in np.flatnonzero(on & ~was).tolist()]
        return events

    def blind(self, gap: Gap) -> list[Alert]:
        """Return the ends of all alerts: nobody knows what became of them."""
        gone = self._rows.clear()
        return [self._over(gap, row, "blind") for row in gone[gone["on"]]]

    def open(self) -> list[Alert]:
        """Return the alerts that last, as they began."""
        return list(self._open.values())

    def _begun(self, scene: Scene, row: Array, rows: Sequence[int]) -> Alert:
        tracks, frame = scene.seen.tracks, scene.seen.frame
        named = rows[:MOST_NAMED]
        told = Alert(
            **when(frame),
            rule=self._rule.name,
            rule_kind=str(self._rule.__struct_config__.tag),
            zone=self._rule.zone,
            alarm=True,
            reason="",
            since=frame.time,
            tracks=[int(tracks.ids[i]) for i in named],
            labels=[self._classes[tracks.classes[i]] for i in named],
            value=_rounded(row),
            limit=self._limit,
        )
        self._open[int(row["key"])] = told
        return told

    def _over(self, moment: Frame | Gap, row: Array, reason: str) -> Alert:
        begun = self._open.pop(int(row["key"]))
        return msgspec.structs.replace(begun, **when(moment), alarm=False, reason=reason, value=_rounded(row))


def _rounded(row: Array) -> float:
    return round(float(row["value"]), 3)
