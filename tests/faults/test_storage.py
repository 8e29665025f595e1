"""Faults under the ledger.

Crashes at every step (D2), torn logs (D3), failing disks (D4), damage (D5), races (D6).
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from edge import config
from edge.errors import LedgerError
from edge.events import Event, GapEvent
from edge.tell.ledger import Identity, Ledger
from edge.tell.outbox import Answer, Row
from tests.broker import free_port, wait_for
from tests.faults.line import ROOT, Options, count, new_seed, repeats, verdict

LIMITS = config.Ledger(max_mib=4)


def opened(folder: Path, limits: config.Ledger = LIMITS) -> Ledger:
    return Ledger(folder, limits, ["archive"])


class CrashError(BaseException):
    """The power is gone."""


class Crashing(sqlite3.Connection):
    """Copies the folder as it lies on disk, and ends, before the n-th statement of a scenario."""

    left = 1 << 30
    folder = Path()
    image = Path()

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return super().executemany(sql, *arguments)

    @classmethod
    def _step(cls) -> None:
        cls.left -= 1
        if cls.left == 0:
            shutil.copytree(cls.folder, cls.image, ignore=shutil.ignore_patterns("*-shm"))
        if cls.left <= 0:
            raise CrashError


def scenario(folder: Path, truth: list[Event], begun: list[int], said: list[int]) -> None:
    """Open, commit, acknowledge, drop what is delivered, open again; note what is certain after each step."""
    for batch in (3, 2):
        ledger = opened(folder, config.Ledger(max_mib=4, keep_days=0))
        try:
            begun.append(batch)
            truth += ledger.commit([count(n) for n in range(batch)])
            ledger.reserve_ids(10)
            ledger.outbox.next_session()
            ledger.outbox.pending(0, 9)
            said.append(len(truth) - 1)
            ledger.outbox.acknowledge("archive", ledger.stream, len(truth) - 1)
            ledger.outbox.drop_history()
            begun.append(1)
            truth += ledger.commit([verdict("REJECT")])
        finally:
            ledger.close()


def test_d2_a_crash_before_any_statement_leaves_a_sound_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: original(*a, **k, factory=Crashing))
    step, finished = 0, False
    while not finished:
        step += 1
        Crashing.folder, Crashing.image, Crashing.left = tmp_path / f"run{step}", tmp_path / f"image{step}", step
        truth: list[Event] = []
        begun: list[int] = []
        said: list[int] = []
        try:
            scenario(Crashing.folder, truth, begun, said)
            finished = True
        except CrashError:
            Crashing.left = 1 << 30
            ledger = opened(Crashing.image)
            last, floor = ledger.outbox.last_seq, ledger.outbox.floor
            assert last in {len(truth), sum(begun)}, f"step {step}: a commit is there wholly or not at all"
            assert floor in {0, *said}, f"step {step}"
            assert [row.seq for row in ledger.outbox.pending(0, 99)] == list(range(floor + 1, last + 1))
            assert not truth or ledger.stream == truth[0].stream
            assert ledger.identity() == Identity(last, floor, last - floor, 0)
            assert ledger.commit([count(9)])[0].seq == last + 1
            assert not list(Crashing.image.glob("*corrupt*"))
            ledger.close()
    print(f"steps={step}")
    assert step > 60


def test_d3_a_torn_log_leaves_a_prefix_of_what_was_committed(tmp_path: Path) -> None:
    random = Random(new_seed())
    ledger = opened(tmp_path / "whole", config.Ledger(max_mib=4, keep_days=0))
    for number in range(1, 41):
        ledger.commit([count(number), count(number)])
        if number % 10 == 0:
            ledger.outbox.pending(ledger.outbox.floor, 16)
            ledger.outbox.acknowledge("archive", ledger.stream, ledger.outbox.floor + 5)
            ledger.outbox.drop_history()
    image = {name: (tmp_path / "whole" / name).read_bytes() for name in ("ledger.db", "ledger.db-wal")}
    stream = ledger.stream
    ledger.close()
    log = image["ledger.db-wal"]
    lengths = set()
    for number in range(repeats(150)):
        cut = random.randrange(len(log))
        tail = random.choice([b"", bytes(len(log) - cut), random.randbytes(min(len(log) - cut, 9000))])
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ledger.db").write_bytes(image["ledger.db"])
        (folder / "ledger.db-wal").write_bytes(log[:cut] + tail)
        torn = opened(folder)
        last, floor = torn.outbox.last_seq, torn.outbox.floor
        assert last % 2 == 0
        assert last == 0 or torn.stream == stream
        assert torn.identity() == Identity(last, floor, last - floor, 0)
        rows = torn.outbox.pending(0, 999)
        assert [row.seq for row in rows] == list(range(floor + 1, last + 1))
        assert [msgspec.json.decode(row.payload)["seq"] for row in rows] == [row.seq for row in rows]
        assert torn.totals() == ({"door/part": last} if last else {})
        assert not list(folder.glob("*corrupt*"))
        torn.close()
        lengths.add(last)
        shutil.rmtree(folder)
    print(f"different lengths={len(lengths)}")
    assert len(lengths) > 20


def test_d4_a_disk_that_takes_no_more_ends_the_ledger_and_loses_nothing(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.commit([count(1)])
    size = (tmp_path / "ledger.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    committed = 1
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
        for _ in range(1000):
            committed += len(ledger.commit([count(1)]))
    except LedgerError as error:
        assert re.search(r"ledger .*ledger\.db: .*; (check the disk|free space)", str(error))  # noqa: PT017  counts on
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.close()
    again = opened(tmp_path)
    assert 2 < committed < 1000
    assert again.identity() == Identity(committed, 0, committed, 0)
    again.close()


def test_d5_a_damaged_file_is_moved_aside_or_harmless(tmp_path: Path) -> None:
    random = Random(new_seed())
    whole, rows, stream = filled(tmp_path / "whole")
    aside = 0
    for number in range(repeats(60)):
        damaged = bytearray(whole)
        at = random.choice([random.randrange(100), random.randrange(len(whole) - 64)])  # the header, or anywhere
        size = random.choice([1, 4, 64])
        damaged[at : at + size] = random.randbytes(size)
        aside += moved_aside(tmp_path / str(number), damaged, rows, stream, f"byte {at}")
    print(f"moved aside={aside}")
    assert aside > 15


def test_d5_every_byte_of_the_schema_may_be_no_text(tmp_path: Path) -> None:
    """SQLite quotes what it finds there in its messages."""
    whole, rows, stream = filled(tmp_path / "whole")
    names = [found.start() + i for found in re.finditer(rb"table(meta|totals|tallies)", whole) for i in range(5, 9)]
    assert len(names) == 12
    for at in names:
        damaged = bytearray(whole)
        damaged[at] = 0xF1
        assert moved_aside(tmp_path / str(at), damaged, rows, stream, f"byte {at}")


@pytest.mark.parametrize("change", [0x01, 0xFF])
def test_d5_every_byte_of_the_header_may_be_damaged(tmp_path: Path, change: int) -> None:
    whole, rows, stream = filled(tmp_path / "whole")
    aside = []
    for at in range(100):
        damaged = bytearray(whole)
        damaged[at] ^= change
        if moved_aside(tmp_path / str(at), damaged, rows, stream, f"byte {at}"):
            aside.append(at)
    assert {*range(16), 18, 19, 20} <= {*aside}  # the magic, both format versions, the reserved space


def filled(folder: Path) -> tuple[bytes, list[Row], str]:
    """Return the bytes of a ledger of 100 counts, its outbox, and its stream."""
    ledger = opened(folder)
    ledger.commit([count(number) for number in range(100)])
    rows, stream = ledger.outbox.pending(0, 999), ledger.stream
    ledger.close()
    return (folder / "ledger.db").read_bytes(), rows, stream


def moved_aside(folder: Path, damaged: bytearray, rows: list[Row], stream: str, where: str) -> bool:
    """Open a damaged ledger: tell whether it was moved aside; otherwise it must have lost nothing, and works."""
    folder.mkdir()
    (folder / "ledger.db").write_bytes(damaged)
    ledger = opened(folder)
    aside = ledger.stream != stream
    if aside:
        assert (folder / "ledger.db.corrupt-1").read_bytes() == damaged
        (first,) = ledger.outbox.pending(0, 9)
        gap = msgspec.json.decode(first.payload, type=GapEvent)
        assert (gap.reason, gap.seq, gap.stream) == ("outbox", 1, ledger.stream)
    else:
        assert ledger.outbox.pending(0, 999) == rows, where
        assert sum(ledger.totals().values()) == 100
    assert ledger.identity().holds
    assert ledger.commit([count(1)])[0].seq == ledger.outbox.last_seq, where
    ledger.close()
    shutil.rmtree(folder)
    return aside


@pytest.mark.parametrize("kind", [b"cognt", b"cou\xfft"], ids=["letter", "no text"])
def test_d5_a_row_whose_kind_is_altered_is_damage(tmp_path: Path, kind: bytes) -> None:
    ledger = opened(tmp_path)
    stream = ledger.stream
    ledger.commit([count(number) for number in range(3)])
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute("UPDATE events SET kind = CAST(? AS TEXT) WHERE seq = 2", (kind,))
        db.commit()
    ledger = opened(tmp_path)
    assert ledger.stream != stream
    assert (tmp_path / "ledger.db.corrupt-1").exists()
    ledger.close()


ALTERED = [
    "UPDATE acknowledged SET seq = 4",
    "UPDATE acknowledged SET seq = 0",
    "UPDATE acknowledged SET seq = 'x'",
    "UPDATE meta SET value = 'x' WHERE key = 'ids'",
    "UPDATE meta SET value = -1 WHERE key = 'ids'",
    "UPDATE meta SET value = NULL WHERE key = 'session'",
    "UPDATE meta SET value = 9223372036854775807 WHERE key = 'session'",
    "DELETE FROM meta WHERE key = 'ids'",
    "DELETE FROM meta WHERE key = 'session'",
    "INSERT INTO meta VALUES ('full_lost', 'x')",
    "INSERT INTO meta VALUES ('full_lost', -1)",
    "INSERT INTO meta VALUES ('full_since', 'x')",
    "INSERT INTO totals VALUES ('other', 'x')",
    "INSERT INTO tallies VALUES ('other', 'x', 'x', 0, 0)",
    "DELETE FROM sqlite_sequence",
    "UPDATE sqlite_sequence SET seq = 2",
    "UPDATE sqlite_sequence SET seq = 'x'",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
]


@pytest.mark.parametrize("statement", ALTERED)
def test_d5_a_number_that_cannot_be_is_damage(tmp_path: Path, statement: str) -> None:
    ledger = opened(tmp_path)
    stream = ledger.stream
    ledger.commit([count(number) for number in range(3)])
    assert len(ledger.outbox.pending(0, 9)) == 3
    assert ledger.outbox.acknowledge("archive", stream, 1) is Answer.PROGRESS
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute(statement)
        db.commit()
    ledger = opened(tmp_path)
    assert ledger.stream != stream
    assert (tmp_path / "ledger.db.corrupt-1").exists()
    ledger.commit([count(3)])
    assert ledger.identity().holds
    ledger.close()


@pytest.mark.parametrize("junk", [b"not a database at all" * 300, b"\0" * 8192], ids=["text", "zeros"])
def test_d5_a_file_that_is_no_ledger_is_moved_aside_with_its_number(tmp_path: Path, junk: bytes) -> None:
    for number in range(1, 10):
        (tmp_path / "ledger.db").write_bytes(junk)
        ledger = opened(tmp_path)
        ledger.close()
        assert (tmp_path / f"ledger.db.corrupt-{number}").read_bytes() == junk
    (tmp_path / "ledger.db").write_bytes(junk)
    with pytest.raises(LedgerError, match="is damaged, as 9 were before it; replace the disk"):
        opened(tmp_path)


def test_d6_a_second_daemon_on_one_folder_is_told_who_is_there(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(LedgerError, match=rf"is in use by process {os.getpid()}; end that one, or give") as caught:
        opened(tmp_path)
    assert caught.value.exit_code == 74
    ledger.commit([count(1)])
    ledger.close()
    opened(tmp_path).close()


def test_d6_a_start_right_after_a_kill_never_finds_the_database_locked(tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.touch()
    options = Options(str(tmp_path / "state"), free_port(), str(truth), ["archive"], per_s=2000)
    for _ in range(repeats(8)):
        size = truth.stat().st_size
        command = [sys.executable, "-m", "tests.faults.line", msgspec.json.encode(options).decode()]
        daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        assert wait_for(lambda: truth.stat().st_size > size + 500, 10)  # noqa: B023
        daemon.kill()
        ledger = opened(tmp_path / "state")  # at once, while the other may still be dying
        daemon.wait(10)
        told = len(truth.read_text().splitlines())
        assert told <= ledger.outbox.last_seq <= told + repeats(8)
        ledger.commit([count(1)])
        ledger.outbox.pending(0, 1)
        with truth.open("a") as file:
            file.write(f"{ledger.stream} {ledger.outbox.last_seq}\n")
        ledger.close()


def test_a_name_of_the_process_is_in_the_lock(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    assert re.fullmatch(rf"{os.getpid()}\n", (tmp_path / "ledger.lock").read_text())
    ledger.close()
