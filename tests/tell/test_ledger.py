from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edge import config
from edge.errors import LedgerError
from edge.event_facts import counter_of
from edge.events import ConversionEvent, Count, Event, GapEvent, TrajectoryEvent, Verdict, ZoneEvent
from edge.tell import ledger as ledger_module
from edge.tell import store
from edge.tell.ledger import Identity, Ledger
from edge.tell.outbox import Answer
from tests.faults.line import count, verdict

LIMITS = config.Ledger(max_mib=8)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "state", LIMITS, ["archive"])
    yield opened
    opened.close()


def test_commit_gives_stream_number_time_and_total(tmp_path: Path) -> None:
    noon = datetime(2026, 11, 23, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    ledger = Ledger(tmp_path, LIMITS, [], clock=lambda _: noon)
    gap = GapEvent(time=0, camera="c", frame=4, since=0, until=0, reason="stall")
    told = ledger.commit([count(1), verdict("PASS"), verdict("REJECT"), count(4), gap])
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert {event.stream for event in told} == {ledger.stream}
    assert {event.utc for event in told} == {"2026-11-23T12:00:00.123Z"}
    assert [event.total for event in told if isinstance(event, Count | Verdict)] == [1, 1, 1, 2]
    assert ledger.totals() == {"door/part": 2, "exit/PASS": 1, "exit/REJECT": 1}
    rows = ledger.outbox.pending(0, 9)
    assert [msgspec.json.decode(row.payload)["seq"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row.kind for row in rows] == ["count", "verdict", "verdict", "count", "gap"]
    assert msgspec.json.decode(rows[2].payload, type=Verdict) == told[2]
    ledger.close()


def made(kind: type[msgspec.Struct]) -> Event:
    """Return an event of any kind, with whatever its fields may hold."""
    values: dict[type, Any] = {
        msgspec.inspect.StrType: "x",
        msgspec.inspect.IntType: 1,
        msgspec.inspect.FloatType: 1.0,
        msgspec.inspect.BoolType: True,
        msgspec.inspect.ListType: [],
        msgspec.inspect.DictType: {},
        msgspec.inspect.UnionType: None,
    }

    def value(of: msgspec.inspect.Type) -> Any:
        return (
            [value(item) for item in of.item_types] if isinstance(of, msgspec.inspect.TupleType) else values[type(of)]
        )

    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]  # every kind is a struct
    given = {field.name: value(field.type) for field in fields if field.required}
    event: Event = msgspec.convert({"kind": kind.__struct_config__.tag, **given}, type=Event)
    return event


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_a_kind_has_a_total_where_its_events_raise_one(kind: type[msgspec.Struct], tmp_path: Path) -> None:
    event = made(kind)
    assert (counter_of(event) is not None) == ("total" in kind.__struct_fields__)
    Ledger(tmp_path, LIMITS, []).close()
    for _ in range(2):
        ledger = Ledger(tmp_path, LIMITS, [])
        ledger.commit([event, event])
        ledger.close()
    assert not list(tmp_path.glob("*corrupt*"))


def test_what_happens_in_zones_raises_totals_and_the_ledger_opens_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    moment: dict[str, Any] = {"time": 1.0, "camera": "c", "frame": 3, "track": 4, "label": "person"}
    moves = [
        ZoneEvent(**moment, zone="hall", change=change, reason="crossed", position=(1, 2), dwell_s=None, inside=1)
        for change in ("enter", "enter", "leave")
    ]
    step = ConversionEvent(**moment, rule="sale", step="entered", took_s=None)
    path = TrajectoryEvent(**moment, rule="paths", zone="hall", reason="ended", points=[(1, 2, 3)], within_px=4)
    told = ledger.commit([*moves, step, path])
    assert [event.total for event in told if isinstance(event, ZoneEvent | ConversionEvent)] == [1, 2, 1, 1]
    totals = {"hall/person/enter": 2, "hall/person/leave": 1, "sale/person/entered": 1}
    assert ledger.totals() == totals
    ledger.close()
    again = Ledger(tmp_path, LIMITS, [])
    assert again.stream == ledger.stream
    assert again.totals() == totals
    assert again.identity() == Identity(5, 0, 5, 0)
    again.close()


def test_the_newest_counts_are_there_after_a_restart_unless_some_of_them_are_lost(tmp_path: Path) -> None:
    with contextlib.closing(Ledger(tmp_path, LIMITS, [])) as ledger:
        assert ledger.newest_counts() == []
        told = [ledger.commit([count(i), verdict("PASS")])[0] for i in range(4)]
    with contextlib.closing(Ledger(tmp_path, LIMITS, [])) as ledger:
        assert ledger.newest_counts() == told[::-1]
        ledger.commit([count(9)])
    db = sqlite3.connect(tmp_path / "ledger.db")
    with contextlib.closing(db), db:
        db.execute("UPDATE totals SET total = total + 1")
    with contextlib.closing(Ledger(tmp_path, LIMITS, [])) as ledger:
        assert ledger.newest_counts() == []


def test_counts_are_looked_for_among_the_newest_events_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "NEWEST_ROWS", 3)
    with contextlib.closing(Ledger(tmp_path, LIMITS, [])) as ledger:
        told = ledger.commit([count(1), count(2), verdict("PASS"), count(3)])
        assert ledger.newest_counts() == [told[3], told[1]]


def test_no_events_cost_no_transaction(ledger: Ledger) -> None:
    ledger.commit([count(1)])
    changes = ledger._db.total_changes
    assert ledger.commit([]) == []
    assert ledger._db.total_changes == changes


def test_an_event_is_delivered_when_every_receiver_has_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, ["archive", "gate"])
    ledger.commit([count(n) for n in range(10)])
    assert len(ledger.outbox.pending(0, 99)) == 10
    assert ledger.outbox.acknowledge("archive", ledger.stream, 7) is Answer.PROGRESS
    assert ledger.identity() == Identity(10, 0, 10, 0)
    assert ledger.outbox.acknowledge("gate", ledger.stream, 4) is Answer.PROGRESS
    assert ledger.identity() == Identity(10, 4, 6, 0)
    assert [row.seq for row in ledger.outbox.pending(0, 2)] == [5, 6]
    ledger.close()


def test_a_new_receiver_begins_at_the_floor_and_one_that_left_holds_nothing_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, ["archive", "gone"])
    ledger.commit([count(n) for n in range(10)])
    ledger.outbox.pending(0, 99)
    ledger.outbox.acknowledge("archive", ledger.stream, 6)
    assert ledger.outbox.floor == 0
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, ["archive", "new"])
    assert ledger.outbox.acknowledged == {"archive": 6, "new": 0}
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, ["archive"])
    assert (ledger.outbox.floor, ledger.identity()) == (6, Identity(10, 6, 4, 0))
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, ["archive", "new"])
    assert ledger.outbox.acknowledged == {"archive": 6, "new": 6}
    ledger.close()


def test_acknowledgements_that_mean_nothing_change_nothing(ledger: Ledger) -> None:
    ledger.commit([count(n) for n in range(5)])
    ledger.outbox.pending(0, 3)
    assert ledger.outbox.acknowledge("archive", ledger.stream, 4) is Answer.AHEAD
    assert ledger.outbox.acknowledge("archive", "0" * 32, 3) is Answer.FOREIGN
    assert ledger.outbox.acknowledge("stranger", ledger.stream, 3) is Answer.STRANGER
    assert ledger.outbox.acknowledge("archive", ledger.stream, -1) is Answer.REPEATED
    assert ledger.identity() == Identity(5, 0, 5, 0)
    assert ledger.outbox.acknowledge("archive", ledger.stream, 3) is Answer.PROGRESS
    assert ledger.outbox.acknowledge("archive", ledger.stream, 2) is Answer.REPEATED
    assert ledger.identity() == Identity(5, 3, 2, 0)


def test_numbers_are_never_reused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, ["archive"])
    stream = ledger.stream
    ledger.commit([count(1), count(2)])
    ledger.outbox.pending(0, 9)
    ledger.outbox.acknowledge("archive", stream, 2)
    first = ledger.reserve_ids(100)
    session = ledger.outbox.next_session()
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, ["archive"])
    assert ledger.stream == stream
    assert ledger.commit([count(3)])[0].seq == 3
    assert (first, ledger.reserve_ids(1), ledger.reserve_ids(1)) == (1, 101, 102)
    assert ledger.outbox.next_session() > session
    assert ledger.identity() == Identity(3, 2, 1, 0)
    ledger.close()


def test_an_acknowledgement_of_the_run_before_still_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, ["archive"])
    ledger.commit([count(1), count(2)])
    ledger.outbox.pending(0, 9)
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, ["archive"])
    assert ledger.outbox.acknowledge("archive", ledger.stream, 2) is Answer.PROGRESS
    ledger.close()


def test_identity_of_one_kind(ledger: Ledger) -> None:
    ledger.commit([count(1), verdict("PASS"), count(3)])
    ledger.outbox.pending(0, 9)
    ledger.outbox.acknowledge("archive", ledger.stream, 2)
    assert ledger.identity("count") == Identity(2, 1, 1, 0)
    assert ledger.identity("verdict") == Identity(1, 1, 0, 0)
    assert ledger.identity("gap") == Identity(0, 0, 0, 0)
    assert not Identity(3, 1, 1, 0).holds


def test_the_last_beat_survives(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.last_beat is None
    ledger.beat(1000.25)
    ledger.beat(1000.9)  # within the second: not written
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.last_beat == 1000.25
    ledger.close()


@pytest.mark.parametrize("name", ["ledger.db", "ledger.lock", ""])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_ledger_that_is_no_longer_in_its_folder_is_noticed(tmp_path: Path, name: str, replaced: bool) -> None:
    ledger = Ledger(tmp_path / "state", LIMITS, [])
    ledger.beat(1_700_000_000.0)
    (tmp_path / "state" / name).rename(tmp_path / "away")
    if replaced:
        (tmp_path / "state").mkdir(exist_ok=True)
        for file in ("ledger.db", "ledger.lock"):
            (tmp_path / "state" / file).touch()
    ledger.beat(1_700_000_000.5)
    with pytest.raises(LedgerError, match=r"ledger\.(db|lock): was removed or replaced while it was in use; leave"):
        ledger.beat(1_700_000_001.5)
    ledger.close()


@pytest.mark.parametrize(
    "left",
    [b"0000", b"\0" * 21, b"%20s\n" % b"NaN", b"%20s\n" % b"inf", b"%020d\n" % 9, b"9" * 21],
    ids=["short", "empty blocks", "nan", "inf", "no point", "no end"],
)
def test_what_a_power_cut_leaves_of_a_beat_is_unknown(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "beat").write_bytes(left)
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.last_beat is None
    ledger.beat(1000.25)
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.last_beat == 1000.25
    ledger.close()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (9, "has schema 9, this Foveate knows up to 4; install the newer version again"),
        (1, "has schema 1, this Foveate needs 2 to 4; let the older version deliver what is queued"),
    ],
)
def test_a_ledger_of_another_version_is_left_alone(tmp_path: Path, version: int, said: str) -> None:
    Ledger(tmp_path, LIMITS, []).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute(f"PRAGMA user_version={version}")
        db.execute("UPDATE meta SET value = ? WHERE key = 'version'", (version,))
        db.commit()
    with pytest.raises(LedgerError, match=rf"ledger\.db: {said}"):
        Ledger(tmp_path, LIMITS, [])
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/foveate")  # root may write everywhere else
    else:
        folder = tmp_path / "locked" / "state"
        folder.parent.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(LedgerError, match=rf"ledger {folder}/ledger\.db: .*; "):
        Ledger(folder, LIMITS, [])
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"Not a directory|File exists"):
        Ledger(tmp_path / "file", LIMITS, [])


class Failing(sqlite3.Connection):
    """Answers one statement as a failing disk does."""

    at = ""
    error = "disk I/O error"

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if Failing.at and sql.startswith(Failing.at):
            raise sqlite3.OperationalError(self.error)
        return super().execute(sql, *arguments)


@pytest.mark.parametrize("at", ["BEGIN", "COMMIT"])
def test_a_disk_error_ends_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: original(*a, **k, factory=Failing))
    ledger = Ledger(tmp_path, LIMITS, [])
    ledger.commit([count(1)])
    Failing.at = at
    with pytest.raises(LedgerError, match=r"ledger\.db: disk I/O error; check the disk") as caught:
        ledger.commit([count(2)])
    assert caught.value.exit_code == 74
    Failing.at = ""
    with pytest.raises(LedgerError, match="disk I/O error"):  # what is on disk is not known: no second try
        ledger.commit([count(2)])
    assert ledger.totals() == {"door/part": 1}
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.identity() == Identity(1, 0, 1, 0)
    ledger.close()


def test_a_small_disk_lowers_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=store._SPARE_BYTES + (3 << 20))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    ledger = Ledger(tmp_path, config.Ledger(max_mib=256), [])
    assert ledger._store.pages == 3 * 256
    assert "ledger=capped" in caplog.text
    ledger.close()
