"""The audit: tiles, samples, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.events import AuditEvent
from edge.proportion import upper_bound
from edge.see.audit import TILES, Audit, painted_near, seen_share
from edge.see.misses import CALM_OBJECTS, WINDOW
from edge.see.regions import Painter
from edge.types import Frame, Image, Seen
from tests.see.made import Box, instances_of, tracks_of

SIZE, CANVAS, SCALE = (640, 480), (160, 160), (4.0, 4.0)
TILE = np.asarray([[0, 0, 160, 160]], np.int32)
NONE = np.zeros((0, 4), np.int32)
PART = (40, 40, 80, 80)


def audit(canvases: int = 4, **rules: Any) -> Audit:
    return Audit(
        config.Audit(**{"every_frames": 4, **rules}), SIZE, CANVAS, canvases, ["background", "nut", "washer"], 2
    )


def frame(index: int = 0) -> Frame:
    return Frame("c", index, index / 30, np.zeros((480, 640, 3), np.uint8))


def labels(*boxes: Box) -> Image:
    found = np.zeros((120, 160), np.uint8)
    for x0, y0, x1, y1 in boxes:
        found[int(y0) // 4 : int(y1) // 4, int(x0) // 4 : int(x1) // 4] = 1
    return found


def show(
    watched: Audit, boxes: Sequence[Box], found: Image, first_key: int = 1, *, tile: Any = TILE, **fields: Any
) -> list[AuditEvent]:
    """Let a tile show objects that are tracks at once, with keys from `first_key` on."""
    n = len(boxes)
    keys = list(range(first_key, first_key + n))
    tracks = tracks_of(boxes, **{"keys": keys, "ids": keys, "instances": range(n), **fields})
    return watched.judge(Seen(frame(), found, SCALE, instances_of(boxes), tracks, []), tile)


def show_many(watched: Audit, missed: Sequence[bool], **fields: Any) -> list[AuditEvent]:
    """Let tiles show one new object after the other, whose labels are there or missed."""
    events = []
    for key, miss in enumerate(missed, start=int(fields.pop("first_key", 1))):
        events += show(watched, [PART], labels() if miss else labels(PART), key, **fields)
    return events


# --- tiles


def tiles(watched: Audit, frames: int, *, spare: bool = False) -> Iterator[tuple[int, list[int]]]:
    for index in range(frames):
        for box in watched.tile(index, spare=spare).tolist():
            yield index, box


@given(st.integers(1, 700), st.integers(1, 500), st.integers(0, 3))
def test_every_round_covers_the_frame_with_tiles_of_canvas_size(width: int, height: int, rounds: int) -> None:
    watched = Audit(config.Audit(every_frames=1), (width, height), CANVAS, 1, ["background", "nut"], 2)
    shown = [box for _, box in tiles(watched, 400)]
    seen, full = np.zeros((height, width), np.bool_), 0
    for x0, y0, x1, y1 in shown:
        assert (x1 - x0, y1 - y0) == (min(width, 160), min(height, 160))
        seen[y0:y1, x0:x1] = True
        if seen.all():
            seen[:], full = False, full + 1
    assert full > rounds


def test_rounds_cut_the_frame_in_different_places_and_a_replay_in_the_same() -> None:
    boxes = [box for _, box in tiles(audit(every_frames=1), 200)]
    assert len({tuple(box) for box in boxes}) > 60
    assert boxes == [box for _, box in tiles(audit(every_frames=1), 200)]


@pytest.mark.parametrize(("every", "expected"), [(0, []), (1, [0, 1, 2, 3, 4, 5, 6, 7]), (3, [0, 3, 6])])
def test_tiles_keep_their_schedule(every: int, expected: list[int]) -> None:
    assert [index for index, _ in tiles(audit(every_frames=every), 8)] == expected


def test_time_to_spare_is_used_beyond_the_schedule() -> None:
    assert [index for index, _ in tiles(audit(every_frames=8), 6, spare=True)] == [0, 2, 4]
    assert [index for index, _ in tiles(audit(every_frames=0), 6, spare=True)] == []


def test_frames_that_were_dropped_make_a_tile_no_more_than_due() -> None:
    watched = audit(every_frames=8)
    assert [len(watched.tile(index, spare=False)) for index in (0, 5, 90, 92, 99)] == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(("canvases", "expected"), [(1, [12, 16]), (2, [10, 12, 14, 16]), (8, list(range(9, 18)))])
def test_what_looks_suspicious_takes_a_quarter_of_the_canvases(canvases: int, expected: list[int]) -> None:
    watched = audit(canvases, every_frames=8)
    show(watched, [PART], labels(PART))
    assert [index for index, _ in tiles(watched, 9)] == [0, 8]
    show(watched, [PART], labels(), 2)
    assert [index for index in range(9, 18) if len(watched.tile(index, spare=False))] == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([(4.0, 4.0), (3.7, 8.0)]))
def test_in_a_tile_and_round_it_all_is_painted(seed: int, scale: tuple[float, float]) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(-60, 640, (40, 2))
    boxes = np.hstack([corners, corners + random.uniform(1, 120, (40, 2))]).astype(np.float32)
    masks = [random.random((7, 9)) < 0.7 for _ in boxes]
    shape, left, top = (round(480 / scale[1]), round(640 / scale[0])), *random.integers(0, 320, 2)
    tile = np.asarray([left, top, left + 160, top + 160])
    x0, y0, x1, y1 = np.rint(tile / [*scale, *scale]).astype(int)
    here = slice(max(0, y0 - 1), y1 + 1), slice(max(0, x0 - 1), x1 + 1)
    near = painted_near(tile, masks, boxes, shape, scale)
    np.testing.assert_array_equal(near[here], Painter()(masks, boxes, shape, scale)[here])


# --- samples


def test_an_object_is_seen_where_half_of_it_is_foreground() -> None:
    watched = audit()
    show(watched, [PART], labels((40, 40, 80, 60)))
    show(watched, [PART], labels((40, 40, 80, 52)), 2)
    assert (watched.report["objects"], watched.report["missed"]) == (2, 1)


def test_the_share_is_measured_within_the_mask() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[:, :4] = True
    box = np.asarray([40, 40, 80, 80], np.float32)
    assert seen_share(labels((40, 40, 60, 80)), SCALE, box, mask) == 1
    assert seen_share(labels((60, 40, 80, 80)), SCALE, box, mask) == 0
    assert seen_share(labels((40, 40, 60, 60)), SCALE, box, mask) == 0.5
    assert seen_share(labels((0, 0, 640, 480)), SCALE, box + 900, mask) in {0.0, 1.0}  # beyond the frame: no error
    assert seen_share(labels(), SCALE, box, np.zeros((8, 8), np.bool_)) == 0


def test_only_confirmed_objects_count_and_each_once() -> None:
    watched = audit()
    show(watched, [PART], labels(), looks=[1])
    assert watched.report["objects"] == 0
    show(watched, [PART], labels(PART), tile=NONE)  # confirmed in a frame without a tile: the first judgement counts
    assert (watched.report["objects"], watched.report["missed"]) == (1, 1)
    show(watched, [PART], labels())
    assert (watched.report["objects"], watched.report["missed"]) == (1, 1)


def test_what_never_becomes_a_track_does_not_count() -> None:
    watched = audit()
    show(watched, [PART], labels(), looks=[1])
    watched.judge(Seen(frame(), labels(), SCALE, instances_of([]), tracks_of([]), [1]), NONE)
    show(watched, [PART], labels(PART), tile=NONE)
    assert watched.report["objects"] == 0


def test_only_what_the_tile_shows_whole_is_sampled() -> None:
    watched = audit()
    show(watched, [(130, 40, 170, 80), (200, 40, 240, 80)], labels())
    show(watched, [PART], labels(), 3, instances=[-1])  # a track that nothing was seen of
    assert watched.report["objects"] == 0


def glimpse(watched: Audit, box: Box, found: Image, known: Sequence[Box] = (), index: int = 0) -> None:
    """Let a tile cut an object, `box` being what it shows, beside tracks that nothing looked at in this frame."""
    tracks = tracks_of(known, instances=[-1] * len(known))
    watched.judge(Seen(frame(index), found, SCALE, instances_of([box], whole=[False]), tracks, []), TILE)


@pytest.mark.parametrize(("share", "objects"), [(0.6, 1), (0.4, 0)])
@pytest.mark.parametrize("missed", [0, 1])
def test_a_track_of_which_the_tile_shows_half_is_judged_by_that_half(share: float, objects: int, missed: int) -> None:
    watched, whole = audit(), (100, 40, 200, 80)
    shown = (100, 40, 100 + 100 * share, 80)
    glimpse(watched, shown, labels() if missed else labels(shown), [whole])
    assert (watched.report["objects"], watched.report["missed"]) == (objects, objects * missed)


def test_a_part_of_another_class_is_no_half_of_a_track() -> None:
    watched = audit()
    tracks = tracks_of([(100, 40, 200, 80)], instances=[-1], classes=[2])
    cut = instances_of([(100, 40, 160, 80)], whole=[False])
    watched.judge(Seen(frame(), labels(), SCALE, cut, tracks, []), TILE)
    assert watched.report["objects"] == 0


@pytest.mark.parametrize(
    ("share", "after", "moved", "objects"),
    [(0.6, 1, 0, 1), (0.6, 4, 20, 1), (0.4, 1, 0, 0), (0.6, 5, 0, 0), (0.6, 1, 200, 0)],
)
def test_an_unknown_object_that_the_tile_cut_is_judged_when_a_look_shows_it_whole(
    share: float, after: int, moved: int, objects: int
) -> None:
    watched = audit()
    glimpse(watched, (100, 40, 100 + 100 * share, 80), labels())
    assert watched.report["objects"] == 0
    whole = (100 + moved, 40, 200 + moved, 80)
    seen, track = instances_of([whole]), tracks_of([whole], instances=[0])
    watched.judge(Seen(frame(after), labels(), SCALE, seen, track, []), NONE)
    assert (watched.report["objects"], watched.report["missed"]) == (objects, objects)


def test_a_glimpse_is_forgotten_with_the_sight() -> None:
    watched = audit()
    glimpse(watched, (100, 40, 180, 80), labels())
    watched.reset()
    whole = (100, 40, 200, 80)
    watched.judge(Seen(frame(1), labels(), SCALE, instances_of([whole]), tracks_of([whole], instances=[0]), []), NONE)
    assert watched.report["objects"] == 0


def test_objects_are_kept_apart_by_class_and_size() -> None:
    watched = audit()
    show(watched, [(0, 0, 20, 20), (40, 40, 120, 120)], labels((0, 0, 20, 20)), classes=[1, 2])
    assert {name: (g["objects"], g["missed"]) for name, g in watched.report["groups"].items()} == {
        "class/nut": (1, 0),
        "class/washer": (1, 1),
        "size/small": (1, 0),
        "size/medium": (1, 1),
    }


def test_the_estimate_has_its_bounds() -> None:
    watched = audit(most_missed=0.9)
    show_many(watched, [True] + [False] * 39)
    report = watched.report
    assert (report["objects"], report["missed"], report["rate"]) == (40, 1, 0.025)
    assert report["upper"] == pytest.approx(upper_bound(1, 40), abs=1e-5)
    assert 0 < report["lower"] < report["rate"] < report["upper"] < 0.15


def test_state_is_bounded_and_the_newest_objects_count() -> None:
    watched = audit(most_missed=0.9)
    show_many(watched, [True] * 50 + [False] * (WINDOW + 10))
    assert watched.report["objects"] == WINDOW
    assert watched.report["missed"] == 0


def test_after_a_time_without_sight_old_tracks_are_forgotten() -> None:
    watched = audit()
    show(watched, [PART], labels(), looks=[1])
    watched.reset()
    show(watched, [PART], labels(PART), tile=NONE)
    assert watched.report["objects"] == 0


# --- alarms


def test_an_alarm_names_its_group_and_ends_when_objects_are_seen_again() -> None:
    watched = audit()
    begun = show_many(watched, [True] * 3)
    assert {(e.group, e.alarm, e.missed, e.of, e.share) for e in begun} == {
        ("class/nut", True, 3, 3, 1.0),
        ("size/medium", True, 3, 3, 1.0),
    }
    assert watched.alarm
    assert watched.report["alarms"] == ["class/nut", "size/medium"]
    ended = show_many(watched, [False] * (CALM_OBJECTS - 1), first_key=100)
    assert (ended, watched.alarm) == ([], True)
    ended = show_many(watched, [False], first_key=200)
    assert {(e.group, e.alarm, e.missed, e.of) for e in ended} == {
        ("class/nut", False, 0, CALM_OBJECTS),
        ("size/medium", False, 0, CALM_OBJECTS),
    }
    assert not watched.alarm
    assert watched.report["alarms"] == []


def test_an_alarm_lasts_as_long_as_too_much_is_missed() -> None:
    watched = audit()
    show_many(watched, [True] * 4)
    assert show_many(watched, [True, False, False, False] * 50, first_key=100) == []
    assert watched.alarm


def test_misses_within_the_limit_raise_no_alarm() -> None:
    watched = audit(most_missed=0.05)
    pattern = [i % 20 == 0 for i in range(2000)]
    assert show_many(watched, pattern) == []


def test_a_class_that_is_missed_is_not_hidden_by_others_that_are_seen() -> None:
    watched, key = audit(), 0
    events = []
    for _ in range(4):
        for kind, times in ((1, 30), (2, 1)):
            for _ in range(times):
                key += 1
                found = labels() if kind == 2 else labels(PART)
                events += show(watched, [PART], found, key, classes=[kind])
    assert [event.group for event in events if event.alarm] == ["class/washer"]


@pytest.mark.parametrize("limit", [0.5, 0.0])
def test_foreground_that_nothing_explains_raises_an_alarm_until_it_is_explained(limit: float) -> None:
    watched = audit(most_unexplained=limit)
    noise = (np.random.default_rng(1).random((120, 160)) < 0.8).astype(np.uint8)
    events = [show(watched, [], noise) for _ in range(TILES)]
    assert [len(found) for found in events] == [0] * (TILES - 1) + [1]
    assert (events[-1][0].group, events[-1][0].alarm) == ("unexplained", True)
    assert watched.report["unexplained"] > 0.95
    events = [show(watched, [PART], labels(PART)) for _ in range(4 * TILES)]
    assert [(e.group, e.alarm) for found in events for e in found] == [("unexplained", False)]


def test_foreground_is_explained_by_tracks_and_by_objects_that_the_tile_cuts() -> None:
    watched = audit()
    for _ in range(TILES):
        tracks = tracks_of([PART])  # carried: nothing was seen of it in this frame
        cut = instances_of([(100, 100, 160, 140)], whole=[False])
        watched.judge(Seen(frame(), labels(PART, (100, 100, 160, 140)), SCALE, cut, tracks, []), TILE)
    assert watched.report["unexplained"] == 0


def test_empty_tiles_say_nothing_of_foreground() -> None:
    watched = audit()
    assert [show(watched, [], labels()) for _ in range(3 * TILES)] == [[]] * (3 * TILES)
    assert watched.report["unexplained"] == 0
