"""Where objects went: few points, at the right times, and a bound for what is left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.decide.behaviour.simplify import kept
from edge.decide.behaviour.trajectory import MOST_POINTS, RAW
from edge.events import TrajectoryEvent
from tests.decide.scenes import World, line, zone

RULE = config.Trajectory(name="t", zone="z", tolerance_px=4)
INSIDE = (200.0, 200.0)


def told(world: World) -> list[TrajectoryEvent]:
    return [event for event in world.events if isinstance(event, TrajectoryEvent)]


def off(path: list[tuple[float, float, float]], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (n,) how far `places` (n, 3), x, y and time, are from a path at their times."""
    x, y, times = np.asarray(path).T
    expected = [np.interp(places[:, 2], times, values) for values in (x, y)]
    return np.asarray(np.hypot(places[:, 0] - expected[0], places[:, 1] - expected[1]))


def test_a_straight_walk_has_two_points_and_one_that_stops_has_four() -> None:
    for way, points in (
        (list(line((50, 200), (350, 200), 100)), 2),
        (list(line((50, 200), (200, 200), 100)) + [INSIDE] * 20 + list(line((200, 200), (350, 200), 100)), 4),
    ):
        world = World(RULE)
        world.walk(*[{1: place} for place in way], {})
        (event,) = told(world)
        assert (event.rule, event.zone, event.track, event.label, event.reason) == ("t", "z", 1, "person", "ended")
        assert len(event.points) == points
        assert event.points[0] == (50, 200, 0)
        assert event.points[-1] == (350, 200, (len(way) - 1) / 10)
        assert event.within_px == 4


def test_only_what_was_in_the_zone_is_told_with_all_of_its_way() -> None:
    world = World(RULE)
    world.walk(*[{1: (50.0, y), 2: (x, 200.0)} for x, y in zip(range(50, 350, 5), range(0, 600, 10), strict=True)], {})
    (event,) = told(world)
    assert event.track == 2
    assert event.points[0][:2] == (50, 200)


def test_a_gap_tells_the_paths_up_to_it() -> None:
    world = World(RULE)
    world.rest(2, {1: INSIDE})
    world.blind()
    (event,) = told(world)
    assert (event.reason, event.points[-1][2]) == ("blind", 1.9)


def test_guesses_are_no_part_of_a_path() -> None:
    world = World(RULE)
    world.rest(1, {1: INSIDE})
    world.rest(1, {1: (900, 900)}, located=[False])
    world.walk({})
    (event,) = told(world)
    assert max(x for x, _, _ in event.points) == 200


@given(
    st.lists(st.tuples(st.floats(-30, 30, width=32), st.floats(-30, 30, width=32)), min_size=1, max_size=400),
    st.sampled_from([0.5, 4.0, 20.0]),
)
def test_any_path_is_within_its_bound_at_every_sighting_and_has_few_points(
    moves: list[tuple[float, float]], tolerance: float
) -> None:
    world = World(
        config.Trajectory(name="t", zone="z", tolerance_px=tolerance), zones=[zone(low=(-1e5, -1e5), high=(1e5, 1e5))]
    )
    places = np.cumsum(np.asarray(moves, np.float64), axis=0)
    world.walk(*[{1: (float(x), float(y))} for x, y in places], {})
    (event,) = told(world)
    assert len(event.points) <= MOST_POINTS
    seen = np.column_stack([places, np.arange(len(places)) / 10])
    assert off(event.points, seen).max() <= event.within_px + 0.15  # coordinates are rounded to 0.1
    assert event.within_px >= tolerance


def test_a_path_as_long_as_a_day_stays_bounded() -> None:
    world = World(RULE, zones=[zone(low=(-1e5, -1e5), high=(1e5, 1e5))])
    random = np.random.default_rng(3)
    places = np.cumsum(random.normal(0, 3, (3000, 2)), axis=0)
    for x, y in places.tolist():
        world.see({1: (x, y)})
    (rule,) = world.rules._behaviour._rules
    assert rule._rows.at["count"].max() < MOST_POINTS + RAW  # type: ignore[attr-defined]
    coarser = int(rule._rows.at["coarser"][0])  # type: ignore[attr-defined]
    world.walk({})
    (event,) = told(world)
    assert event.within_px in {2 * 4 * 2**coarser, 2 * 4 * 2 ** (coarser + 1)}, "the last time may be at the end"
    assert off(event.points, np.column_stack([places, np.arange(3000) / 10])).max() <= event.within_px + 0.15


@given(
    st.lists(
        st.tuples(st.floats(0, 100, width=32), st.floats(0, 100, width=32), st.sampled_from([0.1, 1.0, 7.0])),
        min_size=1,
        max_size=60,
    ),
    st.floats(0, 40, width=32),
)
def test_any_simplified_path_is_within_the_tolerance(
    places: list[tuple[float, float, float]], tolerance: float
) -> None:
    """Whatever the times between the places are: the third of each."""
    points = np.asarray(places, np.float64)
    points[:, 2] = np.cumsum(points[:, 2])
    rows = kept(points, tolerance)
    assert rows[0] == 0
    assert rows[-1] == len(points) - 1
    assert off([tuple(point) for point in points[rows].tolist()], points).max() <= tolerance + 1e-6
