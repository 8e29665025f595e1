"""The tables of the ledger, and the proof that a file holds them undamaged."""

from __future__ import annotations

import re
import sqlite3
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

from edge.errors import LedgerError

VERSION = 2  # 2: the checksum of a row covers its number and kind
PAGE_BYTES = 4096
CACHE_KIB = 2000  # of pages that a connection keeps in memory: SQLite's own default, which builds of it change
BROKER = ""  # the receiver that stands for the broker's PUBACK where none is configured

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # AUTOINCREMENT: the number of a row that is gone is never given to another one.
    (
        "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload BLOB NOT NULL, "
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
# The accounts of the gates. A ledger that was made before there were any gets them when it is opened.
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
# Rows leave the outbox from its low end only, so its length needs no scan: two looks at the ends of the tree.
QUEUED = "SELECT coalesce((SELECT max(seq) FROM outbox) - (SELECT min(seq) FROM outbox) + 1, 0)"
# Highest number ever given to an event.
LAST_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)"
# Highest number that is no longer in the outbox, nor ever will be.
FLOOR = f"SELECT coalesce((SELECT min(seq) - 1 FROM outbox), ({LAST_SEQ}))"  # noqa: S608


def _none(table: str, wrong: str) -> str:
    return f"SELECT count(*) = 0 FROM {table} WHERE {wrong}"  # noqa: S608


def _no_number(column: str) -> str:
    return f"typeof({column}) <> 'integer' OR {column} NOT BETWEEN 0 AND {MOST}"


_TALLIES = " OR ".join(map(_no_number, ("counted", "queued", "delivered", "lost")))

# What holds in every ledger that was written by this code, whenever it was killed. Types come first: the others add up.
_LAWS = {
    "ids and session are there": "SELECT count(*) = 2 FROM meta WHERE key IN ('ids', 'session')",
    "ids, session and full_lost are numbers": _none(
        "meta", f"key IN ('ids', 'session', 'full_lost') AND ({_no_number('value')})"
    ),
    "full_since is a time": _none("meta", "key = 'full_since' AND typeof(value) NOT IN ('integer', 'real')"),
    "totals are numbers": _none("totals", f"typeof(counter) <> 'text' OR {_no_number('total')}"),
    "tallies are numbers": _none("tallies", f"typeof(kind) <> 'text' OR {_TALLIES}"),
    "every number given is that of an event": f"SELECT ({LAST_SEQ}) = "  # noqa: S608
    "(SELECT coalesce(sum(delivered + queued), 0) FROM tallies)",
    "the last number is in the outbox, or gone": f"SELECT ({LAST_SEQ}) >= (SELECT coalesce(max(seq), 0) FROM outbox)",  # noqa: S608
    "receivers have what is gone, and nothing that is to come": _none(
        "acknowledged",
        f"typeof(receiver) <> 'text' OR typeof(seq) <> 'integer' OR seq NOT BETWEEN ({FLOOR}) AND ({LAST_SEQ})",
    ),
    "counted = delivered + queued + lost": "SELECT count(*) = 0 FROM tallies "
    "WHERE counted <> delivered + queued + lost",
    "queued is the length of the outbox": f"SELECT (SELECT coalesce(sum(queued), 0) FROM tallies) = ({QUEUED})",  # noqa: S608
    "the outbox has no hole": f"SELECT (SELECT count(*) FROM outbox) = ({QUEUED})",  # noqa: S608
    "totals add up to the counts, arrivals and verdicts": "SELECT (SELECT coalesce(sum(total), 0) FROM totals) = "
    "(SELECT coalesce(sum(counted), 0) FROM tallies WHERE kind IN ('count', 'arrival', 'verdict'))",
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


def connect(path: Path, *, synchronous: str, autocheckpoint: int) -> sqlite3.Connection:
    """Return a connection to `path` in autocommit mode that any thread may use, one at a time."""
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute(f"PRAGMA wal_autocheckpoint={autocheckpoint}")
        db.execute(f"PRAGMA cache_size={-CACHE_KIB}")
        db.execute(f"PRAGMA journal_size_limit={4 << 20}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def create(db: sqlite3.Connection) -> None:
    """Write the tables of an empty ledger with a stream of its own, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    _add(db, [*TABLES, *GATES])
    rows = [("version", VERSION), ("stream", uuid.uuid4().hex), ("ids", 1), ("session", 0)]
    db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def check(db: sqlite3.Connection, path: Path) -> None:
    """Return if `path` is a sound ledger; raises `DamagedError`, or `LedgerError` for one of a newer version."""
    tables = {text for (text,) in db.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
    if not tables:
        create(db)  # a new file, or one whose first transaction was cut off
        return
    if _one(db, "PRAGMA quick_check(1)") != "ok":
        raise DamagedError("quick_check fails")
    _check_version(db, path)
    if not tables >= set(TABLES):
        raise DamagedError("its tables are not those of this version")
    _check_writable(db)
    _add(db, [table for table in GATES if table not in tables])
    stream = _one(db, "SELECT value FROM meta WHERE key = 'stream'")
    if not (isinstance(stream, str) and re.fullmatch("[0-9a-f]{32}", stream)):
        raise DamagedError("the stream has no name")
    for law, query in _LAWS.items():
        if _one(db, query) != 1:
            raise DamagedError(f"does not hold: {law}")
    for seq, kind, payload, crc in db.execute("SELECT seq, kind, payload, crc FROM outbox"):
        if not (isinstance(kind, str) and isinstance(payload, bytes) and checksum(seq, kind, payload) == crc):
            raise DamagedError(f"row {seq} of the outbox is altered")


def _add(db: sqlite3.Connection, tables: Sequence[str]) -> None:
    for table in tables:
        db.execute(table)


def checksum(seq: int, kind: str, payload: bytes) -> int:
    """Return the CRC-32 of a whole row of the outbox."""
    return zlib.crc32(payload, zlib.crc32(f"{seq} {kind} ".encode()))


def _check_writable(db: sqlite3.Connection) -> None:
    """Raise `sqlite3.Error` unless the file takes changes: one whose header names a format to come is read-only."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE meta SET value = value")
    finally:
        db.execute("ROLLBACK")


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = _one(db, "SELECT value FROM meta WHERE key = 'version'")
    # Written twice, so that one altered byte does not pass for another version.
    if version != _one(db, "PRAGMA user_version") or not isinstance(version, int):
        raise DamagedError("its two version numbers differ")
    if version > VERSION:
        raise LedgerError(
            f"ledger {path}: has schema {version}, this Foveate knows up to {VERSION}; "
            "install the newer version again, or move the file away to begin a new ledger"
        )
    if version < VERSION:
        raise LedgerError(
            f"ledger {path}: has schema {version}, this Foveate needs {VERSION}; "
            "let the older version deliver what is queued, or move the file away to begin a new ledger"
        )


def _one(db: sqlite3.Connection, query: str) -> object:
    row = db.execute(query).fetchone()
    return None if row is None else row[0]
