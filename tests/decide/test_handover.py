"""What crossed a line while a daemon began anew is counted, and what was counted before is not counted again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Line
from edge.decide.counting import LineCounter
from edge.decide.handover import LEAST_FITS, SETTLED_FRAMES, Handover, Mark, Told, laid_beside
from edge.decide.lines import Crossing, LineWatch
from edge.events import Contested, Count, Event
from edge.types import Frame, Gap, Tracks
from tests.see.made import seen_of, tracks_of

SIZE = 50.0
strips = st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1000)), min_size=12, max_size=24)


def marks(strip: Sequence[tuple[int, float]], ranks: Iterable[int] | None = None) -> list[Mark]:
    """Return parts that follow each other at 40 pixels, or at these `ranks`."""
    ranks = range(len(strip)) if ranks is None else ranks
    return [Mark(label, place, 40.0 * rank, SIZE) for rank, (label, place) in zip(ranks, strip, strict=True)]


def rows(*ranks: int) -> list[tuple[int, float]]:
    """Return parts of a strip in which none has the place of another."""
    return [(rank % 3 + 1, 100.0 * rank) for rank in ranks]


@given(strip=strips, unseen=st.integers(0, 5), gone=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_nobody_who_was_counted_is_counted_again(
    strip: list[tuple[int, float]], unseen: int, gone: int, seed: int
) -> None:
    """Places that err a little, neighbours in another order, one part that is not seen any more."""
    rng = np.random.default_rng(seed)
    belt = marks(strip)
    told = belt[unseen:]
    order = np.arange(len(strip) - gone) + rng.uniform(0, 1.5, len(strip) - gone)
    ranks = np.argsort(order, kind="stable").tolist()
    missing = int(rng.integers(unseen, len(ranks)))
    seen = [replace(belt[i], place=belt[i].place + rng.normal(0, 1)) for i in ranks if i != missing]
    kept = [i for i in ranks if i != missing]
    _, left = laid_beside(seen, told)
    again = [kept[n] for n in left if kept[n] >= unseen]
    assert not again


@given(strip=strips, unseen=st.integers(0, 5))
def test_who_is_left_over_in_front_crossed_while_nobody_looked(strip: list[tuple[int, float]], unseen: int) -> None:
    apart = marks([(label, 100.0 * i) for i, (label, _) in enumerate(strip)])  # nobody has the place of another one
    before, left = laid_beside(apart, apart[unseen:])
    assert left == list(range(unseen))
    assert before == list(range(unseen, len(apart)))


@given(count=st.integers(1, 30), lanes=st.integers(1, 3), unseen=st.integers(0, 9))
def test_parts_that_are_all_alike_say_nothing(count: int, lanes: int, unseen: int) -> None:
    strip = marks([(1, 100.0 * (i % lanes)) for i in range(count + 2 * lanes)])
    assert laid_beside(strip[: count + lanes], strip[unseen:]) == ([], [])


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([], []),
        ([0], []),
        ([], [0]),
        ([0, 1], [0, 1]),  # too few
        ([0, 1, 2], [1, 0, 2]),  # not in their order
        (range(9), [6, 7, 8]),  # more are left over
        (range(12), [0, 4, 8]),  # most of them do not fit
    ],
)
def test_what_does_not_fit_says_nothing(seen: Sequence[int], told: Sequence[int]) -> None:
    assert laid_beside(marks(rows(*seen), seen), marks(rows(*told), told)) == ([], [])


def test_where_the_belt_has_stood_nothing_is_sure() -> None:
    strip = marks(rows(*range(12)))
    told = [replace(mark, way=mark.way + 60.0) for mark in strip[1:]]
    assert laid_beside(strip, strip[1:]) == (list(range(1, 12)), [0])
    assert laid_beside(strip, told) == ([], [])


def test_one_that_is_like_another_count_is_not_known_by_that() -> None:
    """Beside the first that fits: its own count is missing, and one of another place on the belt is like it."""
    strip = marks(rows(*range(10)))
    stranger = replace(strip[9], way=strip[1].way)
    assert laid_beside([strip[0], stranger, *strip[1:9]], strip[:10]) == ([0, *range(2, 10)], [])


def test_one_whose_class_was_another_is_not_left_over() -> None:
    strip = rows(*range(8))
    before, left = laid_beside(marks(strip), marks([(4, 0.0), *strip[1:]]))
    assert (before, left) == (list(range(1, 8)), [])
    assert len(before) > LEAST_FITS


PLACES = (15, 60, 100, 35, 80, 20, 70, 95, 45, 105, 28, 88, 52, 64)  # across the belt, in tenths of 40 pixels
PARTS, PITCH, SPEED = 60, 37.0, 3.0  # frame pixels from one to the next, and per frame
PICTURE = np.zeros((500, 800, 3), np.uint8)
LINE = Line(name="door", camera="c", start=(300, 0), end=(300, 500), direction="right", settle_looks=1)
CLASSES = ["background", "nut", "bolt", "gear"]
ALIKE = (10,)


def tracks_at(at: float, places: Sequence[int] = PLACES) -> Tracks:
    """Return what is in view when the belt has gone `at` pixels: part i is number i + 1."""
    parts = [(i, at - PITCH * i, 4.0 * places[i % len(places)]) for i in range(PARTS)]
    seen = [(i, x, y) for i, x, y in parts if 30 < x < 770]
    return tracks_of(
        [(x - 20, y - 20, x + 20, y + 20) for _, x, y in seen],
        keys=[i + 1 for i, *_ in seen],
        ids=[i + 1 for i, *_ in seen],
        classes=[1 if places is ALIKE else 1 + i % 3 for i, *_ in seen],
        velocities=[[SPEED, 0.0] for _ in seen],
    )


class Process:
    """A daemon that sees all parts of a belt from its first frame on, and what it tells of one line."""

    def __init__(self, told: list[Count], places: Sequence[int] = PLACES) -> None:
        self.events: list[Event] = []
        self._counter, self._places = LineCounter(LINE, CLASSES, told), places
        self._there: set[int] = set()  # keys

    def see(self, frame: int, at: float) -> None:
        """Take in what is in view when the belt has gone `at` pixels."""
        tracks = tracks_at(at, self._places)
        there = set(tracks.keys.tolist())
        seen = seen_of(Frame("c", frame, frame * 0.1, PICTURE), tracks, ended=sorted(self._there - there))
        self.events += self._counter.decide(seen)
        self._there = there

    def blind(self, frame: int) -> None:
        """Go blind from now on."""
        self.events += self._counter.blind(Gap("c", frame, 0.0, frame * 0.1, "stall"), tracks_of([]))

    @property
    def counts(self) -> list[Count]:
        return [event for event in self.events if isinstance(event, Count)]

    @property
    def contested(self) -> int:
        return sum(isinstance(event, Contested) for event in self.events)

    def bar(self) -> tuple[int, int]:
        """Return the sum of all bars, nothing being missed by the audit."""
        bars = self._counter.bars(lambda _: 0.0).values()
        return sum(low for low, _ in bars), sum(high or 0 for _, high in bars)


def belt(frame: float) -> float:
    return 400.0 + SPEED * frame


def shown(process: Process, first: int, last: int, stands: float = 0.0) -> Process:
    """Return `process` once it has seen the belt from one frame to another, after it has stood for some frames."""
    for frame in range(first, last):
        process.see(frame, belt(frame - stands))
    return process


@given(restart=st.integers(80, 250), down=st.integers(0, 60))
@settings(max_examples=20)
def test_a_process_that_begins_anew_counts_who_crossed_meanwhile(restart: int, down: int) -> None:
    end = restart + down + 30
    crossed = len(shown(Process([]), 0, end).counts)
    first = shown(Process([]), 0, restart)
    second = shown(Process(first.counts[::-1]), restart + down, end)
    unseen = crossed - len(first.counts)
    assert len(second.counts) == unseen
    assert second.contested == 0
    assert second.bar() == (unseen, unseen)
    assert len({count.track for count in [*first.counts, *second.counts]}) == crossed


def test_it_tells_them_20_frames_after_its_start_and_where_they_are_by_then() -> None:
    second = shown(Process(shown(Process([]), 0, 200).counts[::-1]), 215, 240)
    late = [count for count in second.counts if count.frame == 215 + SETTLED_FRAMES]
    assert len(late) >= 1
    assert all(count.position[0] > 300 + SPEED * SETTLED_FRAMES for count in late[:1])


@pytest.mark.parametrize(("places", "stands"), [(ALIKE, 0.0), (PLACES, 20.0)])
@given(restart=st.integers(80, 250), down=st.integers(0, 30))
@settings(max_examples=10)
def test_where_it_is_not_sure_it_says_so(places: Sequence[int], stands: float, restart: int, down: int) -> None:
    """Parts in one lane that are all alike; a belt that has stood: as if it had no counts to compare with."""
    told = shown(Process([], places), 0, restart).counts[::-1]
    begin, end = restart + down, restart + down + 30
    second, without = (shown(Process(given, places), begin, end, stands) for given in (told, []))
    assert [count.track for count in second.counts] == [count.track for count in without.counts]
    assert second.contested == without.contested > 0


def test_who_comes_in_beyond_the_line_has_not_crossed_it() -> None:
    """The first sight of a part that is left over in front is at the border."""
    told = [
        Told(CLASSES.index(count.counter.removeprefix("door/")), "right", count.position, count.time)
        for count in shown(Process([]), 0, 200).counts[::-1]
    ]
    cases: list[tuple[Container[int], bool]] = [(range(1000), True), ((), False)]
    for inside, expected in cases:
        watch, found = LineWatch(LINE.start, LINE.end), list[Crossing]()
        handover = Handover(watch, told)
        for frame in range(215, 215 + SETTLED_FRAMES + 1):
            seen = seen_of(Frame("c", frame, frame * 0.1, PICTURE), tracks_at(belt(frame)))
            watch.crossings(seen.tracks)
            found += handover.settle(seen, [], inside)[0]
        assert handover.done
        assert bool(found) == expected


def test_a_camera_that_goes_blind_leaves_the_doubts() -> None:
    """What was held back until everything is looked at is told."""
    second = shown(Process(shown(Process([]), 0, 200).counts[::-1]), 215, 225)
    counted, before = len(second.counts), second.contested
    second.blind(225)
    assert before == 0
    assert second.contested > 0
    assert second.bar() == (counted, counted + second.contested)
