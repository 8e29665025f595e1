"""A ledger as somebody else reads it, also while a daemon writes it: no lock that others feel, no file changed.

A ledger that nobody has open is one file, which SQLite is told not to expect changes in. One that a daemon has open is
read beside it, in one transaction, so that everything that is read is of one moment. One that a daemon left behind when
it was killed has a write-ahead log that would have to be written back: that is done to a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge.errors import LedgerError
from edge.tell import schema
from edge.tell.ledger import Identity
from edge.tell.sources import source_of

PATIENCE_S = 5.0  # with a program that keeps a ledger for itself


class Kept(NamedTuple):
    """One row of the ledger."""

    seq: int
    kind: str
    payload: bytes  # the event as it is told, JSON
    crc: int


class Reader:
    """What a ledger holds, at one moment. Its methods raise `sqlite3.Error`, which `read_ledger` turns into ours."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self.stream = str(self._one("SELECT value FROM meta WHERE key = 'stream'"))
        self.last = _whole(self._one(schema.LAST_SEQ))  # highest number ever given
        self.floor = _whole(self._one(schema.FLOOR))  # highest one that is delivered
        # Lowest number that is kept: one above the last where none is.
        self.first = _whole(self._one(f"SELECT coalesce(min(seq), {self.last + 1}) FROM events"))  # noqa: S608

    def identities(self) -> dict[str, Identity]:
        """Return where the events of each kind are."""
        query = "SELECT kind, counted, delivered, queued, lost FROM tallies ORDER BY kind"
        return {str(kind): Identity(*map(_whole, numbers)) for kind, *numbers in self._db.execute(query)}

    def totals(self) -> dict[str, int]:
        """Return the running total of each counter."""
        rows = self._db.execute("SELECT counter, total FROM totals ORDER BY counter")
        return {str(counter): _whole(total) for counter, total in rows}

    def receivers(self) -> dict[str, int]:
        """Return up to which number each receiver has acknowledged; `schema.BROKER` stands for the broker's word."""
        rows = self._db.execute("SELECT receiver, seq FROM acknowledged ORDER BY receiver")
        return {str(receiver): _whole(seq) for receiver, seq in rows}

    def source(self, camera: str, seq: int) -> str | None:
        """Return where the frames of `camera` came from when event `seq` was decided; None where nobody knows."""
        return source_of(self._db, camera, seq)

    def row(self, seq: int) -> Kept | None:
        """Return row number `seq`, or None where it is not kept."""
        found = self._db.execute("SELECT seq, kind, payload, crc FROM events WHERE seq = ?", (seq,)).fetchone()
        return None if found is None else Kept(*found)

    def rows(self, *, newest_first: bool = False) -> Iterator[Kept]:
        """Yield all rows that are kept, one at a time, by their numbers."""
        order = "DESC" if newest_first else "ASC"
        for row in self._db.execute(f"SELECT seq, kind, payload, crc FROM events ORDER BY seq {order}"):  # noqa: S608
            yield Kept(*row)

    def broken_laws(self) -> Iterator[tuple[str, bool]]:
        """Yield each law of `schema.LAWS`, and whether it is broken; before them, whether the file is sound."""
        yield "the pages of the file are sound", self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
        yield from schema.broken_laws(self._db)

    def _one(self, query: str) -> object:
        row = self._db.execute(query).fetchone()
        return None if row is None else row[0]


@contextlib.contextmanager
def read_ledger(path: Path) -> Iterator[Reader]:
    """Yield what the ledger in file `path` holds; raises `LedgerError`, also where it is of another version."""
    _check_file(path)
    with contextlib.ExitStack() as stack, _errors(path):
        before = _marks(path)
        db, alone = _opened(path, stack)
        db.execute("BEGIN")  # what is read from here on is of one moment
        _check_version(db, path)
        yield Reader(path, db)
        if alone and _marks(path) != before:
            raise LedgerError(f"ledger {path}: somebody began to write it while it was read; try again")


def _check_file(path: Path) -> None:
    """Raise `LedgerError` where there is no file to read; SQLite would make one, or wait for a pipe."""
    try:
        there = stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        raise LedgerError(f"ledger {path}: {error.strerror}; {_fix('denied')}") from error
    except OSError:
        there = False
    if not there:
        raise LedgerError(
            f"ledger {path}: there is none; name a state folder, a configuration, or a file such as ledger.db"
        )


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except schema.DAMAGE as error:
        raise LedgerError(f"ledger {path}: {error}; {_fix(str(error))}") from error


def _whole(value: object) -> int:
    """Return a number of the ledger; what is none was not written by this code."""
    if not isinstance(value, int):
        raise schema.DamagedError(f"{value!r} stands where a number belongs")
    return value


def _fix(text: str) -> str:
    if "locked" in text:
        return "end the program that has the file open, or try again"
    if "unable to open" in text or "denied" in text:
        return "read it as a user who may, such as the one that runs the daemon"
    return (
        "it is damaged, or no ledger: a daemon that starts on it moves it aside; ledger.db.corrupt-1 can be named too"
    )


def _opened(path: Path, stack: contextlib.ExitStack) -> tuple[sqlite3.Connection, bool]:
    """Return a connection to what `path` holds now, closed by `stack`, and whether nobody else had it open."""
    if path.name == "ledger.db" and _held(path.with_name("ledger.lock")):  # not one that was moved aside
        return _connected(path, "mode=ro", stack), False
    log = path.with_name(f"{path.name}-wal")
    if not (log.exists() and log.stat().st_size):
        return _connected(path, "immutable=1", stack), True
    try:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foveate-ledger-")))
        for file in (path, log):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise LedgerError(
            f"ledger {path}: cannot be copied, which it takes to read what a killed daemon left: {error}; read it as a "
            "user who may, and set TMPDIR to a folder with room"
        ) from error
    return _connected(folder / path.name, "mode=rw", stack), True


def _connected(path: Path, how: str, stack: contextlib.ExitStack) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=PATIENCE_S, isolation_level=None)
    stack.callback(db.close)
    db.execute(f"PRAGMA cache_size={-schema.CACHE_KIB}")
    return db


def _held(lock: Path) -> bool:
    """Return whether a daemon holds the lock of this folder. It is asked for a moment only: one that starts waits."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _marks(path: Path) -> list[tuple[int, int, int]]:
    """Return what changes when somebody writes to the file at `path` or its log."""
    found = [file.stat() for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()]
    return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise `LedgerError` where this is no ledger, or one of another version."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if "meta" not in tables:
        raise LedgerError(f"ledger {path}: is no ledger: it has no table meta; name a state folder, or its ledger.db")
    version = schema.version_of(db, path)
    if version < schema.VERSION:
        raise LedgerError(
            f"ledger {path}: has schema {version}, and {schema.VERSION} can be read; the daemon that starts on it "
            "brings it there, and loses nothing"
        )
