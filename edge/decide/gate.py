"""Evidence per part -> a verdict at the gate line."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.config import MOST_LOOKS, Gate
from edge.decide.lines import Crossing, LineWatch
from edge.events import Verdict
from edge.types import Frame, Gap, Instances, Seen, Tracks

DOUBT = 0.25  # distance of the share of looks that show a defect from what rejects, within which more looks would tell
SHARPEST = 0.9  # canvas pixels per frame pixel below which a look is too coarse to judge defects


class QualityGate:
    """Gathers what the looks at each part show, and decides when the part reaches the gate.

    A defect class rejects a part when at least `looks` of its complete looks at native resolution show at least
    `min_area_px` of it (k of n). A part with fewer than `min_looks` such looks was not inspected: it gets the
    fail-safe verdict, never PASS.
    """

    def __init__(self, gate: Gate, classes: list[str], defects: list[str]) -> None:
        """`classes` are the instance classes, the background first; `defects` the defect classes."""
        self._gate = gate
        self._classes = classes
        self._defects = defects
        limits = [gate.defects.get(name) for name in defects]
        self._least_px = np.asarray([limit.min_area_px if limit else np.inf for limit in limits])
        self._shares = np.asarray([limit.looks if limit else 1.0 for limit in limits])
        self._watch = LineWatch(gate.start, gate.end)
        self._evidence: dict[int, deque[npt.NDArray[np.float32]]] = {}
        self._judged: set[int] = set()
        self._doubts: set[int] = set()  # keys of tracks whose looks do not agree

    def decide(self, seen: Seen) -> list[Verdict]:
        """Return the verdicts of this frame: one for each confirmed track on its first way through the gate."""
        tracks = seen.tracks
        self._gather(seen.instances, tracks)
        verdicts = [
            self._verdict(seen.frame, tracks, crossing)
            for crossing in self._watch.crossings(tracks)
            if crossing.direction == self._gate.direction and int(tracks.keys[crossing.row]) not in self._judged
        ]
        self._watch.forget(seen.ended)
        for key in seen.ended:
            self._evidence.pop(key, None)
            self._judged.discard(key)
            self._doubts.discard(key)
        return verdicts

    def doubtful(self, tracks: Tracks) -> npt.NDArray[np.bool_]:
        """Return (n,) the tracks whose looks do not agree on a defect that would reject them."""
        if not self._doubts:
            return np.zeros(len(tracks), np.bool_)
        return np.isin(tracks.keys, list(self._doubts))

    def blind(self, gap: Gap, tracks: Tracks) -> list[Verdict]:
        """Return the fail-safe for each part that was on its way when the camera went blind, and forget them all."""
        verdicts = [
            self._unseen(gap, tracks, int(row))
            for row in np.flatnonzero(tracks.ids > 0)
            if int(tracks.keys[row]) not in self._judged
            and self._watch.awaits(int(tracks.keys[row]), self._gate.direction)
        ]
        self._watch.reset()
        self._evidence.clear()
        self._judged.clear()
        self._doubts.clear()
        return verdicts

    def _gather(self, instances: Instances, tracks: Tracks) -> None:
        for row in np.flatnonzero(tracks.instances >= 0).tolist():
            i = tracks.instances[row]
            if instances.scales[i] >= SHARPEST:
                key = int(tracks.keys[row])
                seen = self._evidence.setdefault(key, deque(maxlen=MOST_LOOKS))
                seen.append(instances.defects_px[i].copy())
                if key in self._doubts or seen[-1].any():
                    self._weigh(key, np.asarray(seen))

    def _weigh(self, key: int, shown_px: npt.NDArray[np.float32]) -> None:
        """Note whether the looks at a part, each with its defect areas (n, d), leave doubt."""
        shares = (shown_px >= self._least_px).mean(axis=0)
        doubtful = (shares > 0) & (shares < 1) & (np.abs(shares - self._shares) <= DOUBT)
        (self._doubts.add if doubtful.any() and key not in self._judged else self._doubts.discard)(key)

    def _verdict(self, frame: Frame, tracks: Tracks, crossing: Crossing) -> Verdict:
        key = int(tracks.keys[crossing.row])
        self._judged.add(key)
        self._doubts.discard(key)
        looks = np.asarray(self._evidence.pop(key, []), np.float32).reshape(-1, len(self._defects))
        areas = {name: self._area(looks[:, i], name) for i, name in enumerate(self._defects)}
        flagged = {name: area for name, area in areas.items() if area > 0}
        reasons = [f"{name} {area:.0f} px" for name, area in flagged.items()]
        verdict = "REJECT" if flagged else "PASS"
        if len(looks) < self._gate.min_looks:
            reasons.append(f"{len(looks)} of {self._gate.min_looks} looks")
            verdict = self._gate.fail_safe
        return Verdict(
            **self._known(tracks, crossing.row, time=frame.time, camera=frame.camera, frame=frame.index),
            position=crossing.position,
            verdict=verdict,
            reasons=reasons,
            defects_px={name: round(area, 1) for name, area in flagged.items()},
            looks=len(looks),
        )

    def _unseen(self, gap: Gap, tracks: Tracks, row: int) -> Verdict:
        """Return the fail-safe verdict of a part that may have passed while nobody looked."""
        x, y = tracks.centers[row].tolist()
        return Verdict(
            **self._known(tracks, row, time=gap.until, camera=gap.camera, frame=gap.index),
            position=(x, y),
            verdict=self._gate.fail_safe,
            reasons=["camera was blind"],
            defects_px={},
            looks=len(self._evidence.get(int(tracks.keys[row]), ())),
        )

    def _known(self, tracks: Tracks, row: int, **moment: Any) -> dict[str, Any]:
        """Return the fields of a verdict that say of which part it is, beside those of its `moment`."""
        label = self._classes[tracks.classes[row]]
        return {**moment, "gate": self._gate.name, "track": int(tracks.ids[row]), "label": label}

    def _area(self, shown: npt.NDArray[np.float32], name: str) -> float:
        """Return the median area over the looks that show the defect, 0 where too few do."""
        limit = self._gate.defects.get(name)
        if limit is None or not len(shown):
            return 0.0
        over = shown >= limit.min_area_px
        return float(np.median(shown[over])) if over.any() and over.mean() >= limit.looks else 0.0
