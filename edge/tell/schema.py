"""The tables of the ledger, and the proof that a file holds them undamaged."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from edge.errors import LedgerError
from edge.events import Event

VERSION = 4  # 2: the checksum of a row covers its number and kind; 3: rows stay when delivered; 4: accounts of gates
OLDEST = 2  # that is brought to this version when it is opened
PAGE_BYTES = 4096
CACHE_KIB = 2000  # of pages that a connection keeps in memory: SQLite's own default, which builds of it change
BROKER = ""  # the receiver that stands for the broker's PUBACK where none is configured

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # AUTOINCREMENT: the number of a row that is gone is never given to another one.
    # In quotes, as SQLite writes the name of a table that was renamed: it was "outbox" in version 2.
    (
        'CREATE TABLE "events" (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload BLOB NOT NULL, '
        "crc INTEGER NOT NULL)"
    ),
    "CREATE TABLE totals (counter TEXT PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE acknowledged (receiver TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE tallies (kind TEXT PRIMARY KEY, counted INTEGER NOT NULL, queued INTEGER NOT NULL, "
        "delivered INTEGER NOT NULL, lost INTEGER NOT NULL) WITHOUT ROWID"
    ),
)

_PARTS = ("seen", "passed", "rejected", "reviewed", "expired", "astray")
# The accounts of the gates, which versions before 4 had not.
GATES = (
    "CREATE TABLE gates (gate TEXT PRIMARY KEY, "
    + ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _PARTS)
    + ") WITHOUT ROWID",
    (
        "CREATE TABLE under_way (gate TEXT NOT NULL, track INTEGER NOT NULL, camera TEXT NOT NULL, "
        "label TEXT NOT NULL, x REAL NOT NULL, y REAL NOT NULL, PRIMARY KEY (gate, track)) WITHOUT ROWID"
    ),
)

MOST = 2**53  # no number in a ledger is larger, nor will be
# Highest number ever given to an event.
LAST_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
# Highest number that every receiver has: they are delivered in order, so it is how many there are.
FLOOR = "SELECT coalesce(sum(delivered), 0) FROM tallies"


def _none(table: str, wrong: str) -> str:
    return f"SELECT count(*) = 0 FROM {table} WHERE {wrong}"  # noqa: S608


def _no_number(column: str) -> str:
    return f"typeof({column}) <> 'integer' OR {column} NOT BETWEEN 0 AND {MOST}"


_COUNTED = ", ".join(f"'{kind.__struct_config__.tag}'" for kind in get_args(Event) if "total" in kind.__struct_fields__)
_TALLIES = " OR ".join(map(_no_number, ("counted", "queued", "delivered", "lost")))

IDENTITY = "counted = delivered + queued + lost"
# What holds in every ledger that was written by this code, whenever it was killed. Types come first: the others add up.
LAWS = {
    "ids and session are there": "SELECT count(*) = 2 FROM meta WHERE key IN ('ids', 'session')",
    "ids, session and full_lost are numbers": _none(
        "meta", f"key IN ('ids', 'session', 'full_lost') AND ({_no_number('value')})"
    ),
    "full_since is a time": _none("meta", "key = 'full_since' AND typeof(value) NOT IN ('integer', 'real')"),
    "totals are numbers": _none("totals", f"typeof(counter) <> 'text' OR {_no_number('total')}"),
    "tallies are numbers": _none("tallies", f"typeof(kind) <> 'text' OR {_TALLIES}"),
    "every number given is that of an event": f"SELECT ({LAST_SEQ}) = "  # noqa: S608
    "(SELECT coalesce(sum(delivered + queued), 0) FROM tallies)",
    "the last row has the last number": f"SELECT ({LAST_SEQ}) = coalesce((SELECT max(seq) FROM events), ({LAST_SEQ}))",  # noqa: S608
    "receivers have what is delivered, and nothing that is to come": _none(
        "acknowledged",
        f"typeof(receiver) <> 'text' OR typeof(seq) <> 'integer' OR seq NOT BETWEEN ({FLOOR}) AND ({LAST_SEQ})",
    ),
    IDENTITY: "SELECT count(*) = 0 FROM tallies WHERE counted <> delivered + queued + lost",
    "the rows have no hole": "SELECT (SELECT count(*) FROM events) = "
    "coalesce((SELECT max(seq) FROM events) - (SELECT min(seq) FROM events) + 1, 0)",
    "a row is there for all that is queued": "SELECT (SELECT coalesce(sum(queued), 0) FROM tallies) = "  # noqa: S608
    f"(SELECT count(*) FROM events WHERE seq > ({FLOOR}))",
    "queued are as many of each kind as its rows": "SELECT count(*) = 0 FROM "  # noqa: S608
    "(SELECT kind, queued FROM tallies WHERE queued > 0 EXCEPT "
    f"SELECT kind, count(*) FROM events WHERE seq > ({FLOOR}) GROUP BY kind)",
    "totals add up to the events that raise one": "SELECT (SELECT coalesce(sum(total), 0) FROM totals) = "  # noqa: S608
    f"(SELECT coalesce(sum(counted), 0) FROM tallies WHERE kind IN ({_COUNTED}))",
    "gates are numbers": _none("gates", " OR ".join(["typeof(gate) <> 'text'", *map(_no_number, _PARTS)])),
    "parts under way are of a gate": _none(
        "under_way",
        " OR ".join(
            [
                "gate NOT IN (SELECT gate FROM gates)",
                "typeof(camera) <> 'text'",
                "typeof(label) <> 'text'",
                "typeof(x) <> 'real'",
                "typeof(y) <> 'real'",
                _no_number("track"),
            ]
        ),
    ),
    "seen = passed + rejected + reviewed + expired + under way": "SELECT count(*) = 0 FROM gates WHERE seen <> "
    "passed + rejected + reviewed + expired + (SELECT count(*) FROM under_way WHERE under_way.gate = gates.gate)",
}


class DamagedError(Exception):
    """A ledger file holds what this code never wrote."""


# What says that a file is no sound ledger. SQLite quotes names out of a damaged file, and those need not be text.
DAMAGE = (sqlite3.Error, DamagedError, UnicodeDecodeError)


def connect(path: Path, *, synchronous: str, autocheckpoint: int) -> sqlite3.Connection:
    """Return a connection to `path` in autocommit mode that any thread may use, one at a time."""
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute(f"PRAGMA wal_autocheckpoint={autocheckpoint}")
        db.execute(f"PRAGMA cache_size={-CACHE_KIB}")
        db.execute(f"PRAGMA journal_size_limit={4 << 20}")
    except DAMAGE:
        db.close()
        raise
    return db


def create(db: sqlite3.Connection, stream: str | None = None) -> None:
    """Write the tables of an empty ledger in one transaction; its `stream` is one that no other has, or a given one."""
    db.execute("BEGIN IMMEDIATE")
    for table in (*TABLES, *GATES):
        db.execute(table)
    rows = [("version", VERSION), ("stream", stream or uuid.uuid4().hex), ("ids", 1), ("session", 0)]
    db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def check(db: sqlite3.Connection, path: Path, stream: str | None = None) -> None:
    """Return if `path` is a sound ledger of this version, and make it one where it is empty or of an older version.

    `stream` is that of an empty one. Raises `DamagedError`, or `LedgerError` for a version that is unknown here; then
    nothing was changed.
    """
    if not _tables(db):
        create(db, stream)  # a new file, or one whose first transaction was cut off
        return
    if _one(db, "PRAGMA quick_check(1)") != "ok":
        raise DamagedError("quick_check fails")
    version = version_of(db, path)
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE meta SET value = value")  # a file whose header names a format to come cannot be written
        if version < VERSION:
            _migrate(db, version)
        _check_sound(db)
        db.execute("COMMIT" if version < VERSION else "ROLLBACK")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back on its own
            db.execute("ROLLBACK")
        raise


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema; raises `DamagedError`, or `LedgerError` for one that is unknown here."""
    version = _one(db, "SELECT value FROM meta WHERE key = 'version'")
    # Written twice, so that one altered byte does not pass for another version.
    if version != _one(db, "PRAGMA user_version") or not isinstance(version, int):
        raise DamagedError("its two version numbers differ")
    if version > VERSION:
        raise LedgerError(
            f"ledger {path}: has schema {version}, this Foveate knows up to {VERSION}; "
            "install the newer version again, or move the file away to begin a new ledger"
        )
    if version < OLDEST:
        raise LedgerError(
            f"ledger {path}: has schema {version}, this Foveate needs {OLDEST} to {VERSION}; "
            "let the older version deliver what is queued, or move the file away to begin a new ledger"
        )
    return version


def broken_laws(db: sqlite3.Connection) -> Iterator[tuple[str, bool]]:
    """Yield every law of `LAWS`, and whether it is broken."""
    for law, query in LAWS.items():
        yield law, _one(db, query) != 1


def is_sound(seq: int, kind: object, payload: object, crc: object) -> bool:
    """Return whether a row is as it was written."""
    return isinstance(kind, str) and isinstance(payload, bytes) and checksum(seq, kind, payload) == crc


def checksum(seq: int, kind: str, payload: bytes) -> int:
    """Return the CRC-32 of a whole row."""
    return zlib.crc32(payload, zlib.crc32(f"{seq} {kind} ".encode()))


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Make this version of an older one. What was in the outbox of version 2 is queued, what it delivered is gone."""
    if version < 3:
        db.execute("ALTER TABLE outbox RENAME TO events")
    for table in GATES:
        db.execute(table)
    db.execute("UPDATE meta SET value = ? WHERE key = 'version'", (VERSION,))
    db.execute(f"PRAGMA user_version={VERSION}")


def _check_sound(db: sqlite3.Connection) -> None:
    """Raise `DamagedError` where a law is broken, or a row that is still to be told is not as it was written.

    Rows that are delivered may be many, and nothing depends on them: `foveate ledger verify` checks these too.
    """
    if not _tables(db) >= {*TABLES, *GATES}:
        raise DamagedError("its tables are not those of this version")
    stream = _one(db, "SELECT value FROM meta WHERE key = 'stream'")
    if not (isinstance(stream, str) and re.fullmatch("[0-9a-f]{32}", stream)):
        raise DamagedError("the stream has no name")
    for law, broken in broken_laws(db):
        if broken:
            raise DamagedError(f"does not hold: {law}")
    for row in db.execute(f"SELECT seq, kind, payload, crc FROM events WHERE seq > ({FLOOR})"):  # noqa: S608
        if not is_sound(*row):
            raise DamagedError(f"row {row[0]} is altered")


def _tables(db: sqlite3.Connection) -> set[str]:
    return {text for (text,) in db.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}


def _one(db: sqlite3.Connection, query: str) -> object:
    row = db.execute(query).fetchone()
    return None if row is None else row[0]
