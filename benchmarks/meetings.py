"""Parts of the belt that an instance model takes for one, for a while: are merges and splits told, and ids kept?

The parts of the synthetic belt where they lie, touching and overlapping, without a picture: a look at every second
frame shows the box of each with an error of 1.5 px, and 3 % of them not at all. Two that touch are one instance from a
random look on, for 2 to 20 looks. Beside it the same belt on which nobody is ever taken for one: whatever is told there
is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, count, takewhile
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import SeedSequence

from benchmarks.common import Options
from benchmarks.mot_scenes import instances_in, looks_at
from edge.config import TrackRules
from edge.decide.tracks import Tracker
from edge.events import MeetingEvent
from edge.types import Boxes, Frame, Image
from examples.belt.layout import Placed, layout
from examples.belt.motion import Motion
from examples.belt.scene import HEIGHT, WIDTH

FIRST_SEED, SEEDS, QUICK_SEEDS, FRAMES, QUICK_FRAMES = 340, 6, 1, 900, 300  # seeds of this benchmark alone
CELL, EVERY = 8, 2  # frame pixels per label pixel; frames from one look to the next
ERROR_PX, MISSED = 1.5, 0.03  # of a box's corners, standard deviation; share of the objects in a look
SHORTEST, LONGEST, CLEAR = 2, 20, 3  # looks for which two are one; looks before and after, with both apart in sight
MARGIN = 20  # frame pixels from the border within which nothing is looked at

Pair = tuple[int, int]  # places of two parts in the list of all


@dataclass
class _Parts:
    """The parts of one belt, and who is one with whom in which look."""

    boxes: Boxes  # (n, 4) at travel 0
    masks: list[Image]  # n, at label resolution
    travels: list[float]
    met: dict[Pair, tuple[int, int]] = field(default_factory=dict)  # first and last look as one

    def at(self, frame: int) -> tuple[Boxes, npt.NDArray[np.bool_]]:
        """Return the boxes (n, 4) in a frame, and which parts are wholly in sight."""
        boxes = self.boxes + np.asarray([self.travels[frame], 0] * 2, np.float32)
        return boxes, (boxes[:, 0] > MARGIN) & (boxes[:, 2] < WIDTH - MARGIN)


def run(options: Options) -> dict[str, Any]:
    """Return how many merges and splits there were, were told rightly and wrongly, and how many ids were kept."""
    seeds, frames = (QUICK_SEEDS, QUICK_FRAMES) if options.quick else (SEEDS, FRAMES)
    found: Counter[str] = Counter()
    for seed in range(FIRST_SEED + options.seed, FIRST_SEED + options.seed + seeds):
        parts = _parts(seed, frames)
        parts.met = _meetings(parts, seed)
        found += _judged(parts, seed)
        parts.met = {}
        found["told_where_nobody_merged"] += _judged(parts, seed)["told"]
    return {"seeds": seeds, "frames": seeds * frames, **found}


def _parts(seed: int, frames: int) -> _Parts:
    motion, placing = SeedSequence(seed).spawn(2)
    travels = Motion(np.random.default_rng(motion)).travels(frames)
    slices = takewhile(lambda piece: piece[0] < max(travels) + 200, layout(placing))
    parts = [part for _, placed in slices for part in placed]
    return _Parts(np.asarray([_box(part) for part in parts], np.float32), [_small(part) for part in parts], travels)


def _box(part: Placed) -> tuple[float, ...]:
    """Return the box of what is seen of a part at travel 0."""
    rows, columns = np.nonzero(part.visible)
    x, y = -part.position - part.reach, part.v - part.reach
    return x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1


def _small(part: Placed) -> Image:
    rows, columns = np.nonzero(part.visible)
    cut = part.visible[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].view(np.uint8)
    size = [max(1, round(side / CELL)) for side in cut.shape[::-1]]
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)


def _meetings(parts: _Parts, seed: int) -> dict[Pair, tuple[int, int]]:
    """Choose who is one for how long, of those whose boxes touch; nobody has two such meetings."""
    random, taken, met = np.random.default_rng(seed), set[int](), dict[Pair, tuple[int, int]]()
    inside = np.stack([parts.at(frame)[1] for frame in range(0, len(parts.travels), EVERY)])  # (looks, n)
    for one, other in combinations(range(len(parts.boxes)), 2):
        gap = np.maximum(parts.boxes[one, :2], parts.boxes[other, :2]) - np.minimum(
            parts.boxes[one, 2:], parts.boxes[other, 2:]
        )
        both = np.flatnonzero(inside[:, one] & inside[:, other])
        if gap.max() > 0 or {one, other} & taken or len(both) < LONGEST + 2 * CLEAR + 2:
            continue
        lasts = int(random.integers(SHORTEST, LONGEST + 1))
        begin = int(random.integers(CLEAR + 1, len(both) - lasts - CLEAR))
        if both[-1] - both[0] == len(both) - 1:  # a belt that goes back may take them out of sight in between
            met[one, other] = int(both[begin]), int(both[begin + lasts - 1])
            taken |= {one, other}
    return met


def _judged(parts: _Parts, seed: int) -> Counter[str]:
    """Follow the parts, and hold what is told against who was one."""
    random, ids = np.random.default_rng(seed), count(1)
    tracker = Tracker(TrackRules(motion="belt"), [1], 2, (WIDTH, HEIGHT), lambda: next(ids))
    known: dict[int, int] = {}  # part -> id, when it was last seen by itself
    found: Counter[str] = Counter()
    before: dict[Pair, tuple[int, int]] = {}
    for frame in range(len(parts.travels)):
        boxes, inside = parts.at(frame)
        tracker.predict(_labels(parts, boxes), (CELL, CELL), 1)
        look, looked = frame // EVERY, frame % EVERY == 0
        shown = list(_shown(parts, boxes, inside, look, random)) if looked else []
        seen = np.asarray([box for _, box in shown], np.float32).reshape(-1, 4)
        everywhere = looks_at(np.asarray([[16, 16, WIDTH - 16, HEIGHT - 16]], np.float32))
        tracks, _ = tracker.update(instances_in(seen), everywhere if looked else looks_at(seen))
        told = [e for e in tracker.told(Frame("b", frame, frame / 30, _NOTHING)) if isinstance(e, MeetingEvent)]
        _note(found, told, before, parts, look)
        rows = {int(index): row for row, index in enumerate(tracks.instances.tolist()) if index >= 0}
        known |= {who[0]: int(tracks.ids[rows[i]]) for i, (who, _) in enumerate(shown) if len(who) == 1 and i in rows}
        for pair, (first, last) in parts.met.items() if looked else ():
            if look == first - 1:
                before[pair] = known.get(pair[0], 0), known.get(pair[1], 0)
            if look == last + CLEAR:
                found["pairs"] += 1
                found["ids_kept"] += sum(known.get(part) == had for part, had in zip(pair, before[pair], strict=True))
    return found


_NOTHING: Final[Image] = np.zeros((1, 1, 3), np.uint8)


def _note(
    found: Counter[str], told: list[MeetingEvent], before: dict[Pair, tuple[int, int]], parts: _Parts, look: int
) -> None:
    """Count what is told, and of that what is of two that are one at that time, or were until now."""
    for event in told:
        pair = next((pair for pair, had in before.items() if set(had) == {event.track, event.other}), None)
        first, last = parts.met[pair] if pair else (0, -1)
        right = first <= look <= last if event.change == "merge" else last < look <= last + 2 * CLEAR
        found["told"] += 1
        found[f"{event.change}s_told_rightly" if right else f"{event.change}s_told_wrongly"] += 1


def _shown(
    parts: _Parts, boxes: Boxes, inside: npt.NDArray[np.bool_], look: int, random: np.random.Generator
) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.float32]]]:
    """Yield what a look shows: which parts, and a box."""
    one = [pair for pair, (first, last) in parts.met.items() if first <= look <= last]
    merged = {part for pair in one for part in pair}
    for who in [*one, *((part,) for part in np.flatnonzero(inside).tolist() if part not in merged)]:
        error = random.normal(0, ERROR_PX, 4)
        if random.random() >= MISSED:
            some = boxes[list(who)]
            box = np.concatenate([some[:, :2].min(axis=0), some[:, 2:].max(axis=0)]) + error
            yield who, box.astype(np.float32)


def _labels(parts: _Parts, boxes: Boxes) -> Image:
    """Return the foreground of the parts, at label resolution."""
    found: Image = np.zeros((HEIGHT // CELL, WIDTH // CELL), np.uint8)
    for mask, (x, y) in zip(parts.masks, np.round(boxes[:, :2] / CELL).astype(int).tolist(), strict=True):
        left, right = max(x, 0), min(x + mask.shape[1], found.shape[1])
        if left < right and y >= 0:
            room = found[y : y + mask.shape[0], left:right]
            room |= mask[: len(room), left - x : right - x]
    return found
