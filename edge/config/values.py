"""What the values of a configuration may be, and the table that holds them."""

from __future__ import annotations

from typing import Annotated

import msgspec

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
MOST = 1_000_000_000  # no number is larger: what comes from one fits every array, timer and memory
Positive = Annotated[float, msgspec.Meta(gt=0, le=MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Whole = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1024)]
MOST_LOOKS = 32  # at one part that a gate remembers, the newest
Looks = Annotated[int, msgspec.Meta(ge=1, le=MOST_LOOKS)]
MOST_CORNERS = 64  # of a zone
MOST_PLACES = 64  # of one presence check
Rate = Annotated[float, msgspec.Meta(ge=1e-6, le=MOST)]  # per second: no time that it gives overflows
Degrees = Annotated[float, msgspec.Meta(ge=20, le=150)]  # Celsius
Side = Annotated[int, msgspec.Meta(ge=1, le=32768)]  # of a frame
_NAME, _TEXT, _TIME = r"^[A-Za-z0-9_.=-]{1,64}\Z", r"^[^\x00]*\Z", r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z"
PATTERNS = {  # in the words of an error message
    _NAME: "a name (1 to 64 of the characters A-Z a-z 0-9 _ . = -)",
    _TEXT: "a text without NUL",
    _TIME: 'a time of day such as "06:00"',
}
Name = Annotated[str, msgspec.Meta(pattern=_NAME)]
Text = Annotated[str, msgspec.Meta(pattern=_TEXT)]  # what the system takes as a name: no NUL in it
TimeOfDay = Annotated[str, msgspec.Meta(pattern=_TIME)]  # as "06:00"
Point = tuple[float, float]  # x, y in frame pixels


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table whose keys are checked."""
