"""When shifts begin and end: by the time of day of their place, daylight saving included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import NamedTuple, Protocol

from edge import config
from edge.config.tell_checks import EVERY, OFF

MINUTE = timedelta(minutes=1)
_MOST_SKIPPED = 24 * 60  # minutes that a place has left out at once, at the most: a day


class Period(NamedTuple):
    """A stretch of time that has a summary of its own."""

    name: str
    begin: datetime  # UTC
    end: datetime


class Schedule(Protocol):
    """What follows what, without a hole."""

    def at(self, now: datetime) -> Period:
        """Return the period that `now` is in."""
        ...


class Shifts:
    """The shifts of every day, and between them the time off.

    A shift begins and ends when the clocks of its place show so, and is an hour longer or shorter where they are
    changed in it. Of an hour that comes twice the first counts; a time that is left out is when the clocks go on.
    """

    def __init__(self, shifts: Sequence[config.Shift], zone: tzinfo) -> None:
        """`shifts` are one or more that do not overlap."""
        self._shifts = [
            (shift.name, time.fromisoformat(shift.start), time.fromisoformat(shift.end)) for shift in shifts
        ]
        self._zone = zone

    def at(self, now: datetime) -> Period:
        """Return the shift that `now` is in, or the time off."""
        today = now.astimezone(self._zone).date()
        days = [today + timedelta(days=offset) for offset in range(-2, 3)]
        near = [self._period(day, *shift) for day in days for shift in self._shifts]
        near = [period for period in near if period.begin < period.end]  # one that is left out is none
        for period in near:
            if period.begin <= now < period.end:
                return period
        before = max(period.end for period in near if period.end <= now)
        return Period(OFF, before, min(period.begin for period in near if period.begin > now))

    def _period(self, day: date, name: str, start: time, end: time) -> Period:
        last = day if start < end else day + timedelta(days=1)
        return Period(name, self._instant(day, start), self._instant(last, end))

    def _instant(self, day: date, clock: time) -> datetime:
        """Return when the clocks show `clock` on `day` for the first time, UTC; or a later time first."""
        local = datetime.combine(day, clock)
        for _ in range(_MOST_SKIPPED):
            instant = local.replace(tzinfo=self._zone).astimezone(timezone.utc)
            if instant.astimezone(self._zone).replace(tzinfo=None) == local:
                break
            local += MINUTE  # there is no such time on this day
        return instant


class Every:
    """So many seconds each, counted from 1970 UTC: those of an hour begin with the hour."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def at(self, now: datetime) -> Period:
        """Return the stretch that `now` is in."""
        begin = datetime.fromtimestamp(now.timestamp() // self._seconds * self._seconds, timezone.utc)
        return Period(EVERY, begin, begin + timedelta(seconds=self._seconds))
