"""Evidence per part -> exactly one verdict at the gate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import MOST_LOOKS, DefectLimit, Gate
from edge.decide.evidence import SHARPEST
from edge.decide.gate import QualityGate
from edge.events import Verdict
from edge.types import Frame, Gap, Seen, Tracks
from tests.see.made import instances_of, seen_of, tracks_of

CLASSES, DEFECTS = ["background", "part", "other"], ["scratch", "chip"]
PICTURE = np.zeros((8, 8, 3), np.uint8)
NOTHING = instances_of([], defects=2)
LIMITS = {"scratch": DefectLimit(min_area_px=30, looks=0.5)}


def frame(index: int) -> Frame:
    return Frame("c", index, index / 10, PICTURE)


def gate(**changes: object) -> QualityGate:
    """Return a gate at x = 100 for parts that go to the right."""
    fields = {"name": "exit", "camera": "c", "start": (100, 0), "end": (100, 200), "direction": "right", **changes}
    return QualityGate(Gate(**{"defects": LIMITS, **fields}), CLASSES, DEFECTS)  # type: ignore[arg-type]


def verdicts(judge: QualityGate, seen: Seen) -> list[Verdict]:
    """Show a frame to the gate and return the verdicts alone."""
    return [told for told in judge.decide(seen) if isinstance(told, Verdict)]


def at(x: float, **fields: Sequence[object]) -> Tracks:
    return tracks_of([(x - 10, 90, x + 10, 110)], **fields)


def look(
    judge: QualityGate, x: float, defects: Sequence[float] = (0, 0), scale: float = 1.0, key: int = 1
) -> list[Verdict]:
    """Show one look at the part and return the verdicts."""
    seen = instances_of([(x - 10, 90, x + 10, 110)], defects=2, defects_px=[defects], scales=[scale])
    return verdicts(judge, seen_of(frame(int(x)), at(x, instances=[0], keys=[key], ids=[key]), seen))


def cross(judge: QualityGate, x: float = 110, key: int = 1) -> Verdict:
    """Carry the part over the gate without a look and return its verdict."""
    (verdict,) = verdicts(judge, seen_of(frame(int(x)), at(x, keys=[key], ids=[key]), NOTHING))
    return verdict


def test_a_part_without_defects_passes_with_all_that_is_known_of_it() -> None:
    judge = gate()
    for x in (40, 60, 80):
        assert not look(judge, x, key=6)
    assert cross(judge, 101, key=6) == Verdict(
        time=10.1, camera="c", frame=101, gate="exit", track=6, label="part", position=(101.0, 100.0), verdict="PASS",
        reasons=[], defects_px={}, looks=3,
    )  # fmt: skip


def test_a_defect_rejects_and_says_which_and_how_large_in_the_median() -> None:
    judge = gate()
    for x, area in ((40, 50), (60, 30), (80, 70)):
        look(judge, x, (area, 0))
    verdict = cross(judge)
    assert (verdict.verdict, verdict.reasons, verdict.defects_px) == ("REJECT", ["scratch 50 px"], {"scratch": 50.0})


@given(st.lists(st.floats(0, 60, width=32), min_size=2, max_size=12), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_k_of_n_looks_reject(areas: list[float], share: float) -> None:
    judge = gate(defects={"scratch": DefectLimit(min_area_px=30, looks=share)}, doubt="PASS")
    for i, area in enumerate(areas):
        look(judge, 10 + i, (area, 0))
    over = [area for area in areas if area >= 30]
    rejected = bool(over) and len(over) >= share * len(areas)
    verdict = cross(judge)
    assert verdict.verdict == ("REJECT" if rejected else "PASS")
    assert verdict.looks == len(areas)
    assert verdict.defects_px == (
        {"scratch": round(float(np.median(np.asarray(over, np.float32))), 1)} if rejected else {}
    )


def test_a_defect_class_that_is_not_named_does_not_reject() -> None:
    judge = gate()
    look(judge, 40, (0, 500))
    look(judge, 60, (0, 500))
    assert cross(judge).verdict == "PASS"


def test_every_defect_class_that_rejects_is_a_reason() -> None:
    judge = gate(defects={"scratch": DefectLimit(min_area_px=1), "chip": DefectLimit(min_area_px=1)})
    look(judge, 40, (5, 9))
    look(judge, 60, (5, 9))
    assert cross(judge).reasons == ["scratch 5 px", "chip 9 px"]


@pytest.mark.parametrize("fail_safe", ["REJECT", "REVIEW"])
@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_part_with_too_few_looks_gets_the_fail_safe_never_pass(fail_safe: str, looks: int) -> None:
    judge = gate(fail_safe=fail_safe, min_looks=3)
    judge.decide(seen_of(frame(0), at(20), NOTHING))
    for i in range(looks):
        look(judge, 40 + i)
    verdict = cross(judge)
    assert verdict.verdict == fail_safe
    assert verdict.reasons == [f"{looks} of 3 looks"]


def test_a_defect_seen_in_too_few_looks_is_told_with_the_fail_safe() -> None:
    judge = gate(min_looks=2, fail_safe="REVIEW")
    look(judge, 40, (99, 0))
    verdict = cross(judge)
    assert (verdict.verdict, verdict.reasons) == ("REVIEW", ["scratch 99 px", "1 of 2 looks"])


def test_the_most_looks_that_can_be_asked_for_are_kept() -> None:
    judge = gate(min_looks=MOST_LOOKS)
    for i in range(MOST_LOOKS):
        look(judge, 40 + i)
    assert cross(judge).verdict == "PASS"


def test_coarse_looks_are_no_evidence() -> None:
    judge = gate(min_looks=2)
    look(judge, 40, (0, 0))
    for x in (50, 60, 70):
        look(judge, x, (99, 0), scale=SHARPEST - 0.01)
    verdict = cross(judge)
    assert (verdict.verdict, verdict.looks, verdict.defects_px) == ("REJECT", 1, {})
    sharp = gate(min_looks=2)
    look(sharp, 40, scale=SHARPEST)
    look(sharp, 50, scale=2.0)
    assert cross(sharp).verdict == "PASS"


def test_a_look_in_the_frame_of_the_verdict_counts() -> None:
    judge = gate(min_looks=2)
    look(judge, 40)
    (verdict,) = look(judge, 104, (99, 0))
    assert (verdict.looks, verdict.verdict) == (2, "REJECT")


@given(st.lists(st.floats(60, 140, width=32), min_size=1, max_size=60))
def test_any_walk_gets_at_most_one_verdict_and_one_if_it_crosses(xs: list[float]) -> None:
    judge = gate()
    found = [v for i, x in enumerate(xs) for v in verdicts(judge, seen_of(frame(i), at(x), NOTHING))]
    clear = [x > 100 for x in xs if x != 100]
    crosses = any(not before and after for before, after in itertools.pairwise(clear))
    assert len(found) == crosses


def test_a_part_that_goes_the_wrong_way_gets_no_verdict() -> None:
    judge = gate()
    assert not look(judge, 140)
    assert not look(judge, 60)


def test_parts_side_by_side_keep_their_own_evidence() -> None:
    judge = gate()
    rows = [(30, 0), (30, 40), (30, 80)]

    def step(shift: float, *, seen: bool) -> list[Verdict]:
        boxes = [(x + shift, y, x + shift + 20, y + 20) for x, y in rows]
        found = instances_of(boxes, defects=2, defects_px=[(0, 0), (99, 0), (0, 99)]) if seen else NOTHING
        # the instances come in another order than the tracks
        order = [2, 0, 1] if seen else [-1, -1, -1]
        tracks = tracks_of([boxes[i] for i in (2, 0, 1)], keys=[13, 11, 12], ids=[3, 1, 2], instances=order)
        return verdicts(judge, seen_of(frame(int(shift)), tracks, found))

    assert not step(0, seen=True)
    assert not step(10, seen=True)
    assert {v.track: v.verdict for v in step(80, seen=False)} == {1: "PASS", 2: "REJECT", 3: "PASS"}


def test_the_newest_looks_are_kept_and_no_more_than_so_many() -> None:
    judge = gate()
    for _ in range(MOST_LOOKS):
        look(judge, 40, (99, 0))
    for _ in range(MOST_LOOKS):
        look(judge, 50, (0, 0))
    verdict = cross(judge)
    assert (verdict.looks, verdict.verdict) == (MOST_LOOKS, "PASS")


def test_what_is_remembered_dies_with_its_track() -> None:
    judge = gate()
    for key in range(1, 2001):
        look(judge, 40, key=key)
        cross(judge, key=key)
        look(judge, 120, key=key)
        judge.decide(seen_of(frame(0), tracks_of([]), NOTHING, [key]))
    assert not judge._evidence._shown
    assert not judge._evidence._doubts
    assert not len(judge._passage._keys)
    assert not len(judge._passage.judged)


def test_the_evidence_is_a_copy_of_what_the_engine_may_overwrite() -> None:
    judge = gate()
    seen = instances_of([(30, 90, 50, 110)], defects=2, defects_px=[(99, 0)])
    for x in (40, 50):
        judge.decide(seen_of(frame(0), at(x, instances=[0]), seen))
    seen.defects_px[:] = 0
    assert cross(judge).verdict == "REJECT"


def test_a_part_on_its_way_when_the_camera_goes_blind_gets_the_fail_safe_once() -> None:
    """What is seen after a time without sight need not be the same part: its looks must not pass another one."""
    judge = gate()
    for x in (40, 60, 80):
        look(judge, x)
    (verdict,) = judge.blind(Gap("c", 90, 9.0, 609.0, "stall"), at(80, keys=[1], ids=[1]))
    assert (verdict.verdict, verdict.reasons, verdict.track) == ("REJECT", ["camera was blind"], 1)
    assert judge.blind(Gap("c", 91, 609.0, 609.0, "reopened"), at(80, keys=[1], ids=[1])) == []
    look(judge, 85)
    assert cross(judge).verdict == "REJECT", "one look after the gap is too few, whatever was seen before it"


def test_a_part_beyond_the_gate_or_judged_is_not_judged_for_a_gap() -> None:
    judge = gate()
    look(judge, 120, key=2)
    for x in (40, 60, 80):
        look(judge, x)
    cross(judge, 101)
    both = tracks_of([(110, 90, 130, 110), (91, 90, 111, 110)], keys=[2, 1], ids=[2, 1])
    assert judge.blind(Gap("c", 130, 9.0, 19.0, "stall"), both) == []


@pytest.mark.parametrize(
    ("areas", "doubtful"),
    [
        ([0, 0, 0, 0], False),
        ([50, 50, 50], False),  # all agree
        ([50, 0], True),
        ([50, 0, 0], True),  # a third
        ([50, 0, 0, 0, 0], False),  # a fifth: surely not
        ([0, 0, 50, 20], True),  # what is too small does not count
    ],
)
def test_looks_that_do_not_agree_leave_doubt_until_the_verdict(areas: list[float], doubtful: bool) -> None:
    judge = gate()
    for i, area in enumerate(areas):
        look(judge, 10 + i, (area, 999))
    assert judge.doubtful(at(50, keys=[1])).tolist() == [doubtful]
    assert judge.doubtful(at(50, keys=[2])).tolist() == [False]
    cross(judge)
    assert judge.doubtful(at(120, keys=[1])).tolist() == [False]


def test_a_model_without_defect_classes_judges_by_looks_alone() -> None:
    judge = QualityGate(Gate(name="exit", camera="c", start=(100, 0), end=(100, 200), direction="right"), CLASSES, [])
    found = instances_of([(30, 90, 50, 110)], defects=0)
    for x in (40, 60):
        assert not verdicts(judge, seen_of(frame(x), at(x, instances=[0]), found))
    (verdict,) = verdicts(judge, seen_of(frame(110), at(110), instances_of([], defects=0)))
    assert (verdict.verdict, verdict.looks) == ("PASS", 2)
