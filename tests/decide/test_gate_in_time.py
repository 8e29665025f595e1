"""Parts at a gate in time: deadlines, what was not seen, and accounts that add up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import DefectLimit, Gate
from edge.decide.gate import QualityGate
from edge.events import Arrival, Verdict
from edge.tell.gates import GateBook, Tally
from edge.tell.schema import GATES
from edge.types import Frame, Gap, Instances, Seen, Tracks
from tests.see.made import instances_of, seen_of, tracks_of

CLASSES, DEFECTS = ["background", "part", "other"], ["scratch"]
PICTURE = np.zeros((200, 400, 3), np.uint8)
PERIOD_S = 0.1
NOTHING = instances_of([], defects=1)


class Belt:
    """One part that goes to the right before a gate at x = 100, frame by frame, 10 a second."""

    def __init__(self, *, live: bool = False, mm_per_px: float | None = None, **changes: Any) -> None:
        fields = {"name": "exit", "camera": "c", "start": (100, 0), "end": (100, 180), "direction": "right", **changes}
        limits = {"scratch": DefectLimit(min_area_px=30)}
        self.now_s = 0.0
        clock = (lambda: self.now_s) if live else None
        self.gate = QualityGate(Gate(**{"defects": limits, **fields}), CLASSES, DEFECTS, mm_per_px, clock)
        self.index = -1
        self.speed = 10.0

    def show(
        self,
        x: float | None,
        area: float | None = None,
        *,
        located: bool = True,
        y: float = 100.0,
        age_s: float = 0.0,
        ended: Sequence[int] = (),
        steps: int = 1,
    ) -> list[Arrival | Verdict]:
        """Show the part at `x`, or no part; a look shows a scratch of `area`, without it nothing was looked at."""
        self.index += steps
        self.now_s = self.index * PERIOD_S + age_s
        boxes = [] if x is None else [(x - 10, y - 10, x + 10, y + 10)]
        found: Instances = NOTHING if area is None else instances_of(boxes, defects=1, defects_px=[[area]])
        tracks: Tracks = tracks_of(
            boxes,
            instances=[-1 if area is None else 0] * len(boxes),
            velocities=[(self.speed, 0.0)] * len(boxes),
            located=[located] * len(boxes),
        )
        frame = Frame("c", self.index, self.index * PERIOD_S, PICTURE)
        return self.gate.decide(Seen(frame, np.zeros((4, 4), np.uint8), (1.0, 1.0), found, tracks, list(ended)))

    def inspect(self) -> None:
        """Bring the part to x = 90 with three clean looks."""
        (arrival,) = self.show(70, 0.0)
        assert isinstance(arrival, Arrival)
        assert self.show(80, 0.0) == self.show(90, 0.0) == []


def expected_at(x: float, *, located: bool = True, y: float = 100.0, key: int = 1) -> Tracks:
    """Return the part where it is expected to be, before anything is looked at."""
    return tracks_of([(x - 10, y - 10, x + 10, y + 10)], keys=[key], velocities=[(10.0, 0.0)], located=[located])


def only(told: Sequence[Arrival | Verdict]) -> Verdict:
    (verdict,) = told
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_part_arrives_once_and_is_judged_once() -> None:
    belt = Belt()
    assert belt.show(70, 0.0) == [
        Arrival(time=0.0, camera="c", frame=0, gate="exit", track=1, label="part", position=(70.0, 100.0))
    ]
    told = [event for x in (80, 75, 90, 105, 95, 110, 150) for event in belt.show(x, 0.0)]
    assert only(told).verdict == "PASS"


def test_a_part_that_is_first_seen_beyond_the_line_is_not_of_this_gate() -> None:
    belt = Belt()
    assert belt.show(110, 0.0) == belt.show(120, 0.0) == []


def test_one_that_is_confirmed_only_beyond_the_line_arrives_and_is_judged_at_once() -> None:
    belt = Belt()
    gate = belt.gate
    frame = Frame("c", 0, 0.0, PICTURE)
    assert not gate.decide(seen_of(frame, tracks_of([(70, 90, 90, 110)], ids=[0])))
    told = gate.decide(seen_of(frame, tracks_of([(95, 90, 115, 110)])))
    assert [type(event) for event in told] == [Arrival, Verdict]
    assert isinstance(told[1], Verdict)
    assert told[1].verdict == "REJECT"


@pytest.mark.parametrize(
    ("where", "mm_per_px", "deadline"),
    [
        ({"ejector_px": 100.0}, None, 0.3 + 0.95),
        ({"ejector_mm": 50.0}, 0.5, 0.3 + 0.95),
        ({"ejector_s": 2.0}, None, 0.3 - 0.05 + 2.0),
        ({}, None, None),
    ],
)
def test_a_verdict_says_when_its_part_is_at_the_ejector(
    where: dict[str, Any], mm_per_px: float | None, deadline: float | None
) -> None:
    belt = Belt(mm_per_px=mm_per_px, **where)
    belt.inspect()
    verdict = only(belt.show(105))
    assert (verdict.verdict, verdict.late) == ("PASS", False)
    assert verdict.deadline == (None if deadline is None else pytest.approx(deadline))


def test_a_part_that_has_had_enough_looks_is_judged_before_anything_is_looked_at() -> None:
    belt = Belt(ejector_px=100.0)
    belt.inspect()
    frame = Frame("c", 3, 0.3, PICTURE)
    assert belt.gate.early(frame, expected_at(97)) == [], "it is not there yet"
    early = only(belt.gate.early(frame, expected_at(105)))
    assert (early.verdict, early.looks, early.frame, early.time, early.position) == ("PASS", 3, 3, 0.3, (105, 100))
    assert early.deadline == pytest.approx(0.3 + 0.95)
    assert belt.gate.early(frame, expected_at(105)) == []
    assert belt.show(105, 50.0) == [], "whatever this frame shows comes too late"
    assert belt.show(95) == belt.show(115) == [], "and it is not judged once more where the belt goes back"
    assert not belt.gate._evidence._shown


def test_an_early_verdict_is_the_one_that_would_be_given_without_a_look_in_this_frame() -> None:
    for areas in ([0.0, 0.0], [50.0, 50.0, 50.0, 50.0, 0.0], [0.0, 0.0, 0.0, 0.0, 50.0]):
        early, later = Belt(ejector_px=100.0), Belt(ejector_px=100.0)
        for belt in (early, later):
            for i, area in enumerate(areas):
                belt.show(50 + 10 * i, area)
        told = only(early.gate.early(Frame("c", len(areas), len(areas) * PERIOD_S, PICTURE), expected_at(105)))
        assert told == only(later.show(105))


@pytest.mark.parametrize(
    ("areas", "at", "why"),
    [
        ([0.0], {}, "too few looks"),
        ([0.0, 50.0, 0.0], {}, "looks that do not agree"),
        ([0.0, 0.0], {"located": False}, "nothing shows it there"),
        ([0.0, 0.0], {"y": 190.0}, "beside the line"),
        ([0.0, 0.0], {"key": 2}, "another part"),
    ],
)
def test_what_is_not_sure_waits_for_the_looks_of_the_frame(areas: list[float], at: dict[str, Any], why: str) -> None:
    belt = Belt()
    for i, area in enumerate(areas):
        belt.show(50 + i, area)
    assert belt.gate.early(Frame("c", 9, 0.9, PICTURE), expected_at(105, **at)) == [], why
    assert only(belt.show(105, 0.0)).looks == len(areas) + 1, why


def test_a_part_that_was_given_the_fail_safe_in_silence_is_not_judged_again() -> None:
    belt = Belt(ejector_px=100.0, live=True)
    belt.inspect()
    belt.now_s = 1.05
    assert len(belt.gate.overdue()) == 1
    assert belt.gate.early(Frame("c", 11, 1.1, PICTURE), expected_at(105)) == []


def test_a_part_that_stands_still_has_no_deadline() -> None:
    belt = Belt(ejector_px=100.0)
    belt.inspect()
    belt.speed = 0.1
    assert only(belt.show(101)).deadline is None


@pytest.mark.parametrize(("age_s", "late"), [(0.0, False), (0.89, False), (0.912, True), (3.0, True)])
@pytest.mark.parametrize("area", [0.0, 50.0])
def test_a_live_verdict_that_cannot_be_in_time_is_never_pass(age_s: float, late: bool, area: float) -> None:
    """The part is at the ejector 0.95 s after its frame, and the answer takes 50 ms."""
    belt = Belt(ejector_px=100.0, live=True, fail_safe="REVIEW")
    belt.show(70, area)
    belt.show(80, area)
    belt.show(90, area)
    verdict = only(belt.show(105, age_s=age_s))
    assert verdict.late == late
    assert verdict.verdict == ("REJECT" if area else "REVIEW" if late else "PASS"), "what is surely bad stays so"
    assert verdict.reasons[1 if area else 0 :] == ([f"late by {(age_s - 0.9) * 1000:.0f} ms"] if late else [])


def test_the_clock_of_a_recording_is_its_frames() -> None:
    belt = Belt(ejector_px=100.0)
    belt.inspect()
    assert only(belt.show(105, age_s=99.0)).verdict == "PASS"


@pytest.mark.parametrize(("looks", "verdict"), [(3, "PASS"), (1, "REJECT")])
def test_a_part_that_would_be_at_the_ejector_before_the_next_frame_is_judged_before_the_line(
    looks: int, verdict: str
) -> None:
    belt = Belt(ejector_px=2.0)
    belt.show(70, 0.0)
    for x, area in ((80, 0.0), (85, 0.0)):
        belt.show(x, area if looks == 3 else None)
    early = only(belt.show(90))
    assert (early.verdict, early.late, early.looks) == (verdict, False, looks)
    assert not belt.show(101), "and not once more beyond it"


def test_a_crossing_that_was_not_seen_is_the_fail_safe_before_the_deadline() -> None:
    belt = Belt(ejector_px=45.0)
    belt.inspect()
    assert not belt.show(105, located=False), "it may still be looked at"
    assert not belt.show(115, located=False)
    verdict = only(belt.show(132, located=False))
    assert (verdict.verdict, verdict.reasons, verdict.late) == ("REJECT", ["crossing not seen"], False)
    assert verdict.deadline == pytest.approx(0.5 + 0.13)
    assert not belt.show(142), "seen after all: it has its verdict"


@pytest.mark.parametrize(
    ("x", "verdict", "reason"),
    [
        (85, "REJECT", "crossing not seen"),  # its front may be there
        (79, "EXPIRED", "lost before the gate"),
        (50, "EXPIRED", "lost before the gate"),
        (-15, "EXPIRED", "left the frame"),
    ],
)
def test_a_part_whose_track_ends_before_the_line(x: float, verdict: str, reason: str) -> None:
    belt = Belt(ejector_px=100.0)
    belt.show(70, 0.0)
    belt.show(x)
    told = only(belt.show(None, ended=[1]))
    assert (told.verdict, told.reasons) == (verdict, [reason])
    assert not belt.show(None, ended=[1])


def test_a_part_whose_track_ends_beyond_the_line_without_having_been_seen_there() -> None:
    belt = Belt()
    belt.inspect()
    belt.show(105, located=False)
    told = only(belt.show(None, ended=[1]))
    assert (told.verdict, told.reasons, told.looks) == ("REJECT", ["crossing not seen"], 3)


def test_a_part_that_goes_past_the_end_of_the_line() -> None:
    belt = Belt()
    belt.show(80, 0.0, y=170)
    told = only(belt.show(105, 0.0, y=190))
    assert (told.verdict, told.reasons, told.looks) == ("EXPIRED", ["beside the gate"], 2)
    elsewhere = Belt()
    assert elsewhere.show(80, 0.0, y=190) == elsewhere.show(105, 0.0, y=190) == [], "that is another lane"


def test_a_silent_camera_gives_the_fail_safe_before_the_part_is_there() -> None:
    belt = Belt(ejector_px=100.0, live=True)
    belt.inspect()  # until 0.2 s; at the ejector at 1.3 s
    assert belt.gate.overdue() == []
    belt.now_s = 0.9
    assert belt.gate.overdue() == []
    belt.now_s = 1.05
    (told,) = belt.gate.overdue()
    assert (told.verdict, told.reasons, told.late) == ("REJECT", ["nothing seen for 0.9 s"], False)
    assert told.deadline == pytest.approx(1.3)
    assert belt.gate.overdue() == []
    assert belt.show(105, steps=9) == []


def test_nothing_is_overdue_in_a_recording_or_without_an_ejector() -> None:
    for belt in (Belt(ejector_px=100.0), Belt(live=True)):
        belt.inspect()
        belt.now_s = 99.0
        assert belt.gate.overdue() == []


def test_after_a_gap_a_pass_needs_new_looks() -> None:
    belt = Belt(ejector_px=100.0)
    belt.inspect()
    told = only(belt.gate.blind(Gap("c", 3, 0.2, 5.2, "frozen"), tracks_of([])))
    assert (told.verdict, told.reasons[0], told.late) == ("REJECT", "camera was blind", True)
    assert told.deadline == pytest.approx(0.2 + 1.1)
    (again,) = belt.show(92, 0.0)
    assert isinstance(again, Arrival)
    assert only(belt.show(105)).reasons == ["1 of 2 looks"]


@pytest.mark.parametrize(
    ("areas", "changes", "verdict", "reasons"),
    [
        ([50, 0, 0], {}, "REVIEW", ["scratch 50 px in 1 of 3 looks"]),
        ([50, 0, 0], {"doubt": "REJECT"}, "REJECT", ["scratch 50 px in 1 of 3 looks"]),
        ([50, 0, 0], {"doubt": "PASS"}, "PASS", []),
        ([50, 0, 0, 0, 0], {}, "PASS", []),
        ([20, 25, 0], {"defects": {"scratch": DefectLimit(min_area_px=30, review_area_px=15)}}, "REVIEW",
         ["scratch 22 px of 30"]),
        ([20, 0, 0], {"defects": {"scratch": DefectLimit(min_area_px=30, review_area_px=15)}}, "PASS", []),
        ([20, 50, 50], {"defects": {"scratch": DefectLimit(min_area_px=30, review_area_px=15)}}, "REJECT",
         ["scratch 50 px"]),
        ([50, 50], {"min_looks": 3, "fail_safe": "REVIEW"}, "REVIEW", ["scratch 50 px", "2 of 3 looks"]),
    ],
)  # fmt: skip
def test_what_is_uncertain_does_not_pass_unless_that_is_configured(
    areas: list[float], changes: dict[str, Any], verdict: str, reasons: list[str]
) -> None:
    belt = Belt(**changes)
    for i, area in enumerate(areas):
        belt.show(50 + i, area)
    told = only(belt.show(105))
    assert (told.verdict, told.reasons) == (verdict, reasons)


STEP = st.tuples(
    st.integers(1, 4),  # which track
    st.floats(-40, 460, width=32),
    st.floats(-20, 200, width=32),
    st.booleans(),  # confirmed
    st.booleans(),  # located
    st.booleans(),  # it ends with the next frame
)


@given(st.lists(st.one_of(STEP, st.just("blind")), max_size=40), st.sampled_from([None, 5.0, 100.0]))
def test_whatever_happens_every_part_that_was_seen_has_one_verdict_or_is_under_way(
    script: list[tuple[int, float, float, bool, bool, bool] | str], ejector_px: float | None
) -> None:
    belt = Belt(ejector_px=ejector_px)
    rows: dict[int, tuple[float, float, bool, bool]] = {}
    generation = dict.fromkeys(range(1, 5), 0)
    with closing(sqlite3.connect(":memory:")) as db:
        for table in GATES:
            db.execute(table)
        book = GateBook(db)
        for index, step in enumerate(script):
            ended: list[int] = []
            if isinstance(step, str):
                book.take(belt.gate.blind(Gap("c", index, 0.0, index / 10, "stall"), tracks_of([])))
                rows.clear()
                generation = {name: count + 1 for name, count in generation.items()}
            else:
                name, x, y, sure, located, ends = step
                key = name + 10 * generation[name]
                rows[key] = x, y, sure or (key in rows and rows[key][2]), located
                if ends:
                    rows.pop(key)
                    generation[name] += 1
                    ended = [key]
            tracks = tracks_of(
                [(x - 5, y - 5, x + 5, y + 5) for x, y, _, _ in rows.values()],
                keys=list(rows),
                ids=[key if sure else 0 for key, (_, _, sure, _) in rows.items()],
                located=[located for _, _, _, located in rows.values()],
                velocities=[(3.0, 0.0)] * len(rows),
            )
            book.take(belt.gate.early(Frame("c", index, index / 10, PICTURE), tracks))
            book.read()
            assert book.tallies.get("exit", Tally()).holds
            book.take(belt.gate.decide(seen_of(Frame("c", index, index / 10, PICTURE), tracks, ended=ended)))
            book.read()
            tally = book.tallies.get("exit", Tally())
            assert tally.holds
            assert tally.astray == 0
            assert tally.under_way == int(belt.gate._passage.under_way.sum()) <= len(rows)
