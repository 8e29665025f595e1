"""The side of the ledger that the delivery thread uses: what is still to be told, and who has it."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edge.tell import schema
from edge.tell.store import Store, disk_errors

_CHECKPOINT_COMMITS = 100  # of either side; about 600 pages of the write-ahead log


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
    """Records above the floor, in order. Made by `Ledger`; its methods are for one other thread."""

    def __init__(self, store: Store, receivers: list[str], last_seq: int) -> None:
        self.receivers = sorted(set(receivers)) or [schema.BROKER]
        self.last_seq = last_seq  # committed so far
        self._store = store
        self._db = store.delivery
        self._lock = threading.Lock()  # one thread at a time on the connection
        self._sent = last_seq  # a run before this one may have sent all it had
        self._commits = 0
        self._wake: Callable[[], None] | None = None
        self.stream = str(self._db.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()[0])
        self._settle_receivers()
        rows = self._db.execute("SELECT receiver, seq FROM acknowledged")
        self.acknowledged: dict[str, int] = {str(name): int(seq) for name, seq in rows}
        self._release(min(self.acknowledged.values()))

    @property
    def floor(self) -> int:
        """Return the highest number that every receiver has: it and what is below are gone."""
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
        """Return at most `limit` rows above number `after`, in order; raises `LedgerError`."""
        query = "SELECT seq, payload, kind FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._lock, disk_errors(self._store.path):
            rows = [Row(*row) for row in self._db.execute(query, (after, limit))]
        if rows:
            self._sent = max(self._sent, rows[-1].seq)
        return rows

    def acknowledge(self, receiver: str, stream: str, seq: int) -> Answer:
        """Take note that `receiver` has everything up to `seq`; rows that all have leave. Raises `LedgerError`.

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
            self._delete(min([seq, *others]))
        self.acknowledged[receiver] = seq
        self._commits += 1
        self._checkpoint()
        return Answer.PROGRESS

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
        queued = f"({schema.QUEUED})" if kind is None else "coalesce(sum(queued), 0)"
        query = (
            f"SELECT coalesce(sum(counted), 0), coalesce(sum(delivered), 0), {queued}, coalesce(sum(lost), 0) "  # noqa: S608
            "FROM tallies WHERE ?1 IS NULL OR kind = ?1"
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
            self._delete(floor)

    def _delete(self, floor: int) -> None:
        """Drop the rows up to `floor` and count them as delivered."""
        found = self._db.execute("SELECT kind, count(*) FROM outbox WHERE seq <= ? GROUP BY kind", (floor,)).fetchall()
        if not found:
            return
        self._db.executemany(
            "UPDATE tallies SET queued = queued - ?2, delivered = delivered + ?2 WHERE kind = ?1", found
        )
        self._db.execute("DELETE FROM outbox WHERE seq <= ?", (floor,))

    def _checkpoint(self) -> None:
        """Move the write-ahead log into the file from time to time, here where no frame waits for it."""
        if self._commits < _CHECKPOINT_COMMITS:
            return
        self._commits = 0
        with self._lock, disk_errors(self._store.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
