"""What the looks at each part show of defects, and what that makes of the part."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.config import MOST_LOOKS, Gate
from edge.types import Instances, Tracks

DOUBT = 0.25  # distance of the share of looks that show a defect from what rejects, within which more looks would tell
SHARPEST = 0.9  # canvas pixels per frame pixel below which a look is too coarse to judge defects

Areas = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finding:
    """What all looks at one part come to."""

    verdict: str  # PASS, REJECT or REVIEW
    reasons: list[str]  # why it is not PASS
    defects_px: dict[str, float]  # median frame pixels over the looks that show it, of each class that rejects
    looks: int  # complete, at native resolution


class Evidence:
    """Gathers the complete looks at each part; what they show dies with its track, and when the camera goes blind.

    A defect class rejects a part when at least `looks` of them show at least `min_area_px` of it (k of n). Where fewer
    do, by up to `DOUBT`, or as many show `review_area_px`, that is doubt. A part with fewer than `min_looks` looks was
    not inspected: it gets the fail-safe, never PASS.
    """

    def __init__(self, gate: Gate, defects: list[str]) -> None:
        """`defects` are the defect classes of the instance model."""
        self._gate = gate
        self._names = defects
        limits = [gate.defects.get(name) for name in defects]
        self._least_px = np.asarray([limit.min_area_px if limit else np.inf for limit in limits])
        self._review_px = np.asarray([(limit and limit.review_area_px) or np.inf for limit in limits])
        self._shares = np.asarray([limit.looks if limit else 1.0 for limit in limits])
        self._shown: dict[int, deque[Areas]] = {}  # by key of the track: (d,) of each look
        self._doubts: set[int] = set()  # keys of tracks whose looks do not agree

    def gather(self, instances: Instances, tracks: Tracks, judged: npt.NDArray[np.int64]) -> None:
        """Take in the looks of this frame; those at tracks whose keys are in `judged` (n,) leave no doubt."""
        done = set(judged.tolist())
        for row in np.flatnonzero(tracks.instances >= 0).tolist():
            i, key = tracks.instances[row], int(tracks.keys[row])
            if instances.scales[i] >= SHARPEST and key not in done:
                shown = self._shown.setdefault(key, deque(maxlen=MOST_LOOKS))
                shown.append(instances.defects_px[i].copy())
                if key in self._doubts or shown[-1].any():
                    self._weigh(key, np.asarray(shown))

    def doubtful(self, tracks: Tracks) -> npt.NDArray[np.bool_]:
        """Return (n,) the tracks whose looks do not agree on a defect that would reject them."""
        if not self._doubts:
            return np.zeros(len(tracks), np.bool_)
        return np.isin(tracks.keys, list(self._doubts))

    def looks(self, key: int) -> int:
        """Return how many looks at a track there were."""
        return len(self._shown.get(key, ()))

    def is_enough(self, key: int) -> bool:
        """Tell whether the looks at a track are as many as a PASS needs, and leave no doubt."""
        return self.looks(key) >= self._gate.min_looks and key not in self._doubts

    def finding(self, key: int) -> Finding:
        """Return what the looks at a track come to."""
        looks = self._shown.get(key, ())
        shown = np.asarray(looks, np.float32).reshape(len(looks), len(self._names))
        over = shown >= self._least_px
        shares = over.mean(axis=0) if len(shown) else np.zeros(len(self._names))
        rejects = (shares > 0) & (shares >= self._shares)
        areas = {self._names[i]: float(np.median(shown[over[:, i], i])) for i in np.flatnonzero(rejects)}
        reasons = [f"{name} {area:.0f} px" for name, area in areas.items()]
        verdict, doubts = self._unsure(shown, over, rejects)
        if areas:
            verdict, doubts = "REJECT", []
        if len(shown) < self._gate.min_looks:
            verdict, doubts = self._gate.fail_safe, [f"{len(shown)} of {self._gate.min_looks} looks"]
        defects_px = {name: round(area, 1) for name, area in areas.items()}
        return Finding(verdict, [*reasons, *doubts], defects_px, len(shown))

    def forget(self, keys: list[int]) -> None:
        """Drop what is known of tracks that ended or have their verdict."""
        for key in keys:
            self._shown.pop(key, None)
            self._doubts.discard(key)

    def clear(self) -> None:
        """Drop what is known of all tracks."""
        self._shown.clear()
        self._doubts.clear()

    def _unsure(
        self, shown: Areas, over: npt.NDArray[np.bool_], rejects: npt.NDArray[np.bool_]
    ) -> tuple[str, list[str]]:
        """Return the verdict of a part that nothing rejects for sure, and the reasons where it is not PASS.

        `shown` (n, d) are the areas, `over` (n, d) where they are beyond the limit, `rejects` (d,) which classes do.
        """
        if not shown.any():
            return "PASS", []
        faint = shown >= self._review_px
        band = ~rejects & faint.any(axis=0) & (faint.mean(axis=0) >= self._shares)
        shares = over.mean(axis=0)
        split = ~rejects & (shares > 0) & (self._shares - shares <= DOUBT)
        reasons = [
            f"{self._names[i]} {np.median(shown[faint[:, i], i]):.0f} px of {self._least_px[i]:g}"
            for i in np.flatnonzero(band)
        ]
        if self._gate.doubt != "PASS":
            reasons += [
                f"{self._names[i]} {np.median(shown[over[:, i], i]):.0f} px in {over[:, i].sum()} of {len(shown)} looks"
                for i in np.flatnonzero(split & ~band)
            ]
        sure = "REVIEW" if band.any() else "PASS"
        return (self._gate.doubt if split.any() and self._gate.doubt != "PASS" else sure), reasons

    def _weigh(self, key: int, shown: Areas) -> None:
        """Note whether the looks at a part, each with its defect areas (n, d), leave doubt."""
        shares = (shown >= self._least_px).mean(axis=0)
        doubtful = (shares > 0) & (shares < 1) & (np.abs(shares - self._shares) <= DOUBT)
        (self._doubts.add if doubtful.any() else self._doubts.discard)(key)
