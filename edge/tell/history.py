"""Which delivered events are kept: the newest, so that a count can be traced to the frame it was made in.

Rows that every receiver has acknowledged stay until they are older than ``[ledger] keep_days``, or until the file has
no room for them. They are the first to go: what is queued is never dropped for them, and no new event is lost for them.

The delivery thread drops them, at most `STEP_ROWS` in a transaction of its own, where more than `KEPT_SHARE` of the
file is in use: the pipeline's commits find room. Where there is no delivery thread, or it does not keep up, a commit
that finds more than `PRESSED_SHARE` in use drops about as much as it writes.

How old a row is, the wall clock says: nobody decides by it but this. It is believed once it has run without a step for
`SETTLED_S`, so that a clock that is set wrong for a moment makes nothing old.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timezone

import msgspec

from edge.tell import schema
from edge.tell.store import Store

STEP_ROWS = 256  # dropped in one transaction, at the most
KEPT_SHARE = 3 / 8  # of the file in use above which history is dropped
PRESSED_SHARE = 1 / 2  # the same, by the pipeline itself
SETTLED_S = 600.0
_MOST_STEPS = 8  # of one commit
_SLACK_PAGES = 8  # that a commit makes free beyond what it takes
_STEP_S = 2.0  # by which two clocks may part between two looks
_DAY_S = 86400.0
_PLACES = (STEP_ROWS - 1, 15, 0)  # of a row that may be too old, from the oldest one on

_OLDEST = "(SELECT min(seq) FROM events)"
# One bound, the lower of two: SQLite looks for a row by one, and would read all rows up to the other.
_DROP = f"DELETE FROM events WHERE seq <= min({_OLDEST} + ?1 - 1, ({schema.FLOOR}))"  # noqa: S608
_DELIVERED = f"SELECT payload FROM events WHERE seq = {_OLDEST} + ?1 AND seq <= ({schema.FLOOR})"  # noqa: S608


class _Told(msgspec.Struct):
    """What of an event says how old it is."""

    utc: str


class Calendar:
    """The wall clock, as far as it can be believed."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._since = monotonic()
        self._ahead = wall() - self._since

    def now(self) -> float | None:
        """Return s since 1970 UTC; None where the clock has been set within the last `SETTLED_S`. Ask often."""
        wall, monotonic = self._wall(), self._monotonic()
        if abs(wall - monotonic - self._ahead) > _STEP_S:
            self._since = monotonic
        self._ahead = wall - monotonic  # it may run a little faster or slower
        return wall if monotonic - self._since >= SETTLED_S else None


class History:
    """What of the history is to go, as the delivery thread sees it."""

    def __init__(self, store: Store, keep_days: int, calendar: Calendar) -> None:
        self._store, self._db = store, store.delivery
        self._keep_s = keep_days * _DAY_S
        self._calendar = calendar

    def due(self) -> int:
        """Return how many of the oldest rows are to be dropped now."""
        now = self._calendar.now()
        if self._utc(0) is None:
            return 0
        if not self._keep_s or self._store.used(self._db) > KEPT_SHARE * self._store.pages:
            return STEP_ROWS
        return 0 if now is None else self._too_old(now - self._keep_s)

    def _too_old(self, before: float) -> int:
        """Return how many of the oldest rows to drop: one that is behind them is older than `before`, s since 1970."""
        limit = datetime.fromtimestamp(max(0.0, before), timezone.utc).isoformat()
        for place in _PLACES:
            utc = self._utc(place)
            if utc is not None and utc < limit:
                return place + 1
        return 0

    def _utc(self, place: int) -> str | None:
        """Return the time of the row so many behind the oldest; None where it is not delivered, or not there."""
        row = self._db.execute(_DELIVERED, (place,)).fetchone()
        if row is None:
            return None
        try:
            return msgspec.json.decode(row[0], type=_Told).utc
        except (msgspec.MsgspecError, TypeError, ValueError):  # altered on the disk; nobody can read it any more
            return ""


def drop_oldest(db: sqlite3.Connection, rows: int) -> int:
    """Drop at most so many of the oldest rows that are delivered; return how many. For use in a transaction."""
    return db.execute(_DROP, (rows,)).rowcount


def make_room(store: Store, db: sqlite3.Connection) -> None:
    """Drop history, in the transaction of a commit, where more than `PRESSED_SHARE` of the file is in use.

    About as much as the commit has written: before each commit there is room, so this suffices.
    """
    most = PRESSED_SHARE * store.pages - _SLACK_PAGES
    for _ in range(_MOST_STEPS):
        if store.used(db) <= most or not drop_oldest(db, STEP_ROWS):
            return
