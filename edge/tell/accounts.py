"""What each shift has come to: a summary when it is over, whatever happened meanwhile.

An account holds what all totals were when it was opened. It is in the ledger, and is closed and opened again by the
transaction that commits its summary: the summaries of a ledger add up to its totals, kills and power cuts included. A
shift that ended while nothing ran has its summary at the next start.

The time of day decides when a summary comes and nothing else. A clock that says a year before 2020 has not been set,
and is not asked; a replay that is not told when it was has no summaries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from edge.config import Config
from edge.config.tell_checks import OFF, zone_of
from edge.events import Event, GapEvent, GovernorEvent, SummaryEvent
from edge.tell import schema
from edge.tell.clocks import Clock, utc_text, wall_clock
from edge.tell.shifts import Every, Period, Schedule, Shifts

BACK = timedelta(minutes=1)  # that a clock may be set back to before the beginning: it is the same shift all the same
FIRST_YEAR, LAST_YEAR = 2020, 9999  # before: a clock that was never set; at the end, days can no longer be counted
_OPEN, _TOLD = "account/", "summary/"  # rows of the table meta: one of each schedule, and one of each name


class Account(msgspec.Struct):
    """What is known of a stretch of time that is not over."""

    name: str
    begin: datetime  # UTC, as scheduled
    end: datetime
    since: datetime  # UTC: when it was opened
    first_seq: int  # number of the first event in it
    totals: dict[str, int]  # as they were then
    lost: int  # events, then
    blind_s: dict[str, float] = {}  # by camera
    degraded_s: float = 0.0


class Accounts:
    """The accounts of one ledger. `due` and `take` are for the thread that commits; any may read `told`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` is the connection that commits."""
        self._db = db
        self.told: dict[str, bytes] = {}  # newest summary by its name, as it is told; replaced, never changed
        self._schedules: dict[str, Schedule] = {}
        self._lines: set[str] = set()
        self._clock: Clock = wall_clock
        self._simulated = False
        self._open: dict[str, Account] = {}  # by schedule
        self._resumed: set[str] = set()  # schedules whose account a run before this one has opened
        self._changed: set[str] = set()  # schedules whose account is of none of their periods any more
        self._dirty = False  # memory holds what the disk does not
        self._gaps: dict[str, float] = {}  # until when the last gap of each camera is told, s by the clock of frames
        self._degraded: float | None = None  # since when something is held back and not in the accounts, the same

    def follow(self, config: Config, clock: Clock) -> None:
        """Keep accounts as `config` has them, by the time that `clock` says."""
        self._clock, self._simulated = clock, config.simulated
        self._lines = {line.name for line in config.lines}
        if config.shifts:
            zone = zone_of(config.summary.timezone, "summary.timezone")
            self._schedules["shift"] = Shifts(config.shifts, zone)
        if config.summary.every_s is not None:
            self._schedules["every"] = Every(config.summary.every_s)
        for schedule in self._schedules:
            found = self._db.execute("SELECT value FROM meta WHERE key = ?", (_OPEN + schedule,)).fetchone()
            account = _decoded(None if found is None else found[0])
            if account is not None:
                self._open[schedule] = account
        self._resumed = set(self._open)
        self._changed = {name for name, account in self._open.items() if not _is_of(account, self._schedules[name])}
        rows = self._db.execute("SELECT key, value FROM meta WHERE key >= ? AND key < ?", (_TOLD, _TOLD + "~"))
        self.told = {key.removeprefix(_TOLD): str(value).encode() for key, value in rows} if self._schedules else {}

    def due(self, time: float, blind: Callable[[], Mapping[str, str]]) -> list[SummaryEvent]:
        """Return the summaries of what is over at `time`, s by the clock of the frames: commit them before all else.

        `blind` gives the cameras that do not see now.
        """
        if not self._schedules:
            return []
        now = self._clock(time)
        if not FIRST_YEAR <= now.year < LAST_YEAR:
            return []
        told = []
        for name, schedule in self._schedules.items():
            account = self._open.get(name)
            if account is not None and self._lasts(name, account, now):
                self._resumed.discard(name)
                continue
            if account is not None:
                told.append(self._closed(name, account, now, time, blind()))
            self._open[name] = self._opened(schedule.at(now), now)
            self._resumed.discard(name)
            self._changed.discard(name)
            self._dirty = True
        return [summary for summary in told if summary.shift != OFF or summary.counted or summary.lost_events]

    def take(self, events: Sequence[Event]) -> None:
        """Enter `events`, as they are told, into the accounts, within the transaction that commits them."""
        if not self._schedules:
            return
        for event in events:
            match event:
                case GapEvent() if event.camera:
                    self._note_gap(event)
                case GovernorEvent():
                    self._note_degraded(event.time, lasts=event.step > 0)
                case SummaryEvent():
                    payload = msgspec.json.encode(event)
                    self._set(_TOLD + event.shift, payload)
                    self.told = {**self.told, event.shift: payload}
        if self._dirty:
            for name, account in self._open.items():
                self._set(_OPEN + name, msgspec.json.encode(account))
            self._dirty = False

    def _lasts(self, name: str, account: Account, now: datetime) -> bool:
        return account.begin - BACK <= now < account.end and name not in self._changed

    def _opened(self, period: Period, now: datetime) -> Account:
        totals = {str(counter): int(total) for counter, total in self._db.execute("SELECT counter, total FROM totals")}
        last = int(self._db.execute(schema.LAST_SEQ).fetchone()[0])
        return Account(period.name, period.begin, period.end, now, last + 1, totals, self._lost())

    def _closed(
        self, name: str, account: Account, now: datetime, time: float, blind: Mapping[str, str]
    ) -> SummaryEvent:
        """Return what an account came to; what lasts (blindness, the governor's steps) is in it up to now."""
        over = now >= account.end
        down = over and name in self._resumed
        for camera in blind:
            if camera in self._gaps:
                self._add_blind(account, camera, self._gaps[camera], time, time)
        if self._degraded is not None:
            self._note_degraded(time, lasts=True)
        now_at = dict(self._db.execute("SELECT counter, total FROM totals").fetchall())
        counted = {str(key): int(total) - account.totals.get(key, 0) for key, total in sorted(now_at.items())}
        counted = {counter: number for counter, number in counted.items() if number > 0}
        return SummaryEvent(
            time=time, camera="", frame=0, simulated=self._simulated, shift=account.name,
            since=utc_text(account.since), until=utc_text(account.end if down else now),
            reason="down" if down else "ended" if over else "changed",
            counted=counted, bars=self._bars(counted),
            blind_s={camera: round(seconds, 3) for camera, seconds in sorted(account.blind_s.items())},
            degraded_s=round(account.degraded_s, 3), lost_events=self._lost() - account.lost,
            first_seq=account.first_seq,
        )  # fmt: skip

    def _bars(self, counted: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Return what each count of a line is between: contested crossings have totals of their own, below its name."""
        found = {}
        for counter, number in counted.items():
            line, *rest = counter.split("/")
            if line in self._lines and rest[-1:] not in (["missed"], ["doubled"]):
                least = number - counted.get(f"{counter}/doubled", 0)
                found[counter] = least, number + counted.get(f"{counter}/missed", 0)
        return found

    def _lost(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(lost), 0) FROM tallies").fetchone()[0])

    def _note_gap(self, gap: GapEvent) -> None:
        self._gaps[gap.camera] = gap.until
        for account in self._open.values():
            self._add_blind(account, gap.camera, gap.since, gap.until, gap.time)
            self._dirty = True

    def _add_blind(self, account: Account, camera: str, since: float, until: float, time: float) -> None:
        """Add what of a gap from `since` to `until` lies in an account; at `time` the clock is asked. All s."""
        now = self._clock(time)
        first = max(account.since, now - timedelta(seconds=time - since))
        last = min(account.end, now - timedelta(seconds=time - until))
        if last > first:
            account.blind_s[camera] = account.blind_s.get(camera, 0.0) + (last - first).total_seconds()

    def _note_degraded(self, time: float, *, lasts: bool) -> None:
        if self._degraded is not None:
            for account in self._open.values():
                account.degraded_s += max(0.0, time - self._degraded)
            self._dirty = True
        self._degraded = time if lasts else None

    def _set(self, key: str, value: bytes) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value.decode()),
        )


def _decoded(text: object) -> Account | None:
    """Return the account in a row; None where there is none, or none that can be read: then a new one is opened."""
    try:
        account = msgspec.json.decode(str(text), type=Account)
    except (msgspec.MsgspecError, ValueError):
        return None
    times = (account.begin, account.end, account.since)
    good = all(time.tzinfo is not None and FIRST_YEAR <= time.year < LAST_YEAR for time in times)
    return account if good else None


def _is_of(account: Account, schedule: Schedule) -> bool:
    """Tell whether an account is of a period of `schedule`: shifts may be others than they were."""
    return schedule.at(account.begin) == (account.name, account.begin, account.end)
