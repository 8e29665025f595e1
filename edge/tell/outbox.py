"""The side of the ledger that the delivery thread uses: what is still to be told, who has it, what of it is kept."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edge.tell import schema
from edge.tell.history import Calendar, History, drop_oldest
from edge.tell.store import Store, disk_errors

_CHECKPOINT_COMMITS = 100  # of either side; about 600 pages of the write-ahead log
_TEND_S = 0.2  # from one look at the history to the next
_TEND_AGAIN_S = 0.02  # the same where something of it had to go


class Row(NamedTuple):
    """One event that is still to be told."""

    seq: int
    payload: bytes
    kind: str


class Answer(enum.Enum):
    """What an acknowledgement was worth."""

    PROGRESS = "progress"
    REPEATED = "repeated"  # this or a higher number was acknowledged before
    STRANGER = "stranger"  # no receiver of that name is configured
    FOREIGN = "foreign"  # the stream of another ledger
    AHEAD = "ahead"  # a number that was never sent


class Outbox:
    """Rows above the floor, in order. Made by `Ledger`; its methods are for one other thread."""

    def __init__(
        self, store: Store, receivers: list[str], last_seq: int, keep_days: int, calendar: Calendar | None = None
    ) -> None:
        self.receivers = sorted(set(receivers)) or [schema.BROKER]
        self.last_seq = last_seq  # committed so far
        self._store = store
        self._db = store.delivery
        self._lock = threading.Lock()  # one thread at a time on the connection
        self._sent = last_seq  # a run before this one may have sent all it had
        self._commits = 0
        self._history = History(store, keep_days, calendar or Calendar())
        self._tend_at = 0.0  # s, monotonic
        self._wake: Callable[[], None] | None = None
        self.stream = str(self._db.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()[0])
        self._settle_receivers()
        rows = self._db.execute("SELECT receiver, seq FROM acknowledged")
        self.acknowledged: dict[str, int] = {str(name): int(seq) for name, seq in rows}
        self._release(self.floor)

    @property
    def floor(self) -> int:
        """Return the highest number that every receiver has: it and what is below is delivered."""
        return min(self.acknowledged.values())

    @property
    def queued(self) -> int:
        """Return how many events are not yet acknowledged by all."""
        return self.last_seq - self.floor

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called, in the pipeline's thread, after each commit."""
        self._wake = wake

    def committed(self, last_seq: int) -> None:
        """Take note that the pipeline has committed up to `last_seq`."""
        self.last_seq = last_seq
        self._commits += 1
        if self._wake is not None:
            self._wake()

    def pending(self, after: int, limit: int) -> list[Row]:
        """Return at most `limit` queued rows above number `after`, in order; raises `LedgerError`."""
        query = "SELECT seq, payload, kind FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._lock, disk_errors(self._store.path):
            rows = [Row(*row) for row in self._db.execute(query, (max(after, self.floor), limit))]
        if rows:
            self._sent = max(self._sent, rows[-1].seq)
        return rows

    def newest(self, limit: int) -> list[bytes]:
        """Return the payloads of at most `limit` events, the newest ones; raises `LedgerError`."""
        query = "SELECT payload FROM events ORDER BY seq DESC LIMIT ?"
        with self._lock, disk_errors(self._store.path):
            return [bytes(payload) for (payload,) in self._db.execute(query, (limit,))]

    def acknowledge(self, receiver: str, stream: str, seq: int) -> Answer:
        """Take note that `receiver` has everything up to `seq`; what all have is delivered. Raises `LedgerError`.

        Anything but `Answer.PROGRESS` changes nothing.
        """
        if receiver not in self.acknowledged:
            return Answer.STRANGER
        if stream != self.stream:
            return Answer.FOREIGN
        if seq > self._sent:
            return Answer.AHEAD
        if seq <= self.acknowledged[receiver]:
            return Answer.REPEATED
        others = [number for name, number in self.acknowledged.items() if name != receiver]
        with self._lock, self._store.transaction(self._db):
            self._db.execute("UPDATE acknowledged SET seq = ? WHERE receiver = ?", (seq, receiver))
            self._deliver(min([seq, *others]))
        self.acknowledged[receiver] = seq
        self._commits += 1
        self._checkpoint()
        return Answer.PROGRESS

    def tend(self) -> None:
        """Look after the history from time to time; call it as often as you like. Raises `LedgerError`."""
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + (_TEND_AGAIN_S if self.drop_history() else _TEND_S)

    def drop_history(self) -> int:
        """Drop delivered rows that are too many or too old, a few; return how many. Raises `LedgerError`."""
        with self._lock, disk_errors(self._store.path):
            due = self._history.due()
        if not due:
            return 0
        with self._lock, self._store.transaction(self._db):
            dropped = drop_oldest(self._db, due)
        self._commits += 1
        self._checkpoint()
        return dropped

    def next_session(self) -> int:
        """Return the number of a new connection, above all before it and durable; raises `LedgerError`.

        Not below the time of day in seconds, so that a device whose ledger was lost does not seem to go back.
        """
        with self._lock, disk_errors(self._store.path):
            self._db.execute("PRAGMA synchronous=FULL")
            try:
                with self._store.transaction(self._db):
                    last = int(self._db.execute("SELECT value FROM meta WHERE key = 'session'").fetchone()[0])
                    session = max(last + 1, int(time.time()))
                    self._db.execute("UPDATE meta SET value = ? WHERE key = 'session'", (session,))
            finally:
                self._db.execute("PRAGMA synchronous=NORMAL")
        return session

    def tally(self, kind: str | None = None) -> tuple[int, int, int, int]:
        """Return counted, delivered, queued and lost events in one query; raises `LedgerError`."""
        query = (
            "SELECT coalesce(sum(counted), 0), coalesce(sum(delivered), 0), coalesce(sum(queued), 0), "
            "coalesce(sum(lost), 0) FROM tallies WHERE ?1 IS NULL OR kind = ?1"
        )
        with self._lock, disk_errors(self._store.path):
            counted, delivered, waiting, lost = self._db.execute(query, (kind,)).fetchone()
        return counted, delivered, waiting, lost

    def _settle_receivers(self) -> None:
        """Begin a new receiver at the floor, and forget those that are no longer configured."""
        with self._store.transaction(self._db):
            floor = int(self._db.execute(schema.FLOOR).fetchone()[0])
            known = {name for (name,) in self._db.execute("SELECT receiver FROM acknowledged")}
            gone = [(name,) for name in known - set(self.receivers)]
            self._db.executemany("DELETE FROM acknowledged WHERE receiver = ?", gone)
            new = [(name, floor) for name in self.receivers if name not in known]
            self._db.executemany("INSERT INTO acknowledged VALUES (?, ?)", new)

    def _release(self, floor: int) -> None:
        with self._store.transaction(self._db):
            self._deliver(floor)

    def _deliver(self, floor: int) -> None:
        """Count the rows up to `floor` as delivered; they stay, as history."""
        query = f"SELECT kind, count(*) FROM events WHERE seq > ({schema.FLOOR}) AND seq <= ? GROUP BY kind"  # noqa: S608
        found = self._db.execute(query, (floor,)).fetchall()
        self._db.executemany(
            "UPDATE tallies SET queued = queued - ?2, delivered = delivered + ?2 WHERE kind = ?1", found
        )

    def _checkpoint(self) -> None:
        """Move the write-ahead log into the file from time to time, here where no frame waits for it."""
        if self._commits < _CHECKPOINT_COMMITS:
            return
        self._commits = 0
        with self._lock, disk_errors(self._store.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
