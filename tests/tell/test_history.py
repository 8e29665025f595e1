"""What is delivered stays for as long and as much as configured, and is the first to go."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from edge import config
from edge.events import Event
from edge.tell.history import KEPT_SHARE, PRESSED_SHARE, SETTLED_S, STEP_ROWS, Calendar
from edge.tell.ledger import Identity, Ledger
from edge.tell.outbox import Answer
from tests.faults.line import count, verdict

DAY_S = 86400.0
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
SMALL = config.Ledger(max_mib=1)


class Clocks:
    """The wall clock and the monotonic one, in the hands of a test."""

    def __init__(self) -> None:
        self.wall, self.monotonic = NOON.timestamp(), 1000.0
        self.calendar = Calendar(lambda: self.wall, lambda: self.monotonic)

    def run(self, seconds: float) -> None:
        """Let both clocks run."""
        self.wall += seconds
        self.monotonic += seconds

    def utc(self, _time: float) -> datetime:
        return datetime.fromtimestamp(self.wall, timezone.utc)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


Opening = Callable[..., Ledger]


@pytest.fixture
def opened(tmp_path: Path, clocks: Clocks) -> Iterator[Opening]:
    """Return what opens one ledger after the other, each with the limits given."""
    with contextlib.ExitStack() as last:

        def opening(**limits: int) -> Ledger:
            last.close()
            ledger = Ledger(
                tmp_path / "state", config.Ledger(**limits), ["archive"], clock=clocks.utc, calendar=clocks.calendar
            )
            last.callback(ledger.close)
            return ledger

        yield opening


def deliver(ledger: Ledger, seq: int) -> None:
    ledger.outbox.pending(0, 1 << 20)
    assert ledger.outbox.acknowledge("archive", ledger.stream, seq) is Answer.PROGRESS


def kept(ledger: Ledger) -> list[int]:
    return [seq for (seq,) in ledger._db.execute("SELECT seq FROM events ORDER BY seq")]


def drop_all(ledger: Ledger) -> int:
    """Drop what is due, in steps as the delivery thread does; return how many rows that were."""
    dropped = 0
    while step := ledger.outbox.drop_history():
        assert step <= STEP_ROWS
        dropped += step
    return dropped


def test_what_is_delivered_stays_and_is_not_sent_again(opened: Opening) -> None:
    ledger = opened(max_mib=8)
    told = ledger.commit([count(n) for n in range(10)])
    deliver(ledger, 6)
    assert drop_all(ledger) == 0
    assert kept(ledger) == list(range(1, 11))
    assert [row.seq for row in ledger.outbox.pending(0, 99)] == [7, 8, 9, 10]
    assert ledger.identity() == Identity(10, 6, 4, 0)
    ledger = opened(max_mib=8)
    assert ledger.identity() == Identity(10, 6, 4, 0)
    (payload,) = ledger._db.execute("SELECT payload FROM events WHERE seq = 3").fetchone()
    assert payload == msgspec.json.encode(told[2])


def test_no_days_keep_nothing_that_is_delivered(opened: Opening) -> None:
    ledger = opened(max_mib=8, keep_days=0)
    ledger.commit([count(n) for n in range(600)])
    assert ledger.outbox._history.due() == 0, "nothing is delivered: no transaction for it"
    deliver(ledger, 599)
    assert ledger.outbox.drop_history() == STEP_ROWS
    assert drop_all(ledger) == 599 - STEP_ROWS
    assert kept(ledger) == [600]
    assert ledger.commit([count(1)])[0].seq == 601
    deliver(ledger, 601)
    assert drop_all(ledger) == 2
    ledger = opened(max_mib=8, keep_days=0)
    assert (ledger.identity(), ledger.commit([count(1)])[0].seq) == (Identity(601, 601, 0, 0), 602)


def test_the_delivery_thread_keeps_the_history_below_its_share(opened: Opening) -> None:
    ledger = opened(max_mib=1)
    used = []
    for _ in range(400):
        told = ledger.commit([count(n) for n in range(20)])
        deliver(ledger, told[-1].seq)
        ledger.outbox.drop_history()
        used.append(ledger._store.used(ledger._db) / ledger._store.pages)
    assert ledger.identity() == Identity(8000, 8000, 0, 0)
    assert max(used) < KEPT_SHARE + 0.02
    assert max(used[-50:]) > KEPT_SHARE - 0.1, "as much as there is room for"
    rows = kept(ledger)
    assert rows == list(range(rows[0], 8001))
    assert len(rows) > 500


@pytest.mark.parametrize("batch", [1, 20, 400])
def test_where_nobody_looks_after_it_commits_make_room_for_themselves(opened: Opening, batch: int) -> None:
    ledger = opened(max_mib=1)
    deliver(ledger, ledger.commit([count(n) for n in range(1400)])[-1].seq)
    for _ in range(max(20, 400 // batch)):
        told = ledger.commit([count(n) for n in range(batch)])
        assert all(event.seq for event in told), "nothing new is lost for what is delivered"
        deliver(ledger, told[-1].seq)
        assert ledger._store.used(ledger._db) <= ledger._store.pages * PRESSED_SHARE
    rows = kept(ledger)
    assert rows == list(range(rows[0], told[-1].seq + 1))
    assert rows[0] > 1, "it was full"
    assert len(rows) > 500


def test_large_events_push_out_as_many_small_ones_as_it_takes(opened: Opening) -> None:
    ledger = opened(max_mib=1)
    deliver(ledger, ledger.commit([count(n) for n in range(1000)])[-1].seq)
    large = msgspec.structs.replace(verdict("REJECT"), reasons=["x" * 20_000])
    for _ in range(100):
        (told,) = ledger.commit([large])
        assert told.seq
        deliver(ledger, told.seq)
    assert ledger._store.used(ledger._db) <= ledger._store.pages * PRESSED_SHARE


def test_history_is_gone_before_the_first_event_is_lost(opened: Opening) -> None:
    ledger = opened(max_mib=1)
    delivered = 0
    while ledger._store.used(ledger._db) < ledger._store.pages * KEPT_SHARE:
        delivered = ledger.commit([count(n) for n in range(20)])[-1].seq
        deliver(ledger, delivered)
    told: list[Event] = []
    while not any(event.seq == 0 for event in told):  # the broker is away
        told = ledger.commit([count(n) for n in range(5)])
    assert kept(ledger)[0] == delivered + 1
    assert ledger.identity().holds


def test_what_is_too_old_goes_and_what_is_queued_stays(opened: Opening, clocks: Clocks) -> None:
    ledger = opened(max_mib=8, keep_days=30)
    for _ in range(40):
        ledger.commit([count(n) for n in range(30)])
        clocks.run(DAY_S)
    deliver(ledger, 1100)
    assert drop_all(ledger) == 300, "those of ten days; what is thirty days old to the second is not older than that"
    assert kept(ledger) == list(range(301, 1201))
    clocks.run(365 * DAY_S)
    drop_all(ledger)
    assert kept(ledger) == list(range(1101, 1201)), "what is queued has no age"


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, -NOON.timestamp(), 12 * 365 * DAY_S, 1.0], ids=str)
def test_c1_a_clock_that_is_set_wrong_for_minutes_makes_nothing_old(
    opened: Opening, clocks: Clocks, step_s: float
) -> None:
    ledger = opened(max_mib=8, keep_days=30)
    first = ledger.commit([count(1), count(2)])
    deliver(ledger, 2)
    clocks.run(2 * SETTLED_S)
    ledger.outbox.drop_history()
    clocks.wall += step_s  # 1 h, 1970, 2038, a leap second
    for _ in range(10):
        clocks.run(SETTLED_S / 11)
        (told,) = ledger.commit([count(3)])
        assert drop_all(ledger) == 0
    clocks.wall -= step_s
    clocks.run(SETTLED_S / 2)
    assert drop_all(ledger) == 0
    assert (kept(ledger)[0], told.seq) == (1, 12)
    assert ledger.totals() == {"door/part": 12}, "no count depends on it"
    assert [event.seq for event in first] == [1, 2]


def test_c1_a_restart_does_not_make_a_wrong_clock_right(opened: Opening, clocks: Clocks) -> None:
    ledger = opened(max_mib=8, keep_days=30)
    ledger.commit([count(1)])
    deliver(ledger, 1)
    clocks.wall += 12 * 365 * DAY_S
    clocks.calendar = Calendar(lambda: clocks.wall, lambda: clocks.monotonic)
    ledger = opened(max_mib=8, keep_days=30)
    assert drop_all(ledger) == 0
    clocks.run(SETTLED_S - 1)
    assert drop_all(ledger) == 0
    clocks.run(1.5)
    assert drop_all(ledger) == 1, "by now nobody has set it right: it is"


def test_events_of_a_clock_that_was_ahead_go_with_what_is_old_behind_them(opened: Opening, clocks: Clocks) -> None:
    ledger = opened(max_mib=8, keep_days=30)
    clocks.wall += 10 * 365 * DAY_S
    ledger.commit([count(n) for n in range(200)])
    clocks.wall -= 10 * 365 * DAY_S
    ledger.commit([count(n) for n in range(100)])
    deliver(ledger, 300)
    clocks.run(31 * DAY_S)
    drop_all(ledger)
    assert kept(ledger) == []


def test_a_lower_cap_takes_its_room_from_the_history_at_the_start(opened: Opening) -> None:
    ledger = opened(max_mib=8)
    deliver(ledger, ledger.commit([count(n) for n in range(8000)])[-1].seq)
    ledger.commit([count(n) for n in range(100)])
    ledger = opened(max_mib=1)
    assert ledger._store.used(ledger._db) <= ledger._store.pages * PRESSED_SHARE
    assert ledger.identity() == Identity(8100, 8000, 100, 0)
    assert len(ledger.outbox.pending(0, 999)) == 100
    assert ledger.commit([count(1)])[0].seq == 8101


def test_a_delivered_row_that_is_altered_does_not_stay_for_ever(
    opened: Opening, clocks: Clocks, tmp_path: Path
) -> None:
    ledger = opened(max_mib=8, keep_days=30)
    ledger.commit([count(n) for n in range(5)])
    deliver(ledger, 5)
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as db:
        db.execute("UPDATE events SET payload = x'ff00' WHERE seq = 1")
        db.commit()
    ledger = opened(max_mib=8, keep_days=30)
    assert ledger.identity().delivered == 5, "nothing depends on it"
    clocks.run(SETTLED_S + 1)
    drop_all(ledger)
    assert kept(ledger) == [2, 3, 4, 5]


def test_tending_looks_only_from_time_to_time(opened: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opened(max_mib=8)
    looks = iter(range(3))
    monkeypatch.setattr(ledger.outbox, "drop_history", lambda: 0 * next(looks))
    for _ in range(1000):
        ledger.outbox.tend()
    assert next(looks) in {1, 2}


def test_a_count_of_days_is_checked(tmp_path: Path) -> None:
    with pytest.raises(msgspec.ValidationError, match="keep_days"):
        msgspec.convert({"keep_days": -1}, config.Ledger)
