"""What an event is about: the total that it raises, its objects, and whether it says who goes where."""

from __future__ import annotations

from edge.events import (
    Alert,
    Arrival,
    Contested,
    ConversionEvent,
    Count,
    Event,
    Measurement,
    MeetingEvent,
    PresenceEvent,
    ReturnEvent,
    TrajectoryEvent,
    Verdict,
    VisitorEvent,
    ZoneEvent,
)

# Who goes where: in a ledger that is nearly full these only raise their totals.
PASSING = (Count, Arrival, Measurement, ZoneEvent, ConversionEvent, TrajectoryEvent, ReturnEvent, VisitorEvent)


def counter_of(event: Event) -> str | None:
    """Return the name of the running total that `event` increments, or None.

    Every event of a kind with a field `total` increments one, and no other does: the ledger is held against that.
    """
    counter: str | None
    match event:
        case Count():
            counter = event.counter
        case Contested():
            counter = f"{event.counter}/{event.error}"
        case Arrival():
            counter = f"{event.gate}/seen"
        case Verdict():
            counter = f"{event.gate}/{event.verdict}"
        case ZoneEvent():
            counter = f"{event.zone}/{event.label}/{event.change}"
        case VisitorEvent():
            counter = f"{event.rule}/{event.label}"
        case ConversionEvent():
            counter = f"{event.rule}/{event.label}/{event.step}"
        case PresenceEvent():
            counter = f"{event.rule}/{event.verdict}"
        case _:
            counter = None
    return counter


def tracks_of(event: Event) -> list[int]:
    """Return the ids of the objects that `event` is about."""
    match event:
        case (
            Count()
            | Contested()
            | Arrival()
            | Verdict()
            | Measurement()
            | ZoneEvent()
            | ConversionEvent()
            | TrajectoryEvent()
            | ReturnEvent()
            | VisitorEvent()
        ):
            return [event.track]
        case Alert():
            return event.tracks
        case MeetingEvent():
            return [event.track, event.other]
        case _:
            return []
