"""How many different objects there were: each once, also where it left and came back under its id."""

from __future__ import annotations

from edge import config
from edge.config import Line
from edge.decide.counting import LineCounter
from edge.event_facts import counter_of
from edge.events import ConversionEvent, Count, Event, VisitorEvent
from edge.types import Frame, Gap
from tests.decide.scenes import CLASSES, PICTURE, World, zone
from tests.see.made import seen_of, tracks_of

UNIQUE = config.Unique(name="guests", zone="z")
IN, OUT = (200.0, 200.0), (50.0, 50.0)


def visitors(events: list[Event]) -> list[int]:
    return [event.track for event in events if isinstance(event, VisitorEvent)]


def bar(world: World, missed: float | None = 0.0) -> tuple[int, int | None]:
    return world.rules.bars(lambda _: missed)["guests/person"]


def test_each_is_told_once_however_often_it_enters() -> None:
    world = World(UNIQUE)
    world.walk({1: IN, 2: OUT}, {1: OUT, 2: IN}, {1: IN, 2: IN}, {1: OUT}, {1: IN})
    assert visitors(world.events) == [1, 2]
    told = next(event for event in world.events if isinstance(event, VisitorEvent))
    assert (told.rule, told.zone, told.label, told.position) == ("guests", "z", "person", IN)
    assert counter_of(told) == "guests/person"


def test_who_comes_back_under_the_old_id_is_no_new_one() -> None:
    world = World(UNIQUE)
    world.see({1: IN})
    world.see({})
    world.see({2: IN}, ids=[1])
    world.blind()
    world.see({3: IN}, ids=[1])
    world.see({3: IN, 4: IN}, ids=[1, 4])
    assert visitors(world.events) == [1, 4]
    assert bar(world) == (2, 4)  # every track may be somebody else


def test_the_bar_is_from_as_many_as_were_inside_at_a_time_to_as_many_as_there_were_tracks() -> None:
    world = World(UNIQUE)
    world.walk({1: IN, 2: IN}, {1: IN, 2: OUT}, {}, {3: IN}, {})
    assert visitors(world.events) == [1, 2, 3]
    assert bar(world) == (2, 3)
    assert bar(world, 0.5) == (2, 6)
    assert bar(world, None) == (2, None)


def test_classes_are_counted_apart() -> None:
    world = World(UNIQUE)
    world.see({1: IN, 2: IN}, classes=[1, 2])
    assert [counter_of(event) for event in world.events] == ["guests/person", "guests/bag"]


def test_one_who_left_and_came_back_counts_once_at_a_line_that_counts_once() -> None:
    for once, expected in ((True, 1), (False, 2)):
        line = Line(name="l", camera="c", start=(100, 0), end=(100, 200), settle_looks=1, once=once)
        counter, told, last = LineCounter(line, CLASSES), list[Event](), 0
        for index, (key, x) in enumerate([(1, 80), (1, 120), (0, 0), (2, 80), (2, 120), (2, 120)]):
            tracks = tracks_of(
                [(x - 10, 90, x + 10, 110)] if key else [], keys=[key] if key else [], ids=[7] if key else []
            )
            ended = [last] if last and last != key else []
            told += counter.decide(seen_of(Frame("c", index, index / 10, PICTURE), tracks, ended=ended))
            last = key
        assert len([event for event in told if isinstance(event, Count)]) == expected


def test_a_line_that_counts_once_remembers_through_a_gap() -> None:
    line = Line(name="l", camera="c", start=(100, 0), end=(100, 200), settle_looks=1, once=True)
    counter, told = LineCounter(line, CLASSES), list[Event]()
    for index, (key, x) in enumerate([(1, 80), (1, 120), (2, 80), (2, 120)]):
        tracks = tracks_of([(x - 10, 90, x + 10, 110)], keys=[key], ids=[7])
        if index == 2:
            counter.blind(Gap("c", 2, 0.1, 0.2, "stall"), tracks)
        told += counter.decide(seen_of(Frame("c", index, index / 10, PICTURE), tracks))
    assert len([event for event in told if isinstance(event, Count)]) == 1


def test_one_who_left_and_came_back_enters_a_conversion_once() -> None:
    rule = config.Conversion(name="c", zone="z", to="y", seconds=60)
    world = World(rule, zones=[zone("z"), zone("y", (400, 100), (500, 300))])
    world.walk({1: OUT}, {1: IN}, {1: OUT}, {})
    world.see({2: IN}, ids=[1])
    world.see({2: OUT}, ids=[1])
    steps = [event.step for event in world.events if isinstance(event, ConversionEvent)]
    assert steps == ["entered", "missed"]
