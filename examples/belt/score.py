"""What was told about the belt against what was on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import lap
import msgspec
import numpy as np

from edge.events import Count, Event, Verdict
from examples.belt.belt import COUNT_LINE_X, GATE_LINE_X, Crossing, crossings

FRAMES_APART = 8.0  # between a part's true crossing and its verdict, at the most
PIXEL_CENTRE = 0.5  # the middle of a pixel: the runtime measures from its edge, the renderer's truth from its middle
PX_PER_FRAME = 10.0  # sideways pixels that weigh as much as one frame

_Told = TypeVar("_Told", Count, Verdict)


class Defects(msgspec.Struct):
    """Parts by flag and truth."""

    tp: int = 0
    fp: int = 0
    fn: int = 0


class Score(msgspec.Struct, kw_only=True):
    """One run of the belt."""

    counted: dict[str, int]
    true: dict[str, int]
    count_error: float  # share of the true parts, summed over the counters
    counts: dict[str, int]  # crossings: those told rightly, with a wrong class, not at all (missed), extra
    defects: Defects
    by_class: dict[str, Defects]
    verdicts: dict[str, int]  # parts: all that passed the gate, those with a right, a wrong and no verdict, extra ones
    wrong: list[str]  # a line on every part that was judged wrongly or not at all


def score(seed: int, frames: int, events: Sequence[Event]) -> Score:
    """Return how `events` of a run of `frames` frames compare with the truth of `seed`."""
    counts = [event for event in events if isinstance(event, Count)]
    crossed = crossings(seed, frames, COUNT_LINE_X - PIXEL_CENTRE)
    counted = Counter(event.counter for event in counts)
    true = Counter(f"count/{crossing.kind}" for crossing in crossed)
    misses = sum(abs(counted[name] - true[name]) for name in counted.keys() | true.keys())
    parts = crossings(seed, frames, GATE_LINE_X - PIXEL_CENTRE)
    verdicts = [event for event in events if isinstance(event, Verdict) and event.verdict != "EXPIRED"]
    pairs = match(parts, verdicts)
    unmatched = [v for v in verdicts if not any(v is verdict for _, verdict in pairs)]
    defects, by_class = _defects(pairs, unmatched)
    wrong = [line for part, verdict in pairs if (line := _wrong(part, verdict))]
    missing = sum(verdict is None for _, verdict in pairs)
    return Score(
        counted=dict(sorted(counted.items())),
        true=dict(sorted(true.items())),
        count_error=misses / max(1, sum(true.values())),
        counts=_counts(match(crossed, counts), len(counts)),
        defects=defects,
        by_class=by_class,
        verdicts={
            "parts": len(parts),
            "right": len(parts) - len(wrong),
            "wrong": len(wrong) - missing,
            "missing": missing,
            "extra": len(verdicts) - (len(parts) - missing),
        },
        wrong=wrong,
    )


def match(parts: Sequence[Crossing], told: Sequence[_Told]) -> list[tuple[Crossing, _Told | None]]:
    """Join every part to the event nearest in time and place; least total cost, each used once."""
    if not parts or not told:
        return [(part, None) for part in parts]
    cost = [[abs(e.position[1] - p.y) / PX_PER_FRAME + abs(e.frame - p.frame) for e in told] for p in parts]
    _, columns, _ = lap.lapjv(np.asarray(cost), extend_cost=True, cost_limit=FRAMES_APART)
    found = [told[column] if column >= 0 else None for column in columns.tolist()]
    return list(zip(parts, found, strict=True))


def _counts(pairs: Sequence[tuple[Crossing, Count | None]], told: int) -> dict[str, int]:
    matched = [(part, count) for part, count in pairs if count is not None]
    right = sum(count.counter == f"count/{part.kind}" for part, count in matched)
    return {
        "right": right,
        "wrong_class": len(matched) - right,
        "missed": len(pairs) - len(matched),
        "extra": told - len(matched),
    }


def _defects(
    pairs: Sequence[tuple[Crossing, Verdict | None]], unmatched: Sequence[Verdict]
) -> tuple[Defects, dict[str, Defects]]:
    """Return flags against truth, over all parts and by defect class; a flag on what is no part is a false one."""
    total, by_class = Defects(), dict[str, Defects]()
    for part, verdict in pairs:
        flagged = set(verdict.defects_px) if verdict is not None else set()
        _tally(total, there=bool(part.defects), flagged=bool(flagged))
        for name in {*part.defects, *flagged}:
            _tally(by_class.setdefault(name, Defects()), there=name in part.defects, flagged=name in flagged)
    for verdict in unmatched:
        _tally(total, there=False, flagged=bool(verdict.defects_px))
        for name in verdict.defects_px:
            _tally(by_class.setdefault(name, Defects()), there=False, flagged=True)
    return total, dict(sorted(by_class.items()))


def _tally(defects: Defects, *, there: bool, flagged: bool) -> None:
    defects.tp += there and flagged
    defects.fp += flagged and not there
    defects.fn += there and not flagged


def _wrong(part: Crossing, verdict: Verdict | None) -> str:
    """Return what is wrong with a verdict, or an empty text."""
    truth = ", ".join(f"{name} {area:.0f} px" for name, area in part.defects.items()) or "good"
    where = f"part {part.id} ({part.kind}, {truth}) at frame {part.frame}, y {part.y:.0f}"
    if verdict is None:
        return f"{where}: no verdict"
    said = f"{verdict.label} {verdict.verdict} {', '.join(verdict.reasons)} after {verdict.looks} looks"
    right = verdict.verdict == ("REJECT" if part.defects else "PASS") and verdict.label == part.kind
    return "" if right else f"{where}: {said}"


def as_json(found: Score) -> dict[str, Any]:
    """Return the score as plain data."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain
