"""How many of what belongs into each part its looks show, and how many spots of each defect: judged at a gate."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge.belonging import holders_of
from edge.config import MOST_LOOKS, Gate
from edge.decide.evidence import DOUBT, SHARPEST
from edge.events import Event
from edge.types import Gap, Instances, Seen, Tracks

HALF = 0.5  # share of the looks that show a wrong number of what a part contains, from which on it is wrong

Numbers = npt.NDArray[np.int32]


class Tallies:
    """What the looks at each part of a gate have in numbers; it dies with its track.

    Looks count that are complete and at native resolution; the newest are kept.
    """

    def __init__(self, gate: Gate, classes: list[str], defects: list[str]) -> None:
        """`classes` are the instance classes, the background first; `defects` the defect classes."""
        held = sorted({name for inside in gate.contains.values() for name in inside}, key=classes.index)
        counted = [name for name in defects if (limit := gate.defects.get(name)) and limit.max_count is not None]
        self._held = np.asarray([classes.index(name) for name in held], np.int64)
        self._flaws = np.asarray([defects.index(name) for name in counted], np.int64)
        self._looks: dict[int, deque[Numbers]] = {}  # by key of the track: (k,) of each look, held and flaws
        self._doubts: set[int] = set()  # keys of tracks whose looks do not agree
        self._done: set[int] = set()  # keys of tracks that are judged
        self._names = [*held, *counted]
        parts = [gate.contains.get(label, {}) for label in classes]
        most = [float(gate.defects[name].max_count or 0) for name in counted]
        none = [0] * len(counted)
        self._low = np.asarray([[*(part.get(name, (0, 0))[0] for name in held), *none] for part in parts])
        self._high = np.asarray([[*(part.get(name, (0, np.inf))[1] for name in held), *most] for part in parts], float)
        self._needed = np.asarray([HALF] * len(held) + [gate.defects[name].looks for name in counted])

    def decide(self, seen: Seen) -> list[Event]:
        """Count in what was looked at in this frame, and return nothing: the gate tells."""
        tracks, instances = seen.tracks, seen.instances
        self._forget(seen.ended)
        rows = np.flatnonzero((tracks.instances >= 0) & ~np.isin(tracks.keys, list(self._done)))
        rows = rows[instances.scales[tracks.instances[rows]] >= SHARPEST]
        found = tracks.instances[rows].astype(np.int64)
        numbers = np.concatenate([self._contents(instances, found), self._spots(instances, found)], axis=1)
        for row, look in zip(rows.tolist(), numbers, strict=True):
            key = int(tracks.keys[row])
            looks = self._looks.setdefault(key, deque(maxlen=MOST_LOOKS))
            looks.append(look)
            self._weigh(key, int(tracks.classes[row]), np.asarray(looks))
        return []

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:  # noqa: ARG002  as all rules have it
        """Forget all parts."""
        for known in (self._looks, self._doubts, self._done):
            known.clear()
        return []

    def done(self, keys: Sequence[int]) -> None:
        """Note that parts have their verdict: what later looks show does not matter any more."""
        self._forget(keys)
        self._done.update(keys)

    def agree(self, key: int) -> bool:
        """Tell whether the looks at a part leave no doubt."""
        return key not in self._doubts

    def doubtful(self, tracks: Tracks) -> npt.NDArray[np.bool_]:
        """Return (n,) the tracks whose looks do not agree on a number that would reject them."""
        return np.isin(tracks.keys, list(self._doubts))

    def finding(self, key: int, label: int, doubt: str) -> tuple[str, list[str]]:
        """Return the verdict on the numbers of a part of class `label`, and why it is not PASS.

        `doubt` is the verdict where fewer looks than reject it, by up to `DOUBT`, show a wrong number. No look says
        nothing: such a part has the gate's fail-safe.
        """
        if key not in self._looks:
            return "PASS", []
        looks = np.asarray(self._looks[key])
        wrong = (looks < self._low[label]) | (looks > self._high[label])
        shares = wrong.mean(axis=0)
        rejects = (shares > 0) & (shares >= self._needed)
        unsure = ~rejects & (shares > 0) & (self._needed - shares <= DOUBT) & (doubt != "PASS")
        reasons = [self._reason(i, label, looks[wrong[:, i], i]) for i in np.flatnonzero(rejects).tolist()]
        if rejects.any():
            return "REJECT", reasons
        reasons = [
            f"{self._reason(i, label, looks[wrong[:, i], i])} in {wrong[:, i].sum()} of {len(looks)} looks"
            for i in np.flatnonzero(unsure).tolist()
        ]
        return (doubt if reasons else "PASS"), reasons

    def _reason(self, i: int, label: int, wrong: Numbers) -> str:
        """Return what is wrong with number `i` of a part, by the looks that show it `wrong` (m,)."""
        number, name = int(np.median(wrong)), self._names[i]
        if number < self._low[label, i]:
            return f"{number} of {self._low[label, i]} {name}"
        return f"{number} {name}, {self._high[label, i]:.0f} at most"

    def _contents(self, instances: Instances, parts: npt.NDArray[np.int64]) -> Numbers:
        """Return (m, h) how many of each held class lie in the instances `parts` (m,), by their centres."""
        numbers = np.zeros((len(parts), len(self._held)), np.int32)
        things = np.flatnonzero(np.isin(instances.classes, self._held))
        if not len(parts) or not len(things):
            return numbers
        centers = instances.centers[things]
        holders = holders_of(np.concatenate([centers - 0.5, centers + 0.5], axis=1), centers, instances, parts)
        kinds = (instances.classes[things][:, None] == self._held).argmax(axis=1)
        np.add.at(numbers, (holders[holders >= 0], kinds[holders >= 0]), 1)
        return numbers

    def _spots(self, instances: Instances, parts: npt.NDArray[np.int64]) -> Numbers:
        """Return (m, f) how many spots of each counted defect class the instances `parts` (m,) have."""
        if instances.flaw_counts is None:
            return np.zeros((len(parts), len(self._flaws)), np.int32)
        return instances.flaw_counts[parts][:, self._flaws]

    def _weigh(self, key: int, label: int, looks: Numbers) -> None:
        """Note whether the looks (n, k) at a part leave doubt."""
        shares = ((looks < self._low[label]) | (looks > self._high[label])).mean(axis=0)
        doubtful = (shares > 0) & (shares < 1) & (np.abs(shares - self._needed) <= DOUBT)
        (self._doubts.add if doubtful.any() else self._doubts.discard)(key)

    def _forget(self, keys: Sequence[int]) -> None:
        for key in keys:
            self._looks.pop(key, None)
            self._doubts.discard(key)
            self._done.discard(key)
