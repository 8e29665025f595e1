"""The same object in one frame and the next."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import TrackRules
from edge.decide.stretch import GAIN, STRIPS
from edge.decide.tracks import MOST_MISSES, MOST_TRACKS, TENTATIVE_FRAMES, Tracker
from edge.types import Image, Instances, Looks, Tracks
from tests.see.made import Box, instances_of, looks_of

SIZE = (640, 480)
SCALE = (4.0, 4.0)
EMPTY: Image = np.zeros((120, 160), np.uint8)
NOTHING = instances_of([])
NO_LOOKS = looks_of([], [])


def tracker(size: tuple[int, int] = SIZE, **changes: Any) -> Tracker:
    ids = itertools.count(1)
    return Tracker(TrackRules(**changes), [1, 2], 4, size, lambda: next(ids))


def square(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def seen_at(boxes: Sequence[Box]) -> Image:
    """Return the foreground that these boxes make."""
    found: Image = np.zeros_like(EMPTY)
    for x0, y0, x1, y1 in np.clip(np.round(np.asarray(boxes).reshape(-1, 4) / 4), 0, 160).astype(int).tolist():
        found[y0:y1, x0:x1] = 1
    return found


def step(
    tracks: Tracker,
    instances: Instances = NOTHING,
    found: Image = EMPTY,
    frames: int = 1,
    looks: Looks = NO_LOOKS,
) -> tuple[Tracks, list[int]]:
    tracks.predict(found, SCALE, frames)
    return tracks.update(instances, looks)


def test_an_object_has_an_id_after_as_many_looks_as_the_rules_ask_for() -> None:
    for looks in (1, 2, 4):
        follow = tracker(confirm_looks=looks)
        ids = [int(step(follow, instances_of([square(100 + 2 * i, 100)]))[0].ids[0]) for i in range(5)]
        assert ids == [0] * (looks - 1) + [1] * (6 - looks)


def test_a_track_carries_what_its_looks_have_shown() -> None:
    follow = tracker()
    step(follow, instances_of([square(100, 100)]))
    tracks, ended = step(follow, instances_of([square(300, 300), square(104, 100)]))
    assert not ended
    assert tracks.boxes.tolist() == [list(square(104, 100)), list(square(300, 300))]
    assert tracks.centers.tolist() == [[104, 100], [300, 300]]
    assert tracks.looks.tolist() == [2, 1]
    assert tracks.instances.tolist() == [1, 0]
    assert tracks.since_look.tolist() == [0, 0]
    tracks, _ = step(follow)
    assert tracks.instances.tolist() == [-1, -1]
    assert tracks.since_look.tolist() == [1, 1]


def test_a_snapshot_is_not_changed_by_later_frames() -> None:
    follow = tracker(motion="belt")
    step(follow, instances_of([square(100, 100)]))
    tracks, _ = step(follow, instances_of([square(100, 100)]))
    before = tracks.boxes.copy()
    step(follow, instances_of([square(110, 100)]))
    np.testing.assert_array_equal(tracks.boxes, before)
    assert tracks.looks.tolist() == [2]


def test_ids_and_keys_are_never_used_again() -> None:
    follow = tracker(confirm_looks=1, lost_frames=1)
    ids: list[int] = []
    keys: list[int] = []
    for i in range(200):
        x = 100.0 if i % 2 else 500.0
        tracks, _ = step(follow, instances_of([square(x, 100 + i)]))
        ids += [int(n) for n in tracks.ids[tracks.looks == 1]]
        keys += [int(n) for n in tracks.keys[tracks.looks == 1]]
        step(follow, frames=5)
        step(follow, frames=5)
    assert len(ids) == len(set(ids)) == len(set(keys)) == 200
    assert ids == sorted(ids)


@pytest.mark.parametrize("shown", [True, False])
def test_unconfirmed_tracks_vanish_and_use_no_id(shown: bool) -> None:
    """Unless the labels show them and they only wait for their second look."""
    follow = tracker(confirm_looks=2)
    step(follow, instances_of([square(100, 100)]))
    found = seen_at([square(100, 100)] if shown else [])
    lives = [len(step(follow, found=found)[0]) for _ in range(TENTATIVE_FRAMES + 2)]
    assert lives == [1] * TENTATIVE_FRAMES + [int(shown)] * 2
    step(follow, looks=looks_of([(50, 50, 150, 150)], [(0, 0, 100, 100)]))
    step(follow, instances_of([square(300, 300)]))
    assert step(follow, instances_of([square(300, 300)]))[0].ids.tolist() == [1]


def test_a_track_that_nothing_shows_ends_after_its_patience_and_its_key_is_told() -> None:
    follow = tracker(lost_frames=5, confirm_looks=1)
    step(follow, instances_of([square(100, 100)]))
    ended = [step(follow)[1] for _ in range(7)]
    assert ended == [[], [], [], [], [], [1], []]


def test_support_by_the_labels_keeps_a_track_that_a_look_did_not_show_three_times_as_long() -> None:
    follow, found = tracker(lost_frames=5, confirm_looks=1), seen_at([square(100, 100)])
    step(follow, instances_of([square(100, 100)]))
    step(follow, found=found, looks=looks_of([(50, 50, 150, 150)], [(0, 0, 100, 100)]))
    lives = [len(step(follow, found=found)[0]) for _ in range(20)]
    assert sum(lives) == 14


@pytest.mark.parametrize("motion", ["free", "belt"])
def test_what_the_labels_show_waits_for_its_look_as_long_as_that_takes(motion: str) -> None:
    follow, found = tracker(motion=motion, lost_frames=5, confirm_looks=1), seen_at([square(100, 100)])
    step(follow, instances_of([square(100, 100)]))
    for _ in range(500):
        tracks, ended = step(follow, found=found)
        assert tracks.ids.tolist() == [1]
        assert not ended
    lives = [len(step(follow)[0]) for _ in range(7)]
    assert lives == [1] * 5 + [0] * 2, "and then no longer than any other"


def test_support_is_told() -> None:
    follow = tracker(confirm_looks=1)
    step(follow, instances_of([square(100, 100), square(300, 300)]))
    tracks, _ = step(follow, found=seen_at([square(300, 300)]))
    assert tracks.supported.tolist() == [False, True]


@pytest.mark.parametrize("shift", [(4, 0), (-4, 0), (0, 4), (0, -4)])
def test_tracks_that_leave_the_frame_end_there(shift: tuple[int, int]) -> None:
    follow = tracker(confirm_looks=1)
    x, y = 320.0, 240.0
    while 0 <= x < 640 and 0 <= y < 480:
        assert len(step(follow, instances_of([square(x, y)]))[0]) == 1
        x, y = x + shift[0] * 4, y + shift[1] * 4
    tracks, ended = step(follow, instances_of([square(x, y)]))
    assert len(tracks) == 0
    assert ended == [1]


def test_the_class_is_what_most_looks_say() -> None:
    follow = tracker()
    classes = [
        int(step(follow, instances_of([square(100, 100)], classes=[c]))[0].classes[0]) for c in (1, 2, 2, 1, 2, 1, 1)
    ]
    assert classes == [1, 1, 2, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "fields", [{"whole": [False]}, {"classes": [3]}, {"scores": [0.1]}], ids=["cut", "another class", "weak"]
)
def test_what_begins_no_track(fields: dict[str, Any]) -> None:
    follow = tracker(min_score=0.5)
    assert len(step(follow, instances_of([square(100, 100)], **fields))[0]) == 0


def test_a_weak_instance_continues_a_track() -> None:
    follow = tracker(min_score=0.5)
    step(follow, instances_of([square(100, 100)]))
    assert step(follow, instances_of([square(102, 100)], scores=[0.1]))[0].looks.tolist() == [2]


def test_objects_at_the_border_wait_where_the_rules_say_so() -> None:
    boxes = [(0, 100, 40, 140), (100, 0, 140, 40), (601, 100, 640, 140), (100, 441, 140, 479)]
    assert len(step(tracker(at_border="wait"), instances_of([*boxes, square(300, 300)]))[0]) == 1
    assert len(step(tracker(at_border="track"), instances_of(boxes))[0]) == 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_boxes_that_are_no_numbers_are_left_out(bad: float) -> None:
    instances = instances_of([(10, 10, bad, 40), square(300, 300)], centers=[(0, 0), (300, 300)])
    tracks, _ = step(tracker(), instances)
    assert tracks.boxes.tolist() == [list(square(300, 300))]


def test_on_a_belt_all_tracks_move_with_it_and_stay_located_between_looks() -> None:
    follow = tracker(motion="belt", confirm_looks=1)
    start = [square(100, 100), square(200, 300, 60)]
    step(follow, instances_of(start), seen_at(start))
    for i in range(1, 20):
        moved = [(x0 + 12 * i, y0, x1 + 12 * i, y1) for x0, y0, x1, y1 in start]
        tracks, _ = step(follow, NOTHING, seen_at(moved))
        np.testing.assert_allclose(tracks.centers, [[100 + 12 * i, 100], [200 + 12 * i, 300]], atol=2)
        assert tracks.located.all()
        assert tracks.supported.all()


def test_where_support_is_needed_looks_alone_give_no_id() -> None:
    follow = tracker(need_support=True, confirm_looks=2)
    for _ in range(60):
        tracks, _ = step(follow, instances_of([square(100, 100)]))
    assert (tracks.ids.tolist(), tracks.keys.tolist()) == ([0], [1])  # and it is the same track all the time
    tracks, _ = step(follow, instances_of([square(100, 100)]), seen_at([square(100, 100)]))
    assert tracks.ids.tolist() == [1]
    tracks, _ = step(follow, instances_of([square(100, 100)]))  # once is enough
    assert tracks.ids.tolist() == [1]


def test_free_objects_are_located_only_where_they_are_seen_or_a_blob_shows_them() -> None:
    follow = tracker(motion="free", confirm_looks=1)
    assert step(follow, instances_of([square(100, 100)]))[0].located.tolist() == [True]
    assert step(follow)[0].located.tolist() == [False]
    assert step(follow, found=seen_at([square(100, 100)]))[0].located.tolist() == [True]


def test_free_objects_are_followed_by_their_blobs_without_a_look() -> None:
    follow = tracker(motion="free", confirm_looks=1)
    step(follow, instances_of([square(100, 100), square(300, 400)]))
    tracks = tracker().predict(EMPTY, SCALE, 1)
    for i in range(1, 40):
        paths = [(100 + 8 * i, 100 + i), (300, 400 - 6 * i)]  # one across, one up
        tracks, _ = step(follow, found=seen_at([square(*path) for path in paths]))
        np.testing.assert_allclose(tracks.centers, paths, atol=12)
        assert tracks.located.all()
    np.testing.assert_allclose(tracks.velocities, [[8, 1], [0, -6]], atol=1.5)
    assert tracks.since_look.tolist() == [39, 39]


def test_a_free_object_that_nothing_shows_slows_down() -> None:
    follow = tracker(motion="free", confirm_looks=1)
    for i in range(3):
        step(follow, instances_of([square(100 + 8 * i, 100)]))
    for _ in range(60):
        tracks, _ = step(follow, found=np.ones_like(EMPTY))  # supported, but by no blob of its own
    assert 0 < tracks.velocities[0, 0] < 2


def identities(
    paths: Sequence[Sequence[tuple[float, float]]], order: npt.NDArray[np.int64], **changes: Any
) -> list[set[int]]:
    """Return the ids that each path has had; instances come in another order in every frame."""
    follow = tracker(confirm_looks=1, **changes)
    had: list[set[int]] = [set() for _ in paths]
    for frame in range(len(paths[0])):
        mixed = np.roll(order, frame)
        boxes = [square(*paths[i][frame]) for i in mixed]
        tracks, _ = step(follow, instances_of(boxes), seen_at(boxes))
        for row, instance in enumerate(tracks.instances.tolist()):
            if instance >= 0:
                had[int(mixed[instance])].add(int(tracks.ids[row]))
    return had


def test_free_objects_that_cross_keep_their_ids() -> None:
    rows = [[(60 + 12 * t, 100 + 60 * i + 4.0 * t) for t in range(40)] for i in range(3)]
    rows += [[(560 - 12 * t, 130 + 60 * i + 4.0 * t) for t in range(40)] for i in range(3)]
    had = identities(rows, np.arange(6))
    assert [len(ids) for ids in had] == [1] * 6
    assert len(set().union(*had)) == 6


def test_free_objects_that_are_seen_only_now_and_then_keep_their_ids() -> None:
    follow = tracker(confirm_looks=1)
    for t in range(0, 60, 3):
        boxes = [square(40 + 5 * t, 100), square(600 - 5 * t, 300)]
        tracks, _ = step(follow, instances_of(boxes))
        assert sorted(tracks.ids.tolist()) == [1, 2]
        assert tracks.velocities[tracks.ids == 2].tolist()[0][0] <= 0
        step(follow)
        step(follow)


def test_parts_close_together_on_a_belt_keep_their_ids() -> None:
    paths = [[(30 + 44 * i + 15.0 * t, 80 + 50.0 * j) for t in range(20)] for i in range(5) for j in range(4)]
    had = identities(paths, np.arange(20), motion="belt")
    assert [len(ids) for ids in had] == [1] * 20
    assert len(set().union(*had)) == 20


def held(follow: Tracker) -> int:
    """Return how many elements the tracker holds in all."""
    rows = follow._rows
    return sum(array.size for array in rows._arrays) + len(rows.masks)


def test_a_hundred_thousand_short_lived_objects_leave_nothing_behind() -> None:
    follow = tracker(confirm_looks=1, lost_frames=1, size=(2000, 2000))
    boxes = [square(50 + 60 * x, 50 + 60 * y, 20) for x in range(25) for y in range(20)]
    instances, most = instances_of(boxes), 0
    told: set[int] = set()
    for _ in range(200):
        tracks, ended = step(follow, instances)
        assert len(tracks) == 500
        told.update(ended)
        most = max(most, held(follow))
        _, ended = step(follow, frames=10)
        told.update(ended)
    assert len(told) == 100_000
    assert most <= 500 * 37
    assert held(follow) == 0


@pytest.mark.parametrize("motion", ["free", "belt"])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9))
def test_many_looks_at_once_teach_what_they_would_one_by_one(motion: str, seed: int, count: int) -> None:
    random, together, single = np.random.default_rng(seed), tracker(motion=motion), tracker(motion=motion)
    boxes = [square(100 + 60 * i, random.uniform(30, 450)) for i in range(count)]
    velocities, waited = random.normal(0, 8, (count, 2)), random.integers(0, 30, count)
    for follow in (together, single):
        step(follow, instances_of(boxes))
        follow._rows.velocities[:], follow._rows.since_look[:] = velocities.T, waited
    pairs = np.stack([np.arange(count), random.permutation(count)], axis=1)
    moved = random.normal(0, 30, (count, 2))
    centers = np.empty((count, 2))
    centers[pairs[:, 1]] = together._rows.points[2].T + moved
    found = instances_of(boxes, centers=centers.tolist())
    together._measure(pairs, found)
    for pair in pairs:
        single._measure(pair[None], found)
    both: list[tuple[Any, Any]] = list(zip(together._rows._arrays, single._rows._arrays, strict=True))
    for at_once, in_turn in both:
        np.testing.assert_allclose(at_once, in_turn, rtol=1e-5, atol=1e-5)
    limited = (
        np.abs(together._stretch._strips) + np.abs(single._stretch._strips) > 0.3
    )  # one by one, some may be in between
    np.testing.assert_allclose(together._stretch._strips[~limited], single._stretch._strips[~limited], atol=1e-6)


def test_perspective_is_learnt_by_the_share_that_a_part_was_ahead_of_its_prediction() -> None:
    follow = tracker(motion="belt")
    step(follow, instances_of([square(100, 30)]))
    follow._rows.velocities[0], follow._rows.since_look[0] = 10, 8
    follow._measure(np.asarray([[0, 0]]), instances_of([square(108, 30)]))  # 88 px instead of 80
    np.testing.assert_allclose(follow._stretch._strips, [GAIN * 0.1, *[0] * (STRIPS - 1)], rtol=1e-6)


def test_what_exceeds_the_most_tracks_is_not_tracked() -> None:
    follow = tracker(confirm_looks=1, size=(4000, 4000))
    boxes = [square(20 + 60 * x, 20 + 60 * y, 20) for x in range(60) for y in range(20)]
    assert len(step(follow, instances_of(boxes))[0]) == MOST_TRACKS
    assert len(step(follow, instances_of(boxes))[0]) == MOST_TRACKS


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["free", "belt"]))
def test_any_detections_keep_the_records_in_step(seed: int, motion: str) -> None:
    random = np.random.default_rng(seed)
    follow = tracker(motion=motion, lost_frames=3)
    known: set[int] = set()
    over: set[int] = set()
    for _ in range(25):
        boxes = [
            square(random.uniform(-20, 660), random.uniform(-20, 660), random.uniform(1, 80))
            for _ in range(random.integers(0, 6))
        ]
        instances = instances_of(boxes, whole=(random.random(len(boxes)) < 0.8).tolist())
        follow.predict(seen_at(boxes), SCALE, int(random.integers(1, 4)))
        tracks, ended = follow.update(instances, NO_LOOKS)
        keys = set(tracks.keys.tolist())
        assert all(len(getattr(tracks, field.name)) == len(keys) for field in fields(tracks))
        assert not keys & set(ended)
        assert known - keys == set(ended) & known
        over.update(ended)
        assert not keys & over
        known = keys
        confirmed = tracks.ids[tracks.ids > 0]
        assert len(set(confirmed.tolist())) == len(confirmed)


def test_nothing_is_followed_over_a_time_without_sight() -> None:
    follow = tracker(confirm_looks=1)
    seen = instances_of([(40, 40, 60, 60)])
    before, _ = step(follow, seen)
    follow.reset()
    after, _ = step(follow, seen)
    assert len(before) == len(after) == 1
    assert before.ids[0] != after.ids[0]
    assert before.keys[0] != after.keys[0]
    assert after.looks[0] == 1


def test_on_a_belt_a_track_that_looks_do_not_show_ends_and_one_that_hides_in_the_open_does_not() -> None:
    """A part on a belt cannot step behind something; a person can."""
    there = looks_of([(50, 50, 150, 150)], [(0, 0, 100, 100)])
    for motion, survives in (("belt", False), ("free", True)):
        follow = tracker(motion=motion, confirm_looks=1)
        step(follow, instances_of([square(100, 100)]))
        elsewhere = looks_of([(300, 50, 400, 150)], [(0, 0, 100, 100)])
        for _ in range(MOST_MISSES):
            tracks, _ = step(follow, looks=elsewhere)
        assert len(tracks) == 1, "looks elsewhere say nothing"
        for _ in range(MOST_MISSES):
            tracks, _ = step(follow, looks=there)
        assert (len(tracks) == 1) == survives


@pytest.mark.parametrize("motion", ["free", "belt"])
def test_what_has_been_handed_out_is_never_changed(motion: str) -> None:
    random, follow = np.random.default_rng(5), tracker(motion=motion, lost_frames=2)
    given: list[tuple[Tracks, list[bytes]]] = []
    for _ in range(60):
        boxes = [
            square(random.uniform(20, 460), random.uniform(20, 460), random.uniform(10, 80))
            for _ in range(random.integers(5))
        ]
        found = instances_of(boxes, classes=random.integers(1, 3, len(boxes)).tolist())
        follow.predict(seen_at(boxes), SCALE, int(random.integers(1, 3)))
        tracks, _ = follow.update(found, looks_of([(0, 0, *SIZE)], [(0, 0, 100, 100)]))
        given.append((tracks, contents(tracks)))
    for tracks, before in given:
        assert contents(tracks) == before


def contents(tracks: Tracks) -> list[bytes]:
    arrays = [getattr(tracks, field.name) for field in fields(tracks) if field.name != "masks"]
    return [array.tobytes() for array in arrays] + [str([id(mask) for mask in tracks.masks]).encode()]


def test_an_unsure_instance_continues_only_what_no_sure_one_does() -> None:
    """It is nearer to where the track is expected, and yet the sure one goes first; alone it is good enough."""
    follow = tracker(min_score=0.5, confirm_looks=1)
    step(follow, instances_of([square(100, 100)]))
    tracks, _ = step(follow, instances_of([square(101, 100), square(112, 100)], scores=[0.2, 0.9]))
    assert tracks.instances.tolist() == [1]
    tracks, _ = step(follow, instances_of([square(124, 100)], scores=[0.2]))
    assert (tracks.ids.tolist(), tracks.instances.tolist()) == ([1], [0])
    tracks, _ = step(follow, instances_of([square(400, 400)], scores=[0.2]))
    assert tracks.instances.tolist() == [-1]


def test_a_sure_and_an_unsure_instance_continue_a_track_each() -> None:
    follow = tracker(min_score=0.5, confirm_looks=1)
    step(follow, instances_of([square(100, 100), square(130, 100)]))
    tracks, _ = step(follow, instances_of([square(132, 100), square(102, 100)], scores=[0.9, 0.2]))
    assert tracks.instances.tolist() == [1, 0]


def test_who_was_hidden_is_known_by_where_it_must_be_by_now() -> None:
    """Behind a post for a second, at the speed it had before; another one stands where it vanished."""
    follow = tracker(confirm_looks=1, lost_frames=30)
    for t in range(12):
        step(follow, instances_of([square(100 + 6 * t, 100)]))
    for _ in range(10):
        tracks, _ = step(follow)
    tracks, _ = step(follow, instances_of([square(100 + 6 * 22, 100), square(166, 160)]))
    assert tracks.ids[tracks.instances == 0].tolist() == [1]
    assert tracks.ids[tracks.instances == 1].tolist() == [2]


def test_a_look_is_where_an_object_is_and_the_next_frame_is_predicted_from_what_all_looks_say() -> None:
    """Looks err: one that jumps does not take the prediction along with all its error."""
    follow = tracker(confirm_looks=1)
    for t in range(20):
        step(follow, instances_of([square(100 + 4 * t, 100)]))
    tracks, _ = step(follow, instances_of([square(100 + 4 * 20, 106)]))
    assert tracks.centers.tolist() == [[180, 106]]
    ahead = follow.predict(EMPTY, SCALE, 1)
    assert 102 < float(ahead.centers[0, 1] - tracks.velocities[0, 1]) < 105
    np.testing.assert_allclose(ahead.boxes[0, 2:] - ahead.boxes[0, :2], 40, atol=0.1)


def test_who_is_lost_is_not_continued_by_what_nobody_is_sure_of() -> None:
    """In its place a faint thing is as likely something else: first a sure look must show it again."""
    everywhere = looks_of([(0, 0, *SIZE)], [(0, 0, 100, 100)])
    for misses, score, found in ((0, 0.2, 0), (1, 0.2, -1), (1, 0.9, 0)):
        follow = tracker(min_score=0.5, confirm_looks=1)
        step(follow, instances_of([square(100, 100)]))
        for _ in range(misses):
            step(follow, looks=everywhere)
        tracks, _ = step(follow, instances_of([square(100, 100)], scores=[score]), looks=everywhere)
        assert tracks.instances.tolist() == [found]


def test_what_is_not_confirmed_ends_with_the_first_look_that_does_not_show_it() -> None:
    there = looks_of([(50, 50, 150, 150)], [(0, 0, 100, 100)])
    elsewhere = looks_of([(300, 50, 400, 150)], [(0, 0, 100, 100)])
    follow = tracker(confirm_looks=2)
    step(follow, instances_of([square(100, 100)]))
    assert len(step(follow, looks=elsewhere)[0]) == 1
    assert step(follow, looks=there)[1] == [1]
