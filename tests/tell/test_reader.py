"""A ledger is read by others, and neither it nor who writes it feels anything of that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from edge import config
from edge.errors import LedgerError
from edge.events import GapEvent
from edge.tell import reader, schema
from edge.tell.ledger import Identity, Ledger
from edge.tell.reader import read_ledger
from edge.tell.verify import Finding, verify
from tests.faults.line import count, verdict
from tests.faults.test_migration import version_2

LIMITS = config.Ledger(max_mib=8)


def filled(folder: Path) -> Ledger:
    """Return an open ledger with seven events, of which four are delivered."""
    ledger = Ledger(folder, LIMITS, ["archive"])
    gap = GapEvent(time=2.0, camera="c", frame=4, since=1.0, until=2.0, reason="stall")
    ledger.commit([count(1), verdict("PASS"), count(2, "door/other")])
    ledger.commit([count(3), gap])
    ledger.outbox.pending(0, 99)
    ledger.outbox.acknowledge("archive", ledger.stream, 4)
    ledger.commit([verdict("REJECT"), count(5)])
    return ledger


def killed(folder: Path, *, index: bool = False) -> Path:
    """Leave in `folder` what a killed daemon leaves; `index` is the index of its log, which a reboot removes."""
    ledger = filled(folder.with_name("running"))
    ignored = shutil.ignore_patterns(*([] if index else ["*-shm"]))
    shutil.copytree(folder.with_name("running"), folder, ignore=ignored)
    ledger.close()
    return folder / "ledger.db"


def contents(folder: Path, *, live: bool = False) -> dict[str, object]:
    """Return all that could be seen of a change; the index of a log that is in use holds the marks of readers."""
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.iterdir())
        if not (live and path.name == "ledger.db-shm")
    }


def findings(path: Path) -> list[Finding]:
    with read_ledger(path) as ledger:
        return list(verify(ledger))


def broken(path: Path) -> list[str]:
    return [finding.law for finding in findings(path) if not finding.holds]


def check_filled(path: Path) -> None:
    with read_ledger(path) as ledger:
        assert (ledger.first, ledger.floor, ledger.last) == (1, 4, 7)
        assert ledger.identities() == {
            "count": Identity(4, 3, 1, 0),
            "verdict": Identity(2, 1, 1, 0),
            "gap": Identity(1, 0, 1, 0),
        }
        assert ledger.totals() == {"door/part": 3, "door/other": 1, "exit/PASS": 1, "exit/REJECT": 1}
        assert ledger.receivers() == {"archive": 4}
        rows = list(ledger.rows())
        assert [row.seq for row in rows] == list(range(1, 8))
        assert [row.seq for row in ledger.rows(newest_first=True)] == list(range(7, 0, -1))
        assert {msgspec.json.decode(row.payload)["stream"] for row in rows} == {ledger.stream}
        assert ledger.row(3) == rows[2]
        assert ledger.row(8) is None
        assert all(finding.holds for finding in verify(ledger))


def test_a_ledger_that_nobody_has_open_is_read_and_not_touched(tmp_path: Path) -> None:
    filled(tmp_path / "state").close()
    before = contents(tmp_path / "state")
    check_filled(tmp_path / "state" / "ledger.db")
    assert contents(tmp_path / "state") == before


def test_a_ledger_in_use_is_read_as_of_one_moment_while_it_goes_on(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "state")
    before = contents(tmp_path / "state", live=True)
    check_filled(tmp_path / "state" / "ledger.db")
    assert contents(tmp_path / "state", live=True) == before
    with read_ledger(tmp_path / "state" / "ledger.db") as read:
        assert [event.seq for event in ledger.commit([count(n) for n in range(500)])] == list(range(8, 508))
        ledger.outbox.pending(0, 999)
        ledger.outbox.acknowledge("archive", ledger.stream, 300)
        assert (len(list(read.rows())), read.totals()["door/part"]) == (7, 3)
        assert all(finding.holds for finding in verify(read))
    with read_ledger(tmp_path / "state" / "ledger.db") as read:
        assert (len(list(read.rows())), read.floor) == (507, 300)
    ledger.close()


@pytest.mark.parametrize("index", [True, False])
def test_what_a_killed_daemon_left_is_read_with_its_log_and_not_touched(tmp_path: Path, index: bool) -> None:
    path = killed(tmp_path / "state", index=index)
    before = contents(tmp_path / "state")
    check_filled(path)
    assert contents(tmp_path / "state") == before
    Ledger(tmp_path / "state", LIMITS, ["archive"]).close()


def test_a_daemon_that_starts_while_it_is_read_is_not_held_up_and_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "state").close()
    reading = read_ledger(tmp_path / "state" / "ledger.db")
    reading.__enter__()
    begin = time.monotonic()
    ledger = Ledger(tmp_path / "state", LIMITS, ["archive"])
    assert time.monotonic() - begin < 2
    ledger.commit([count(9)])
    with pytest.raises(LedgerError, match="somebody began to write it while it was read; try again"):
        reading.__exit__(None, None, None)
    ledger.close()


@pytest.fixture
def junk(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no ledger: it has no table meta"),
        (b"not a database at all" * 300, "file is not a database; it is damaged, or no ledger"),
        (b"\0" * 8192, "file is not a database; it is damaged"),
    ],
    ids=["empty", "text", "zeros"],
)
def test_a_file_that_is_no_ledger(junk: Path, data: bytes, said: str) -> None:
    junk.parent.mkdir()
    junk.write_bytes(data)
    with pytest.raises(LedgerError, match=rf"ledger {junk}: {said}") as caught, read_ledger(junk):
        pass
    assert caught.value.exit_code == 74
    assert [path.name for path in junk.parent.iterdir()] == ["ledger.db"]
    assert junk.read_bytes() == data


def test_a_foreign_database_a_folder_a_pipe_and_nothing(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE events (x)")
    with pytest.raises(LedgerError, match="no table meta"), read_ledger(tmp_path / "other.db"):
        pass
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none", ""):
        with pytest.raises(LedgerError, match="there is none; name a state folder"), read_ledger(tmp_path / name):
            pass


@pytest.mark.parametrize("version", [9, 1])
def test_another_version_is_refused_by_name(tmp_path: Path, version: int) -> None:
    filled(tmp_path / "state").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as db:
        db.execute(f"PRAGMA user_version={version}")
        db.execute("UPDATE meta SET value = ? WHERE key = 'version'", (version,))
        db.commit()
    with pytest.raises(LedgerError, match=f"has schema {version}, "), read_ledger(tmp_path / "state" / "ledger.db"):
        pass


def test_version_2_waits_for_the_daemon(tmp_path: Path) -> None:
    version_2(tmp_path / "state")
    before = contents(tmp_path / "state")
    with (
        pytest.raises(LedgerError, match="has schema 2, and 4 can be read; the daemon that starts on it"),
        read_ledger(tmp_path / "state" / "ledger.db"),
    ):
        pass
    assert contents(tmp_path / "state") == before


def test_a_database_that_somebody_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "state").close()
    monkeypatch.setattr(reader, "PATIENCE_S", 0.1)
    with (
        (tmp_path / "state" / "ledger.lock").open() as lock,
        contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as db,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(LedgerError, match="database is locked; end the program that has the file open"),
            read_ledger(tmp_path / "state" / "ledger.db"),
        ):
            pass


ALTERED = {
    "UPDATE events SET payload = replace(payload, 'door', 'DOOR') WHERE seq = 1": [
        "every row has its checksum",
        "totals are what all rows add up to",
    ],
    "UPDATE events SET kind = 'gap' WHERE seq = 2": [
        "every row has its checksum",
        "every row is an event with its own stream, number and kind",
        "totals are what all rows add up to",
    ],
    "DELETE FROM events WHERE seq = 2": ["the rows have no hole"],
    "UPDATE totals SET total = total + 1 WHERE counter = 'door/part'": ["totals add up to the events that raise one"],
    "UPDATE totals SET total = total + 1 - 2 * (counter = 'door/part') WHERE counter LIKE 'door%'": [
        "totals are what all rows add up to"
    ],
    "UPDATE tallies SET counted = counted + 1 WHERE kind = 'gap'": ["counted = delivered + queued + lost"],
    "UPDATE tallies SET delivered = delivered + 1, queued = queued - 1 WHERE kind = 'gap'": [
        "receivers have what is delivered, and nothing that is to come",
    ],
    "UPDATE tallies SET queued = queued + 1 - 2 * (kind = 'gap'), counted = counted + 1 - 2 * (kind = 'gap') "
    "WHERE kind <> 'count'": [
        "queued are as many of each kind as its rows",
        "totals add up to the events that raise one",
    ],
    "UPDATE acknowledged SET seq = 8": ["receivers have what is delivered, and nothing that is to come"],
    "UPDATE meta SET value = 'x' WHERE key = 'ids'": ["ids, session and full_lost are numbers"],
}


@pytest.mark.parametrize("statement", ALTERED)
def test_verify_names_the_law_that_is_broken(tmp_path: Path, statement: str) -> None:
    filled(tmp_path / "state").close()
    path = tmp_path / "state" / "ledger.db"
    assert broken(path) == []
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()
    assert broken(path) == ALTERED[statement]


@pytest.mark.parametrize(
    ("changes", "laws"),
    [
        ({"stream": "0" * 32}, ["every row is an event with its own stream, number and kind"]),
        ({"seq": 5}, ["every row is an event with its own stream, number and kind"]),
        ({"track": "x"}, ["every row is an event with its own stream, number and kind"]),
        ({"total": 1}, ["totals rise from row to row"]),
    ],
    ids=str,
)
def test_a_row_of_another_ledger_is_noticed_though_its_checksum_is_right(
    tmp_path: Path, changes: dict[str, object], laws: list[str]
) -> None:
    filled(tmp_path / "state").close()
    path = tmp_path / "state" / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        (payload,) = db.execute("SELECT payload FROM events WHERE seq = 4").fetchone()
        forged = msgspec.json.encode({**msgspec.json.decode(payload), **changes})
        crc = schema.checksum(4, "count", forged)
        db.execute("UPDATE events SET payload = ?, crc = ? WHERE seq = 4", (forged, crc))
        db.commit()
    assert [law for law in broken(path) if not law.startswith("totals are")] == laws


def test_totals_are_held_against_the_rows_that_are_left(tmp_path: Path) -> None:
    limits = config.Ledger(max_mib=8, keep_days=0)
    ledger = Ledger(tmp_path / "state", limits, ["archive"])
    ledger.commit([count(n, "door/part") for n in range(10)])
    ledger.commit([count(n, "door/other") for n in range(10)])
    ledger.outbox.pending(0, 99)
    ledger.outbox.acknowledge("archive", ledger.stream, 7)
    ledger.outbox.drop_history()
    ledger.close()
    path = tmp_path / "state" / "ledger.db"
    (last,) = [finding for finding in findings(path) if finding.law.startswith("totals are what rows")]
    assert (last.holds, last.law) == (True, "totals are what rows from 8 on add up to")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE totals SET total = 11 WHERE counter = 'door/part'")
        db.execute("UPDATE totals SET total = 9 WHERE counter = 'door/other'")
        db.commit()
    assert broken(path) == ["totals are what rows from 8 on add up to"]


def test_events_that_were_lost_are_no_contradiction(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state", config.Ledger(max_mib=1), ["archive"])
    while not ledger.full:
        ledger.commit([count(n) for n in range(50)])
    ledger.commit([verdict("REJECT"), *(count(n) for n in range(20))])
    ledger.close()
    assert broken(tmp_path / "state" / "ledger.db") == []


def test_one_that_was_moved_aside_is_read_beside_a_running_daemon_and_not_touched(tmp_path: Path) -> None:
    killed(tmp_path / "state")
    for name in ("ledger.db", "ledger.db-wal"):
        new = f"ledger.db.corrupt-1{name.removeprefix('ledger.db')}"
        (tmp_path / "state" / name).rename(tmp_path / "state" / new)
    ledger = Ledger(tmp_path / "state", LIMITS, ["archive"])
    before = contents(tmp_path / "state", live=True)
    check_filled(tmp_path / "state" / "ledger.db.corrupt-1")
    assert contents(tmp_path / "state", live=True) == before
    ledger.close()
