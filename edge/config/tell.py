"""Tables for what brings events to the world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.config.values import Name, NotNegative, Table, Text, TimeOfDay, Whole


class Mqtt(Table, frozen=True, kw_only=True):
    """The broker and who must acknowledge."""

    host: Text = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    username: Text | None = None
    password_file: Path | None = None
    ca_file: Path | None = None  # switches TLS on
    cert_file: Path | None = None
    key_file: Path | None = None
    plaintext: bool = False  # permits a broker that is not on this machine without TLS
    keepalive_s: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5
    receivers: list[Name] = []  # every event waits for all of these; none: for the broker's PUBACK
    drain_s: NotNegative = 5.0  # how long a daemon that ends waits for acknowledgements


class Ledger(Table, frozen=True, kw_only=True):
    """The limits of the ledger on disk."""

    max_mib: Whole = 256
    keep_days: Annotated[int, msgspec.Meta(ge=0, le=36500)] = 30  # of what is delivered; 0: nothing of it


class Evidence(Table, frozen=True, kw_only=True):
    """Which pictures of what was decided are kept, and how much room they have."""

    verdicts: tuple[Literal["PASS", "REJECT", "REVIEW", "EXPIRED"], ...] = ("REJECT", "REVIEW")
    lines: list[Name] = []  # whose counts have a picture
    rules: list[Name] = []  # whose alerts have one, as they begin
    pad_px: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 16  # frame pixels round the object
    outline: bool = False  # the same picture once more beside it, with the outline of the mask
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 92  # of the JPEG
    budget_mib: Whole = 256  # on disk; beyond it the oldest go


class Summary(Table, frozen=True, kw_only=True):
    """When sums are told."""

    timezone: Text = "UTC"  # of the shifts: a name of the IANA database
    every_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] | None = None  # beside those of the shifts


class Shift(Table, frozen=True, kw_only=True):
    """A part of every day, at the end of which a summary is told; it ends on the next day where `end` is not later."""

    name: Name
    start: TimeOfDay
    end: TimeOfDay
