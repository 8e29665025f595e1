"""Who is in a zone: entering and leaving, with hysteresis, and the time between."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.decide.records import Records
from edge.decide.zones import ZoneWatch
from edge.events import Event, ZoneEvent
from tests.decide.scenes import CLASSES, World, alerts, zone

OCCUPANCY = config.Occupancy(name="o", zone="z")
INSIDE, OUTSIDE, BORDER = (200.0, 200.0), (50.0, 200.0), (101.0, 200.0)


def moves(events: list[Event]) -> list[tuple[float, str, str, float | None]]:
    return [(round(e.time, 3), e.change, e.reason, e.dwell_s) for e in events if isinstance(e, ZoneEvent)]


def test_one_that_walks_through_enters_and_leaves_with_all_that_is_known_of_it() -> None:
    world = World(OCCUPANCY)
    world.walk({7: OUTSIDE}, {7: INSIDE}, {7: (210, 200)}, {7: (350, 200)}, classes=[2], ids=[5])
    assert world.events == [
        ZoneEvent(
            time=0.1, camera="c", frame=1, zone="z", change="enter", reason="crossed", track=5, label="bag",
            position=(200.0, 200.0), dwell_s=None, inside=1,
        ),
        ZoneEvent(
            time=0.3, camera="c", frame=3, zone="z", change="leave", reason="crossed", track=5, label="bag",
            position=(350.0, 200.0), dwell_s=0.2, inside=0,
        ),
    ]  # fmt: skip


def test_what_is_on_the_border_changes_nothing() -> None:
    world = World(OCCUPANCY)
    world.walk(*[{1: (100 + x, 200)} for x in (-30, 3.9, -3.9, 3.9, 4.1, -3.9, 2, -3.9, -4.1, 3.9)])
    assert moves(world.events) == [(0.4, "enter", "crossed", None), (0.8, "leave", "crossed", 0.4)]


@pytest.mark.parametrize("settle", [1, 2, 3])
def test_a_side_counts_from_the_first_of_the_sightings_that_settle_it(settle: int) -> None:
    world = World(OCCUPANCY, zones=[zone(settle_looks=settle)])
    world.walk({1: OUTSIDE}, *[{1: INSIDE}] * 6, *[{1: OUTSIDE}] * 6)
    late = round((settle - 1) / 10, 3)
    assert moves(world.events) == [
        (round(0.1 + late, 3), "enter", "crossed", None),
        (round(0.7 + late, 3), "leave", "crossed", 0.6),
    ]


def test_who_begins_inside_has_appeared_and_whose_track_ends_inside_has_ended() -> None:
    world = World(OCCUPANCY)
    world.walk({1: INSIDE}, {1: INSIDE}, {1: INSIDE}, {})
    assert moves(world.events) == [(0.0, "enter", "appeared", None), (0.3, "leave", "ended", 0.2)]


def test_time_without_a_sighting_counts_when_it_is_seen_again_and_only_then() -> None:
    world = World(OCCUPANCY)
    world.walk({1: INSIDE}, {1: INSIDE})
    for _ in range(5):
        world.see({1: INSIDE}, located=[False])
    world.walk({})
    assert moves(world.events)[-1] == (0.7, "leave", "ended", 0.1)
    again = World(OCCUPANCY)
    again.walk({1: INSIDE}, {1: INSIDE})
    for _ in range(5):
        again.see({1: OUTSIDE}, located=[False])  # a guess, and wrong
    again.walk({1: INSIDE}, {1: OUTSIDE})
    assert moves(again.events)[-1] == (0.8, "leave", "crossed", 0.8)


def test_a_gap_in_sight_ends_every_stay_at_the_last_sighting() -> None:
    world = World(OCCUPANCY)
    world.rest(1, {1: INSIDE, 2: (150, 150), 3: OUTSIDE})
    told = world.blind(60)
    assert moves(told) == [(61.0, "leave", "blind", 0.9)] * 2
    assert [event.inside for event in told if isinstance(event, ZoneEvent)] == [1, 0]
    assert world.rules.inside() == {"z": {}}


def test_only_confirmed_tracks_of_the_zones_classes_enter() -> None:
    world = World(OCCUPANCY, zones=[zone(classes=["bag"])])
    world.walk({1: INSIDE, 2: INSIDE}, {1: INSIDE, 2: INSIDE}, classes=[1, 2], ids=[1, 0])
    assert not world.events
    (told,) = world.see({1: INSIDE, 2: INSIDE}, classes=[1, 2], ids=[1, 9])
    assert isinstance(told, ZoneEvent)
    assert (told.track, told.label) == (9, "bag")
    assert world.rules.inside() == {"z": {"bag": 1}}


def test_the_class_of_a_stay_is_that_of_its_beginning() -> None:
    world = World(OCCUPANCY)
    world.see({1: INSIDE}, classes=[1])
    world.see({1: INSIDE}, classes=[2])
    assert world.rules.inside() == {"z": {"person": 1}}
    (told,) = world.see({1: OUTSIDE}, classes=[2])
    assert isinstance(told, ZoneEvent)
    assert (told.label, told.inside) == ("person", 0)


def test_overlapping_zones_know_nothing_of_each_other() -> None:
    both = [zone("a"), zone("b", (200, 100), (400, 300))]
    rules = [config.Occupancy(name=name.upper(), zone=name) for name in ("a", "b")]
    world = World(*rules, zones=both)
    world.walk(*[{1: (float(x), 200.0)} for x in range(50, 450, 10)])
    found = [(e.zone, e.change, e.position[0]) for e in world.events if isinstance(e, ZoneEvent)]
    assert found == [("a", "enter", 110), ("b", "enter", 210), ("a", "leave", 310), ("b", "leave", 410)]


def test_the_anchor_decides() -> None:
    low = World(OCCUPANCY, zones=[zone(anchor="bottom")])
    assert moves(low.see({1: (200, 100)}, side=40)) == [(0.0, "enter", "appeared", None)]
    assert not World(OCCUPANCY).see({1: (200, 100)}, side=40)


def test_a_zone_that_no_rule_is_about_is_not_watched() -> None:
    world = World(OCCUPANCY, zones=[zone(), zone("other", attention="ignore")])
    world.see({1: INSIDE})
    assert world.rules.inside() == {"z": {"person": 1}}


places = st.lists(st.sampled_from([INSIDE, OUTSIDE, BORDER, None]), max_size=60)


@given(st.lists(places, min_size=1, max_size=4), st.integers(1, 3), st.lists(st.booleans(), min_size=60, max_size=60))
def test_any_walks_enter_and_leave_in_turns_and_their_stays_add_up(
    walks: list[list[tuple[float, float] | None]], settle: int, sighted: list[bool]
) -> None:
    world = World(OCCUPANCY, zones=[zone(settle_looks=settle)])
    longest = max(map(len, walks))
    for index in range(longest):
        there = {key: walk[index] for key, walk in enumerate(walks, 1) if index < len(walk) and walk[index]}
        world.see(there, located=[sighted[index]] * len(there))
    world.blind()
    inside: Counter[str] = Counter()
    for track, events in itertools.groupby(sorted(_zone_events(world), key=lambda e: e.track), lambda e: e.track):
        told = list(events)
        assert [e.change for e in told] == ["enter", "leave"] * (len(told) // 2), track
        stayed = sum(float(e.dwell_s or 0) for e in told)
        seen = [i for i, place in enumerate(walks[track - 1]) if place and sighted[i]]
        assert 0 <= stayed <= (seen[-1] - seen[0]) / 10 + 1e-9
    for event in _zone_events(world):
        inside[event.label] += 1 if event.change == "enter" else -1
        assert event.inside == inside[event.label] >= 0
    assert not +inside


def _zone_events(world: World) -> list[ZoneEvent]:
    return [event for event in world.events if isinstance(event, ZoneEvent)]


@given(st.lists(st.sampled_from([INSIDE, OUTSIDE]), max_size=40), st.integers(1, 3))
def test_any_walk_is_told_as_by_the_definition(walk: list[tuple[float, float]], settle: int) -> None:
    world = World(OCCUPANCY, zones=[zone(settle_looks=settle)])
    world.walk(*[{1: place} for place in walk])
    expected, inside, since = [], False, 0
    for index in range(settle - 1, len(walk)):
        recent = walk[index - settle + 1 : index + 1]
        if all((place == INSIDE) != inside for place in recent):
            inside = not inside
            first = index - settle + 1
            expected.append((index, "enter" if inside else "leave", None if inside else (first - since) / 10))
            since = first
    found = [(event.frame, event.change, event.dwell_s) for event in _zone_events(world)]
    assert found == [(i, change, dwell if dwell is None else pytest.approx(dwell)) for i, change, dwell in expected]


@given(st.lists(st.floats(80, 120, width=32), max_size=60))
def test_any_jitter_within_the_hysteresis_is_told_once_at_most(xs: list[float]) -> None:
    world = World(OCCUPANCY, zones=[zone(hysteresis_px=21)])
    assert not world.walk({1: (50, 200)}, *[{1: (x, 200.0)} for x in xs])


def test_what_is_remembered_dies_with_its_track() -> None:
    world = World(OCCUPANCY, config.Dwell(name="d", zone="z", seconds=0.05))
    for key in range(1, 3001):
        world.walk({key: INSIDE}, {key: INSIDE})
    world.see({})
    assert len(alerts(world.events)) == 6000
    behaviour = world.rules._behaviour
    assert len(behaviour._watches["z"]._rows.at) == len(behaviour._speeds._rows.at) == 0
    assert not world.rules.alerts()


def test_many_tracks_are_each_on_their_own() -> None:
    watch = World(OCCUPANCY)
    grid = {key: (50 + 100 * (key % 3), 110.0 + key % 150) for key in range(1, 501)}
    watch.see(grid)
    inside = sum(104 < x < 296 and 104 < y < 296 for x, y in grid.values())
    assert watch.rules.inside() == {"z": {"person": inside}}


def test_rows_follow_their_keys() -> None:
    rows = Records(np.dtype([("value", "i8")]))
    assert not len(rows.follow(np.asarray([3, 1, 2])))
    rows.at["value"] = [30, 10, 20]
    gone = rows.follow(np.asarray([2, 5, 3]))
    assert gone["value"].tolist() == [10]
    assert rows.at["value"].tolist() == [20, 0, 30]
    assert rows.clear()["value"].tolist() == [20, 0, 30]
    assert not len(rows.at)


@given(st.lists(st.lists(st.integers(1, 12), unique=True), max_size=12))
def test_any_keys_keep_their_records_as_long_as_they_are_there(frames: list[list[int]]) -> None:
    rows, known = Records(np.dtype([("value", "i8")])), dict[int, int]()
    for number, keys in enumerate(frames, 1):
        gone = rows.follow(np.asarray(keys, np.int64))
        assert sorted(gone["value"].tolist()) == sorted(value for key, value in known.items() if key not in keys)
        known = {key: known.get(key, 0) for key in keys}
        assert rows.at["value"].tolist() == list(known.values())
        rows.at["value"] = [100 * number + key for key in keys]
        known = {key: 100 * number + key for key in keys}


def test_the_path_is_not_moved_by_one_bad_box() -> None:
    watch = ZoneWatch(zone(), CLASSES)
    world = World(OCCUPANCY)
    seen: list[tuple[float, float]] = []
    decide = world.rules.decide

    def see(frame: object) -> list[Event]:
        x, y = watch.see(frame).path[0].tolist()  # type: ignore[arg-type]
        seen.append((x, y))
        return decide(frame)  # type: ignore[arg-type]

    world.rules.decide = see  # type: ignore[method-assign,assignment]
    world.walk(*[{1: place} for place in (INSIDE, INSIDE, (900, 900), INSIDE, INSIDE, OUTSIDE, OUTSIDE)])
    assert seen[:6] == [INSIDE] * 6
    assert math.isclose(seen[6][0], OUTSIDE[0])
