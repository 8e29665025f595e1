"""A ledger of version 2 goes on as one of version 3, whenever the power goes (D2, D3), and without a loss."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sqlite3
from pathlib import Path
from random import Random

import msgspec
import pytest

from edge import config
from edge.errors import LedgerError
from edge.event_facts import counter_of
from edge.events import Event
from edge.tell import schema
from edge.tell.ledger import Identity, Ledger
from edge.tell.outbox import Answer, Row
from tests.faults.line import count, new_seed, repeats, verdict
from tests.faults.test_storage import CrashError, Crashing, opened

VERSION_2 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload BLOB NOT NULL, \
crc INTEGER NOT NULL);
CREATE TABLE totals (counter TEXT PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE acknowledged (receiver TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tallies (kind TEXT PRIMARY KEY, counted INTEGER NOT NULL, queued INTEGER NOT NULL, \
delivered INTEGER NOT NULL, lost INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version=2;
"""
STREAM = "7d3f" * 8
EVENTS: list[Event] = [count(1), verdict("PASS"), count(2), count(3), verdict("REJECT"), count(4)]


def version_2(folder: Path, delivered: int = 2) -> list[Row]:
    """Write a ledger as version 2 did, with `EVENTS`, the first of which are delivered; return what is queued."""
    folder.mkdir(parents=True)
    rows = [_row(seq, event) for seq, event in enumerate(EVENTS, 1)]
    queued = rows[delivered:]
    with contextlib.closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(VERSION_2)
        meta = {"version": 2, "stream": STREAM, "ids": 3001, "session": 77}
        db.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
        for row in rows:
            crc = schema.checksum(row.seq, row.kind, row.payload)
            db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?)", (row.seq, row.kind, row.payload, crc))
        db.execute("DELETE FROM outbox WHERE seq <= ?", (delivered,))
        db.execute("INSERT INTO acknowledged VALUES ('archive', ?)", (delivered,))
        db.executemany("INSERT INTO totals VALUES (?, ?)", [("door/part", 4), ("exit/PASS", 1), ("exit/REJECT", 1)])
        for kind in ("count", "verdict"):
            all_of, left = (sum(row.kind == kind for row in some) for some in (rows, queued))
            db.execute("INSERT INTO tallies VALUES (?, ?, ?, ?, 0)", (kind, all_of, left, all_of - left))
    return queued


def _row(seq: int, event: Event) -> Row:
    total = sum(counter_of(other) == counter_of(event) for other in EVENTS[:seq])
    told = msgspec.structs.replace(event, seq=seq, stream=STREAM, utc="2026-11-23T12:00:00.000Z", total=total)
    return Row(seq, msgspec.json.encode(told), str(event.__struct_config__.tag))


def version_of(path: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        (written,) = db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        (user,) = db.execute("PRAGMA user_version").fetchone()
    return written, user


@pytest.mark.parametrize("delivered", [0, 2, len(EVENTS)])
def test_what_was_queued_goes_on_under_its_stream_and_numbers(tmp_path: Path, delivered: int) -> None:
    queued = version_2(tmp_path / "state", delivered)
    for _ in range(2):  # as it is brought to version 3, and as it is opened then
        ledger = opened(tmp_path / "state")
        assert ledger.stream == STREAM
        assert ledger.outbox.pending(0, 99) == queued
        assert ledger.identity() == Identity(len(EVENTS), delivered, len(EVENTS) - delivered, 0)
        assert ledger.totals() == {"door/part": 4, "exit/PASS": 1, "exit/REJECT": 1}
        ledger.close()
    assert version_of(tmp_path / "state" / "ledger.db") == (schema.VERSION, schema.VERSION)
    ledger = opened(tmp_path / "state")
    (told,) = ledger.commit([count(5)])
    assert (told.seq, ledger.totals()["door/part"]) == (len(EVENTS) + 1, 5), (
        "the number of a row that is gone is not given"
    )
    assert ledger.reserve_ids(1) == 3001
    assert ledger.outbox.next_session() > 77
    ledger.outbox.pending(0, 99)
    assert ledger.outbox.acknowledge("archive", STREAM, told.seq) is Answer.PROGRESS
    assert ledger.identity().queued == 0
    assert not list((tmp_path / "state").glob("*corrupt*"))
    ledger.close()


def test_d2_a_crash_before_any_statement_leaves_one_version_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sqlite3.connect
    step, versions, finished = 0, set(), False
    while not finished:
        step += 1
        Crashing.folder, Crashing.image, Crashing.left = tmp_path / f"run{step}", tmp_path / f"image{step}", 1 << 30
        queued = version_2(Crashing.folder)
        Crashing.left = step
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: original(*a, **k, factory=Crashing))
        try:
            opened(Crashing.folder).close()
            finished = True
        except CrashError:
            Crashing.left = 1 << 30
            monkeypatch.setattr(sqlite3, "connect", original)
            versions.add(version_of(Crashing.image / "ledger.db"))
            ledger = opened(Crashing.image)
            assert (ledger.stream, ledger.outbox.pending(0, 99)) == (STREAM, queued), f"step {step}"
            assert ledger.identity() == Identity(6, 2, 4, 0)
            assert not list(Crashing.image.glob("*corrupt*"))
            ledger.close()
        monkeypatch.setattr(sqlite3, "connect", original)
        Crashing.left = 1 << 30
    print(f"steps={step}")
    assert step > 30
    assert versions == {(2, 2), (schema.VERSION, schema.VERSION)}, "never one number of each"


def test_d3_a_torn_log_leaves_one_version_or_the_other(tmp_path: Path) -> None:
    random = Random(new_seed())
    queued = version_2(tmp_path / "whole")
    ledger = opened(tmp_path / "whole")
    for _ in range(3):
        ledger.outbox.next_session()
    image = {name: (tmp_path / "whole" / name).read_bytes() for name in ("ledger.db", "ledger.db-wal")}
    ledger.close()
    log, before = image["ledger.db-wal"], set()
    for number in range(repeats(60)):
        cut = random.randrange(len(log))
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ledger.db").write_bytes(image["ledger.db"])
        (folder / "ledger.db-wal").write_bytes(log[:cut] + random.choice([b"", bytes(len(log) - cut)]))
        shutil.copytree(folder, folder / "look")
        before.add(version_of(folder / "look" / "ledger.db"))
        torn = opened(folder)
        assert (torn.stream, torn.outbox.pending(0, 99)) == (STREAM, queued), f"cut at {cut}"
        assert torn.identity() == Identity(6, 2, 4, 0)
        assert not list(folder.glob("*corrupt*"))
        torn.close()
        shutil.rmtree(folder)
    assert before == {(2, 2), (schema.VERSION, schema.VERSION)}


def test_d5_a_damaged_ledger_of_version_2_is_moved_aside_as_it_is(tmp_path: Path) -> None:
    version_2(tmp_path / "state")
    path = tmp_path / "state" / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE tallies SET queued = queued + 1 WHERE kind = 'count'")
        db.commit()
    before = path.read_bytes()
    ledger = opened(tmp_path / "state")
    assert ledger.stream != STREAM
    assert (tmp_path / "state" / "ledger.db.corrupt-1").read_bytes() == before
    ledger.close()


def test_d4_a_disk_without_room_for_it_leaves_version_2(tmp_path: Path) -> None:
    queued = version_2(tmp_path / "state")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(LedgerError, match=r"ledger .*ledger\.db: .*; (check the disk|free space)"):
            Ledger(tmp_path / "state", config.Ledger(max_mib=4), ["archive"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert version_of(tmp_path / "state" / "ledger.db") == (2, 2)
    ledger = opened(tmp_path / "state")
    assert ledger.outbox.pending(0, 99) == queued
    ledger.close()
