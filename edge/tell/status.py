"""How the delivery is doing: alarms that are logged once when they begin and once when they end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot; any thread may keep it."""

    connected: bool = False
    session: int = 0  # number of the connection, rising
    unacknowledged: int = 0  # events that not every receiver has
    resent: int = 0  # times that unacknowledged events were sent again
    last_error: str = ""
    failed: bool = False  # the delivery thread has ended on an error
    alarms: dict[str, str] = field(default_factory=dict)  # name -> what is wrong, while it is


class Alarms:
    """Things a person should look at, while they last."""

    def __init__(self) -> None:
        self.active: dict[str, str] = {}  # replaced, never changed, so that a snapshot stays one

    def set(self, name: str, text: str) -> None:
        """Begin alarm `name`, or change its text."""
        if name not in self.active:
            log.warning("alarm=%s text=%s", name, text)
        self.active = {**self.active, name: text}

    def clear(self, name: str) -> None:
        """End alarm `name` if it is on."""
        if name in self.active:
            log.info("alarm=%s text=over", name)
            self.active = {other: text for other, text in self.active.items() if other != name}
