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


class Measured(msgspec.Struct, frozen=True):
    """A quantity, and how sure it is."""

    value: float
    uncertainty: float  # expanded, coverage factor 2: the truth is within so much of the value in about 95 % of cases


class Count(_Event, frozen=True, kw_only=True, tag="count"):
    """An object crossed a line."""

    counter: str  # "<line>/<class>" or "<line>/<class>/<direction>"
    track: int
    position: tuple[float, float]  # x, y of the anchor, frame pixels
    total: int = 0
    picture: str = ""  # file of it among the evidence; empty: there is none


class Contested(_Event, frozen=True, kw_only=True, tag="contested"):
    """A crossing of which nobody can be sure: the counter may be off by one."""

    counter: str  # of the count that is doubtful
    error: str  # missed: it may have happened and was not counted; doubled: the same object may be counted twice
    why: str  # lost, appeared, unconfirmed; again
    track: int  # 0: it never had an id
    other: int  # the track that may be the same object; 0: none
    position: tuple[float, float]  # x, y of its centre, frame pixels
    total: int = 0  # contested crossings of this counter with this error


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
    ejector_ticks: float | None = None  # of the encoder, when it is at the ejector; None: not known
    total: int = 0  # verdicts of this kind at this gate
    measures: dict[str, Measured] = {}  # as of `Measurement`, where the gate measures
    picture: str = ""  # as of `Count`


class Measurement(_Event, frozen=True, kw_only=True, tag="measurement"):
    """How large something is that was counted at a line."""

    line: str
    track: int
    label: str
    position: tuple[float, float]  # x, y of the anchor, frame pixels
    measures: dict[str, Measured]  # area_mm2, length_mm, width_mm; empty where no look was good enough
    looks: int  # behind them
    touched: bool  # by another object: its edge is not sure there


class MeetingEvent(_Event, frozen=True, kw_only=True, tag="meeting"):
    """Two objects have become one instance, or two again; both keep their ids."""

    change: str  # merge or split
    track: int  # the one that has, or had, the instance
    other: int  # the one within it
    position: tuple[float, float]  # x, y of the centre of the former, frame pixels
    merged_s: float | None  # s for which they were one; None: they merge, or were taken for one from the start


class EncoderEvent(_Event, frozen=True, kw_only=True, tag="encoder"):
    """The ticks of a belt's encoder are no longer believed, or are again."""

    alarm: bool  # they are not, from now on; False: they are again
    fault: str  # silent, stuck, backwards or astray
    ticks: float | None  # of this frame


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


class ZoneEvent(_Event, frozen=True, kw_only=True, tag="zone"):
    """An object entered or left a zone."""

    zone: str
    change: str  # enter or leave
    reason: str  # crossed; or it appeared inside; or its track ended inside; or the camera was blind
    track: int
    label: str  # class that it had when it entered
    position: tuple[float, float]  # x, y of its anchor, frame pixels
    dwell_s: float | None  # s inside, up to the first sighting outside or the last of all; None: it enters
    inside: int  # of this class, after it
    total: int = 0  # of this class that have entered, or left; its counter is "<zone>/<class>/<change>"


class Alert(_Event, frozen=True, kw_only=True, tag="alert"):
    """Something is wrong by one of the rules, or no longer is."""

    rule: str
    rule_kind: str
    zone: str
    alarm: bool  # it begins; False: it ends
    reason: str  # why it ends: cleared, ended (a track did) or blind (the camera was); empty: it begins
    since: float  # s, monotonic: when it began; with rule and tracks it tells which end belongs to which beginning
    tracks: list[int]  # ids of the objects it began with, at most 16
    labels: list[str]  # their classes
    value: float  # what was too much
    limit: float  # and what it may be
    picture: str = ""  # as of `Count`: of its beginning


class ConversionEvent(_Event, frozen=True, kw_only=True, tag="conversion"):
    """An object entered the first zone of a rule, and then reached the second, or did not."""

    rule: str
    step: str  # entered, reached or missed
    track: int
    label: str
    took_s: float | None  # s from the first zone to the second; None: it has not reached it
    total: int = 0  # of this class that came so far; its counter is "<rule>/<class>/<step>"


class TrajectoryEvent(_Event, frozen=True, kw_only=True, tag="trajectory"):
    """Where an object went, now that its track has ended."""

    rule: str
    zone: str
    track: int
    label: str
    reason: str  # ended, or blind: the camera was
    points: list[tuple[float, float, float]]  # x, y of its anchor, frame pixels, and s, monotonic; at most 64
    within_px: float  # it was never farther from this path, at that time, in any sighting


class ReturnEvent(_Event, frozen=True, kw_only=True, tag="return"):
    """An object that had left is back under its old id; or nobody can tell whether it is, and it has a new one."""

    track: int  # its id from now on
    label: str
    sure: bool  # it is that object; False: it may be one of `candidates`, or a new one
    candidates: list[int]  # ids that it might have had, most alike first, at most 8; empty where that is sure
    similarity: float  # to the one that it looks like most
    away_s: float | None  # s since that one was last seen; None: not sure
    position: tuple[float, float]  # x, y of its centre, frame pixels


class VisitorEvent(_Event, frozen=True, kw_only=True, tag="visitor"):
    """An object entered a zone in which it had never been."""

    rule: str
    zone: str
    track: int
    label: str  # class that it had when it entered
    position: tuple[float, float]  # x, y of its anchor, frame pixels
    total: int = 0  # different objects of this class so far; the counter is "<rule>/<class>"


class GrowthEvent(_Event, frozen=True, kw_only=True, tag="growth"):
    """A defect at a fixed place begins to persist or to grow, or is gone."""

    rule: str
    defect: int  # number of the place since the start
    stage: str  # persists, grows, gone
    place: tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the frame
    share: float  # of the frame that it covers now
    seen: int  # pictures that show it
    of: int  # of so many since it was first seen, those in the window
    trend: float  # of its share over these pictures: z of the Mann-Kendall test


class PresenceEvent(_Event, frozen=True, kw_only=True, tag="presence"):
    """Whether everything is where it belongs."""

    rule: str
    verdict: str  # OK or NOK
    missing: list[str]  # names of the places that are not filled
    shares: dict[str, float]  # of each place that is covered in this frame by what belongs there; by instances 0 or 1
    moved: tuple[float, float, float]  # all places together: px to the right, px down, degrees clockwise
    reasons: list[str]  # why it is NOK
    total: int = 0  # verdicts of this kind by this rule; the counter is "<rule>/<verdict>"


class JobCheckEvent(_Event, frozen=True, kw_only=True, tag="job_check"):
    """The reference pictures were judged again."""

    verdict: str  # OK or NOK
    trigger: str  # start or signal
    pictures: int  # that were judged
    failed: int  # of them, judged otherwise than expected
    differences: list[str]  # what was otherwise, at most 16 of them: "<picture>: <what>, expected <what>"


class SummaryEvent(_Event, frozen=True, kw_only=True, tag="summary"):
    """What a shift, or another stretch of time, came to: all that was decided since the summary before it."""

    shift: str  # its name; "off": between shifts; "every": so many seconds
    since: str  # ISO 8601 in UTC
    until: str
    reason: str  # ended; down: it ended while nothing ran; changed: the clock was set, or the shifts are others
    counted: dict[str, int]  # by how much each total rose; those that did not are left out
    bars: dict[str, tuple[int, int]]  # of the counts of lines: less what may be counted twice, with what may be missed
    blind_s: dict[str, float]  # s in which a camera did not see, by camera
    degraded_s: float  # s in which the governor held something back
    lost_events: int  # that are in `counted` and had no room in the ledger
    first_seq: int  # number of the first event since then


Event = Union[
    Count,
    Contested,
    Arrival,
    Verdict,
    GapEvent,
    AuditEvent,
    GovernorEvent,
    ZoneEvent,
    Alert,
    ConversionEvent,
    TrajectoryEvent,
    ReturnEvent,
    VisitorEvent,
    Measurement,
    GrowthEvent,
    MeetingEvent,
    EncoderEvent,
    PresenceEvent,
    JobCheckEvent,
    SummaryEvent,
]
