"""What a receiver has: every event once, and the highest number of each stream with nothing missing below."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from edge.errors import LedgerError

log = logging.getLogger(__name__)

MOST = (1 << 63) - 1  # what SQLite takes as an integer
MEMORY = ":memory:"  # as SQLite calls a database without a file
_DEVICES = 10_000  # that are remembered for having sent what is no event

_TABLES = (
    "events (device TEXT, stream TEXT, seq INTEGER, kind TEXT, payload BLOB, PRIMARY KEY (device, stream, seq))",
    "positions (device TEXT, stream TEXT, seq INTEGER, PRIMARY KEY (device, stream))",
    "holes (device TEXT, stream TEXT, first INTEGER, last INTEGER)",
)


class Event(NamedTuple):
    """One event as it came in."""

    device: str  # <site>/<line>/<device>
    payload: bytes
    floor: int = 0  # the device no longer has this number and those below; -1: it sent something else


class Position(NamedTuple):
    """What to acknowledge."""

    stream: str
    seq: int  # all up to it is committed
    again: bool = False  # rows above it are missing: ask for them now


class _Key(msgspec.Struct, frozen=True):
    stream: str
    seq: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    kind: str


class Archive:
    """Every event once. Use from one thread; `committed` reads beside it."""

    def __init__(self, path: Path) -> None:
        """Open or create the database at `path`; raises `LedgerError`."""
        self.kept = 0  # committed since it was opened
        self.duplicates = 0  # had them already
        self.early = 0  # not taken, as rows before them are missing
        self._path = path
        self._warned: set[str] = set()  # devices
        self._lock = contextlib.ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if str(path) != MEMORY:
                self._lock.callback(os.close, _lock(path.resolve()))
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            for table in _TABLES:
                self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            rows = self._db.execute("SELECT device, stream, seq FROM positions ORDER BY rowid")
            self._at: dict[tuple[str, str], int] = {(device, stream): seq for device, stream, seq in rows}
        except (sqlite3.Error, OSError) as error:
            self._lock.close()
            raise LedgerError(f"database {path}: {error}; name a file in a folder that can be written") from error

    def positions(self) -> dict[str, Position]:
        """Return where each device's newest stream stands, as a request for what comes after."""
        return {device: Position(stream, seq, again=True) for (device, stream), seq in self._at.items()}

    def take(self, events: Sequence[Event]) -> tuple[list[Event], dict[str, Position]]:
        """Commit what is next, in one transaction; return it, and what each device is told. Raises `LedgerError`."""
        told: dict[str, Position] = {}
        before = dict(self._at)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            fresh = [event for event in events if self._take(event, told)]
            rows = [(*key, seq) for key, seq in self._at.items() if before.get(key) != seq]
            self._db.executemany(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (device, stream) DO UPDATE SET seq = excluded.seq",
                rows,
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(f"database {self._path}: {error}; check the disk, then start again") from error
        self.kept += len(fresh)
        return fresh, told

    def close(self) -> None:
        """Close the database."""
        self._db.close()
        self._lock.close()

    def _take(self, event: Event, told: dict[str, Position]) -> bool:
        try:
            key = msgspec.json.decode(event.payload, type=_Key)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._refuse(event.device, str(error))
        if not 0 <= event.floor <= MOST:
            return self._refuse(event.device, f"the floor is no number from 0 to {MOST}")
        source = (event.device, key.stream)
        at = self._at.setdefault(source, event.floor)  # a stream that is new to us begins above what is gone
        if event.floor > at:
            self._note_hole(source, at + 1, event.floor)
            at = event.floor
        fresh = key.seq == at + 1
        if fresh:
            self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (*source, key.seq, key.kind, event.payload))
            at = key.seq
        else:
            self.duplicates += key.seq <= at
            self.early += key.seq > at
        self._at[source] = at
        told[event.device] = Position(key.stream, at, again=key.seq > at)
        return fresh

    def _refuse(self, device: str, reason: str) -> bool:
        """Pass over what is no event; say so once for each device."""
        if device not in self._warned and len(self._warned) < _DEVICES:
            self._warned.add(device)
            log.warning("event=malformed device=%s reason=%s; further ones are ignored in silence", device, reason)
        return False

    def _note_hole(self, source: tuple[str, str], first: int, last: int) -> None:
        """Keep on record what will never come: this database is older than what was acknowledged from it."""
        log.error("event=missing device=%s stream=%s first=%d last=%d", *source, first, last)
        self._db.execute("INSERT INTO holes VALUES (?, ?, ?, ?)", (*source, first, last))


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock beside the database at `path`; raises `LedgerError`.

    Each process knows by itself how far every stream is, so two cannot write one database.
    """
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise LedgerError(
            f"database {path}: is in use by process {owner}; end that one, or give this receiver a file of its own"
        ) from error
    except OSError:
        os.close(lock)
        raise
    return lock


def committed(path: Path) -> list[tuple[str, str, int, bytes]]:
    """Return device, stream, seq and payload of all events in the database at `path`, in order."""
    db = sqlite3.connect(path, timeout=5.0)
    try:
        return db.execute("SELECT device, stream, seq, payload FROM events ORDER BY 1, 2, 3").fetchall()
    finally:
        db.close()
