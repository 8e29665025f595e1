"""The governor against a simulated machine: in order, bounded, never flapping, and back when the load is gone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.config import Config
from edge.events import GovernorEvent
from edge.governor import HEAT_S, MOST_HOLD_S, RELAPSE_S, STEPS, WARM_UP, Governor, open_governor, possible_steps
from edge.heat import READ_S, hottest
from edge.rounds import ENOUGH, SURE_STILL, WINDOW, Costs, Rounds, p99
from edge.types import Frame

LIMIT_MS = 60.0
PERIOD_S, SLOW_S = 1 / 30, 1 / 8  # of a camera, and of one for long tests
ALL = list(range(len(STEPS)))
COSTS_MS = [40.0, 30.0, 25.0, 22.0, 19.0, 16.0, 16.0]  # of a round at each step, without load
LAST = len(STEPS) - 1

Load = Callable[[float], float]  # by which factor everything is slower at a time in s


def frame(index: int) -> Frame:
    return Frame("c", index, index * PERIOD_S, np.zeros((1, 1, 3), np.uint8))


class Plant:
    """A machine whose rounds take what the step and the load make of them, and a governor."""

    def __init__(
        self,
        load: Load = lambda _: 1.0,
        *,
        costs_ms: list[float] = COSTS_MS,
        noise: float = 0.05,
        limit_ms: float | None = LIMIT_MS,
        celsius: float | None = None,
        heat: Callable[[float, int], float | None] = lambda *_: None,
        period_s: float = PERIOD_S,
        seed: int = 0,
    ) -> None:
        self.now_s, self.step = 0.0, 0
        self.events: list[tuple[float, GovernorEvent]] = []
        self.rounds: list[tuple[float, float]] = []  # when it ended, ms
        self.read_s: list[float] = []
        self._load, self._costs_ms, self._noise, self._heat = load, costs_ms, noise, heat
        self._period_s = period_s
        self._rng = np.random.default_rng(seed)
        rules = config.Governor(limit_ms=limit_ms, celsius=celsius)
        self.governor = Governor(rules, ALL, self._read)

    def _read(self) -> float | None:
        self.read_s.append(self.now_s)
        return self._heat(self.now_s, self.step)

    def run(self, seconds: float) -> Plant:
        until = self.now_s + seconds
        while self.now_s < until:
            skips = STEPS[list(STEPS)[self.step]].every
            factor = self._load(self.now_s) * math.exp(self._rng.normal(0, self._noise))
            ms = self._costs_ms[self.step] * factor
            self.now_s += max(ms / 1000, self._period_s * skips)
            self.rounds.append((self.now_s, ms))
            for event in self.governor.govern(frame(len(self.rounds)), self.now_s, ms):
                self.events.append((self.now_s, event))
                self.step = event.step
        return self

    def p99_from(self, since_s: float) -> float:
        return p99(ms for at_s, ms in self.rounds if at_s >= since_s)


def test_a_machine_that_keeps_the_limit_is_left_alone() -> None:
    plant = Plant().run(600)
    assert plant.events == []
    assert plant.governor.effort.full
    assert plant.governor.report()["costs"] == {}


@pytest.mark.parametrize("factor", [2.0, 3.0, 3.2])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_load_is_answered_within_five_seconds(factor: float, seed: int) -> None:
    plant = Plant(lambda s: factor if s >= 20 else 1.0, seed=seed).run(60)
    assert plant.events[0][0] > 20
    assert plant.p99_from(25) <= LIMIT_MS


def test_what_no_step_can_help_is_said() -> None:
    plant = Plant(lambda s: 6.0 if s >= 20 else 1.0).run(30)
    assert plant.step == LAST
    assert plant.events[-1][0] < 25
    assert plant.governor.report()["overloaded"]
    assert not Plant(lambda s: 2.0 if s >= 20 else 1.0).run(30).governor.report()["overloaded"]


def test_far_beyond_the_limit_two_steps_are_taken_at_once() -> None:
    plant = Plant(lambda s: 4.0 if s >= 20 else 1.0).run(22)
    assert plant.events[0][1].step == 2
    assert Plant(lambda s: 1.7 if s >= 20 else 1.0).run(22).events[0][1].step == 1


def test_rounds_just_below_the_limit_are_not_left_there() -> None:
    """Half the looks take 57 ms at this load, of 60: the next disturbance would be beyond."""
    assert Plant(lambda s: 1.9 if s >= 20 else 1.0, noise=0.0).run(40).step == 2


def test_a_load_that_comes_again_is_answered_at_once_by_what_the_steps_were_measured_to_give() -> None:
    plant = Plant(lambda s: 2.65 if 20 <= s < 40 or s >= 120 else 1.0, noise=0.02).run(40)
    needed = plant.step
    assert needed == 4
    plant.run(80)
    assert plant.step == 0
    known = len(plant.events)
    plant.run(20)
    assert plant.events[known][1].step == needed
    assert plant.p99_from(plant.events[known][0] + 0.1) <= LIMIT_MS


def test_soon_after_a_step_down_two_late_rounds_are_enough_for_another_one_and_later_they_are_not() -> None:
    """A round in 13 is late: four of them in 5 s tell it surely, two only where a load is known to be there."""
    costs_ms = [40.0, 25.0, 22.0, 22.0, 22.0, 22.0, 22.0]

    def load(s: float) -> float:
        return 1.0 if s < 20 else 2.6 if int(s * 30) % 26 == 0 else 2.0

    plant = Plant(load, costs_ms=costs_ms, noise=0.0).run(40)
    times = [at_s for at_s, _ in plant.events]
    assert [event.step for _, event in plant.events[:2]] == [1, 2]
    assert times[1] - times[0] < 2.5


def test_one_slow_round_is_no_evidence_and_neither_are_two() -> None:
    plant = Plant(lambda s: 9.0 if 20 <= s < 20.1 or 22 <= s < 22.1 else 1.0).run(60)
    assert max(ms for _, ms in plant.rounds) > LIMIT_MS
    assert plant.events == []


def test_the_first_rounds_of_a_process_do_not_count() -> None:
    plant = Plant(costs_ms=[1000.0] * 7)
    while len(plant.rounds) < WARM_UP:
        plant.run(0.01)
    assert plant.events == []
    assert plant.governor.report()["p99_ms"] == 0


def test_it_recovers_when_the_load_is_gone() -> None:
    plant = Plant(lambda s: 3.0 if 20 <= s < 60 else 1.0).run(60)
    assert plant.step >= 3
    plant.run(60)
    assert plant.step == 0
    ups = [event for _, event in plant.events if event.direction == "up"]
    assert [event.step for event in ups] == list(range(len(ups) - 1, -1, -1))
    assert [event.degraded for event in ups] == [True] * (len(ups) - 1) + [False]


def test_events_say_what_was_measured() -> None:
    plant = Plant(lambda s: 1.7 if s >= 20 else 1.0, noise=0.0).run(40)
    (first,) = [event for _, event in plant.events]
    assert (first.step, first.name, first.direction, first.camera) == (1, "half", "down", "")
    assert (first.limit_ms, first.celsius, first.gave_ms) == (LIMIT_MS, None, None)
    assert first.degraded
    assert first.p99_ms == pytest.approx(1.7 * COSTS_MS[0])
    assert plant.governor.report()["costs"] == {"half": pytest.approx(17.0)}


def test_the_next_event_says_what_the_one_before_gave() -> None:
    plant = Plant(lambda s: 1.0 if s < 20 else 1.7 if s < 30 else 2.1, noise=0.0).run(40)
    assert [event.gave_ms for _, event in plant.events] == [None, pytest.approx(17.0)]


def test_a_step_that_would_not_fit_is_not_given_back() -> None:
    """At 1.6 times the time, 26 ms fit well below the limit and 64 ms do not fit at all: the measured cost says so."""
    costs_ms = [40.0, 16.0, 16.0, 16.0, 16.0, 16.0, 16.0]
    plant = Plant(lambda s: 1.6 if s >= 20 else 1.0, costs_ms=costs_ms).run(29)
    assert [event.step for _, event in plant.events] == [1]
    assert plant.p99_from(25) < 0.7 * LIMIT_MS


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 6.0), st.lists(st.floats(5.0, 60.0), min_size=7, max_size=7), st.integers(0, 99))
def test_under_a_constant_load_the_changes_are_few(factor: float, costs_ms: list[float], seed: int) -> None:
    """Each step is tried again after ever longer times: often at first, then twice in `MOST_HOLD_S` at the most."""
    half_s = 1500.0
    costs_ms = sorted(costs_ms, reverse=True)
    plant = Plant(lambda _: factor, costs_ms=costs_ms, period_s=SLOW_S, seed=seed).run(half_s)
    early = len(plant.events)
    plant.run(half_s)
    assert early <= 30
    assert len(plant.events) - early <= 2 * half_s / MOST_HOLD_S + 4


def test_rare_slow_rounds_do_not_make_it_flap() -> None:
    rng = np.random.default_rng(1)
    plant = Plant(lambda _: 2.0 if rng.random() < 0.015 else 1.0).run(3600)
    assert len(plant.events) <= 2 * 6 + 2 * 3600 / MOST_HOLD_S


PROFILES = st.lists(st.tuples(st.floats(1.0, 20.0), st.floats(0.3, 8.0)), min_size=1, max_size=8)  # seconds, factor


@settings(max_examples=40, deadline=None)
@given(PROFILES, st.floats(0.0, 0.3), st.integers(0, 99))
def test_steps_come_in_the_declared_order_whatever_the_load(
    profile: list[tuple[float, float]], noise: float, seed: int
) -> None:
    ends = np.cumsum([seconds for seconds, _ in profile])

    def load(s: float) -> float:
        return profile[min(int(np.searchsorted(ends, s)), len(profile) - 1)][1]

    plant, at = Plant(load, noise=noise, seed=seed).run(float(ends[-1])), 0
    for _, event in plant.events:
        moved = event.step - at
        assert 0 <= event.step <= LAST
        assert moved == -1 or moved > 0
        assert event.direction == ("up" if moved < 0 else "down")
        assert event.name == list(STEPS)[event.step]
        assert event.degraded == (event.step > 0)
        at = event.step
    assert plant.governor.effort == list(STEPS.values())[at]


@settings(max_examples=25, deadline=None)
@given(PROFILES, st.integers(0, 99))
def test_whatever_the_load_was_it_is_forgotten_in_the_end(profile: list[tuple[float, float]], seed: int) -> None:
    ends = np.cumsum([seconds for seconds, _ in profile])
    plant = Plant(
        lambda s: profile[int(np.searchsorted(ends, s))][1] if s < ends[-1] else 1.0, period_s=SLOW_S, seed=seed
    )
    plant.run(float(ends[-1]))
    plant.run(1200)
    assert plant.step == 0


def warming(s: float, step: int) -> float:
    """Return degrees of a machine that only step 3 cools enough."""
    return 85.0 if step < 3 else 70.0 if s > 0 else 0.0


def test_heat_takes_one_step_every_ten_seconds() -> None:
    plant = Plant(limit_ms=None, celsius=80.0, heat=warming).run(60)
    assert [event.step for _, event in plant.events[:3]] == [1, 2, 3]
    times = [at_s for at_s, _ in plant.events[:3]]
    assert all(HEAT_S <= gap <= HEAT_S + READ_S + 1 for gap in np.diff(times))
    assert plant.events[0][1].celsius == 85.0


def test_between_the_limit_and_five_degrees_below_nothing_changes() -> None:
    plant = Plant(limit_ms=None, celsius=80.0, heat=lambda s, _: 85.0 if s < 15 else 77.0).run(300)
    assert [event.direction for _, event in plant.events] == ["down"]


def test_it_recovers_when_it_is_cool_again() -> None:
    plant = Plant(limit_ms=None, celsius=80.0, heat=lambda s, _: 85.0 if s < 30 else 74.0).run(120)
    assert plant.events[1][1].step == 2
    assert plant.step == 0


def test_heat_that_comes_back_is_given_longer_times() -> None:
    plant = Plant(limit_ms=None, celsius=80.0, heat=warming).run(3600)
    ups = [at_s for at_s, event in plant.events if event.direction == "up"]
    assert len(ups) <= 6 + 3600 / MOST_HOLD_S
    assert max(np.diff(ups)) > MOST_HOLD_S / 2


def test_the_temperature_is_read_every_few_seconds_only() -> None:
    plant = Plant().run(60)
    assert min(np.diff(plant.read_s)) >= READ_S
    assert len(plant.read_s) == pytest.approx(60 / READ_S, abs=2)


def test_the_hottest_zone_counts_and_broken_ones_do_not(tmp_path: Path) -> None:
    assert hottest(tmp_path) is None
    for i, text in enumerate(["47000\n", "61500\n", "", "-274000\n", "255000\n"]):
        (tmp_path / f"thermal_zone{i}").mkdir()
        (tmp_path / f"thermal_zone{i}" / "temp").write_text(text)
    (tmp_path / "thermal_zone9" / "temp").mkdir(parents=True)
    assert hottest(tmp_path) == 61.5


def test_steps_that_change_nothing_are_left_out() -> None:
    assert possible_steps(8, audited=True, coarse=True) == [0, 1, 2, 3, 4, 5, 6]
    assert possible_steps(8, audited=True, coarse=False) == [0, 1, 2, 3, 5, 6]
    assert possible_steps(2, audited=True, coarse=True) == [0, 1, 3, 4, 5, 6]
    assert possible_steps(1, audited=True, coarse=True) == [0, 3, 4, 5, 6]
    assert possible_steps(1, audited=False, coarse=True) == [0, 4, 5, 6]
    assert possible_steps(1, audited=False, coarse=False) == [0, 5, 6]


@pytest.mark.parametrize(("rules", "there"), [({}, False), ({"limit_ms": 50.0}, True), ({"celsius": 80.0}, True)])
def test_without_a_limit_there_is_no_governor(rules: dict[str, float], there: bool) -> None:
    given_ = Config(
        bundle=Path("b"), state=Path("s"), cameras={"c": config.Camera(source="x")}, governor=config.Governor(**rules)
    )
    assert (open_governor(given_, coarse=True) is not None) == there


def test_the_99th_percentile_of_few_rounds_is_the_largest_but_one() -> None:
    assert p99([]) == 0
    assert p99([3.0]) == 3
    assert p99([1.0, 9.0, 5.0]) == 5
    assert p99(range(199)) == 197
    assert p99(range(500)) == 494


@settings(max_examples=60, deadline=None)
@given(st.integers(1, WINDOW), st.integers(0, 40))
def test_rounds_are_late_only_where_more_than_one_in_a_hundred_is(count: int, late: int) -> None:
    rounds = Rounds()
    for i in range(count):
        rounds.add(2.0 if i % max(1, count // max(1, late)) == 0 and late else 0.5)
    if rounds.late(0.0, 1.0):
        assert sum(ms > 1 for ms in rounds.ms) > 0.01 * count or sum(ms > 1 for ms in rounds.newest(8)) > 2


def test_one_late_round_alone_never_counts_however_little_is_asked_for() -> None:
    rounds = Rounds()
    for ms in (0.5,) * (ENOUGH - 1):
        rounds.add(ms)
    rounds.add(2.0)
    assert not rounds.late(0.0, 1.0, SURE_STILL)
    rounds.add(2.0)
    assert rounds.late(0.0, 1.0, SURE_STILL) == 2.0


def test_a_relapse_doubles_the_time_and_a_lasting_return_halves_it() -> None:
    plant = Plant(limit_ms=LIMIT_MS)
    governor = plant.governor
    for when_s, expected in ((10.0, 10.0), (10.0, 20.0), (RELAPSE_S + 1, 10.0), (RELAPSE_S + 1, 5.0)):
        governor._returned = 1, 0.0
        governor._note_relapse(when_s)
        assert governor._hold_s(1) == expected
    for _ in range(12):
        governor._returned = 1, 0.0
        governor._note_relapse(1.0)
    assert governor._hold_s(1) == MOST_HOLD_S
    governor._note_relapse(2.0)
    assert governor._hold_s(1) == MOST_HOLD_S, "a second step down after one return is no second relapse"


def test_several_steps_at_once_share_what_they_gave_until_each_is_measured_alone() -> None:
    costs = Costs()
    costs.open(["half", "quarter"], [90.0] * 5, down=True)
    costs.close([40.0] * 16)
    assert costs.given_ms == {"half": 25.0, "quarter": 25.0}
    assert costs.factors == {"half": pytest.approx(1.5), "quarter": pytest.approx(1.5)}
    costs.open(["quarter"], [40.0] * 5, down=False)
    costs.close([44.0] * 16)
    assert costs.given_ms == {"half": 25.0, "quarter": 4.0}
    costs.open(["half", "quarter"], [90.0] * 5, down=True)
    costs.close([30.0] * 16)
    assert costs.given_ms == {"half": 25.0, "quarter": 4.0}
    assert costs.last_ms == 60.0
