"""Defects at fixed places: which stay, which grow, which are noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Growth
from edge.decide.growth import FEWEST, MOST_DEFECTS, SURE, GrowthWatch, mann_kendall
from edge.events import GrowthEvent
from edge.types import Frame, Gap, Image
from tests.see.made import seen_of, tracks_of

PICTURE = np.zeros((8, 8, 3), np.uint8)
SIZE = (400, 200)  # label cells
WINDOW = 12


def rule(**changes: object) -> Growth:
    return Growth(**{"name": "pits", "camera": "c", "window": WINDOW, **changes})  # type: ignore[arg-type]


def labels(*spots: tuple[float, float, float], size: tuple[int, int] = SIZE) -> Image:
    """Return a label map with squares: x and y of the middle as shares of the frame, area in cells of the usual map."""
    found = np.zeros((size[1], size[0]), np.uint8)
    for x, y, area in spots:
        side = np.sqrt(area) * size[0] / SIZE[0] / 2
        rows, columns = np.indices(found.shape) + 0.5
        found |= ((np.abs(columns - x * size[0]) < side) & (np.abs(rows - y * size[1]) < side)).view(np.uint8)
    return found


def told(watch: GrowthWatch, maps: Iterable[Image], start: int = 0, step_s: float = 1.0) -> list[GrowthEvent]:
    """Return what is told of maps that come `step_s` after one another."""
    none = tracks_of([])
    frames = ((Frame("c", i, i * step_s, PICTURE), found) for i, found in enumerate(maps, start))
    return [event for frame, found in frames for event in watch.decide(seen_of(frame, none, found=found))]


def stages(events: Sequence[GrowthEvent]) -> list[tuple[int, str]]:
    return [(event.frame, event.stage) for event in events]


def test_nothing_is_told_of_nothing() -> None:
    assert told(GrowthWatch(rule()), [labels()] * 40) == []


def test_a_defect_persists_when_enough_pictures_show_it_and_that_is_told_once() -> None:
    events = told(GrowthWatch(rule()), [labels((0.5, 0.5, 100))] * 60)
    assert stages(events) == [(WINDOW // 2 - 1, "persists")]
    assert events[0].defect == 1
    assert events[0].share == pytest.approx(100 / (SIZE[0] * SIZE[1]), rel=0.2)
    assert events[0].place == pytest.approx((0.4875, 0.475, 0.5125, 0.525), abs=0.003)


def test_what_shows_now_and_then_is_noise() -> None:
    maps = [labels((0.5, 0.5, 100)) if i % 4 == 0 else labels() for i in range(60)]
    assert told(GrowthWatch(rule()), maps) == []


def test_one_that_grows_is_told_after_it_persists_and_only_once() -> None:
    events = told(GrowthWatch(rule()), [labels((0.5, 0.5, 40 * 1.15**i)) for i in range(30)])
    assert [stage for _, stage in stages(events)] == ["persists", "grows"]
    assert FEWEST - 1 <= events[1].frame <= WINDOW
    assert events[1].trend > SURE
    assert events[1].seen == events[1].of


def test_one_that_jumps_about_grows_only_where_it_does() -> None:
    areas = [110, 40, 40, 140, 30, 270, 110, 490, 770, 1300, 2200]
    events = told(GrowthWatch(rule()), [labels((0.5, 0.5, area)) for area in areas])
    assert [stage for _, stage in stages(events)] == ["persists"]  # it has grown, but not yet surely
    events = told(GrowthWatch(rule()), [labels((0.5, 0.5, area)) for area in [*areas, 2300, 2400]])
    assert [stage for _, stage in stages(events)] == ["persists", "grows"]
    random = np.random.default_rng(1)
    steady = told(GrowthWatch(rule()), [labels((0.5, 0.5, area)) for area in random.uniform(60, 180, 200)])
    assert [stage for _, stage in stages(steady)] == ["persists"]


def test_a_slow_trend_without_a_size_is_no_growth() -> None:
    maps = [labels((0.5, 0.5, (40 + 2 * i) ** 2)) for i in range(20)]
    assert [event.stage for event in told(GrowthWatch(rule(factor=4)), maps)] == ["persists"]
    assert [event.stage for event in told(GrowthWatch(rule(factor=1.2)), maps)] == ["persists", "grows"]


def test_one_that_no_picture_shows_any_more_is_gone_and_may_come_again_as_another() -> None:
    watch = GrowthWatch(rule())
    spot = [labels((0.5, 0.5, 100))]
    events = told(watch, [*spot * 10, *[labels()] * 20, *spot * 10])
    assert [(event.defect, event.stage) for event in events] == [(1, "persists"), (1, "gone"), (2, "persists")]
    assert events[1].frame == 10 + WINDOW - 1
    assert events[1].share == 0


def test_places_and_areas_are_shares_so_that_another_resolution_changes_nothing() -> None:
    sizes = [SIZE] * 10 + [(560, 280)] * 20
    events = told(GrowthWatch(rule()), [labels((0.45, 0.55, 100), size=size) for size in sizes])
    assert [stage for _, stage in stages(events)] == ["persists"]
    growing = [labels((0.45, 0.55, 40 * 1.15**i), size=size) for i, size in enumerate(sizes)]
    assert [stage for _, stage in stages(told(GrowthWatch(rule()), growing))] == ["persists", "grows"]


def test_two_places_are_two_defects() -> None:
    maps = [labels((0.2, 0.5, 60 * 1.15**i), (0.8, 0.5, 300)) for i in range(20)]
    events = told(GrowthWatch(rule()), maps)
    assert sorted((event.place[0] < 0.5, event.stage) for event in events) == [
        (False, "persists"), (True, "grows"), (True, "persists"),
    ]  # fmt: skip


def test_one_that_breaks_into_two_spots_has_the_area_of_both() -> None:
    watch = GrowthWatch(rule())
    told(watch, [labels((0.5, 0.5, 400))] * 4)
    broken = labels((0.5, 0.5, 400))
    broken[:, SIZE[0] // 2 - 1 : SIZE[0] // 2 + 1] = 0
    events = told(watch, [broken] * 4, start=4)
    assert [(event.defect, event.stage) for event in events] == [(1, "persists")]
    assert events[0].share == pytest.approx(360 / (SIZE[0] * SIZE[1]), rel=0.01)


def test_only_one_picture_in_every_so_many_seconds_counts() -> None:
    events = told(GrowthWatch(rule(every_s=10.0)), [labels((0.5, 0.5, 100))] * 60)
    assert stages(events) == [(10 * (WINDOW // 2 - 1), "persists")]


def test_a_time_without_sight_changes_nothing() -> None:
    watch = GrowthWatch(rule())
    told(watch, [labels((0.5, 0.5, 100))] * 3)
    assert watch.blind(Gap("c", 3, 0.3, 0.9, "stall"), tracks_of([])) == []
    assert stages(told(watch, [labels((0.5, 0.5, 100))] * 3, start=3)) == [(WINDOW // 2 - 1, "persists")]


def test_noise_everywhere_is_bounded() -> None:
    random = np.random.default_rng(2)
    watch = GrowthWatch(rule(least_share=0.0))
    told(watch, [(random.random((200, 400)) < 0.02).astype(np.uint8) for _ in range(30)])
    assert len(watch._numbers) <= MOST_DEFECTS


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30))
def test_the_trend_is_that_of_all_pairs(values: list[int]) -> None:
    z = mann_kendall(np.asarray(values, np.float32))
    rises = sum(int(np.sign(b - a)) for i, a in enumerate(values) for b in values[i + 1 :])
    assert np.sign(z) == np.sign(rises) or abs(rises) == 1
    assert mann_kendall(np.asarray(values[::-1], np.float32)) == pytest.approx(-z)


def test_the_trend_of_what_only_rises_is_that_of_the_textbook() -> None:
    assert mann_kendall(np.arange(10, dtype=np.float32)) == pytest.approx(44 / np.sqrt(10 * 9 * 25 / 18))
    assert mann_kendall(np.ones(10, np.float32)) == 0


def test_chance_seldom_looks_like_a_trend() -> None:
    random = np.random.default_rng(3)
    found = [mann_kendall(random.random(12).astype(np.float32)) >= SURE for _ in range(4000)]
    assert np.mean(found) < 0.015
