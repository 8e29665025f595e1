"""What the rules should say of a world without noise, by their definitions, in code of its own.

No threshold is met exactly by jittering boxes. So every definition is asked twice: with limits that are harder to meet
by a stated margin (`TIGHT`), and easier (`LOOSE`). What is there even by the harder ones must be told (`Due.required`);
what is not there even by the easier ones must not; what lies between may.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.rules_world import BAG, FPS, FRAMES, PERSON, Body

TIGHT, LOOSE = 1, -1
DEPTH_PX, LASTS_S, WAY_PX, SPEED, GAP_PX, MEDIAN = 8.0, 0.5, 18.0, 0.4, 10.0, 0.07  # the margins
SIGHTED_S = 1.0  # tolerance: events come after the sightings that make them
ENDED_S = 4.5  # the same for what ends with a track: it is given up after 3 s

Flags = npt.NDArray[np.bool_]
Span = tuple[float, float]  # s, from and to
ENDS = ("enter", "leave")
PAST_S = FRAMES / FPS  # the end of the world


@dataclass(frozen=True, slots=True)
class Due:
    """One event that must come, or may, between two times."""

    what: str
    bodies: frozenset[int]
    first_s: float
    last_s: float
    required: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A zone, seen from every body."""

    depths: npt.NDArray[np.float64]  # (bodies, FRAMES) pixels from the border, negative outside; -inf: not there
    hysteresis_px: float

    @classmethod
    def of(cls, corners: Sequence[tuple[float, float]], bodies: list[Body], hysteresis_px: float = 4.0) -> Place:
        """Return what `corners` surround."""
        outline = np.asarray(corners, np.float32).reshape(-1, 1, 2)
        depths = np.full((len(bodies), FRAMES), -np.inf)
        for row, body in enumerate(bodies):
            for frame in np.flatnonzero(body.there).tolist():
                x, y = body.places[frame].tolist()
                depths[row, frame] = cv2.pointPolygonTest(outline, (x, y), measureDist=True)
        return cls(depths, hysteresis_px)

    def inside(self, strict: int) -> Flags:
        """Return (bodies, FRAMES) who is inside: surely, or possibly. Between, one stays what one was."""
        margin = self.hysteresis_px + DEPTH_PX
        inside = np.zeros(self.depths.shape, np.bool_)
        for row, depths in enumerate(self.depths):
            if strict == TIGHT:
                inside[row] = _latched(depths > margin, depths < -self.hysteresis_px + DEPTH_PX)
            else:
                inside[row] = depths > -margin
        return inside


def _latched(begin: Flags, end: Flags) -> Flags:
    """Return (n,) what is on from where `begin` is until where `end` is."""
    on, found = False, np.zeros(len(begin), np.bool_)
    for i, (starts, stops) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        on = starts or (on and not stops)
        found[i] = on
    return found


def runs(flags: Flags, clear_s: float = 0.0) -> list[Span]:
    """Return from when to when `flags` (FRAMES,) are set, interruptions of up to `clear_s` not counted."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    found: list[Span] = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if found and first / FPS - found[-1][1] < clear_s:
            found[-1] = found[-1][0], last / FPS
        else:
            found.append((first / FPS, last / FPS))
    return found


def moves(place: Place) -> list[Due]:
    """Return who must enter and leave, from surely outside to surely inside and back, and who may, at the border."""
    due = []
    margin = place.hysteresis_px + DEPTH_PX
    for row, depths in enumerate(place.depths):
        sure = np.where(depths > margin, 1, np.where(depths < -margin, -1, 0))
        starts = [0, *(np.flatnonzero(np.diff(sure)) + 1).tolist(), FRAMES]
        states = [int(sure[first]) for first in starts[:-1]]
        before, since = -1, 0
        for state, first, last in zip(states, starts, starts[1:], strict=False):
            if state == 0:
                since = first
                after = int(sure[last]) if last < FRAMES else before
                due += [_move(row, what, depths, first, last, sure=False) for what in ENDS if after == before]
            elif state != before:
                began = since if since and int(sure[first - 1]) == 0 else first
                due.append(_move(row, ENDS[state < 0], depths, began, first, sure=True))
            before = state or before
    return due


def _move(row: int, what: str, depths: npt.NDArray[np.float64], first: int, last: int, *, sure: bool) -> Due:
    """Return one move that begins at frame `first` and must, or may, have been made at frame `last`."""
    gone = last >= FRAMES or not np.isfinite(depths[last])
    last_s = last / FPS + (ENDED_S if what == "leave" and gone else SIGHTED_S)
    return Due(what, frozenset([row]), first / FPS - 0.2, last_s, sure and last_s < FRAMES / FPS)


def alerts(bodies: frozenset[int], loose: list[Span], tight: list[Span], *, ended: bool = False) -> list[Due]:
    """Return the beginnings and ends of the alerts that `loose` spans may be, and those with `tight` ones in them must.

    While a loose span is not tight, nobody knows: what begins and ends then is neither right nor wrong.
    """
    due = []
    late_s = ENDED_S if ended else SIGHTED_S
    for low, high in loose:
        sure = [span for span in tight if low <= span[0] and span[1] <= high + 1e-9]
        begins = (sure[0][0] if sure else high) + SIGHTED_S
        ends = (sure[-1][1] if sure else low) - 0.2
        if sure:
            due.append(Due("begin", bodies, low - 0.2, begins, begins < PAST_S))
            due.append(Due("end", bodies, ends, high + late_s, high + late_s < PAST_S))
        doubtful = zip([low, *(span[1] for span in sure)], [*(span[0] for span in sure), high], strict=True)
        due += [
            Due(what, bodies, first - 0.2, last + late_s, required=False)
            for first, last in doubtful
            for what in ("begin", "end")
        ]
    return due


def lasting(flags: Flags, seconds: float, clear_s: float, strict: int) -> list[Span]:
    """Return when what is so in `flags` (FRAMES,) has been so for `seconds`."""
    found = runs(flags, clear_s + 0.1 - strict * min(clear_s, LASTS_S) / 2)
    needed = seconds + strict * LASTS_S
    return [(low + seconds, max(high, low + seconds) + clear_s) for low, high in found if high - low >= needed]


def each(bodies: list[Body], spans: Callable[[int, int], list[Span]], *, ended: bool = False) -> list[Due]:
    """Return the alerts of every body; `spans` gives the loose and tight ones by its row and the margin's sign."""
    return [
        due
        for row in range(len(bodies))
        for due in alerts(frozenset([row]), spans(row, LOOSE), spans(row, TIGHT), ended=ended)
    ]


def dwell(place: Place, bodies: list[Body], seconds: float) -> list[Due]:
    """Return who is inside for longer than `seconds`."""

    def spans(row: int, strict: int) -> list[Span]:
        return lasting(place.inside(strict)[row], seconds, 0.0, strict)

    return each(bodies, spans)


def loitering(place: Place, bodies: list[Body], seconds: float, radius_px: float, slack: float) -> list[Due]:
    """Return whose way of the last `seconds` fits into a square of side 2 `radius_px`."""
    steps = round(seconds * FPS)

    def spans(row: int, strict: int) -> list[Span]:
        inside, places = place.inside(strict)[row], bodies[row].places
        steps_back = steps + round(strict * LASTS_S * FPS)
        side = np.full(FRAMES, np.inf)
        for frame in range(steps_back, FRAMES):
            if inside[frame - steps_back : frame + 1].all():
                window = places[frame - steps_back : frame + 1]
                side[frame] = (window.max(axis=0) - window.min(axis=0)).max()
        limit = 2 * radius_px - strict * WAY_PX
        return runs(_latched(side <= limit, side > limit * slack))

    return each(bodies, spans)


def against_flow(place: Place, bodies: list[Body], flow: tuple[float, float], distance_px: float) -> list[Due]:
    """Return who goes back by more than `distance_px` from the farthest it had got."""

    def spans(row: int, strict: int) -> list[Span]:
        begins, ends = distance_px + strict * WAY_PX, distance_px - strict * WAY_PX
        along = bodies[row].places @ np.asarray(flow)
        on = np.zeros(FRAMES, np.bool_)
        for low, high in runs(place.inside(strict)[row]):
            _turns(along, on, (round(low * FPS), round(high * FPS)), begins, ends)
        return runs(on)

    return each(bodies, spans)


def _turns(along: npt.NDArray[np.float64], on: Flags, frames: tuple[int, int], begins: float, ends: float) -> None:
    """Set `on` (FRAMES,) where, within `frames`, something is `begins` behind its farthest and not yet `ends` back."""
    best = worst = along[frames[0]]
    wrong = False
    for frame in range(*frames):
        here = along[frame]
        best, worst = (best, min(worst, here)) if wrong else (max(best, here), here)
        if not wrong and best - here > begins:
            wrong, worst = True, here
        elif wrong and here - worst > ends:
            wrong, best = False, here
        on[frame] = wrong


def crowd(flags: Callable[[int], Flags], more_than: int, seconds: float, clear_s: float) -> list[Due]:
    """Return when more than `more_than` bodies are so, by `flags` (bodies, FRAMES), for `seconds`."""
    spans = {
        strict: lasting(flags(strict).sum(axis=0) > more_than, seconds, clear_s, strict) for strict in (LOOSE, TIGHT)
    }
    return alerts(frozenset(), spans[LOOSE], spans[TIGHT])


def slow(place: Place, bodies: list[Body], speed_px_s: float) -> Callable[[int], Flags]:
    """Return who is inside and slower than `speed_px_s` over the last second."""
    steps = round(FPS)
    speeds = np.full((len(bodies), FRAMES), np.inf)
    for row, body in enumerate(bodies):
        speeds[row, steps:] = np.nan_to_num(np.hypot(*(body.places[steps:] - body.places[:-steps]).T), nan=np.inf)
    return lambda strict: place.inside(strict) & (speeds < speed_px_s * (1 - strict * SPEED))


def slow_station(place: Place, planned_s: float, newest: int, least: int) -> list[Due]:
    """Return when the median of the newest dwell times, with those already too long, is above `planned_s`."""
    spans = {}
    for strict in (LOOSE, TIGHT):
        limit, over = planned_s * (1 + strict * MEDIAN), np.zeros(FRAMES, np.bool_)
        stays = _stays(place, planned_s, strict)
        for frame in range(FRAMES):
            now = frame / FPS
            done = [high - low for high, low in stays if high <= now]
            late = [now - low for high, low in stays if low <= now < high and now - low > planned_s]
            dwells = (done + late)[-newest:]
            over[frame] = len(dwells) >= least and float(np.median(dwells)) > limit
        spans[strict] = [(low, high + 1.0) for low, high in runs(over, 1.1 - strict * LASTS_S)]
    return alerts(frozenset(), spans[LOOSE], spans[TIGHT])


def _stays(place: Place, planned_s: float, strict: int) -> list[tuple[float, float]]:
    """Return when each stay ended and began, s: the longest or shortest it may have been.

    Who only stood on the border was inside for no time; or, if that makes the median longer, for all of it, or never.
    """
    surely, found = place.inside(TIGHT), []
    for row, maybe in enumerate(place.inside(LOOSE)):
        for low, high in runs(maybe):
            sure = [span for span in runs(surely[row]) if low <= span[0] < high]
            if strict == TIGHT:
                found.append((sure[-1][1], sure[0][0]) if sure else (high, high))
            elif sure or high - low > planned_s:
                found.append((high, low))
    return sorted(found)


def gap_px(one: Body, two: Body) -> npt.NDArray[np.float64]:
    """Return (FRAMES,) how far two boxes are from each other, infinity where one of them is not there."""
    a, b = one.boxes(), two.boxes()
    apart = [np.maximum(np.maximum(a[:, i] - b[:, i + 2], b[:, i] - a[:, i + 2]), 0) for i in (0, 1)]
    return np.nan_to_num(np.hypot(*apart), nan=np.inf)


def unattended(place: Place, bodies: list[Body], distance_px: float, seconds: float, clear_s: float) -> list[Due]:
    """Return which bags nobody is near."""
    people = [body for body in bodies if body.label == PERSON]
    due = []
    for row, body in enumerate(bodies):
        if body.label != BAG:
            continue
        nearest = np.min([gap_px(body, person) for person in people], axis=0)
        spans = {
            strict: lasting(
                place.inside(strict)[row] & (nearest > distance_px + strict * GAP_PX), seconds, clear_s, strict
            )
            for strict in (LOOSE, TIGHT)
        }
        due += alerts(frozenset([row]), spans[LOOSE], spans[TIGHT], ended=True)
    return due


def interaction(bodies: list[Body], distance_px: float, seconds: float, clear_s: float) -> list[Due]:
    """Return which people are near each other."""
    due = []
    for one, two in itertools.combinations(range(len(bodies)), 2):
        gaps = gap_px(bodies[one], bodies[two])
        spans = {
            strict: lasting(gaps <= distance_px - strict * GAP_PX, seconds, clear_s, strict)
            for strict in (LOOSE, TIGHT)
        }
        due += alerts(frozenset([one, two]), spans[LOOSE], spans[TIGHT])
    return due


def conversion(first: Place, second: Place, bodies: list[Body], seconds: float) -> list[Due]:
    """Return who enters the first zone, and whether the second within `seconds`."""
    due = []
    for row in range(len(bodies)):
        entered = [low for low, _ in runs(first.inside(TIGHT)[row])]
        maybe = [low for low, _ in runs(first.inside(LOOSE)[row])]
        if not maybe:
            continue
        last_s = (entered[0] if entered else FRAMES / FPS) + SIGHTED_S
        due.append(Due("entered", frozenset([row]), maybe[0] - 0.2, last_s, last_s < FRAMES / FPS))
        if entered:
            due += _outcome(second, row, (maybe[0], entered[0]), seconds)
        else:
            due += [
                Due(what, frozenset([row]), maybe[0], FRAMES / FPS, required=False) for what in ("reached", "missed")
            ]
    return due


def _outcome(second: Place, row: int, entered: Span, seconds: float) -> list[Due]:
    """Return what becomes of one who entered the first zone at some time of `entered`, s."""
    body, end = frozenset([row]), FRAMES / FPS
    reached = [low for low, _ in runs(second.inside(TIGHT)[row]) if low > entered[0]]
    soonest, latest = (reached[0] - entered[1], reached[0] - entered[0]) if reached else (np.inf, np.inf)
    due = []
    if soonest < seconds + 1:
        last_s = reached[0] + SIGHTED_S
        due.append(Due("reached", body, reached[0] - 1.5, last_s, latest < seconds - 1 and last_s < end))
    if latest > seconds - 1:
        gone = int(np.flatnonzero(np.isfinite(second.depths[row]))[-1]) / FPS  # its track may end before
        first_s, last_s = min(entered[0] + seconds, gone) - 0.5, entered[1] + seconds + SIGHTED_S
        due.append(Due("missed", body, first_s, last_s, soonest > seconds + 1 and last_s < end))
    return due
