"""Crossings of which nobody can be sure are told, and the bar round a count covers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Line
from edge.decide.contested import PATIENCE
from edge.decide.counting import LineCounter
from edge.events import Contested, Count, Event
from edge.types import Frame, Gap, Tracks
from tests.see.made import seen_of, tracks_of

CLASSES = ["background", "part", "other"]
PICTURE = np.zeros((400, 400, 3), np.uint8)
SPEED = 6.0


@dataclass
class Door:
    """A line at x = 100 that counts to the right, and what it has said so far."""

    counter: LineCounter
    said: list[Event] = field(default_factory=list)
    frame: int = 0
    there: set[int] = field(default_factory=set)  # keys

    def show(self, tracks: Tracks) -> None:
        """Show one frame; who is not in it has ended."""
        keys = set(tracks.keys.tolist())
        seen = seen_of(Frame("c", self.frame, self.frame / 10, PICTURE), tracks, ended=sorted(self.there - keys))
        self.said += self.counter.decide(seen)
        self.there, self.frame = keys, self.frame + 1

    def walk(self, key: int, *xs: float, confirmed: bool = True, speed: float = SPEED, label: int = 1) -> None:
        for x in xs:
            self.show(at(x, keys=[key], ids=[key if confirmed else 0], velocities=[[speed, 0]], classes=[label]))

    def gone(self, frames: int = 1) -> None:
        for _ in range(frames):
            self.show(tracks_of([]))

    @property
    def counted(self) -> int:
        return sum(isinstance(event, Count) for event in self.said)

    @property
    def doubts(self) -> list[tuple[str, str]]:
        return [(event.why, event.error) for event in self.said if isinstance(event, Contested)]

    def bar(self, upper: float | None = 0.0) -> tuple[int, int | None]:
        return self.counter.bars(lambda _: upper).get("door/part", (0, 0))


def at(x: float, y: float = 100.0, size: float = 20.0, **fields: Sequence[object]) -> Tracks:
    half = size / 2
    return tracks_of([(x - half, y - half, x + half, y + half)], **fields)


@pytest.fixture
def door() -> Door:
    return line()


def line(**changes: object) -> Door:
    rules = {"name": "door", "camera": "c", "start": (100, 0), "end": (100, 200), "settle_looks": 1, **changes}
    return Door(LineCounter(Line(**{"direction": "right", **rules}), CLASSES))  # type: ignore[arg-type]


def test_a_plain_crossing_leaves_no_doubt(door: Door) -> None:
    door.walk(1, 40, 60, 80, 120, 140)
    door.gone()
    assert (door.counted, door.doubts, door.bar()) == (1, [], (1, 1))


def test_one_that_is_lost_on_the_line_may_have_crossed(door: Door) -> None:
    door.walk(1, 60, 80, 93)
    door.gone()
    assert (door.counted, door.doubts, door.bar()) == (0, [("lost", "missed")], (0, 1))
    (told,) = door.said
    assert isinstance(told, Contested)
    assert (told.counter, told.track, told.other, told.position) == ("door/part", 1, 0, (93.0, 100.0))


@pytest.mark.parametrize(
    ("xs", "speed", "why"),
    [
        ([20, 26, 32], SPEED, "far before the line"),
        ([70, 82, 92], -SPEED, "on its way back"),
        ([80, 120, 130], SPEED, "counted"),
        ([150, 130, 108], -SPEED, "to the side that does not count"),
    ],
)
def test_one_that_is_lost_elsewhere_is_no_matter_of_this_line(
    door: Door, xs: list[float], speed: float, why: str
) -> None:
    door.walk(1, *xs, speed=speed)
    door.gone()
    assert door.doubts == [], why


def test_one_that_is_lost_while_it_is_carried_over_the_line_may_have_crossed(door: Door) -> None:
    door.walk(1, 60, 80)
    for x in (101.0, 122.0):  # nobody sees it: the position is only guessed
        door.show(at(x, located=[False], velocities=[[SPEED, 0]]))
    door.gone()
    assert door.doubts == [("lost", "missed")]


def test_one_that_appears_beyond_the_line_may_have_crossed(door: Door) -> None:
    door.walk(1, 112, confirmed=False)
    door.walk(1, 118, 124)
    assert (door.counted, door.doubts, door.bar()) == (0, [("appeared", "missed")], (0, 1))


@pytest.mark.parametrize(
    ("x", "y", "speed"),
    [(112, 5, SPEED), (112, 100, -SPEED), (300, 100, SPEED), (112, 300, SPEED), (88, 100, SPEED)],
    ids=["over the border", "towards the line", "far beyond", "past its end", "before it"],
)
def test_one_that_appears_elsewhere_is_no_matter_of_this_line(door: Door, x: float, y: float, speed: float) -> None:
    door.show(at(x, y, ids=[0], velocities=[[speed, 0]]))
    door.show(at(x, y, velocities=[[speed, 0]]))
    assert door.doubts == []


def test_one_that_is_lost_and_found_again_is_told_once(door: Door) -> None:
    door.walk(1, 80, 93)
    door.gone(2)
    door.walk(2, 112, 118)
    assert (door.doubts, door.bar()) == ([("lost", "missed")], (0, 1))


def test_one_of_another_class_is_another_object(door: Door) -> None:
    door.walk(1, 80, 93)
    door.gone(2)
    door.walk(2, 112, 118, label=2)
    assert door.doubts == [("lost", "missed"), ("appeared", "missed")]


def test_one_that_was_never_confirmed_may_have_been_there(door: Door) -> None:
    door.walk(1, 80, 95, 108, confirmed=False)
    door.gone()
    assert door.doubts == [("unconfirmed", "missed")]


def test_one_that_is_counted_again_as_another_track_is_told(door: Door) -> None:
    """The belt goes back, the part loses its id behind the line, and crosses once more."""
    door.walk(1, 80, 120)
    door.walk(1, 110, 96, 84, speed=-SPEED)
    door.gone(2)
    door.walk(2, 70, 90, 120)
    assert (door.counted, door.doubts, door.bar()) == (2, [("again", "doubled")], (1, 2))
    (told,) = [event for event in door.said if isinstance(event, Contested)]
    assert (told.track, told.other) == (2, 1)


@pytest.mark.parametrize(("x", "frames"), [(60, PATIENCE), (20, 2)], ids=["too late", "elsewhere"])
def test_one_that_comes_later_or_elsewhere_is_another_object(door: Door, x: float, frames: int) -> None:
    door.walk(1, 80, 120, 84, speed=0)
    door.gone(frames)
    door.walk(2, x, 120)
    assert (door.counted, door.doubts) == (2, [])


def test_both_directions_have_bars_of_their_own() -> None:
    door = line(direction="both")
    door.walk(1, 80, 120)
    door.walk(2, 130, 109, speed=-SPEED)
    door.gone()
    assert door.counter.bars(lambda _: 0.0) == {"door/part/right": (1, 1), "door/part/left": (0, 1)}


@pytest.mark.parametrize(("upper", "high"), [(0.0, 4), (0.2, 5), (0.5, 8), (1.0, None), (None, None)])
def test_what_the_audit_cannot_exclude_is_in_the_bar(door: Door, upper: float | None, high: int | None) -> None:
    for key in range(1, 5):
        door.walk(key, 80, 120)
    assert door.bar(upper) == (4, high)


def test_after_a_gap_nothing_is_lost_or_appears_because_of_it(door: Door) -> None:
    door.walk(1, 80, 93)
    door.counter.blind(Gap("c", 9, 0.0, 1.0, "stall"), tracks_of([]))
    door.there.clear()
    door.gone()
    door.walk(2, 40, 60)
    assert door.doubts == []


def test_what_is_remembered_dies_with_its_track(door: Door) -> None:
    for key in range(1, 3001):
        door.walk(key, 80, 93)
    door.gone(PATIENCE + 1)
    doubts = door.counter._doubts
    assert not doubts._origins
    assert not doubts._fresh
    assert not doubts._counted
    assert len(doubts._lost) <= 256


WALKS = st.lists(
    st.tuples(st.floats(30, 60), st.floats(2, 12), st.integers(0, 12), st.integers(0, 14)), min_size=1, max_size=6
)


@given(WALKS)
def test_the_bar_covers_parts_whose_sight_is_interrupted(walks: list[tuple[float, float, int, int]]) -> None:
    """One after the other they go to the right; each is lost for some frames, and seen again under another id."""
    door, key, crossed = line(), 0, 0
    for start, speed, hidden_from, longest in walks:
        key, hidden_for = key + 1, min(longest, 14 - hidden_from)  # seen again at last: else nobody could know
        crossed += start < 100 < start + 14 * speed
        for i in range(15):
            x = start + i * speed
            if i == hidden_from + hidden_for:
                key += 1
            if hidden_from <= i < hidden_from + hidden_for:
                door.gone()
            elif x != 100:
                door.walk(key, x, speed=speed)
        door.gone(PATIENCE + 1)
    low, high = door.bar()
    assert high is not None
    assert low <= crossed
    assert high >= crossed
