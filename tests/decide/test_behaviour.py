"""Each rule of a zone, by its definition: when its alerts begin, when they end, and what does not raise them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.decide.behaviour import KINDS
from edge.decide.behaviour.alerts import MOST_NAMED
from edge.decide.behaviour.contact import mask_gap
from edge.decide.behaviour.holds import Holds
from edge.decide.behaviour.speeds import Speeds
from edge.decide.behaviour.staying import SLACK
from edge.decide.behaviour.together import MOST_MASKS, MOST_PAIRS
from edge.events import Alert, ConversionEvent, Event
from edge.types import Frame, Tracks
from tests.decide.scenes import CLASSES, PICTURE, World, alerts, line, zone
from tests.see.made import seen_of, tracks_of

INSIDE, OUTSIDE = (200.0, 200.0), (50.0, 200.0)
WIDE = zone(low=(0, 0), high=(2000, 2000))


def begins(events: list[Event]) -> list[float]:
    return [when for when, alarm, _, _ in alerts(events) if alarm]


def ends(events: list[Event]) -> list[tuple[float, str]]:
    return [(when, reason) for when, alarm, reason, _ in alerts(events) if not alarm]


# Conditions that have to last


def held(true: Sequence[bool | None], seconds: float, clear_s: float) -> list[bool]:
    """Return in which of these frames, a second apart, one condition is on; None: nobody knows."""
    holds, key, found = Holds(seconds, clear_s), np.asarray([4]), []
    for time, value in enumerate(true):
        on, _ = holds.update(float(time), key, np.asarray([bool(value)]), np.asarray([value is not None]))
        found.append(bool(on[0]))
    return found


def test_a_condition_is_on_once_it_has_lasted_and_off_once_it_has_failed_for_long_enough() -> None:
    yes: list[bool | None] = [True]
    no: list[bool | None] = [False]
    assert held(yes * 4 + no * 4, 2, 2) == [False, False, True, True, True, True, False, False]
    assert held(yes + no * 4 + yes * 3, 2, 3) == [False] * 7 + [True], "it had failed for too long"
    assert held(yes + no * 2 + yes, 2, 3) == [False] * 3 + [True], "the interruption does not count"
    assert held(yes + no * 2, 1, 3) == [False] * 3, "it must be true when it begins"
    assert held(yes * 2 + [None] * 5 + no * 2 + yes, 1, 1) == [False] + [True] * 7 + [False] * 2
    assert held(yes * 2 + no + [None] * 3 + yes, 1, 2) == [False, True, True, True, False, False, False]
    assert held(yes + [None] * 3 + yes, 2, 1) == [False] * 4 + [True], "it begins when somebody knows"
    assert held([True, False, True], 0, 0) == [True, False, True]
    assert held(yes * 3 + no + [None] * 5 + yes * 2, 2, 9) == [False, False] + [True] * 9
    assert held(yes * 3 + no + yes * 2, 2, 1) == [False, False, True, True, False, False], "a second of it is over"


@given(st.lists(st.sampled_from([True, False, None]), max_size=40), st.integers(0, 4), st.integers(0, 4))
def test_any_condition_is_on_as_by_the_definition(true: list[bool | None], seconds: int, clear_s: int) -> None:
    expected, since, failing, on = [], None, None, False
    for time, value in enumerate(true):
        if value:
            if failing is not None and time - failing >= clear_s:
                since, on = None, False
            since, failing = time if since is None else since, None
            on = on or time - since >= seconds
        elif value is False and since is not None:
            failing = time if failing is None else failing
        if failing is not None and time - failing >= clear_s:
            since, failing, on = None, None, False
        expected.append(on)
    assert held(true, seconds, clear_s) == expected


# Every rule


RULES: list[config.BehaviourRule] = [
    config.Occupancy(name="occupancy", zone="z", most=1, seconds=0),
    config.Dwell(name="dwell", zone="z", seconds=1),
    config.Loitering(name="loitering", zone="z", seconds=1, radius_px=30),
    config.AgainstFlow(name="against", zone="z", flow=(1, 0), distance_px=30),
    config.Congestion(name="congestion", zone="z", least=2, speed_px_s=20, seconds=0.5),
    config.SlowStation(name="station", zone="z", planned_s=1, least=1),
    config.Unattended(name="unattended", zone="z", classes=["bag"], others=["person"], distance_px=50, seconds=1),
    config.Interaction(name="interaction", zone="z", classes=["person"], others=["bag"], distance_px=30, seconds=0.5),
    config.Conversion(name="conversion", zone="z", to="y", seconds=5),
    config.Trajectory(name="trajectory", zone="z"),
    config.Unique(name="unique", zone="z"),
]
ZONES = [zone(), zone("y", (320, 100), (500, 300))]
RAISES = ("occupancy", "dwell", "loitering", "congestion", "station", "unattended", "interaction")


def trouble(world: World, first: int = 1) -> None:
    """Let two objects stand in the zone, one far from all others: all that is about standing is wrong."""
    classes = [1, 2, 2]
    world.rest(3, {first: INSIDE, first + 1: (225, 200), first + 2: (280, 120)}, classes=classes)


def test_every_kind_is_built_and_tested_here() -> None:
    assert {type(rule) for rule in RULES} == set(KINDS)


@pytest.mark.parametrize(("end", "reason"), [("leave", "cleared"), ("end", "ended"), ("blind", "blind")])
def test_every_alert_that_begins_ends_once(end: str, reason: str) -> None:
    world = World(*RULES, zones=ZONES)
    trouble(world)
    begun = [event for event in world.events if isinstance(event, Alert)]
    assert {event.rule for event in begun} == set(RAISES)
    assert all(event.alarm and not event.reason for event in begun)
    assert sorted(world.rules.alerts(), key=str) == sorted(begun, key=str)
    if end == "blind":
        world.blind()
    else:
        world.rest(
            4,
            {} if end == "end" else {1: OUTSIDE, 2: (900, 900), 3: (700, 600)},
            classes=[] if end == "end" else [1, 2, 2],
        )
    if end != "blind":  # what is slow is slow until the next ones are quick
        begun = [event for event in begun if event.rule != "station"]
    over = [event for event in world.events if isinstance(event, Alert) and not event.alarm]
    key = [(event.rule, event.since, tuple(event.tracks)) for event in begun]
    assert sorted((event.rule, event.since, tuple(event.tracks)) for event in over) == sorted(key)
    of_tracks = [event.reason for event in over if event.rule not in {"occupancy", "congestion", "station"}]
    assert set(of_tracks) == {reason}
    assert len(world.rules.alerts()) == (end != "blind")


def test_after_a_gap_everything_begins_anew() -> None:
    world, fresh = World(*RULES, zones=ZONES), World(*RULES, zones=ZONES)
    trouble(world)
    world.blind()
    before, shift = len(world.events), world.time
    trouble(world, first=4)  # ids are never used again
    trouble(fresh)
    again = [(type(e), round(e.time - shift, 3)) for e in world.events[before:]]
    assert again == [(type(e), round(e.time, 3)) for e in fresh.events]


walks = st.lists(
    st.lists(
        st.one_of(st.none(), st.tuples(st.integers(60, 540).map(float), st.integers(60, 340).map(float))), max_size=40
    ),
    min_size=1,
    max_size=4,
)


@given(
    walks,
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.sets(st.integers(0, 39), max_size=2),
    st.integers(0, 30),
)
def test_any_scene_has_alerts_in_turns_and_the_same_events_again(
    walks: list[list[tuple[float, float] | None]], sighted: list[bool], gaps: set[int], pause: int
) -> None:
    worlds = [World(*RULES, zones=ZONES) for _ in range(2)]
    worlds[1].rules._behaviour._rests = lambda seen: False  # type: ignore[method-assign]  # noqa: ARG005  it looks on
    for world in worlds:
        for index in range(max(map(len, walks))):
            there = {k: walk[index] for k, walk in enumerate(walks, 1) if index < len(walk) and walk[index]}
            if index in gaps:
                world.blind()
            world.see(there, classes=[1 + k % 2 for k in there], located=[sighted[index]] * len(there))
            if index == 20:
                world.walk(*[{}] * pause)
        world.blind()
    assert worlds[0].events == worlds[1].events
    told = [event for event in worlds[0].events if isinstance(event, Alert)]
    for _, events in itertools.groupby(sorted(told, key=lambda e: (e.rule, e.tracks)), lambda e: (e.rule, e.tracks)):
        turns = list(events)
        assert [event.alarm for event in turns] == [True, False] * (len(turns) // 2)
        assert all(turns[i].since == turns[i + 1].since for i in range(0, len(turns), 2))
    assert not worlds[0].rules.alerts()
    steps = [event.step for event in worlds[0].events if isinstance(event, ConversionEvent)]
    assert steps.count("entered") == steps.count("reached") + steps.count("missed")


def test_an_alert_names_at_most_so_many() -> None:
    world = World(config.Occupancy(name="o", zone="z", most=5, seconds=0))
    world.see({key: (110.0 + 5 * key, 200.0) for key in range(1, 31)})
    (told,) = [event for event in world.events if isinstance(event, Alert)]
    assert told.tracks == list(range(1, MOST_NAMED + 1))
    assert (told.value, told.limit) == (30, 5)


# Occupancy


def test_too_many_for_long_enough_is_an_alert_and_one_who_comes_and_goes_does_not_flicker() -> None:
    world = World(config.Occupancy(name="o", zone="z", most=2, seconds=0.5, clear_s=0.5))
    two, three = (dict.fromkeys(range(1, n + 1), INSIDE) for n in (2, 3))
    world.rest(1, two)
    world.rest(0.3, three)
    world.rest(1, {**two, 3: OUTSIDE})
    assert not alerts(world.events)
    for _ in range(4):
        world.rest(0.5, three)
        world.rest(0.3, {**two, 3: OUTSIDE})
    assert begins(world.events) == [3.1]
    assert not ends(world.events)
    world.rest(0.4, two)
    assert ends(world.events) == [(5.7, "cleared")]


# Staying


def test_dwell_begins_when_the_time_is_over_and_ends_when_it_leaves() -> None:
    world = World(config.Dwell(name="d", zone="z", seconds=2))
    world.walk(*[{1: place} for place in line((50, 200), (280, 200), 100)])
    world.rest(1, {1: (280, 200)})
    world.walk({1: (350, 200)})
    (entered,) = [0.6]
    assert begins(world.events) == [round(entered + 2, 3)]
    assert ends(world.events) == [(3.4, "cleared")]


def test_dwell_is_decided_on_sightings() -> None:
    world = World(config.Dwell(name="d", zone="z", seconds=1))
    world.see({1: INSIDE})
    for _ in range(30):
        world.see({1: INSIDE}, located=[False])
    assert not world.events
    world.see({1: INSIDE})
    assert begins(world.events) == [3.1]


LOITERING = config.Loitering(name="l", zone="z", seconds=3, radius_px=40)


def pacing(reach: float, times: int) -> list[tuple[float, float]]:
    there = list(line((1000, 1000), (1000 + reach, 1000), 60))
    return [place for _ in range(times) for place in there + there[::-1]]


@pytest.mark.parametrize(("reach", "loiters"), [(0, True), (30, True), (70, True), (95, False), (300, False)])
def test_who_stands_or_walks_up_and_down_loiters_and_who_goes_farther_does_not(reach: float, loiters: bool) -> None:
    world = World(LOITERING, zones=[WIDE])
    world.walk(*[{1: place} for place in pacing(reach, 8 if reach else 60)])
    assert bool(begins(world.events)) == loiters
    assert len(begins(world.events)) <= 1


def test_loitering_needs_the_whole_time_in_the_zone_and_ends_when_it_moves_on() -> None:
    world = World(LOITERING, zones=[WIDE])
    world.walk(*[{1: place} for place in line((100, 1000), (1000, 1000), 150)])
    arrived = world.time
    world.rest(6, {1: (1000, 1000)})
    (begun,) = begins(world.events)
    assert 2.4 <= begun - arrived <= 3.3, "all of the last 3 s within 80 px: the last 80 px at 150 px/s count"
    left = world.time
    world.walk(*[{1: place} for place in line((1000, 1000), (1500, 1000), 150)])
    ((ended, reason),) = ends(world.events)
    assert reason == "cleared"
    assert ended - left == pytest.approx(2 * 40 * SLACK / 150, abs=0.3)


@pytest.mark.parametrize("off", [-200, 200])
def test_one_bad_box_does_not_end_loitering(off: float) -> None:
    world = World(LOITERING, zones=[WIDE])
    world.rest(5, {1: (1000, 1000)})
    world.see({1: (1000 + off, 1000)})
    world.rest(5, {1: (1000, 1000)})
    assert len(begins(world.events)) == 1
    assert not ends(world.events)


def test_what_is_remembered_for_loitering_is_bounded_whatever_the_time() -> None:
    world = World(LOITERING, zones=[WIDE])
    world.index = 10**9
    world.rest(4, {1: (1000, 1000)})
    world.index += 10**7
    world.rest(4, {1: (1000, 1000)})
    assert len(begins(world.events)) == 1


def stays(seconds: list[float], **changes: Any) -> World:
    """Return a station that parts pass one after the other, with so many seconds in it."""
    world = World(config.SlowStation(name="s", zone="z", planned_s=2, newest=5, clear_s=0, **changes))
    for key, inside_s in enumerate(seconds, 1):
        world.walk({key: OUTSIDE})
        world.rest(inside_s, {key: INSIDE})
        world.walk({key: OUTSIDE})
    return world


def test_a_station_is_slow_when_the_median_of_its_newest_times_is() -> None:
    assert not stays([1, 1, 9, 1, 9, 1]).events, "late ones are no median"
    late = stays([1, 1, 3, 3, 3])
    (told,) = [event for event in late.events if isinstance(event, Alert)]
    assert (told.value, told.limit, told.alarm) == (2.1, 2.0, True), "as soon as the last one is late"
    assert [reason for _, reason in ends(stays([3, 3, 3, 1, 1, 1]).events)] == ["cleared"]
    assert not stays([5, 5]).events, "two times are no median"
    assert begins(stays([5], least=1).events)


def test_a_station_that_nothing_leaves_is_slow_too() -> None:
    world = stays([1, 1])
    start = world.time
    world.rest(3, dict.fromkeys((11, 12, 13), INSIDE))
    (begun,) = begins(world.events)
    assert begun - start == pytest.approx(2, abs=0.11)


def test_a_time_that_was_cut_short_counts_only_where_it_is_too_long_already() -> None:
    world = stays([3, 3], least=3)
    world.rest(1, {7: INSIDE})
    world.walk({})
    assert not begins(world.events)
    world.rest(2.5, {8: INSIDE})
    assert begins(world.events)


# Flow


AGAINST = config.AgainstFlow(name="a", zone="z", flow=(2, 0), distance_px=50)


def go(world: World, *xs: float, speed: float = 100) -> None:
    """Let one object go from x to x."""
    for here, there in itertools.pairwise(xs):
        world.walk(*[{1: place} for place in line((here, 1000), (there, 1000), speed)])


def test_going_back_by_more_than_the_distance_is_an_alert_until_it_comes_forward_again() -> None:
    world = World(AGAINST, zones=[WIDE])
    go(world, 100, 800, 760, 900)
    assert not world.events
    go(world, 900, 700)
    (told,) = world.events
    assert isinstance(told, Alert)
    assert 50 < told.value < 75
    assert world.time - told.time == pytest.approx(1.4, abs=0.3)
    go(world, 700, 740)
    assert not ends(world.events)
    go(world, 740, 800)
    world.rest(1, {1: (800, 1000)})
    assert [reason for _, reason in ends(world.events)] == ["cleared"]
    assert len(begins(world.events)) == 1
    go(world, 800, 700)
    assert len(begins(world.events)) == 2


@given(st.lists(st.floats(-24, 24, width=32), min_size=20, max_size=80))
def test_no_jitter_is_against_the_flow_however_long_it_lasts(jitter: list[float]) -> None:
    world = World(AGAINST, zones=[WIDE])
    assert not world.walk(*[{1: (1000 + off, 1000.0)} for off in jitter])


def test_one_bad_box_far_ahead_is_not_the_farthest() -> None:
    world = World(AGAINST, zones=[WIDE])
    go(world, 100, 500)
    world.see({1: (800, 1000)})
    go(world, 500, 700)
    assert not world.events


def test_across_the_flow_is_not_against_it() -> None:
    world = World(AGAINST, zones=[WIDE])
    world.walk(*[{1: place} for place in line((500, 1500), (500, 100), 100)])
    assert not world.events


def test_the_way_outside_the_zone_does_not_count() -> None:
    world = World(AGAINST)
    world.walk(*[{1: place} for place in line((900, 200), (260, 200), 100)])
    assert not world.events
    world.walk(*[{1: place} for place in line((260, 200), (200, 200), 100)])
    assert begins(world.events)


def speeds_of(path: list[tuple[float, float]], step_s: list[float]) -> list[float]:
    speeds, found, time = Speeds(), [], 0.0
    for place, step in zip(path, step_s, strict=True):
        time += step
        boxes = [(place[0] - 5, place[1] - 5, place[0] + 5, place[1] + 5)]
        found.append(float(speeds.update(seen_of(Frame("c", 0, time, PICTURE), tracks_of(boxes)))[0]))
    return found


@given(st.floats(0, 300, width=32), st.lists(st.sampled_from([0.02, 0.1, 0.5, 1.0]), min_size=30, max_size=60))
def test_the_speed_of_steady_motion_is_exact_whatever_the_times_between_sightings(
    speed: float, steps: list[float]
) -> None:
    times = np.cumsum(steps)
    found = speeds_of([(float(speed * t), 0.0) for t in times], steps)
    known = [one for one in found if np.isfinite(one)]
    np.testing.assert_allclose(known, speed, rtol=1e-3, atol=1e-2)
    assert found[0] == np.inf
    assert known or times[-1] < 2


def test_jitter_is_no_speed_and_one_that_stops_is_slow_within_two_seconds() -> None:
    random = np.random.default_rng(4)
    jitter = [(float(x), float(y)) for x, y in random.normal(500, 2, (300, 2))]
    assert max(speeds_of(jitter, [1 / 30] * 300)[60:]) < 8
    stop = list(line((0, 0), (300, 0), 100)) + [(300.0, 0.0)] * 30
    found = speeds_of(stop, [0.1] * len(stop))
    assert found[30] == pytest.approx(100, rel=0.05)
    assert next(i for i, speed in enumerate(found) if i > 30 and speed < 20) <= 30 + 20


def test_a_queue_that_stands_is_congestion_and_one_that_moves_or_is_short_is_not() -> None:
    rule = config.Congestion(name="c", zone="z", least=3, speed_px_s=20, seconds=2)
    queue = {key: (100.0 + 30 * key, 1000.0) for key in range(1, 5)}
    short, still, moving = (World(rule, zones=[WIDE]) for _ in range(3))
    short.rest(6, {key: queue[key] for key in (1, 2)})
    assert not short.events
    still.rest(4, queue)
    (begun,) = begins(still.events)
    assert 2.0 <= begun <= 3.2
    for shift in range(0, 300, 4):
        still.see({key: (x + shift, y) for key, (x, y) in queue.items()})
    assert [reason for _, reason in ends(still.events)] == ["cleared"]
    for shift in range(0, 300, 4):
        moving.see({key: (x + shift, y) for key, (x, y) in queue.items()})
    assert not moving.events


# Together


UNATTENDED = config.Unattended(name="u", zone="z", classes=["bag"], others=["person"], distance_px=50, seconds=3)
BAG, BY, FAR = (1000.0, 1000.0), (1050.0, 1000.0), (1500.0, 1000.0)


def test_a_bag_is_unattended_once_nobody_has_been_near_for_long_enough() -> None:
    world = World(UNATTENDED, zones=[WIDE])
    world.rest(10, {1: BAG, 2: BY}, classes=[2, 1])
    assert not world.events
    left = world.time
    world.rest(4, {1: BAG, 2: FAR}, classes=[2, 1])
    assert begins(world.events) == [round(left + 3, 3)]
    (told,) = world.events
    assert isinstance(told, Alert)
    assert (told.tracks, told.labels) == ([1], ["bag"])
    world.rest(2, {1: BAG, 2: BY}, classes=[2, 1])
    assert ends(world.events) == [(round(left + 5, 3), "cleared")], "after clear_s"


def test_somebody_who_passes_by_quickly_attends_to_nothing_and_one_who_stays_does() -> None:
    for seconds, expected in ((0.8, 1), (1.2, 0)):
        world = World(UNATTENDED, zones=[WIDE])
        world.rest(2, {1: BAG, 2: FAR}, classes=[2, 1])
        world.rest(seconds, {1: BAG, 2: BY}, classes=[2, 1])
        world.rest(2, {1: BAG, 2: FAR}, classes=[2, 1])
        assert len(begins(world.events)) == expected


def test_a_bag_that_is_carried_is_not_left_and_a_person_is_no_bag() -> None:
    world = World(UNATTENDED, zones=[WIDE])
    world.walk(*[{1: place} for place in line((100, 1000), (900, 1000), 50)], classes=[2])
    world.rest(10, {2: (1500, 1500)}, classes=[1])
    assert not world.events


def test_the_distance_is_that_of_the_boxes() -> None:
    for x, expected in ((1069, 0), (1071, 1)):  # both boxes reach 10 pixels from their centres
        world = World(UNATTENDED, zones=[WIDE])
        world.rest(5, {1: BAG, 2: (x, 1000)}, classes=[2, 1])
        assert len(begins(world.events)) == expected


def test_two_bags_do_not_attend_to_each_other_nor_does_one_to_itself() -> None:
    world = World(
        config.Unattended(name="u", zone="z", classes=["bag"], others=["bag"], distance_px=50, seconds=3), zones=[WIDE]
    )
    world.rest(5, {1: BAG}, classes=[2])
    assert len(begins(world.events)) == 1


NEAR = config.Interaction(name="i", zone="z", classes=["person"], others=["bag"], distance_px=30, seconds=1)
PAIR = config.Interaction(name="i", zone="z", classes=["person"], others=["person"], distance_px=30, seconds=1)


def test_two_that_are_near_for_long_enough_interact_until_they_part() -> None:
    world = World(NEAR, zones=[WIDE])
    world.rest(2, {1: BAG, 2: FAR}, classes=[1, 2])
    met = world.time
    world.rest(3, {1: BAG, 2: BY}, classes=[1, 2])
    parted = world.time
    world.rest(3, {1: BAG, 2: FAR}, classes=[1, 2])
    assert alerts(world.events) == [
        (round(met + 1, 3), True, "", [1, 2]),
        (round(parted + 1, 3), False, "cleared", [1, 2]),
    ]


def test_a_pair_is_told_once_whoever_comes_first_in_the_frame() -> None:
    world = World(PAIR, zones=[WIDE])
    for turn in range(40):
        both = {1: BAG, 2: BY} if turn % 2 else {2: BY, 1: BAG}
        world.see(both, classes=[1, 1])
    assert alerts(world.events) == [(1.0, True, "", [1, 2])]


def test_one_of_the_two_must_be_in_the_zone_and_of_its_classes() -> None:
    for place, classes, expected in (
        ((295.0, 200.0), [1, 2], 1),
        ((295.0, 200.0), [2, 1], 0),  # the bag is in the zone
        ((350.0, 200.0), [1, 2], 0),
    ):
        world = World(NEAR)
        world.rest(3, {1: place, 2: (place[0] + 40, place[1])}, classes=classes)
        assert len(begins(world.events)) == expected


def test_an_interaction_whose_one_track_ends_has_ended() -> None:
    world = World(NEAR, zones=[WIDE])
    world.rest(3, {1: BAG, 2: BY}, classes=[1, 2])
    world.see({2: BY}, classes=[2])
    assert ends(world.events) == [(3.0, "ended")]


@given(st.permutations(range(1, 7)), st.sets(st.integers(1, 6), min_size=2))
def test_any_order_of_tracks_is_one(order: list[int], there: set[int]) -> None:
    worlds = [World(PAIR, zones=[WIDE]) for _ in range(2)]
    places = {key: (1000.0 + 40 * key, 1000.0) for key in range(1, 7)}
    for world, keys in zip(worlds, (sorted(there), [key for key in order if key in there]), strict=True):
        world.rest(1.5, {key: places[key] for key in keys})
    found = [sorted(alerts(world.events), key=str) for world in worlds]
    assert found[0] == found[1]
    assert [pair for *_, pair in found[0]] == [[a, a + 1] for a in range(1, 6) if {a, a + 1} <= there]


def masked(one: Any, other: Any, *, gap: float = 0) -> Tracks:
    """Return a person and a bag whose boxes of 20 x 20 overlap by half, or are `gap` apart, with these masks."""
    x = 1010 if not gap else 1020 + gap
    tracks = tracks_of([(1000, 1000, 1020, 1020), (x, 1000, x + 20, 1020)], classes=[1, 2])
    tracks.masks[:] = [np.asarray(one, np.bool_), np.asarray(other, np.bool_)]
    return tracks


LEFT, RIGHT, FULL = [[1, 0, 0, 0]] * 4, [[0, 0, 0, 1]] * 4, [[1] * 4] * 4


@pytest.mark.parametrize(
    ("tracks", "gap"),
    [
        (masked(FULL, FULL), 0),
        (masked(LEFT, RIGHT), 20),
        (masked(RIGHT, LEFT), 0),
        (masked(LEFT, FULL), 5),
        (masked(FULL, FULL, gap=7), 7),
        (masked(np.zeros((4, 4)), FULL), np.inf),
    ],
)
def test_masks_are_as_far_apart_as_what_they_show(tracks: Tracks, gap: float) -> None:
    found = [mask_gap(tracks.boxes[i], tracks.masks[i], tracks.boxes[1 - i], tracks.masks[1 - i]) for i in (0, 1)]
    assert found == pytest.approx([gap, gap], abs=1.0)


def test_masks_touch_where_boxes_only_overlap_or_not() -> None:
    rule = config.Interaction(
        name="i", zone="z", classes=["person"], others=["bag"], distance_px=0, by="masks", seconds=0.2
    )
    for tracks, expected in ((masked(LEFT, RIGHT), 0), (masked(RIGHT, LEFT), 1), (masked(FULL, FULL, gap=7), 0)):
        world = World(rule, zones=[WIDE])
        for _ in range(10):
            world.show(tracks)
        assert len(begins(world.events)) == expected


@pytest.mark.parametrize("by", ["boxes", "masks"])
def test_a_crowd_has_a_bounded_number_of_pairs(by: Any) -> None:
    rule = config.Interaction(
        name="i", zone="z", classes=["person"], others=["person"], distance_px=500, by=by, seconds=0
    )
    world = World(rule, zones=[WIDE])
    crowd = {key: (900.0 + key, 1000.0 + 3 * key) for key in range(1, 61)}
    for _ in range(3):
        world.see(crowd)
    assert len(begins(world.events)) == (MOST_PAIRS if by == "boxes" else MOST_MASKS)
    (rule_now,) = world.rules._behaviour._rules
    assert len(rule_now._holds._rows.at) <= MOST_PAIRS  # type: ignore[attr-defined]


# Conversion


def steps(events: list[Event]) -> list[tuple[str, int, float | None]]:
    return [(e.step, e.track, e.took_s) for e in events if isinstance(e, ConversionEvent)]


SHOP = [zone("z", (100, 100), (300, 300)), zone("y", (400, 100), (500, 300))]
CONVERSION = config.Conversion(name="c", zone="z", to="y", seconds=3)


def test_who_reaches_the_second_zone_in_time_is_told_so_and_who_does_not_is_too() -> None:
    world = World(CONVERSION, zones=SHOP)
    ways = {
        1: list(line((50, 200), (450, 200), 200)),
        2: list(line((50, 200), (450, 200), 80)),
        3: [(150.0, 200.0)] * 20,
    }
    for index in range(60):
        world.see({key: way[min(index, len(way) - 1)] for key, way in ways.items() if key < 3 or index < 20})
    told = steps(world.events)
    assert sorted(told[:3], key=lambda one: one[1]) == [("entered", key, None) for key in (1, 2, 3)]
    assert [(step, track) for step, track, _ in told[3:]] == [("reached", 1), ("missed", 3), ("missed", 2)]
    assert told[3][2] == pytest.approx(1.5, abs=0.11)
    late = [event.time for event in world.events if isinstance(event, ConversionEvent) and event.track == 2]
    assert late[1] - late[0] == pytest.approx(3.1, abs=0.01)


def test_each_counts_once_and_the_order_of_the_zones_matters() -> None:
    world = World(CONVERSION, zones=SHOP)
    there, back = list(line((50, 200), (450, 200), 200)), list(line((450, 200), (50, 200), 200))
    world.walk(*[{1: place} for place in there + back + there])
    assert steps(world.events) == [("entered", 1, None), ("reached", 1, pytest.approx(1.5, abs=0.11))]
    other = World(CONVERSION, zones=SHOP)
    other.walk(*[{1: place} for place in back])
    other.rest(4, {1: (50, 200)})
    assert [step for step, _, _ in steps(other.events)] == ["entered", "missed"]


def test_one_who_settles_in_the_second_zone_after_the_time_but_came_in_it_is_in_time() -> None:
    slow = [zone("z", (100, 100), (300, 300)), zone("y", (400, 100), (500, 300), settle_looks=5)]
    world = World(CONVERSION, zones=slow)
    world.rest(2.8, {1: (200, 200)})
    world.rest(1, {1: (450, 200)})
    assert steps(world.events) == [("entered", 1, None), ("reached", 1, 2.8)]


def test_a_gap_leaves_nobody_under_way() -> None:
    world = World(CONVERSION, zones=SHOP)
    world.rest(1, {1: (200, 200), 2: (200, 250)})
    assert steps(world.blind()) == [("missed", 1, None), ("missed", 2, None)]


def test_the_names_of_the_classes_are_those_of_the_models() -> None:
    world = World(CONVERSION, zones=SHOP)
    (told,) = world.see({1: (200, 200)}, classes=[2])
    assert isinstance(told, ConversionEvent)
    assert told.label == CLASSES[2]
