"""What shifts have come to: every event in one of them, whatever the clock does and whenever the daemon is killed."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.config import Config, Shift
from edge.events import Contested, Event, GapEvent, GovernorEvent, SummaryEvent
from edge.tell.ledger import Ledger
from edge.tell.speaker import Speaker
from edge.tell.status import Alarms
from edge.tell.topics import Topics
from tests.faults.line import count, verdict, wrong

DAY = [Shift(name="early", start="06:00", end="14:00"), Shift(name="late", start="14:00", end="22:00")]
MORNING = datetime(2026, 11, 23, 6, tzinfo=timezone.utc)


class Plant:
    """A ledger with shifts, and both its clocks in the hands of a test."""

    def __init__(self, state: Path, start: datetime = MORNING) -> None:
        self.state, self.wall, self.time = state, start, 1000.0
        self.rules: dict[str, Any] = {"shifts": DAY}
        self.told: list[SummaryEvent] = []
        self.dark: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        line = config.Line(name="door", camera="c", start=(0, 0), end=(0, 9))
        site = Config(bundle=self.state, state=self.state, cameras={}, lines=[line], **self.rules)
        self.ledger = Ledger(self.state, config.Ledger(max_mib=8), [], clock=lambda _: self.wall)
        self.ledger.accounts.follow(site, lambda _: self.wall)

    def run(self, seconds: float = 0.0, *events: Event) -> list[SummaryEvent]:
        """Let time go by, then look at one frame in which `events` are decided; return the summaries."""
        self.wall += timedelta(seconds=seconds)
        self.time += seconds
        summaries = self.ledger.accounts.due(self.time, lambda: self.dark)
        told = [event for event in self.ledger.commit(summaries) if isinstance(event, SummaryEvent)]
        self.told += told
        self.ledger.commit([msgspec.structs.replace(event, time=self.time) for event in events])
        return told

    def restart(self, seconds: float = 0.0, *, kill: bool = True) -> None:
        """End the daemon, and begin again after so many seconds; a kill leaves the log as it is."""
        if kill:
            copy = self.state.with_name(f"{self.state.name}.")
            shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns("*-shm"))
            self.ledger.close()
            self.state = copy
        else:
            self.ledger.close()
        self.wall += timedelta(seconds=seconds)
        self.time += seconds
        self.open()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path / "state")
    yield made
    made.ledger.close()
    assert wrong(made.state) == []


def spans(told: Sequence[SummaryEvent]) -> list[tuple[str, str, str, str]]:
    return [(one.shift, one.since[8:16], one.until[8:16], one.reason) for one in told]


HOUR = 3600.0


def test_a_shift_is_summed_up_once_when_it_is_over(plant: Plant) -> None:
    plant.run(0, count(1))
    plant.run(HOUR, count(2), verdict("REJECT"))
    assert plant.run(6.99 * HOUR) == []
    (summary,) = plant.run(0.02 * HOUR, count(3))
    assert (summary.shift, summary.reason, summary.camera) == ("early", "ended", "")
    assert (summary.since, summary.until) == ("2026-11-23T06:00:00.000Z", "2026-11-23T14:00:36.000Z")
    assert summary.counted == {"door/part": 2, "exit/REJECT": 1}
    assert summary.bars == {"door/part": (2, 2)}
    assert (summary.first_seq, summary.seq) == (1, 4)
    (summary,) = plant.run(8 * HOUR)
    assert (summary.shift, summary.counted, summary.first_seq) == ("late", {"door/part": 1}, 4)


def test_time_off_is_told_where_there_is_something_to_tell(plant: Plant) -> None:
    plant.run(16.5 * HOUR)
    assert plant.run(8 * HOUR, count(1)) == []
    assert [one.shift for one in plant.run(16 * HOUR, count(2))] == ["early"]
    assert [(one.shift, one.counted) for one in plant.run(8 * HOUR)] == [("off", {"door/part": 1})]


def test_a_shift_that_ends_while_nothing_runs_is_told_by_the_next_start(plant: Plant) -> None:
    plant.run(0, count(1))
    plant.restart(12 * HOUR)
    gap = GapEvent(time=0, camera="c", frame=0, since=plant.time - 12 * HOUR, until=plant.time, reason="start")
    plant.ledger.commit([msgspec.structs.replace(gap, time=plant.time)])
    (summary,) = plant.run()
    assert spans([summary]) == [("early", "23T06:00", "23T14:00", "down")]
    assert summary.counted == {"door/part": 1}
    assert summary.blind_s == {"c": 8 * HOUR}, "up to its end"
    (summary,) = plant.run(5 * HOUR)
    assert spans([summary]) == [("late", "23T18:00", "23T23:00", "ended")]
    assert summary.blind_s == {}


def test_a_restart_within_a_shift_changes_nothing(plant: Plant) -> None:
    plant.run(0, count(1))
    for kill in (True, False, True):
        plant.restart(60, kill=kill)
        assert plant.run(0, count(2)) == []
    (summary,) = plant.run(8 * HOUR)
    assert (summary.counted, summary.reason) == ({"door/part": 4}, "ended")


def test_a_restart_at_once_does_not_tell_a_shift_twice(plant: Plant) -> None:
    plant.run(0, count(1))
    assert len(plant.run(8 * HOUR)) == 1
    plant.restart()
    assert plant.run() == []
    assert [one.counted for one in plant.run(8 * HOUR)] == [{}]


def test_contested_counts_are_the_bars(plant: Plant) -> None:
    doubt = Contested(
        time=0, camera="c", frame=1, counter="door/part", error="missed", why="lost", track=1, other=0, position=(0, 0)
    )
    twice = msgspec.structs.replace(doubt, error="doubled", why="again")
    plant.run(0, *(count(n) for n in range(5)), doubt, doubt, twice)
    (summary,) = plant.run(8 * HOUR)
    assert summary.counted == {"door/part": 5, "door/part/doubled": 1, "door/part/missed": 2}
    assert summary.bars == {"door/part": (4, 7)}


def gap(plant: Plant, seconds: float, camera: str = "c") -> GapEvent:
    return GapEvent(
        time=0, camera=camera, frame=1, since=plant.time - seconds, until=plant.time, reason="stall"
    )  # fmt: skip


def test_blind_seconds_are_in_the_shift_that_they_are_of(plant: Plant) -> None:
    plant.run()
    plant.run(100)
    plant.run(0, gap(plant, 40))
    plant.run(7.9 * HOUR)
    plant.run(0, gap(plant, 30, "d"))
    (summary,) = plant.run(0.2 * HOUR)
    assert summary.blind_s == {"c": 40.0, "d": 30.0}
    plant.run(0, gap(plant, 0.15 * HOUR, "d"))
    (summary,) = plant.run(8 * HOUR)
    assert summary.blind_s == {}, "that was before it was opened"


def test_a_camera_that_is_blind_when_a_shift_ends_counts_until_then_and_from_then_on(plant: Plant) -> None:
    plant.run()
    plant.run(4 * HOUR)
    plant.run(0, gap(plant, 5))
    plant.dark = {"c": "stall"}
    (summary,) = plant.run(5 * HOUR)
    assert summary.blind_s == {"c": pytest.approx(4 * HOUR + 5)}, "from then to the scheduled end"
    plant.wall += timedelta(seconds=HOUR)
    plant.time += HOUR
    plant.dark = {}
    plant.run(0, gap(plant, 6 * HOUR))
    (summary,) = plant.run(7 * HOUR)
    assert summary.blind_s == {"c": pytest.approx(HOUR)}


def step(number: int) -> GovernorEvent:
    return GovernorEvent(
        time=0, camera="", frame=1, step=number, name="half", direction="down", p99_ms=1, limit_ms=1, celsius=None,
        gave_ms=None,
    )  # fmt: skip


def test_degraded_seconds_are_those_above_step_0(plant: Plant) -> None:
    plant.run()
    for seconds, number in ((10, 1), (20, 2), (30, 0), (40, 1)):
        plant.run(seconds, step(number))
    (summary,) = plant.run(8 * HOUR)
    assert summary.degraded_s == 50 + 8 * HOUR
    plant.run(10, step(0))
    (summary,) = plant.run(8 * HOUR)
    assert summary.degraded_s == 10


def test_a_clock_that_is_set_back_a_little_changes_nothing_and_by_more_opens_another_account(plant: Plant) -> None:
    plant.run(8 * HOUR + 1, count(1))
    assert spans(plant.told) == []
    plant.wall -= timedelta(seconds=30)
    assert plant.run(0, count(2)) == []
    plant.wall -= timedelta(hours=2)
    assert spans(plant.run(0, count(3))) == [("late", "23T14:00", "23T11:59", "changed")]
    (early,) = plant.run(3 * HOUR)
    assert (early.shift, early.counted) == ("early", {"door/part": 1})


def test_a_clock_that_was_never_set_is_not_asked(tmp_path: Path) -> None:
    plant = Plant(tmp_path / "state", datetime(1970, 1, 1, 12, tzinfo=timezone.utc))
    for _ in range(5):
        assert plant.run(4 * HOUR, count(1)) == []
    plant.wall = MORNING
    assert plant.run(0, count(2)) == []
    assert [one.counted for one in plant.run(8 * HOUR)] == [{"door/part": 1}]
    plant.wall = datetime.max.replace(tzinfo=timezone.utc)
    assert plant.run(0) == []
    plant.ledger.close()


def test_other_shifts_after_a_restart_close_the_account(plant: Plant) -> None:
    plant.run(0, count(1))
    plant.rules = {"shifts": [Shift(name="day", start="05:00", end="17:00")]}
    plant.restart(60)
    (summary,) = plant.run(0, count(2))
    assert (summary.shift, summary.reason, summary.counted) == ("early", "changed", {"door/part": 1})
    (summary,) = plant.run(11 * HOUR)
    assert (summary.shift, summary.counted) == ("day", {"door/part": 1})


def test_every_so_many_seconds_beside_the_shifts(plant: Plant) -> None:
    plant.rules |= {"summary": config.Summary(every_s=3600)}
    plant.restart()
    told = [plant.run(HOUR / 2, count(n)) for n in range(1, 18)]
    names = Counter(one.shift for one in plant.told)
    assert names == {"every": 8, "early": 1}
    assert sum(one.counted.get("door/part", 0) for one in plant.told if one.shift == "every") == 15
    assert next(one for one in plant.told if one.shift == "early").counted == {"door/part": 15}
    assert len(told[15]) == 2


def test_events_that_had_no_room_are_in_the_summary(tmp_path: Path) -> None:
    plant = Plant(tmp_path / "state")
    plant.ledger.close()
    plant.ledger = Ledger(plant.state, config.Ledger(max_mib=1), [], clock=lambda _: plant.wall)
    site = Config(bundle=plant.state, state=plant.state, cameras={}, shifts=DAY)
    plant.ledger.accounts.follow(site, lambda _: plant.wall)
    for _ in range(60):
        plant.run(0, *(count(n) for n in range(100)))
    lost = plant.ledger.identity().lost
    (summary,) = plant.run(8 * HOUR)
    assert summary.lost_events == lost > 0
    assert summary.counted == {"door/part": 6000}
    plant.ledger.close()


def test_an_account_that_cannot_be_read_is_begun_anew(plant: Plant) -> None:
    plant.run(0, count(1))
    plant.ledger.close()
    for text in ("{", "{}", '{"name":3}'):
        db = sqlite3.connect(plant.state / "ledger.db")
        db.execute("UPDATE meta SET value = ? WHERE key = 'account/shift'", (text,))
        db.commit()
        db.close()
        plant.open()
        assert plant.run(0, count(2)) == []
        plant.ledger.close()
    plant.open()
    assert [one.counted for one in plant.run(8 * HOUR)] == [{"door/part": 1}]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.floats(0, 30 * HOUR)),
        st.tuples(st.just("count"), st.integers(1, 5).map(float)),
        st.tuples(st.just("set"), st.floats(-60 * HOUR, 60 * HOUR)),
        st.tuples(st.just("kill"), st.floats(0, 60 * HOUR)),
        st.tuples(st.just("stop"), st.floats(0, 100)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_summaries_add_up_to_the_totals(steps: list[tuple[str, float]]) -> None:
    """Whatever the clock does, and whenever the daemon ends: what is in no summary yet is in the account."""
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant(Path(folder) / "s")
        for what, number in steps:
            if what == "run":
                plant.run(number)
            elif what == "count":
                plant.run(0, *(count(n) for n in range(int(number))))
            elif what == "set":
                plant.wall += timedelta(seconds=number)
            else:
                plant.restart(number, kill=what == "kill")
        plant.run()
        account = plant.ledger.accounts._open["shift"]
        told = sum(one.counted.get("door/part", 0) for one in plant.told)
        assert told == account.totals.get("door/part", 0)
        assert sorted({one.seq for one in plant.told}) == [one.seq for one in plant.told], "each was told once"
        plant.ledger.close()


class _Connection:
    """One that takes everything."""

    room = 16
    closed = False

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes, bool]] = []
        self.messages: deque[Any] = deque()
        self.receipts: deque[Any] = deque()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **_: Any) -> None:
        self.said.append((topic, payload, retain))

    def subscribe(self, topic: str) -> None:
        """Nobody writes."""


def test_the_newest_summary_of_each_shift_is_a_retained_message_on_every_connection(plant: Plant) -> None:
    plant.run(0, count(1))
    plant.run(8 * HOUR, count(2))
    plant.restart()
    plant.run(16 * HOUR)
    (late,) = plant.told[1:]
    speaker = Speaker(Topics("r"), plant.ledger, Alarms(), dict)
    for _ in range(2):
        line: Any = _Connection()
        speaker.begin(line, 1)
        speaker.speak(line)
        said = {topic: payload for topic, payload, retain in line.said if topic.startswith("r/summary/") and retain}
        assert said == {
            "r/summary/early": msgspec.json.encode(plant.told[0]),
            "r/summary/late": msgspec.json.encode(late),
        }


def test_a_picture_that_cannot_be_written_is_an_alarm(plant: Plant) -> None:
    state: dict[str, Any] = {"evidence": {"failing": "no room"}}
    speaker = Speaker(Topics("r"), plant.ledger, Alarms(), lambda: state)
    line: Any = _Connection()
    speaker.begin(line, 1)
    speaker.speak(line)
    assert alarms(line) == {"evidence": "no room"}
    state["evidence"] = {"failing": ""}
    line = _Connection()
    speaker.begin(line, 2)
    speaker.speak(line)
    assert alarms(line) == {}


def alarms(line: _Connection) -> object:
    (state,) = [payload for topic, payload, _ in line.said if topic == "r/state"]
    return msgspec.json.decode(state)["alarms"]
