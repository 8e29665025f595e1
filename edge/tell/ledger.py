"""What was decided, on disk before the next frame: the side of the ledger that the pipeline writes.

At every moment, kills and power cuts included, ``counted = delivered + queued + lost``.

When the file nears its cap (``[ledger] max_mib``), what is delivered goes first, the oldest of it (`history.py`).
Nothing that is queued is ever dropped; what is new is let in by what it is worth. From three quarters of the cap on,
counts, arrivals, and who goes where, only raise their totals: they are lost as events, and declared. From seven eighths
on, so are PASS verdicts. All other verdicts, alerts and gaps go on until the cap. Once half of the file is free again,
a gap event with reason "outbox" says how many events were lost and since when, and counts are let in again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge import config
from edge.event_facts import PASSING, counter_of
from edge.events import Count, Event, GapEvent, Verdict
from edge.tell import schema
from edge.tell.accounts import Accounts
from edge.tell.clocks import Clock, utc_text, wall_clock
from edge.tell.gates import GateBook
from edge.tell.history import PRESSED_SHARE, STEP_ROWS, Calendar, drop_oldest, make_room
from edge.tell.outbox import Outbox
from edge.tell.sources import Sources
from edge.tell.store import Store, disk_errors

log = logging.getLogger(__name__)

_BEAT_S = 1.0
_RESERVE_PAGES = 16
NEWEST_ROWS = 2048  # events among which counts are looked for at a start
_NEWEST_COUNTS = "SELECT payload FROM events WHERE seq > ? AND kind = 'count' ORDER BY seq DESC"


@dataclass(frozen=True, slots=True)
class Identity:
    """Where every counted event is."""

    counted: int
    delivered: int  # acknowledged by every receiver
    queued: int  # on disk
    lost: int  # declared: the file was full; totals include them

    @property
    def holds(self) -> bool:
        """Return whether ``counted = delivered + queued + lost``."""
        return self.counted == self.delivered + self.queued + self.lost


@dataclass(slots=True)
class _Full:
    """Events lost since the file was full."""

    since: float = 0.0  # s, monotonic: time of the first one
    lost: int = 0


@dataclass(slots=True)
class _Draft:
    """What one transaction will change, so that memory follows only after the disk did."""

    seq: int
    full: _Full
    totals: dict[str, int] = field(default_factory=dict)  # those that change
    events: list[Event] = field(default_factory=list)
    rows: list[tuple[int, str, bytes, int]] = field(default_factory=list)
    pages: float = 0.0  # of the rows
    tallies: dict[str, list[int]] = field(default_factory=dict)  # kind -> counted, queued, lost


class Ledger:
    """The ledger in a state folder. One thread commits; `outbox` is for the thread that delivers."""

    def __init__(
        self,
        folder: Path,
        limits: config.Ledger,
        receivers: list[str],
        *,
        clock: Clock = wall_clock,
        stream: str | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        """Open or create the ledger in `folder`; a new one is for `stream`, if given. Raises `LedgerError`.

        `clock` gives the times in events; `calendar` says what of the history is too old.
        """
        self._store = Store(folder, limits.max_mib, stream)
        self._db = self._store.pipeline
        self._clock = clock
        self._beaten = float("-inf")  # s since 1970 UTC
        with contextlib.ExitStack() as undo, disk_errors(self._store.path):
            undo.callback(self._store.close)
            self._seq = int(self._db.execute(schema.LAST_SEQ).fetchone()[0])
            self._totals: dict[str, int] = dict(self._db.execute("SELECT counter, total FROM totals"))
            self._full = self._read_full()
            self.gates = GateBook(self._db)
            self.accounts = Accounts(self._db)
            self.sources = Sources(self._db)
            self.outbox = Outbox(self._store, receivers, self._seq, limits.keep_days, calendar)
            self._shrink()
            self._open_beat(folder / "beat")
            undo.callback(os.close, self._beat)
            if self._seq == 0 and self._store.follows_damage():
                self.commit([GapEvent(time=0.0, camera="", frame=0, since=0.0, until=0.0, reason="outbox")])
            undo.pop_all()

    @property
    def stream(self) -> str:
        """Return the id of this ledger; (device, stream, seq) is the key of an event."""
        return self.outbox.stream

    @property
    def full(self) -> bool:
        """Return whether events are being lost because the file is full."""
        return self._full.lost > 0

    def commit(self, events: Sequence[Event]) -> list[Event]:
        """Return `events` as they now are on disk, with stream, seq, utc and total; raises `LedgerError`.

        One transaction and one fsync; none without events. An event with ``seq`` 0 is lost as the file was full: its
        total is right, but it will not be told. A gap event that declares such losses may come first.
        """
        if not events:
            return []
        draft = _Draft(self._seq, _Full(self._full.since, self._full.lost))
        with self._store.transaction(self._db):
            self._draft(draft, events)
            self._write(draft)
            parts = self.gates.take(draft.events)
            self.accounts.take(draft.events)
            self.sources.take(draft.events)
        if parts:
            self.gates.read()
        self._log_full(draft.full)
        self._seq, self._full = draft.seq, draft.full
        self._totals = {**self._totals, **draft.totals}
        self.outbox.committed(self._seq)
        return draft.events

    def totals(self) -> dict[str, int]:
        """Return the running total of each counter; never falls in one stream. Any thread may ask."""
        return self._totals

    def newest_counts(self) -> list[Count]:
        """Return the counts among the newest events, the newest first; none where some of them are lost."""
        totals, found = dict(self._totals), []
        for (payload,) in self._db.execute(_NEWEST_COUNTS, (self._seq - NEWEST_ROWS,)):
            try:
                count = msgspec.json.decode(payload, type=Count)
            except (msgspec.MsgspecError, TypeError):  # altered on the disk
                return []
            if totals.get(count.counter) != count.total:
                return []
            totals[count.counter] -= 1
            found.append(count)
        return found

    def identity(self, kind: str | None = None) -> Identity:
        """Return where all events are, or those of one `kind`. Any thread may ask; raises `LedgerError`."""
        return Identity(*self.outbox.tally(kind))

    def reserve_ids(self, count: int) -> int:
        """Return the first of `count` numbers that no caller, before or after a restart, ever gets again."""
        with self._store.transaction(self._db):
            first = int(self._db.execute("SELECT value FROM meta WHERE key = 'ids'").fetchone()[0])
            self._set("ids", first + count)
        return first

    def beat(self, now: float) -> None:
        """Note that all is seen at `now`, s since 1970 UTC; touches the disk once a second, without fsync.

        Raises `LedgerError` also where the files are no longer in their folder.
        """
        if abs(now - self._beaten) < _BEAT_S:
            return
        self._beaten = now
        with disk_errors(self._store.path.with_name("beat")):
            self._store.check_there()
            os.pwrite(self._beat, f"{now:020.6f}\n".encode(), 0)

    def close(self) -> None:
        """Close the file and release the folder; raises `LedgerError`."""
        os.close(self._beat)
        self._store.close()

    def _shrink(self) -> None:
        """Drop history until there is room: `max_mib` may be less than it was. Nobody waits for it yet."""
        dropped = STEP_ROWS
        while dropped and self._store.used(self._db) > self._store.pages * PRESSED_SHARE:
            with self._store.transaction(self._db):
                dropped = drop_oldest(self._db, 16 * STEP_ROWS)

    def _open_beat(self, path: Path) -> None:
        """Open the file of the last beat. A power cut may tear it: then `last_beat` is None."""
        self._beat = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        text = os.pread(self._beat, 21, 0)  # 21 zero bytes after a power cut; never NaN, never infinite
        self.last_beat = float(text) if re.fullmatch(rb"[0-9]{13}\.[0-9]{6}\n", text) else None

    def _read_full(self) -> _Full:
        found = dict(self._db.execute("SELECT key, value FROM meta WHERE key IN ('full_since', 'full_lost')"))
        return _Full(float(found.get("full_since", 0.0)), int(found.get("full_lost", 0)))

    def _set(self, key: str, value: float) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def _draft(self, draft: _Draft, events: Sequence[Event]) -> None:
        pages = self._store.pages
        used = self._store.used(self._db)
        first = events[0]
        if draft.full.lost and used < pages * PRESSED_SHARE:
            since = min(draft.full.since, first.time)  # monotonic time begins anew with the machine
            lost = draft.full.lost
            draft.full = _Full()
            gap = GapEvent(
                time=first.time, camera="", frame=first.frame, simulated=first.simulated,
                since=since, until=first.time, reason="outbox", lost_events=lost,
            )  # fmt: skip
            self._draft_event(draft, gap, used)
        for event in events:
            self._draft_event(draft, event, used)

    def _draft_event(self, draft: _Draft, event: Event, used: int) -> None:
        counter = counter_of(event)
        changes: dict[str, object] = {"stream": self.stream, "utc": utc_text(self._clock(event.time))}
        if counter is not None:
            draft.totals[counter] = draft.totals.get(counter, self._totals.get(counter, 0)) + 1
            changes["total"] = draft.totals[counter]
        kind = event.__struct_config__.tag
        tally = draft.tallies.setdefault(str(kind), [0, 0, 0])
        tally[0] += 1
        changes["seq"] = draft.seq + 1
        told = msgspec.structs.replace(event, **changes)
        payload = msgspec.json.encode(told)
        pages = _pages(payload)
        if self._admits(event, draft, used + draft.pages + pages):
            draft.seq += 1
            draft.pages += pages
            draft.rows.append((draft.seq, str(kind), payload, schema.checksum(draft.seq, str(kind), payload)))
            tally[1] += 1
        else:
            told = msgspec.structs.replace(told, seq=0)
            draft.full = _Full(draft.full.since if draft.full.lost else event.time, draft.full.lost + 1)
            tally[2] += 1
        draft.events.append(told)

    def _admits(self, event: Event, draft: _Draft, pages: float) -> bool:
        """Return whether `event` may take the file to `pages`. The last ones are kept for totals and tallies."""
        cap = self._store.pages
        match event:
            case event if isinstance(event, PASSING):
                return not draft.full.lost and pages <= cap * 3 / 4
            case Verdict(verdict="PASS"):
                return pages <= cap * 7 / 8
            case _:
                return pages <= cap - max(_RESERVE_PAGES, cap // 32)

    def _write(self, draft: _Draft) -> None:
        db = self._db
        db.executemany("INSERT INTO events (seq, kind, payload, crc) VALUES (?, ?, ?, ?)", draft.rows)
        db.executemany(
            "INSERT INTO totals VALUES (?, ?) ON CONFLICT (counter) DO UPDATE SET total = excluded.total",
            list(draft.totals.items()),
        )
        db.executemany(
            "INSERT INTO tallies VALUES (?, ?, ?, 0, ?) ON CONFLICT (kind) DO UPDATE SET "
            "counted = counted + excluded.counted, queued = queued + excluded.queued, lost = lost + excluded.lost",
            [(kind, *numbers) for kind, numbers in draft.tallies.items()],
        )
        if draft.full != self._full:
            self._set("full_since", draft.full.since)
            self._set("full_lost", draft.full.lost)
        make_room(self._store, db)

    def _log_full(self, full: _Full) -> None:
        if full.lost and not self._full.lost:
            log.error("ledger=full path=%s fix=raise [ledger] max_mib, or bring the receivers back", self._store.path)
        elif self._full.lost and not full.lost:
            log.info("ledger=has_room path=%s lost=%d", self._store.path, self._full.lost)


def _pages(payload: bytes) -> float:
    """Return about how many pages a row takes: its share of a leaf, or whole pages if it overflows one."""
    size = len(payload) + 32
    return size / schema.PAGE_BYTES * 1.1 if size < schema.PAGE_BYTES / 4 else size // schema.PAGE_BYTES + 2
