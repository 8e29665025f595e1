"""Whether everything is there: places that stay, places that move, frames that disagree, and what is told when."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.config import Presence
from edge.decide.arrangement import Arrangement
from edge.decide.presence import PresenceWatch
from edge.events import PresenceEvent
from edge.rigid import Motion
from edge.types import Frame, Gap, Image, Seen, Tracks
from tests.see.made import instances_of, tracks_of

LABELS = ["surface", "screw", "hole"]
CLASSES = ["background", "bottle", "cap"]
PICTURE = np.zeros((8, 8, 3), np.uint8)
CELL = 2.0  # frame pixels of a cell
SIDE = 300  # cells of a label map
BOXES = {
    "a": [(100.0, 100.0), (200.0, 200.0)],
    "b": [(400.0, 100.0), (500.0, 200.0)],
    "c": [(100.0, 400.0), (200.0, 500.0)],
    "d": [(400.0, 400.0), (500.0, 500.0)],
}
MIDDLES = np.asarray([np.mean(box, axis=0) for box in BOXES.values()])
NOBODY = tracks_of([])


def watch(**changes: Any) -> PresenceWatch:
    fields: dict[str, Any] = {"name": "screws", "camera": "c", "places": BOXES, "classes": ["screw"], **changes}
    return PresenceWatch(Presence(**fields), CLASSES, LABELS)


def shown(spots: dict[tuple[float, float], int], radius: float = 30) -> Image:
    """Return labels with a disc of a class at each of these points, frame pixels."""
    labels: Image = np.zeros((SIDE, SIDE), np.uint8)
    for (x, y), label in spots.items():
        cv2.circle(labels, (round(x / CELL), round(y / CELL)), round(radius / CELL), label, -1)
    return labels


def seen(labels: Image, index: int = 0, tracks: Tracks = NOBODY) -> Seen:
    found = (labels > 0).astype(np.uint8)
    frame = Frame("c", index, index / 10, PICTURE)
    return Seen(frame, found, (CELL, CELL), instances_of([]), tracks, [], labels)


def screws(*names: str, by: Motion | None = None, other: int = 2) -> Image:
    """Return labels in which these places have their screws and the others holes, moved `by`."""
    points = MIDDLES if by is None else by(MIDDLES)
    return shown({(x, y): 1 if name in names else other for name, (x, y) in zip(BOXES, points.tolist(), strict=True)})


def missing(rule: PresenceWatch, labels: Image) -> list[str]:
    return rule.inspect(seen(labels)).missing


@pytest.mark.parametrize("there", ["", "a", "bd", "abc", "abcd"])
def test_places_without_their_screws_are_named(there: str) -> None:
    (event,) = watch().decide(seen(screws(*there)))
    assert event.missing == [name for name in BOXES if name not in there]
    assert event.verdict == ("OK" if there == "abcd" else "NOK")
    assert event.reasons == ([] if there == "abcd" else [f"{len(there)} of 4 places"])
    disc = math.pi * 30**2 / 100**2
    assert [event.shares[name] for name in BOXES] == pytest.approx([disc if n in there else 0 for n in BOXES], abs=0.03)


def test_a_screw_that_is_hardly_seen_is_not_there() -> None:
    labels = shown({(150, 150): 1}, radius=12)
    assert "a" in missing(watch(), labels)
    assert "a" not in missing(watch(least_share=0.03), labels)


def test_a_polygon_counts_what_lies_in_it_alone() -> None:
    triangle = {"t": [(100.0, 100.0), (300.0, 100.0), (100.0, 300.0)]}
    inside, beside = shown({(150, 150): 1}), shown({(260, 260): 1})
    assert missing(watch(places=triangle, least_share=0.1), inside) == []
    assert missing(watch(places=triangle, least_share=0.1), beside) == ["t"]
    full = np.ones((SIDE, SIDE), np.uint8)
    assert watch(places=triangle).inspect(seen(full)).shares == {"t": pytest.approx(1.0, abs=0.02)}


moves = st.tuples(st.floats(-90, 90), st.floats(-90, 90), st.floats(-14, 14))


def moved(move: tuple[float, float, float]) -> Motion:
    x, y = MIDDLES.mean(axis=0).tolist()
    return Motion((x, y), math.radians(move[2]), (move[0], move[1]))


@given(moves, st.sets(st.sampled_from("abcd")))
def test_places_are_found_wherever_the_block_lies(move: tuple[float, float, float], there: set[str]) -> None:
    assume(math.hypot(*move[:2]) < 95)
    rule = watch(empty=["hole"], move_px=100, turn_deg=15, least_share=0.1)
    event = rule.inspect(seen(screws(*there, by=moved(move))))
    assert event.missing == [name for name in BOXES if name not in there]
    assert event.moved == pytest.approx(move, abs=3)


def test_one_screw_alone_is_that_of_the_nearest_place() -> None:
    rule = watch(move_px=100, turn_deg=15)
    assert missing(rule, shown({(470, 130): 1})) == ["a", "c", "d"]
    assert missing(rule, shown({})) == ["a", "b", "c", "d"]


def test_a_screw_beside_its_place_is_none() -> None:
    labels = screws("a", "b", "d", by=Motion((300, 300), 0, (40, 20)))
    labels[labels == 2] = 0
    astray = np.maximum(labels, shown({(340, 320): 1}))  # the fourth lies in the middle of the block
    assert missing(watch(move_px=100, turn_deg=15), astray) == ["c"]


def test_places_that_may_not_move_are_not_looked_for() -> None:
    assert missing(watch(), screws(*"abcd", by=Motion((300, 300), 0, (80, 0)))) == ["a", "b", "c", "d"]


def test_a_verdict_is_told_when_it_changes_and_in_each_frame_where_that_is_wanted() -> None:
    maps = [screws("a"), screws("a"), screws(*"abcd"), screws(*"abcd"), screws("b")]
    for trigger, expected in (("change", [0, 2, 4]), ("frame", [0, 1, 2, 3, 4])):
        rule = watch(trigger=trigger)
        told = [event for i, labels in enumerate(maps) for event in rule.decide(seen(labels, i))]
        assert [event.frame for event in told] == expected


def test_frames_vote() -> None:
    rule = watch(window=4, seen=0.75)
    full, none = screws(*"abcd"), screws()
    told: list[PresenceEvent] = []
    for i, labels in enumerate([full, full, none, full, full, none, none, full, full, full]):
        told += rule.decide(seen(labels, i))
    assert [(event.frame, event.verdict) for event in told] == [(3, "OK"), (5, "NOK"), (9, "OK")]


def test_after_a_gap_it_is_told_anew() -> None:
    rule = watch(window=2, seen=1.0)
    for i in range(4):
        rule.decide(seen(screws(*"abcd"), i))
    assert rule.blind(Gap("c", 4, 0.4, 3.0, "stall"), NOBODY) == []
    assert rule.decide(seen(screws(*"abcd"), 30)) == []
    assert [event.verdict for event in rule.decide(seen(screws(*"abcd"), 31))] == ["OK"]


def bottles(*places: str, **fields: Any) -> Tracks:
    boxes = [(x - 20, y - 20, x + 20, y + 20) for x, y in (MIDDLES[list(BOXES).index(name)] for name in places)]
    return tracks_of(boxes, **fields)


def test_by_instances_an_object_fills_the_place_that_its_centre_lies_in() -> None:
    rule = watch(by="instances", classes=["bottle"])
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    event = rule.inspect(seen(nothing, tracks=bottles("a", "c", "d")))
    assert (event.missing, event.shares) == (["b"], {"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0})
    others = bottles("a", "c", "d", classes=[1, 2, 1])
    assert rule.inspect(seen(nothing, tracks=others)).missing == ["b", "c"]


def test_by_instances_what_neither_look_nor_label_shows_is_not_there() -> None:
    rule = watch(by="instances", classes=["bottle"])
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    tracks = bottles("a", "b", "c", "d", since_look=[0, 5, 5, 0], supported=[True, True, False, False])
    assert rule.inspect(seen(nothing, tracks=tracks)).missing == ["c"]
    old = bottles("a", "b", "c", "d", since_look=[0, 37, 38, 39])  # 30 frames from look to look
    assert rule.inspect(seen(nothing, tracks=old)).missing == ["d"]


def test_by_instances_places_that_moved_are_found_too() -> None:
    rule = watch(by="instances", classes=["bottle"], empty=["cap"], move_px=100, turn_deg=15)
    points = Motion((300, 300), math.radians(10), (60, -50))(MIDDLES)
    boxes = [(x - 20, y - 20, x + 20, y + 20) for x, y in points.tolist()]
    tracks = tracks_of(boxes, classes=[1, 2, 1, 1])
    assert rule.inspect(seen(np.zeros((SIDE, SIDE), np.uint8), tracks=tracks)).missing == ["b"]


@given(moves, st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_a_motion_is_found_among_things_that_are_not_there_and_things_that_do_not_belong(
    move: tuple[float, float, float], count: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(6) * 90.0, np.arange(5) * 90.0), axis=2).reshape(-1, 2)
    x, y = places.mean(axis=0).tolist()
    motion = Motion((x, y), math.radians(move[2] / 2), (move[0] * 0.3, move[1] * 0.3))
    kept = random.choice(len(places), count, replace=False)
    things = motion(places)[kept] + random.normal(0, 1, (count, 2))
    found = Arrangement(places, 45, math.radians(10)).find(things)
    gaps = np.hypot(*(found(places)[:, None] - things).transpose(2, 0, 1)).min(axis=0)
    assert gaps.max() < 45  # each thing is nearer to a place than to the next one
    if count > 6:
        assert found(places) == pytest.approx(motion(places), abs=6)


def test_limits_hold() -> None:
    arrangement = Arrangement(MIDDLES, 50, math.radians(5))
    found = arrangement.find(Motion((300, 300), math.radians(20), (80, 0))(MIDDLES))
    assert math.hypot(*found.shift) <= 50 + 1e-6
    assert abs(math.degrees(found.turn)) <= 5 + 1e-6
