"""What must be true between the keys that say what is told: pictures and shifts."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from datetime import timezone, tzinfo
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:  # it calls us
    from edge.config import Config, Shift

OFF, EVERY = "off", "every"  # summaries of the time between shifts, and those of `every_s`
_DAY = 24 * 60  # minutes


def check_evidence(setting: str, config: Config) -> None:
    """Raise `ConfigError` where pictures are asked for of a line or rule that is not there."""
    known = {"lines": [line.name for line in config.lines], "rules": [rule.name for rule in config.rules]}
    for key, names in known.items():
        for name in getattr(config.evidence, key):
            if name not in names:
                raise ConfigError(f"{setting}.{key}: no {key[:-1]} {name!r}; there is {', '.join(names) or 'none'}")


def check_shifts(setting: str, shifts: Sequence[Shift], zone: str) -> None:
    """Raise `ConfigError` where two shifts overlap or share a name, or their time zone is not known here."""
    zone_of(zone, f"{setting}: summary.timezone")
    for i, shift in enumerate(shifts):
        if shift.name in {OFF, EVERY}:
            raise ConfigError(f"{setting}: shift {shift.name!r}: the name is taken for other summaries; take another")
        for other in shifts[:i]:
            if other.name == shift.name:
                raise ConfigError(f"{setting}: shift {shift.name!r}: the name is used twice; give each shift its own")
            if _overlap(shift, other):
                raise ConfigError(
                    f"{setting}: shifts {other.name!r} ({other.start} to {other.end}) and {shift.name!r} "
                    f"({shift.start} to {shift.end}) overlap; let one end where the other begins"
                )


def zone_of(name: str, setting: str) -> tzinfo:
    """Return the time zone `name`; raises `ConfigError` that begins with `setting` where it is not known."""
    if name == "UTC":
        return timezone.utc  # also where the system has no table of zones
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: it names a folder of the table
        raise ConfigError(
            f"{setting} {name!r}: is not known here; give a name such as Europe/Berlin, or install tzdata"
        ) from error


def _overlap(one: Shift, other: Shift) -> bool:
    """Tell whether two shifts have a minute in common; each begins within a day, and may end in the next."""
    return any(
        start < other_end and other_start < end
        for start, end in _spans(one)
        for other_start, other_end in _spans(other)
    )


def _spans(shift: Shift) -> list[tuple[int, int]]:
    """Return from when to when a shift is, in minutes of the day; a span that goes over midnight is two."""
    start, end = _minutes(shift.start), _minutes(shift.end)
    return [(start, end)] if start < end else [(start, _DAY), (0, end)]


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return 60 * int(hours) + int(minutes)
