"""Numbers at a gate: what parts contain, and how many spots of a defect they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.config import MOST_LOOKS, DefectLimit, Gate
from edge.decide.gate import QualityGate
from edge.decide.tallies import Tallies
from edge.events import Event, Verdict
from edge.types import Frame, Gap, Instances, Seen
from tests.see.made import instances_of, seen_of, tracks_of

CLASSES = ["background", "block", "screw", "nail", "plate"]
DEFECTS = ["pore", "scratch"]
PICTURE = np.zeros((200, 400, 3), np.uint8)
BLOCK = (60, 60, 140, 140)
SPOTS = [(70, 70), (120, 70), (70, 120), (120, 120), (95, 95)]


def gate(**changes: Any) -> tuple[Tallies, QualityGate]:
    fields: dict[str, Any] = {
        "name": "exit", "camera": "c", "start": (200, 0), "end": (200, 200), "direction": "right",
        "contains": {"block": {"screw": (4, 4)}}, **changes,
    }  # fmt: skip
    rule = Gate(**fields)
    tallies = Tallies(rule, CLASSES, DEFECTS)
    return tallies, QualityGate(rule, CLASSES, DEFECTS, tallies=tallies)


def look(screws: int, *, nails: int = 0, pores: int = 0, label: int = 1) -> Instances:
    """Return a block with so many screws and nails in it, and one screw beside it."""
    small = [(x, y, x + 8, y + 8) for x, y in (SPOTS * 2)[: screws + nails]]
    boxes = [BLOCK, *small, (300, 20, 308, 28)]
    found = instances_of(boxes, defects=2, classes=[label, *[2] * screws, *[3] * nails, 2])
    counts = np.zeros((len(boxes), 2), np.int32)
    counts[0, 0] = pores
    return replace(found, flaw_counts=counts)


def seen(found: Instances | None, x: float = 0, *, label: int = 1, ended: Sequence[int] = ()) -> Seen:
    """Return a frame in which the block lies `x` further to the right, with a look at it or without."""
    box = (BLOCK[0] + x, BLOCK[1], BLOCK[2] + x, BLOCK[3])
    tracks = tracks_of([box], instances=[-1 if found is None else 0], classes=[label])
    return seen_of(Frame("c", int(x), x / 10, PICTURE), tracks, found, ended)


def judged(looks: Sequence[Instances], *, label: int = 1, **changes: Any) -> Verdict:
    """Return the verdict on a block after these looks."""
    tallies, rule = gate(**changes)
    told: list[Event] = []
    for i, found in enumerate(looks):
        for each in (tallies, rule):
            told += each.decide(seen(found, i, label=label))
    for each in (tallies, rule):
        told += each.decide(seen(None, 150, label=label))
    (verdict,) = [event for event in told if isinstance(event, Verdict)]
    return verdict


@pytest.mark.parametrize(
    ("screws", "expected", "reasons"),
    [(4, "PASS", []), (3, "REJECT", ["3 of 4 screw"]), (0, "REJECT", ["0 of 4 screw"]),
     (5, "REJECT", ["5 screw, 4 at most"])],
)  # fmt: skip
def test_a_part_must_hold_what_belongs_into_it(screws: int, expected: str, reasons: list[str]) -> None:
    verdict = judged([look(screws)] * 3)
    assert (verdict.verdict, verdict.reasons) == (expected, reasons)


def test_several_classes_each_have_their_limits() -> None:
    contains = {"block": {"screw": (2, 4), "nail": (0, 1)}}
    assert judged([look(3, nails=1)] * 3, contains=contains).verdict == "PASS"
    assert judged([look(1, nails=2)] * 3, contains=contains).reasons == ["1 of 2 screw", "2 nail, 1 at most"]


def test_a_part_of_another_class_has_other_limits() -> None:
    contains = {"block": {"screw": (4, 4)}, "plate": {"screw": (1, 2)}}
    assert judged([look(2, label=4)] * 3, label=4, contains=contains).verdict == "PASS"
    assert judged([look(2)] * 3, contains=contains).verdict == "REJECT"
    assert judged([look(0, label=4)] * 3, label=4, contains={"block": {"screw": (4, 4)}}).verdict == "PASS"


@pytest.mark.parametrize(
    ("numbers", "expected", "reasons"),
    [
        ((4, 4, 4, 3), "REVIEW", ["3 of 4 screw in 1 of 4 looks"]),
        ((4, 4, 3, 3), "REJECT", ["3 of 4 screw"]),
        ((4, 4, 4, 4, 4, 3), "PASS", []),
    ],
)
def test_looks_that_disagree_vote(numbers: Sequence[int], expected: str, reasons: list[str]) -> None:
    verdict = judged([look(number) for number in numbers])
    assert (verdict.verdict, verdict.reasons) == (expected, reasons)


def test_doubt_is_what_the_gate_makes_of_it_and_asks_for_looks() -> None:
    looks = [look(4), look(4), look(4), look(3)]
    assert judged(looks, doubt="PASS").verdict == "PASS"
    assert judged(looks, doubt="REJECT").verdict == "REJECT"
    tallies, _ = gate()
    for i, found in enumerate(looks):
        tallies.decide(seen(found, i))
    assert tallies.doubtful(tracks_of([BLOCK])).tolist() == [True]
    tallies.done([1])
    tallies.decide(seen(look(3), 5))
    assert tallies.doubtful(tracks_of([BLOCK])).tolist() == [False]


def test_a_part_that_has_its_verdict_needs_no_more_looks() -> None:
    tallies, rule = gate()
    for i, found in enumerate([look(4), look(4), look(4), look(3)]):
        for each in (tallies, rule):
            each.decide(seen(found, i))
    assert tallies.doubtful(tracks_of([BLOCK])).tolist() == [True]
    for each in (tallies, rule):
        each.decide(seen(None, 150))
    tallies.decide(seen(look(3), 151))
    assert tallies.doubtful(tracks_of([BLOCK])).tolist() == [False]
    assert not tallies._looks


def test_a_part_that_was_not_looked_at_enough_has_the_fail_safe_alone() -> None:
    verdict = judged([look(4)])
    assert (verdict.verdict, verdict.reasons) == ("REJECT", ["1 of 2 looks"])


def test_a_coarse_look_counts_nothing() -> None:
    coarse = replace(look(2), scales=np.full(4, 0.5, np.float32))
    assert judged([look(4), look(4), *[coarse] * 8]).verdict == "PASS"


def test_a_screw_belongs_to_the_part_whose_mask_is_nearest() -> None:
    tallies, _ = gate()
    boxes = [(0, 0, 100, 100), (50, 0, 150, 100), (60, 40, 68, 48), (84, 40, 92, 48), (140, 40, 148, 48)]
    found = instances_of(boxes, classes=[1, 1, 2, 2, 2], defects=2)
    left, right = np.zeros((10, 10), np.bool_), np.zeros((10, 10), np.bool_)
    left[:, :7], right[:, 2:] = True, True  # to x = 70, and from x = 70 on
    found.masks[0], found.masks[1] = left, right
    tracks = tracks_of(boxes[:2], instances=[0, 1])
    tallies.decide(seen_of(Frame("c", 0, 0.0, PICTURE), tracks, found))
    assert [looks[0].tolist() for looks in tallies._looks.values()] == [[1], [2]]


def test_spots_of_a_defect_are_limited_by_number_however_small() -> None:
    defects = {"pore": DefectLimit(min_area_px=1000, max_count=2)}
    assert judged([look(0, pores=2)] * 3, contains={}, defects=defects).verdict == "PASS"
    verdict = judged([look(0, pores=5)] * 3, contains={}, defects=defects)
    assert (verdict.verdict, verdict.reasons) == ("REJECT", ["5 pore, 2 at most"])
    strict = {"pore": DefectLimit(min_area_px=1000, max_count=2, looks=0.9)}
    assert judged([look(0, pores=5)] * 3 + [look(0)], contains={}, defects=strict).verdict == "REVIEW"


def test_numbers_die_with_their_track_and_in_a_gap_and_the_newest_looks_are_kept() -> None:
    tallies, _ = gate()
    for i in range(MOST_LOOKS + 5):
        tallies.decide(seen(look(3), i))
    assert len(tallies._looks[1]) == MOST_LOOKS
    tallies.decide(seen_of(Frame("c", 99, 9.9, PICTURE), tracks_of([]), None, [1]))
    assert not tallies._looks
    tallies.decide(seen(look(3), 0))
    tallies.done([1])
    tallies.blind(Gap("c", 9, 1.0, 2.0, "stall"), tracks_of([]))
    assert not tallies._looks
    assert not tallies._done


def test_a_part_beside_the_gate_stays_expired() -> None:
    tallies, rule = gate(start=(200, 0), end=(200, 110))
    told: list[Event] = []
    for found, x, y in ((look(3), 0, 0), (look(3), 1, 0), (None, 150, 80)):
        box = (BLOCK[0] + x, BLOCK[1] + y, BLOCK[2] + x, BLOCK[3] + y)
        tracks = tracks_of([box], instances=[-1 if found is None else 0])
        frame = seen_of(Frame("c", x, x / 10, PICTURE), tracks, found)
        told += [event for each in (tallies, rule) for event in each.decide(frame)]
    assert [(event.verdict, event.reasons) for event in told if isinstance(event, Verdict)] == [
        ("EXPIRED", ["beside the gate"])
    ]


def test_a_part_whose_numbers_are_in_doubt_waits_for_the_looks_of_the_frame_in_which_it_is_at_the_gate() -> None:
    for numbers, said in (((3, 3, 3, 3), ["REJECT"]), ((4, 4, 4, 3), []), ((4, 4, 4, 4), ["PASS"])):
        tallies, rule = gate(doubt="REVIEW")
        for i, number in enumerate(numbers):
            for each in (tallies, rule):
                each.decide(seen(look(number), i))
        at_gate = seen(None, 150)
        assert [event.verdict for event in rule.early(at_gate.frame, at_gate.tracks)] == said
