"""What time it is for people: in events, and for when a shift is over. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

Clock = Callable[[float], datetime]  # the time for people when it is so many s by the clock of the frames


def wall_clock(_time: float) -> datetime:
    """Return the time for people: now."""
    return datetime.now(timezone.utc)


def clock_from(start: datetime) -> Clock:
    """Return a clock for recordings, whose frames count from 0: it was `start` then."""
    most_s = (datetime.max.replace(tzinfo=timezone.utc) - start).total_seconds() - 1
    return lambda time: start + timedelta(seconds=min(time, most_s))


def utc_text(time: datetime) -> str:
    """Return a time as it stands in messages: ISO 8601 in UTC, to the millisecond."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
