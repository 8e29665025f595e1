"""The temperature of the machine, as Linux tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ZONES = Path("/sys/class/thermal")
COLDEST, HOTTEST = -40.0, 150.0  # degrees Celsius; sensors that are not there tell others
READ_S = 5.0  # between two readings: some sensors take milliseconds to answer


@dataclass(slots=True)
class Thermometer:
    """The temperature, read now and then."""

    read: Callable[[], float | None]
    celsius: float | None = None  # None: nobody knows
    _due_s: float = float("-inf")

    def look(self, now_s: float) -> None:
        """Read it again where that is due at `now_s`, s monotonic."""
        if now_s >= self._due_s:
            self.celsius, self._due_s = self.read(), now_s + READ_S


def hottest(zones: Path = ZONES) -> float | None:
    """Return the degrees Celsius of the hottest thermal zone, None where there is none."""
    found = [_celsius(path) for path in sorted(zones.glob("thermal_zone*/temp"))]
    return max((degrees for degrees in found if degrees is not None), default=None)


def _celsius(path: Path) -> float | None:
    try:
        degrees = int(path.read_text()) / 1000
    except (OSError, ValueError):  # a zone that is switched off refuses to be read
        return None
    return degrees if COLDEST <= degrees <= HOTTEST else None
