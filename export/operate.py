"""Thresholds of defects from held-out pictures with truth, and the share of defective parts that they let pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.operating_point import NotEnough, OperatingPoint, Rate, Scores, choose
from edge.types import Instances
from export.metrics import matches

Frames = Sequence[tuple[Instances, Instances]]  # truth, found
LOST = -np.inf  # the score of a part that was not found
GATE_FILE = "gate.toml"


@dataclass(frozen=True, slots=True)
class Points:
    """Thresholds by defect class, and what was asked for."""

    escapes: float  # share of the defective parts of a class, at the most
    confidence: float
    classes: dict[str, OperatingPoint | NotEnough]


def operating_points(
    frames: Frames, defects: Sequence[str], budget: float, least_px: float, confidence: float = 0.95
) -> Points:
    """Return for each of the classes `defects` the area from which on it rejects a part, in frame pixels.

    A part is bad where `least_px` of the class are true of it, good where nothing of it is; others are left out. Its
    score is the area that one look shows; a gate that asks for a share of several looks is not worse where looks err
    independently. A bad part that is not found at all escapes.
    """
    found = Points(budget, confidence, {})
    for number, name in enumerate(defects):
        bad, good = _scores(frames, number, least_px)
        found.classes[name] = choose(bad, good, budget, confidence)
    return found


def _scores(frames: Frames, defect: int, least_px: float) -> tuple[Scores, Scores]:
    bad, good = list[float](), list[float]()
    for truth, found in frames:
        pairs = {i: j for i, j, _ in matches(truth, found)}
        for i, area in enumerate(truth.defects_px[:, defect].tolist()):
            score = float(found.defects_px[pairs[i], defect]) if i in pairs else LOST
            if area >= least_px:
                bad.append(score)
            elif area == 0 and i in pairs:
                good.append(score)
    return np.asarray(bad, np.float64), np.asarray(good, np.float64)


def as_config(points: Points) -> str:
    """Return the `defects` of a gate for site.toml; a class without a threshold is a comment that says why."""
    lines = [
        f"# At most {points.escapes:.2%} of a class' defective parts escape, with {points.confidence:.0%} confidence.",
        "[gates.defects]",
    ]
    for name, point in points.classes.items():
        match point:
            case OperatingPoint(threshold, escapes, overkill):
                lines.append(
                    f"{name} = {{ min_area_px = {threshold:.6g} }}  # escapes {_shown(escapes)}; "
                    f"good ones rejected {_shown(overkill)}"
                )
            case NotEnough(bad, lost, missing):
                lines.append(
                    f"# {name}: nothing can be claimed of {bad} parts, {lost} of them missed; {_more(missing)}"
                )
    return "\n".join(lines) + "\n"


def _shown(rate: Rate) -> str:
    return f"{rate.hits} of {rate.of}, at most {rate.bound:.2%}"


def _more(missing: int | None) -> str:
    if missing is None:
        return "more of them will not do: the model misses too many"
    return f"{missing} more are needed, if as many of them are found"
