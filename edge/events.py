"""What is decided and told: one record type per kind of event, one JSON object each.

The ledger fills in ``stream``, ``seq`` and ``utc`` when it commits an event. ``total`` is the value of the counter an
event changed, the event included, so a receiver can check counts against sequence numbers.
"""

from __future__ import annotations

from typing import Union

import msgspec


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The fields every event has."""

    stream: str = ""  # id of the ledger; (device, stream, seq) is the key of an event
    seq: int = 0  # 1, 2, 3 … without holes in one stream
    utc: str = ""  # ISO 8601, for people
    time: float  # s, monotonic; for a recording: since its first frame
    camera: str
    frame: int  # index of the frame the event was decided in
    simulated: bool = False
    degraded: bool = False  # decided while the governor left less than a full look, or of what was under way then


class Count(_Event, frozen=True, kw_only=True, tag="count"):
    """An object crossed a line."""

    counter: str  # "<line>/<class>" or "<line>/<class>/<direction>"
    track: int
    position: tuple[float, float]  # x, y of the anchor, frame pixels
    total: int = 0


class Arrival(_Event, frozen=True, kw_only=True, tag="arrival"):
    """A part came to be before its gate: from now on it is under way, until its one verdict."""

    gate: str
    track: int
    label: str
    position: tuple[float, float]  # x, y of the centre, frame pixels
    total: int = 0  # parts seen before this gate


class Verdict(_Event, frozen=True, kw_only=True, tag="verdict"):
    """What a gate says of a part that was under way."""

    gate: str
    track: int
    label: str
    position: tuple[float, float]  # x, y of the centre, frame pixels
    verdict: str  # PASS, REJECT or REVIEW; EXPIRED where it is gone and never was at the gate
    reasons: list[str]  # why it is not PASS
    defects_px: dict[str, float]  # frame pixels per defect class that was seen; median over the looks that show it
    looks: int  # complete looks behind the verdict
    deadline: float | None = None  # s, monotonic: when it is at the ejector at its present speed; None: not known
    late: bool = False  # the ejector may not hear of it in time
    total: int = 0  # verdicts of this kind at this gate


class GapEvent(_Event, frozen=True, kw_only=True, tag="gap"):
    """A time in which a camera did not see, or events were lost: counts inside it are a lower bound."""

    since: float  # s, monotonic
    until: float
    reason: str  # start, stall, reopened, frozen, outbox
    lost_events: int = 0  # reason outbox: decided while the ledger was full; totals include them


class AuditEvent(_Event, frozen=True, kw_only=True, tag="audit"):
    """The two models have begun to contradict each other too often, or no longer do."""

    group: str  # class/<class> or size/<size> of objects that the gate misses; or "unexplained": foreground without any
    alarm: bool  # it begins; False: it ends
    missed: int  # objects missed, or label cells unexplained
    of: int  # objects audited, or label cells of foreground in the tiles
    share: float  # missed / of


class GovernorEvent(_Event, frozen=True, kw_only=True, tag="governor"):
    """The governor lets less be looked at than before, or more again."""

    step: int  # from now on; 0: everything is looked at as configured
    name: str  # of the step
    direction: str  # down (less is looked at) or up
    p99_ms: float  # of the rounds that were the reason
    limit_ms: float | None  # None: not limited
    celsius: float | None  # of the hottest part; None: nobody knows
    gave_ms: float | None  # by how much the last change lowered the median round; None: not measured


Event = Union[Count, Arrival, Verdict, GapEvent, AuditEvent, GovernorEvent]


def counter_of(event: Event) -> str | None:
    """Return the name of the running total that `event` increments, or None."""
    match event:
        case Count():
            return event.counter
        case Arrival():
            return f"{event.gate}/seen"
        case Verdict():
            return f"{event.gate}/{event.verdict}"
        case _:
            return None
