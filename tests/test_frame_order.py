"""Frames that are dropped, shown again, or come in another order: nothing is counted or passed twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.bundle import EngineFile
from edge.config import Config
from edge.events import Count, Event, Verdict
from edge.health import Stopwatch
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models, Station
from edge.types import Frame
from tests.see.coded import FRAME, NAMES, belt, instance_model, picture, read_labels, read_parts, semantic_model
from tests.see.made import FakeEngine

FILE = EngineFile("onnxruntime", "float32", "m.onnx", 0, "")
PARTS, FIRST, LAST = 3, 20, 70  # pictures: the first part is before the line; all are through
LINE = config.Line(name="door", camera="c", start=(80, 0), end=(80, 120), direction="right", settle_looks=1, once=True)
GATE = config.Gate(name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right")
RULES = Config(
    bundle=Path("b"),
    state=Path("s"),
    cameras={"c": config.Camera(source="x")},
    regions=config.RegionRules(min_area_px=50, pad_px=6),
    attention=config.Attention(canvases=2),
    tracks=config.TrackRules(motion="belt", at_border="wait"),
    lines=[LINE],
    gates=[GATE],
)
FATES = st.lists(  # of each frame: how often it comes, and by how many frames it is late
    st.tuples(st.sampled_from([1, 1, 1, 0, 2]), st.sampled_from([0, 0, 0, 1, 2, 3])), min_size=30, max_size=LAST - FIRST
)


def watcher() -> Station:
    semantic, instance = semantic_model(FILE), instance_model(FILE)
    passes = (
        SemanticPass(FakeEngine(semantic, read_labels), semantic),
        InstancePass(FakeEngine(instance, read_parts), instance),
    )
    return Station("c", FRAME, RULES, Models(*passes, NAMES, NAMES, ["scratch"]), itertools.count(1).__next__)


def shown(steps: list[int], begin: int = FIRST) -> Iterator[int]:
    """Yield the numbers of the pictures that come, each so many after the one before it, up to the last one."""
    yield from range(begin)
    at = begin
    for step in itertools.chain(steps, itertools.repeat(1)):
        yield at
        if at == LAST:
            return
        at = min(max(at + step, 0), LAST)


def whose(event: Count | Verdict, number: int) -> int:
    """Return the part that an event in picture `number` is about: the nearest one."""
    gaps = np.abs(np.asarray(belt(number, PARTS)) - event.position).sum(axis=1)
    assert gaps.min() < 12, "nothing is there"
    return int(gaps.argmin())


def _is_judged(event: Event) -> TypeGuard[Verdict]:
    return isinstance(event, Verdict) and event.verdict != "EXPIRED"


def told(numbers: list[int]) -> list[tuple[Event, int]]:
    """Return what is decided of these pictures, each with the number of the picture it was decided in."""
    station = watcher()
    frames = (Frame("c", i, i / 10, picture(belt(number, PARTS))) for i, number in enumerate(numbers))
    return [
        (event, number)
        for frame, number in zip(frames, numbers, strict=True)
        for event in station.see(frame, Stopwatch()).events
    ]


def out_of_order(fates: list[tuple[int, int]]) -> list[int]:
    """Return the numbers of the pictures as they come, those with a fate from the first part's coming on."""
    fated = range(FIRST, FIRST + len(fates))
    due = [(number + late, number) for number, (times, late) in zip(fated, fates, strict=True) for _ in range(times)]
    return [*range(FIRST), *(number for _, number in sorted(due)), *range(fated.stop, LAST + 1)]


@settings(max_examples=40, deadline=None)
@given(FATES)
def test_nothing_is_counted_or_passed_twice_whatever_order_frames_come_in(fates: list[tuple[int, int]]) -> None:
    """A part whose track is lost in such a jump at its gate has the fail-safe, and may be judged again as another."""
    events = told(out_of_order(fates))
    counted = Counter(whose(event, number) for event, number in events if isinstance(event, Count))
    judged = [(event, number) for event, number in events if isinstance(event, Verdict)]
    passed = Counter(whose(event, number) for event, number in judged if event.verdict == "PASS")
    assert max(counted.values(), default=0) <= 1
    assert max(passed.values(), default=0) <= 1
    assert len({event.track for event, _ in judged}) == len(judged)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([1, 1, 1, 2, 3, 0]), max_size=60))
def test_dropped_and_repeated_frames_lose_no_part(steps: list[int]) -> None:
    events = told(list(shown(steps, 0)))
    counted = Counter(whose(event, number) for event, number in events if isinstance(event, Count))
    judged = Counter(whose(event, number) for event, number in events if _is_judged(event))
    assert max(counted.values(), default=0) <= 1
    assert sorted(counted) == sorted(judged) == list(range(PARTS))


@pytest.mark.parametrize("frames", [1, 2])
def test_a_ring_that_swaps_its_frames_changes_no_count(frames: int) -> None:
    """Every group of frames comes backwards."""
    numbers = [
        number
        for begin in range(0, LAST + 1, frames)
        for number in reversed(range(begin, min(begin + frames, LAST + 1)))
    ]
    counted = [whose(event, number) for event, number in told(numbers) if isinstance(event, Count)]
    assert sorted(counted) == list(range(PARTS))
