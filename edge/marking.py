"""What is to be known of events beside what they say: who vouches for them, and how much was looked at."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge.config import Config
from edge.event_facts import tracks_of
from edge.events import Event, PresenceEvent, Verdict


def marked(events: Sequence[Event], config: Config, slighted: set[int], doubted: str, *, degraded: bool) -> list[Event]:
    """Return `events` as they are to be told.

    `degraded` says that less than everything is looked at now, `slighted` are the ids of tracks that were there while
    it was so. `doubted` is why nobody can vouch for the models: then nothing passes. Empty: somebody can.
    """
    return [
        msgspec.structs.replace(
            distrusted(event, config, doubted) if doubted else event,
            simulated=config.simulated,
            degraded=degraded or not slighted.isdisjoint(tracks_of(event)),
        )
        for event in events
    ]


def distrusted(event: Event, config: Config, reason: str) -> Event:
    """Return `event` with the fail-safe of its gate in the place of PASS and REVIEW, and NOK in that of OK.

    `reason` is added to what is changed; all else stays as it is.
    """
    match event:
        case Verdict(verdict="PASS" | "REVIEW"):
            changed: str = next(gate.fail_safe for gate in config.gates if gate.name == event.gate)
        case PresenceEvent(verdict="OK"):
            changed = "NOK"
        case _:
            return event
    return msgspec.structs.replace(event, verdict=changed, reasons=[*event.reasons, reason])
