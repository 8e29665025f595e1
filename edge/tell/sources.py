"""Where the frames of each camera came from, so that a count leads to a recording and not only to a frame's number.

One row of the table meta: from which event on the cameras had which sources. It changes with the first event that is
committed after they do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from edge.events import Event

KEY = "sources"
MOST = 64  # changes that are remembered, the newest
_Rows = list[tuple[int, dict[str, str]]]


class Sources:
    """The sources of one ledger's events. For the thread that commits."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` is the connection that commits."""
        self._db = db
        self._new: dict[str, str] | None = None  # not yet on the disk

    def follow(self, sources: Mapping[str, str]) -> None:
        """Note that events come from these `sources` now, by camera."""
        known = _read(self._db)
        self._new = None if known and known[-1][1] == sources else dict(sources)

    def take(self, events: Sequence[Event]) -> None:
        """Write what is new with the first of `events`, within the transaction that commits them."""
        if self._new is None or not events[0].seq:
            return
        rows = [*_read(self._db), (events[0].seq, self._new)][-MOST:]
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (KEY, msgspec.json.encode(rows).decode()),
        )
        self._new = None


def source_of(db: sqlite3.Connection, camera: str, seq: int) -> str | None:
    """Return where the frames of `camera` came from when event number `seq` was decided; None: nobody knows."""
    found = [sources.get(camera) for first, sources in _read(db) if first <= seq]
    return found[-1] if found else None


def _read(db: sqlite3.Connection) -> _Rows:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchone()
    try:
        return msgspec.json.decode(str(row[0]), type=_Rows) if row else []
    except (msgspec.MsgspecError, ValueError):  # altered on the disk: nothing else depends on it
        return []
