"""Objects that become one instance and two again keep their ids, and it is told."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edge.config import TrackRules
from edge.decide.meetings import Meeting, Meetings
from edge.decide.rows import Rows, new_rows
from edge.decide.tracks import Tracker
from edge.events import MeetingEvent
from edge.types import Frame, Image, Tracks
from tests.see.made import Box, instances_of, looks_of

SIZE, SCALE = (800, 480), (4.0, 4.0)
PICTURE: Image = np.zeros((4, 4, 3), np.uint8)
EVERYWHERE = looks_of([(0, 0, *SIZE)], [(0, 0, 100, 60)])
Told = list[tuple[int, str, int, int]]


def round_both(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


class Scene:
    """What a tracker makes of boxes, ten frames a second, with the foreground that they are."""

    def __init__(self, **rules: Any) -> None:
        ids = itertools.count(1)
        self.tracker = Tracker(TrackRules(confirm_looks=1, **rules), [1, 2], 4, SIZE, lambda: next(ids))
        self.events: list[MeetingEvent] = []
        self.index = -1

    def show(self, *boxes: Box, look: bool = True) -> Tracks:
        self.index += 1
        found: Image = np.zeros((SIZE[1] // 4, SIZE[0] // 4), np.uint8)
        for x0, y0, x1, y1 in np.round(np.asarray(boxes).reshape(-1, 4) / 4).astype(int).tolist():
            found[max(y0, 0) : y1, max(x0, 0) : max(x1, 0)] = 1
        self.tracker.predict(found, SCALE, 1)
        seen = instances_of(boxes if look else [])
        tracks, _ = self.tracker.update(seen, EVERYWHERE if look else looks_of([], []))
        told = self.tracker.told(Frame("c", self.index, self.index / 10, PICTURE))
        self.events += [event for event in told if isinstance(event, MeetingEvent)]
        return tracks

    @property
    def told(self) -> Told:
        return [(event.frame, event.change, event.track, event.other) for event in self.events]


def ids_at(tracks: Tracks, boxes: list[Box]) -> list[int]:
    """Return the id of the track whose centre is nearest to each box's."""
    middles = np.asarray(boxes, np.float32).reshape(-1, 2, 2).mean(axis=1)
    return [int(tracks.ids[np.hypot(*(tracks.centers - middle).T).argmin()]) for middle in middles]


def pair(x: float, gap: float = 0.0, side: float = 40.0) -> tuple[Box, Box]:
    """Return two boxes side by side, the first of which ends at `x`."""
    return (x - side, 100, x, 100 + side), (x + gap, 106, x + gap + side, 106 + side)


@pytest.mark.parametrize("motion", ["belt", "free"])
@pytest.mark.parametrize("lasts", [4, 12, 60])
def test_two_that_are_one_for_a_while_keep_their_ids(motion: str, lasts: int) -> None:
    scene = Scene(motion=motion)
    for t in range(6):
        before = scene.show(*pair(100 + 6 * t))
    left, right = ids_at(before, list(pair(130)))
    for t in range(6, 6 + lasts):
        scene.show(round_both(*pair(100 + 6 * t)))
    for t in range(6 + lasts, 12 + lasts):
        after = scene.show(*pair(100 + 6 * t))
    assert ids_at(after, list(pair(100 + 6 * (11 + lasts)))) == [left, right]
    assert sorted(after.ids.tolist()) == [1, 2]
    assert scene.told == [(7, "merge", *scene.told[0][2:]), (7 + lasts, "split", *scene.told[0][2:])]
    assert {left, right} == set(scene.told[0][2:])
    assert [event.merged_s for event in scene.events] == [None, pytest.approx(lasts / 10)]


def test_two_that_walk_into_each_other_stand_together_and_part_again_keep_their_ids() -> None:
    scene, apart = Scene(motion="free"), [60.0 - 4 * t for t in range(15)]
    apart += [0.0] * 50 + [4.0 * t for t in range(15)]
    for gap in apart:
        boxes = list(pair(300 - gap / 2, gap))
        tracks = scene.show(*(boxes if gap > 2 else [round_both(*boxes)]))
    assert [change for _, change, _, _ in scene.told] == ["merge", "split"]
    assert ids_at(tracks, boxes) == [1, 2]
    assert len(tracks) == 2


def test_one_bad_box_is_no_merge_and_one_good_look_no_split() -> None:
    scene = Scene(motion="belt")
    for t in range(20):
        boxes = pair(100 + 6 * t)
        tracks = scene.show(*([round_both(*boxes)] if t == 9 else boxes))
    assert (scene.told, sorted(tracks.ids.tolist())) == ([], [1, 2])
    for t in range(20, 40):
        boxes = pair(100 + 6 * t)
        tracks = scene.show(*(boxes if t == 30 else [round_both(*boxes)]))
    assert (scene.told, sorted(tracks.ids.tolist())) == ([(21, "merge", *scene.told[0][2:])], [1, 2])


def test_who_is_hidden_behind_another_has_not_merged() -> None:
    scene = Scene(motion="free")
    for t in range(60):
        front, behind = (200, 100, 260, 220), (100 + 4 * t, 110, 140 + 4 * t, 210)
        hidden = behind[0] > front[0] - 20 and behind[2] < front[2] + 20
        tracks = scene.show(*([front] if hidden else [front, behind]))
    assert scene.told == []
    assert sorted(tracks.ids.tolist()) == [1, 2]


def test_who_comes_out_of_another_object_is_told_as_a_split_with_its_new_id() -> None:
    scene = Scene(motion="belt")
    for t in range(10):
        scene.show(round_both(*pair(100 + 6 * t)))
    for t in range(10, 14):
        tracks = scene.show(*pair(100 + 6 * t))
    assert scene.told == [(10, "split", 1, 2)]
    assert scene.events[0].merged_s is None
    assert len(tracks) == 2


def test_who_comes_in_beside_another_is_no_split() -> None:
    scene = Scene(motion="belt")
    for t in range(20):
        first, second = pair(100 + 6 * t)
        scene.show(*([first] if t < 10 else [first, second]))
    assert scene.told == []


def test_a_merge_that_one_of_them_leaves_ends_in_silence_and_the_other_track_with_it() -> None:
    scene = Scene(motion="belt")
    for t in range(6):
        scene.show(*pair(100 + 6 * t))
    for t in range(6, 16):
        scene.show(round_both(*pair(100 + 6 * t)))
    for t in range(16, 40):
        tracks = scene.show(pair(100 + 6 * t)[0])
    assert [change for _, change, _, _ in scene.told] == ["merge"]
    assert len(tracks) == 1
    assert not scene.tracker._meetings.others


def test_after_a_time_without_sight_nobody_is_merged() -> None:
    scene = Scene(motion="belt")
    for t in range(6):
        scene.show(*pair(100 + 6 * t))
    for t in range(6, 16):
        scene.show(round_both(*pair(100 + 6 * t)))
    scene.tracker.reset()
    assert scene.show(*pair(300)).ids.tolist() == [3, 4]
    assert len(scene.told) == 1


def test_between_looks_who_has_merged_moves_with_the_belt() -> None:
    scene = Scene(motion="belt")
    for t in range(60):
        boxes = pair(100 + 6 * t)
        merged = 10 <= t < 40
        shown = [round_both(*boxes)] if merged else list(boxes)
        tracks = scene.show(*shown, look=t < 10 or t % 6 == 0)
        if t > 12:
            np.testing.assert_allclose(
                tracks.centers[tracks.ids == 2], [np.asarray(boxes[1]).reshape(2, 2).mean(axis=0)], atol=42
            )
    assert [change for _, change, _, _ in scene.told] == ["merge", "split"]
    assert ids_at(tracks, list(boxes)) == [1, 2]


@pytest.mark.parametrize("speed", [3.0, 5.0, 8.0])
def test_two_that_walk_through_each_other_go_on_as_they_were(speed: float) -> None:
    """From where they touch until they are apart they are one instance, which shrinks and grows again."""
    scene = Scene(motion="free")
    for t in range(round(400 / speed)):
        first, second = (150 + speed * t, 100, 190 + speed * t, 220), (500 - speed * t, 104, 545 - speed * t, 224)
        touching = first[2] >= second[0] - 1 and second[2] >= first[0] - 1
        tracks = scene.show(*([round_both(first, second)] if touching else [first, second]))
    assert [change for _, change, _, _ in scene.told] == ["merge", "split"]
    assert ids_at(tracks, [first, second]) == [1, 2]
    assert len(tracks) == 2


def test_a_small_part_at_the_middle_of_a_long_one_is_itself_again() -> None:
    scene = Scene(motion="belt")
    for t in range(40):
        long, small = (100 + 5 * t, 100, 160 + 5 * t, 260), (160 + 5 * t, 170, 200 + 5 * t, 205)
        tracks = scene.show(*([round_both(long, small)] if 8 <= t < 25 else [long, small]))
    assert [change for _, change, _, _ in scene.told] == ["merge", "split"]
    assert ids_at(tracks, [long, small]) == [1, 2]


def meetings_of(*pairs_of_keys: tuple[int, int], gone: int = 0) -> Meetings:
    """Return meetings of (who has the instance, who is within), each of which has lasted and is told."""
    meetings = Meetings()
    for track, other in pairs_of_keys:
        meetings._open[other] = Meeting(track, other, np.zeros((3, 2), np.float32), as_one=5, gone=gone, since=0.0)
    return meetings


def see(meetings: Meetings, boxes: list[Box], shown: dict[int, Box], covered: set[int]) -> Rows:
    """Show `boxes` of the tracks 1, 2 … as the instances `shown`, by key; a look misses those that are `covered`."""
    rows, corners = new_rows(len(boxes), 4), np.asarray(boxes, np.float32)
    rows.points[:] = np.stack([corners[:, :2].T, corners[:, 2:].T, (corners[:, :2] + corners[:, 2:]).T / 2])
    rows.keys[:] = rows.ids[:] = np.arange(1, len(boxes) + 1)
    pairs = np.asarray([[key - 1, i] for i, key in enumerate(shown)])
    unseen, left = np.isin(rows.keys, list(covered)), np.zeros(len(shown), np.bool_)
    rows.missed += unseen
    meetings.see(rows, instances_of(list(shown.values())), pairs, unseen, left, 5)
    return rows


def test_of_three_within_one_instance_that_goes_on_as_anothers_nobody_is_lost() -> None:
    meetings = meetings_of((1, 2), (1, 3))
    boxes: list[Box] = [(0, 0, 40, 40), (0, 0, 40, 40), (40, 0, 80, 40)]
    rows = see(meetings, boxes, {2: (0, 0, 80, 40)}, {1, 3})
    assert sorted(meetings.others) == [1, 3]
    assert rows.missed.tolist() == [0, 0, 0]  # either is held
    see(meetings, boxes, {2: (0, 0, 40, 40), 3: (40, 0, 80, 40)}, {1})
    see(meetings, boxes, {2: (0, 0, 40, 40), 3: (40, 0, 80, 40)}, {1})
    assert meetings.others == [1]
    (told,) = meetings._done
    assert (told[0], told[1].track, told[1].other) == ("split", 2, 3)


def test_whoever_has_met_somebody_and_meets_a_third_brings_them_along() -> None:
    meetings = meetings_of((1, 2), (3, 1))
    boxes: list[Box] = [(0, 0, 40, 40), (0, 0, 40, 40), (40, 0, 80, 40)]
    see(meetings, boxes, {3: (0, 0, 80, 40)}, {1, 2})
    rows = see(meetings, boxes, {3: (0, 0, 80, 40)}, {1, 2})
    assert sorted(meetings.others) == [1, 2]
    assert rows.missed.tolist() == [0, 0, 0]


def test_somebody_who_goes_out_of_two_at_once_does_not_end_the_loop() -> None:
    meetings = meetings_of((1, 2), (3, 1), gone=2)
    boxes: list[Box] = [(0, 0, 40, 40), (200, 0, 240, 40), (400, 0, 440, 40)]
    see(meetings, boxes, {2: boxes[1], 3: boxes[2]}, {1})
    assert meetings.others == []
