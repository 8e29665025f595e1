"""Lines that objects cross, and what is counted at them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Gate, Line
from edge.decide.counting import LineCounter
from edge.decide.lines import LineWatch, away_px, deadlines, direction_of
from edge.events import Count, Event
from edge.types import Frame, Tracks
from tests.see.made import seen_of, tracks_of

CLASSES = ["background", "part", "other"]
PICTURE = np.zeros((8, 8, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame("c", index, index / 10, PICTURE)


def line(**changes: object) -> Line:
    """Return a vertical line at x = 100, from y = 0 to y = 200, that counts at the first sight beyond it."""
    fields = {"name": "door", "camera": "c", "start": (100, 0), "end": (100, 200), "settle_looks": 1, **changes}
    return Line(**fields)  # type: ignore[arg-type]


def at(x: float, y: float = 100.0, **fields: list[object]) -> Tracks:
    """Return one confirmed track of 20 x 20 round a point."""
    return tracks_of([(x - 10, y - 10, x + 10, y + 10)], **fields)


def counts(events: list[Event]) -> list[Count]:
    return [event for event in events if isinstance(event, Count)]


def walk(counter: LineCounter, points: list[tuple[float, float]]) -> list[Count]:
    return counts([event for i, (x, y) in enumerate(points) for event in counter.decide(seen_of(frame(i), at(x, y)))])


def counters(events: Sequence[Event]) -> list[str]:
    return [event.counter for event in counts(list(events))]


def across(*xs: float) -> list[tuple[float, float]]:
    return [(x, 100.0) for x in xs]


def test_a_crossing_is_counted_once_with_all_that_is_known_of_it() -> None:
    counter = LineCounter(line(direction="right"), CLASSES)
    assert not counter.decide(seen_of(frame(0), at(80, 40, keys=[7], ids=[5], classes=[2])))
    told = counter.decide(seen_of(frame(1), at(120, 40, keys=[7], ids=[5], classes=[2])))
    assert told == [
        Count(time=0.1, camera="c", frame=1, counter="door/other", track=5, position=(120.0, 40.0)),
    ]
    assert not counter.decide(seen_of(frame(2), at(150, 40, keys=[7], ids=[5], classes=[2])))


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("both", ["door/part/right", "door/part/left"]), ("right", ["door/part"]), ("left", ["door/part"])],
)
def test_counters_name_the_direction_where_both_count(direction: str, expected: list[str]) -> None:
    events = walk(LineCounter(line(direction=direction), CLASSES), across(80, 120, 80))
    assert counters(events) == expected
    assert [event.frame for event in events] == {"both": [1, 2], "right": [1], "left": [2]}[direction]


@given(st.lists(st.floats(80, 120, width=32), max_size=60), st.sampled_from([0.0, 4.0, 9.5]))
def test_any_walk_counts_its_clear_changes_of_side_and_nothing_else(xs: list[float], hysteresis: float) -> None:
    events = walk(LineCounter(line(hysteresis_px=hysteresis), CLASSES), across(*xs))
    clear = [x > 100 for x in xs if abs(x - 100) > hysteresis]
    changes = ["right" if after else "left" for before, after in itertools.pairwise(clear) if before != after]
    assert counters(events) == [f"door/part/{way}" for way in changes]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4))
def test_any_walk_counts_a_side_only_when_it_has_settled(sides: list[bool], settle: int) -> None:
    xs = [120.0 if side else 80.0 for side in sides]
    events = walk(LineCounter(line(settle_looks=settle), CLASSES), across(*xs))
    expected, here, beyond = [], sides[0] if sides else False, 0
    for side in sides:
        beyond = beyond + 1 if side != here else 0
        if beyond == settle:
            here, beyond = side, 0
            expected.append(f"door/part/{'right' if side else 'left'}")
    assert counters(events) == expected


def test_one_that_jitters_on_the_line_is_counted_once() -> None:
    xs = [80, 95, 103, 97, 102, 99, 103.9, 96.1, 104.1, 97, 103, 99, 120]
    assert counters(walk(LineCounter(line(), CLASSES), across(*xs))) == ["door/part/right"]


@given(st.lists(st.floats(0, 200, width=32), max_size=60))
def test_with_once_nothing_is_counted_twice_in_one_direction(xs: list[float]) -> None:
    found = counters(walk(LineCounter(line(once=True), CLASSES), across(*xs)))
    assert len(found) == len(set(found)) <= 2


@pytest.mark.parametrize("once", [False, True])
def test_a_part_that_stops_and_goes_back_and_forth(once: bool) -> None:
    xs = [60, 90, 100, 100, 100, 115, 100, 85, 100, 115, 130]
    found = walk(LineCounter(line(once=once, direction="right"), CLASSES), across(*xs))
    assert [event.frame for event in found] == ([5] if once else [5, 9])


@pytest.mark.parametrize(("y", "counted"), [(-0.5, 0), (0, 1), (100, 1), (200, 1), (200.5, 0)])
def test_a_line_ends_where_it_ends(y: float, counted: int) -> None:
    assert len(walk(LineCounter(line(), CLASSES), [(80, y), (120, y)])) == counted


def test_one_that_walks_round_the_end_is_on_the_other_side_all_the_same() -> None:
    round_the_end = [(80, 100), (80, 250), (120, 250), (120, 100)]
    counter = LineCounter(line(), CLASSES)
    assert not walk(counter, [(float(x), float(y)) for x, y in round_the_end])
    assert counters(walk(counter, across(80))) == ["door/part/left"]


@pytest.mark.parametrize(
    ("start", "end", "names"),
    [
        ((100, 0), (100, 200), ("right", "left")),
        ((100, 200), (100, 0), ("right", "left")),
        ((0, 100), (200, 100), ("down", "up")),
        ((200, 100), (0, 100), ("down", "up")),
        ((90, 0), (110, 200), ("right", "left")),
        ((0, 110), (200, 90), ("down", "up")),
    ],
)
def test_directions_are_named_as_they_are_seen(
    start: tuple[float, float], end: tuple[float, float], names: tuple[str, str]
) -> None:
    watch = LineWatch(start, end)
    low, high = ((70, 100), (130, 100)) if "right" in names else ((100, 70), (100, 130))
    found = [c.direction for x, y in (low, high, low) for c in watch.crossings(at(x, y))]
    assert found == list(names)


@given(st.floats(0, 2 * math.pi))
def test_the_two_sides_of_a_line_have_opposite_names(angle: float) -> None:
    start, end = (100.0, 100.0), (100 + 80 * math.cos(angle), 100 + 80 * math.sin(angle))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    normal = -math.sin(angle), math.cos(angle)
    watch = LineWatch(start, end)
    sides = [(middle[0] + s * 30 * normal[0], middle[1] + s * 30 * normal[1]) for s in (-1, 1, -1)]
    there, back = (c.direction for x, y in sides for c in watch.crossings(at(x, y)))
    assert {there, back} in ({"left", "right"}, {"up", "down"})
    along = abs(normal[0]) >= abs(normal[1])
    moved = {"right": normal[0] > 0, "left": normal[0] < 0, "down": normal[1] > 0, "up": normal[1] < 0}
    assert moved[there]
    assert (there in {"left", "right"}) == along


def test_names_of_the_eight_winds() -> None:
    winds = {(1, 0): "right", (-1, 0): "left", (0, 1): "down", (0, -1): "up", (1, 1): "right", (-1, 1): "left"}
    assert {wind: direction_of(np.asarray(wind, np.float64)) for wind in winds} == winds


def test_the_anchor_decides_what_crosses() -> None:
    level = {"start": (0, 100), "end": (200, 100)}
    for anchor, first in (("bottom", 1), ("center", 2)):
        events = walk(LineCounter(line(anchor=anchor, **level), CLASSES), [(50, 80), (50, 96), (50, 112)])
        assert [(event.frame, event.position[1]) for event in events] == [(first, 106.0 if first == 1 else 112.0)]


def test_a_track_that_is_not_confirmed_keeps_its_first_side_until_it_is() -> None:
    counter = LineCounter(line(), CLASSES)
    for x in (80, 120, 130):
        assert not counter.decide(seen_of(frame(0), at(x, ids=[0])))
    assert counters(counter.decide(seen_of(frame(1), at(140, ids=[9])))) == ["door/part/right"]


def test_a_position_that_is_only_guessed_decides_nothing() -> None:
    counter = LineCounter(line(), CLASSES)
    counter.decide(seen_of(frame(0), at(80)))
    assert not counter.decide(seen_of(frame(1), at(120, located=[False])))
    assert counters(counter.decide(seen_of(frame(2), at(120)))) == ["door/part/right"]


def test_what_is_remembered_dies_with_its_track() -> None:
    counter = LineCounter(line(once=True, settle_looks=2), CLASSES)
    for key in range(1, 5001):
        for x in (80, 120, 120, 80):
            counter.decide(seen_of(frame(0), at(x, keys=[key], ids=[key])))
        counter.decide(seen_of(frame(0), tracks_of([]), ended=[key]))
    assert not counter._watch._sides
    assert not counter._watch._beyond
    assert not counter._counted


def test_many_tracks_are_counted_each_on_its_own() -> None:
    counter = LineCounter(line(direction="right", end=(100, 4000)), CLASSES)
    ys = [40 * i for i in range(100)]

    def row(shift: float) -> Tracks:
        return tracks_of([(x + shift - 5, y - 5, x + shift + 5, y + 5) for y, x in zip(ys, itertools.cycle((80, 120)))])

    counter.decide(seen_of(frame(0), row(0)))
    events = counts(counter.decide(seen_of(frame(1), row(40))))
    assert [event.track for event in events] == list(range(1, 101, 2))


SIZE_PX = 40.0


def moving(x: float, y: float, vx: float, vy: float, looks: int = 5) -> Tracks:
    box = (x - SIZE_PX / 2, y - SIZE_PX / 2, x + SIZE_PX / 2, y + SIZE_PX / 2)
    return tracks_of([box], velocities=[[vx, vy]], looks=[looks])


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        (moving(20, 100, 3, 0), True),
        (moving(20, 100, -3, 0), False),
        (moving(20, 100, 0, 3), False),  # along the line
        (moving(20, 100, 0, 0), False),
        (moving(180, 100, -3, 0), True),  # a line counts both ways
        (moving(180, 100, 3, 0), False),
        (moving(110, 100, 3, 0), True),  # still on it
        (moving(20, 100, 3, 9), False),  # passes its end
        (moving(20, 180, 3, 1), True),  # its middle does, it does not
        (moving(20, 100, 0, 0, looks=1), True),  # nobody knows how it moves
    ],
)
def test_what_moves_towards_a_line_has_it_ahead(tracks: Tracks, expected: bool) -> None:
    assert np.isfinite(deadlines(tracks, [line()])).tolist() == [expected]


@pytest.mark.parametrize(("direction", "vx", "expected"), [("right", 3, True), ("left", 3, False), ("left", -3, False)])
def test_a_gate_is_ahead_only_of_what_goes_its_way(direction: str, vx: float, expected: bool) -> None:
    gate = Gate(name="g", camera="c", start=(100, 0), end=(100, 200), direction=direction)  # type: ignore[arg-type]
    assert np.isfinite(deadlines(moving(20, 100, vx, 0), [gate])).tolist() == [expected]


def test_the_second_of_two_lines_is_still_ahead_and_without_any_all_count() -> None:
    later = line(start=(300, 0), end=(300, 200))
    assert np.isfinite(deadlines(moving(180, 100, 3, 0), [line(), later])).tolist() == [True]
    assert np.isfinite(deadlines(moving(380, 100, 3, 0), [line(), later])).tolist() == [False]
    assert np.isfinite(deadlines(moving(380, 100, 3, 0), [])).tolist() == [True]
    assert np.isfinite(deadlines(tracks_of([]), [line()])).tolist() == []


@pytest.mark.parametrize(("x", "vx", "frames"), [(50, 5.0, 10.0), (50, 2.0, 25.0), (130, -3.0, 10.0)])
def test_how_long_a_track_takes_to_its_line(x: float, vx: float, frames: float) -> None:
    assert deadlines(moving(x, 100, vx, 0), [line()])[0] == pytest.approx(frames)


def test_how_far_boxes_are_from_the_nearest_line_or_gate() -> None:
    gate = Gate(name="gate", camera="c", start=(0, 500), end=(1000, 500), direction="down")
    middles = [(100, 100), (160, 100), (200, 460), (200, -30), (1030, 540)]
    boxes = np.asarray([(x - 8, y - 6, x + 8, y + 6) for x, y in middles], np.float32)
    across = line(start=(200, 0), end=(200, 200))
    np.testing.assert_allclose(away_px(boxes, [across, gate]), [100, 40, 40, 30, 50])
    assert np.isinf(away_px(boxes, [])).all()
