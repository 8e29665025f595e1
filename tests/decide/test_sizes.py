"""Sizes of parts: gathered over their looks, told at lines, judged at gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import MOST_LOOKS, Camera, DefectLimit, Gate, Line, Measuring, SizeLimits
from edge.decide.counting import LineCounter
from edge.decide.gate import QualityGate
from edge.decide.sizes import SizedLine, Sizes, conformity
from edge.events import Count, Event, Measured, Measurement, Verdict
from edge.types import Frame, Gap, Instances, Seen
from tests.see.made import instances_of, seen_of, tracks_of

CLASSES = ["background", "part"]
PICTURE = np.zeros((200, 400, 3), np.uint8)
CAMERA = Camera(source="x", mm_per_px=0.5, measure=Measuring(scale_u=0.001, edge_u_px=0.1))
NOTHING = instances_of([], defects=1)


def frame(index: int) -> Frame:
    return Frame("c", index, index / 10, PICTURE)


def part(x: float, side: float = 40, y: float = 100) -> tuple[float, float, float, float]:
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def seen(x: float, side: float = 40, *, ended: Sequence[int] = (), look: bool = True, scale: float = 1.0) -> Seen:
    """Return a frame in which part 1 is at `x`, with a look at it."""
    found = filled([part(x, side)], scale) if look else NOTHING
    tracks = tracks_of([part(x, side)], instances=[0 if look else -1])
    return seen_of(frame(int(x)), tracks, found, ended)


def filled(boxes: list[tuple[float, float, float, float]], scale: float = 1.0) -> Instances:
    """Return instances whose masks have cells of two pixels."""
    found = instances_of(boxes, defects=1, scales=[scale] * len(boxes))
    masks = [np.ones((round((y1 - y0) / 2), round((x1 - x0) / 2)), np.bool_) for x0, y0, x1, y1 in boxes]
    return replace(found, masks=masks)


def line(**changes: object) -> tuple[Sizes, SizedLine]:
    rule = Line(name="door", camera="c", start=(200, 0), end=(200, 200), settle_looks=1)
    sizes = Sizes(CAMERA, "camera c", ["scratch"])
    return sizes, SizedLine(LineCounter(rule, CLASSES), "door", CLASSES, sizes)


def gate(**limits: tuple[float, float]) -> tuple[Sizes, QualityGate]:
    rule = Gate(
        name="exit", camera="c", start=(200, 0), end=(200, 200), direction="right", measure=True,
        defects={"scratch": DefectLimit(min_area_px=1)}, limits={"part": SizeLimits(**limits)} if limits else {},
    )  # fmt: skip
    sizes = Sizes(CAMERA, "camera c", ["scratch"])
    return sizes, QualityGate(rule, CLASSES, ["scratch"], sizes=sizes)


def carried(sizes: Sizes, rule: SizedLine | QualityGate, sides: Sequence[float] = (40, 40, 40)) -> list[Event]:
    """Return what is told of a part that is looked at once for each of `sides`, and crosses at x = 200."""
    told: list[Event] = []
    for x, side in [*((100 + 10 * i, side) for i, side in enumerate(sides))]:
        for each in (sizes, rule):
            told += each.decide(seen(x, side))
    for each in (sizes, rule):
        told += each.decide(seen(230, look=False))
    return told


def test_a_count_is_followed_by_the_size_of_what_was_counted() -> None:
    count, size = carried(*line())
    assert isinstance(count, Count)
    assert isinstance(size, Measurement)
    assert (size.line, size.track, size.label, size.looks, size.position) == ("door", 1, "part", 3, count.position)
    assert size.measures["area_mm2"].value == pytest.approx(20 * 20)
    assert size.measures["width_mm"].value == pytest.approx(20, abs=0.5)
    assert size.measures["length_mm"].value == pytest.approx(20 * 2**0.5, abs=1.0)


def test_what_is_counted_without_a_look_that_is_good_enough_has_no_size_and_is_told_all_the_same() -> None:
    sizes, rule = line()
    for x in (100, 110):
        for each in (sizes, rule):
            each.decide(seen(x, scale=0.6))
    (_, size) = rule.decide(seen(230, look=False))
    assert isinstance(size, Measurement)
    assert (size.measures, size.looks, size.touched) == ({}, 0, False)


def test_a_look_that_the_border_of_the_frame_cuts_does_not_count() -> None:
    sizes, _ = line()
    sizes.decide(seen(15))
    assert sizes.of(1).looks == 0
    sizes.decide(seen(100))
    assert sizes.of(1).looks == 1


def test_sizes_die_with_their_track_and_in_a_gap_and_the_newest_looks_are_kept() -> None:
    sizes, _ = line()
    for _ in range(MOST_LOOKS + 5):
        sizes.decide(seen(100))
    assert sizes.of(1).looks == MOST_LOOKS
    sizes.decide(seen_of(frame(5), tracks_of([]), NOTHING, [1]))
    assert sizes.of(1).looks == 0
    sizes.decide(seen(100))
    none = tracks_of([])
    sizes.blind(Gap("c", 6, 0.5, 0.6, "stall"), none)
    assert sizes.of(1).looks == 0


def test_a_verdict_has_the_sizes() -> None:
    *_, verdict = carried(*gate())
    assert isinstance(verdict, Verdict)
    assert (verdict.verdict, set(verdict.measures)) == ("PASS", {"area_mm2", "length_mm", "width_mm"})


@pytest.mark.parametrize(
    ("limits", "expected"), [((10, 30), "PASS"), ((25, 30), "REJECT"), ((10, 15), "REJECT"), ((20, 30), "REVIEW")]
)
def test_a_part_is_held_against_its_limits(limits: tuple[float, float], expected: str) -> None:
    *_, verdict = carried(*gate(width_mm=limits))
    assert isinstance(verdict, Verdict)
    assert verdict.verdict == expected
    assert bool(verdict.reasons) == (expected != "PASS")


def test_a_part_that_was_not_measured_gets_the_fail_safe() -> None:
    sizes, rule = gate(width_mm=(10, 30))
    for x in (100, 110, 120):
        rule.decide(seen(x))
    (verdict,) = rule.decide(seen(230, look=False))
    assert isinstance(verdict, Verdict)
    assert (verdict.verdict, verdict.reasons, verdict.measures) == ("REJECT", ["width not measured"], {})
    assert sizes.of(1).looks == 0


def test_the_right_size_does_not_make_a_bad_part_good() -> None:
    sizes, rule = gate(width_mm=(10, 30))
    found = replace(filled([part(100)]), defects_px=np.asarray([[50]], np.float32))
    for each in (sizes, rule):
        each.decide(seen_of(frame(1), tracks_of([part(100)], instances=[0]), found))
        each.decide(seen_of(frame(2), tracks_of([part(110)], instances=[0]), found))
    (verdict,) = rule.decide(seen(230, look=False))
    assert isinstance(verdict, Verdict)
    assert (verdict.verdict, verdict.reasons) == ("REJECT", ["scratch 50 px"])


sizes_and_limits = st.tuples(st.floats(1, 100), st.floats(0, 10), st.floats(0, 60), st.floats(0.1, 60))


@given(sizes_and_limits)
def test_a_verdict_is_proven_or_up_for_review(drawn: tuple[float, float, float, float]) -> None:
    value, uncertainty, low, span = drawn
    limits = SizeLimits(length_mm=(low, low + span))
    verdict, reasons = conformity({"length_mm": Measured(value, uncertainty)}, limits, "REJECT")
    ends = np.asarray([value - uncertainty, value + uncertainty])
    inside = (ends >= low) & (ends <= low + span)
    outside = ends[1] < low or ends[0] > low + span
    assert verdict == ("PASS" if inside.all() else "REJECT" if outside else "REVIEW")
    assert len(reasons) == (verdict != "PASS")


def test_the_worst_of_several_limits_decides_and_all_reasons_are_told() -> None:
    measures = {"length_mm": Measured(10, 1), "width_mm": Measured(5, 1), "area_mm2": Measured(40, 1)}
    limits = SizeLimits(length_mm=(10.5, 20), width_mm=(7, 9), area_mm2=(30, 50))
    verdict, reasons = conformity(measures, limits, "REVIEW")
    assert verdict == "REJECT"
    assert reasons == ["length 10.00 ± 1.00 mm at a limit", "width 5.00 ± 1.00 mm"]


def test_a_part_that_has_not_been_measured_waits_for_a_look_in_the_frame_in_which_it_is_at_the_gate() -> None:
    sizes, rule = gate(width_mm=(10, 30))
    for x, scale in ((100, 1.0), (110, 1.0)):
        rule.decide(seen(x, scale=scale))  # nobody has measured it
    assert rule.early(frame(230), seen(230, look=False).tracks) == []
    sizes.decide(seen(120))
    (verdict,) = rule.early(frame(230), seen(230, look=False).tracks)
    assert (verdict.verdict, verdict.reasons) == ("PASS", [])
    assert set(verdict.measures) == {"area_mm2", "length_mm", "width_mm"}


def test_a_part_that_is_lost_or_goes_past_the_gate_has_no_size() -> None:
    for where, said in (({"y": 100}, "crossing not seen"), ({"y": 260}, "beside the gate")):
        sizes, rule = gate(width_mm=(1, 2))
        for x in (100, 180):
            for each in (sizes, rule):
                each.decide(seen(x))
        tracks = tracks_of([part(230, **where)])
        gone = seen_of(frame(230), tracks_of([]), NOTHING, [1])
        for each in (sizes, rule):
            told = each.decide(gone if said == "crossing not seen" else seen_of(frame(230), tracks, NOTHING))
        (verdict,) = told
        assert isinstance(verdict, Verdict)
        assert (verdict.reasons, verdict.measures) == ([said], {})
