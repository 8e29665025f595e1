"""What becomes of events where nobody can vouch for the models, and what they say of how much was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import config
from edge.events import Event, GapEvent, PresenceEvent, Verdict
from edge.marking import distrusted, marked

RULES = config.Config(
    bundle=Path("b"),
    state=Path("s"),
    cameras={"c": config.Camera(source="x")},
    simulated=True,
    gates=[
        config.Gate(name="strict", camera="c", start=(9, 0), end=(9, 9), direction="right"),
        config.Gate(name="mild", camera="c", start=(9, 0), end=(9, 9), direction="right", fail_safe="REVIEW"),
    ],
)  # fmt: skip


def verdict(said: str, gate: str = "strict") -> Verdict:
    return Verdict(
        time=1.0, camera="c", frame=1, gate=gate, track=7, label="part", position=(0, 0), verdict=said,
        reasons=["before"], defects_px={}, looks=2,
    )  # fmt: skip


def presence(said: str) -> PresenceEvent:
    return PresenceEvent(
        time=1.0, camera="c", frame=1, rule="p", verdict=said, missing=[], shares={}, moved=(0, 0, 0), reasons=[]
    )


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (verdict("PASS"), "REJECT"), (verdict("REVIEW"), "REJECT"), (verdict("PASS", "mild"), "REVIEW"),
        (verdict("REVIEW", "mild"), "REVIEW"), (presence("OK"), "NOK"),
    ],
)  # fmt: skip
def test_nothing_passes_that_nobody_can_vouch_for(event: Verdict | PresenceEvent, told: str) -> None:
    changed = distrusted(event, RULES, "why")
    assert isinstance(changed, (Verdict, PresenceEvent))
    assert (changed.verdict, changed.reasons) == (told, [*event.reasons, "why"])


GAP = GapEvent(time=1.0, camera="c", frame=1, since=0.0, until=1.0, reason="stall")


@pytest.mark.parametrize(
    "event", [verdict("REJECT"), verdict("REJECT", "mild"), verdict("EXPIRED"), presence("NOK"), GAP]
)
def test_all_else_stays_as_it_is(event: Event) -> None:
    assert distrusted(event, RULES, "why") == event


@pytest.mark.parametrize(
    ("slighted", "degraded", "told"),
    [(set(), False, False), ({7}, False, True), ({8}, False, False), (set(), True, True)],
)
def test_events_say_how_much_was_looked_at(slighted: set[int], degraded: bool, told: bool) -> None:
    (event,) = marked([verdict("PASS")], RULES, slighted, "", degraded=degraded)
    assert (event.degraded, event.simulated) == (told, True)
    assert isinstance(event, Verdict)
    assert event.verdict == "PASS"
