"""Tables for what brings events to the world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge.config.values import Name, NotNegative, Table, Text, Whole


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
