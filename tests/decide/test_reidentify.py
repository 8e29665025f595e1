"""Who leaves and comes back has the id it had; who might be somebody else has a new one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Reidentify
from edge.decide.gallery import MOST_REMEMBERED, Crowd, Gallery, match
from edge.decide.lasting import Lasting
from edge.decide.reidentify import EARLY_LOOKS, EVERY_FRAMES, LIMITS, Identities, kind_of
from edge.events import ReturnEvent
from edge.types import Frame
from tests.see.made import instances_of, tracks_of

SIZE = (400, 300)
CLASSES = ["background", "person", "bag"]
PICTURE = np.zeros((8, 8, 3), np.uint8)
LENGTH = 8
RED, BLUE, GREEN = np.eye(LENGTH, dtype=np.float32)[:3]


def like(a: Any, b: Any, share: float) -> Any:
    """Return a vector of length 1 whose product with `a`, which `b` has nothing in common with, is `share`."""
    return np.asarray(share * a + (1 - share**2) ** 0.5 * b, np.float32)


class Scene:
    """Plays who is where with which looks, ten frames a second."""

    def __init__(self, **rules: Any) -> None:
        ids = itertools.count(101)
        given = {"least": 0.8, "margin": 0.1, "looks": 1, **rules}
        self.identities = Identities(Reidentify(**given), "stripes", (LENGTH, 32), SIZE, CLASSES, lambda: next(ids))
        self.frame = 0
        self.events: list[ReturnEvent] = []
        self.asked: list[int] = []  # keys whose looks were taken in the last frame

    def show(self, people: Mapping[int, Any], **fields: Sequence[object]) -> dict[int, int]:
        """Show one frame with tracks by key and what they look like; return their ids."""
        boxes = [(20 + 40 * (key % 8), 100, 50 + 40 * (key % 8), 150) for key in people]
        rows = list(range(len(people)))
        keys = list(people)
        given = {"keys": keys, "ids": keys, "instances": rows, **fields}
        tracks = tracks_of(boxes, **given)
        frame = Frame("c", self.frame, self.frame / 10, PICTURE)
        due = self.identities.due(frame, tracks)
        looks = np.asarray([people[keys[row]] for row in due.tolist()], np.float32).reshape(-1, LENGTH)
        self.asked = [keys[row] for row in due.tolist()]
        named, events = self.identities.named(frame, tracks, instances_of(boxes), due, looks)
        self.events += events
        self.frame += 1
        return dict(zip(keys, named.ids.tolist(), strict=True))

    def rest(self, seconds: float) -> None:
        for _ in range(round(10 * seconds)):
            self.show({})


def test_who_comes_back_has_the_old_id_from_the_first_frame_on() -> None:
    scene = Scene()
    assert scene.show({1: RED}) == {1: 101}
    scene.show({1: RED})
    scene.rest(3)
    assert scene.show({2: like(RED, BLUE, 0.95)}) == {2: 101}
    (told,) = scene.events
    assert (told.track, told.label, told.sure, told.candidates) == (101, "person", True, [])
    assert told.similarity == pytest.approx(0.95, abs=1e-3)
    assert told.away_s == pytest.approx(3.1)
    assert scene.show({2: RED, 3: BLUE}) == {2: 101, 3: 102}


def test_somebody_else_has_a_new_id_and_nothing_is_told() -> None:
    scene = Scene()
    scene.show({1: RED})
    scene.rest(1)
    assert scene.show({2: like(RED, BLUE, 0.7)}) == {2: 102}
    assert not scene.events


def test_who_may_be_one_of_two_has_a_new_id_and_that_is_told() -> None:
    scene = Scene()
    scene.show({1: like(RED, BLUE, 0.97), 2: like(RED, GREEN, 0.97)})
    scene.rest(1)
    assert scene.show({3: RED}) == {3: 103}
    (told,) = scene.events
    assert (told.track, told.sure, told.away_s) == (103, False, None)
    assert sorted(told.candidates) == [101, 102]


def test_of_two_who_come_and_look_like_the_same_one_neither_is_it() -> None:
    scene = Scene()
    scene.show({1: RED})
    scene.rest(1)
    found = scene.show({2: like(RED, BLUE, 0.96), 3: like(RED, GREEN, 0.95)})
    assert found == {2: 102, 3: 103}
    assert [told.sure for told in scene.events] == [False, False]


def test_who_is_there_already_makes_it_doubtful_too() -> None:
    scene = Scene()
    scene.show({1: RED, 2: like(RED, BLUE, 0.97)})
    scene.show({2: like(RED, BLUE, 0.97)})
    assert scene.show({2: like(RED, BLUE, 0.97), 3: RED}) == {2: 102, 3: 103}
    assert [told.sure for told in scene.events] == [False]


def test_an_id_is_had_by_one_at_a_time() -> None:
    scene = Scene()
    scene.show({1: RED})
    scene.rest(1)
    assert scene.show({2: RED}) == {2: 101}
    assert scene.show({2: RED, 3: RED}) == {2: 101, 3: 102}


def test_who_ends_in_a_frame_is_not_back_in_it() -> None:
    """Both the end and the beginning would be told of one id in the same frame."""
    scene = Scene()
    scene.show({1: RED})
    assert scene.show({2: RED}) == {2: 102}


def test_another_class_is_another_object() -> None:
    scene = Scene()
    scene.show({1: RED})
    scene.rest(1)
    assert scene.show({2: RED}, classes=[2]) == {2: 102}


def test_another_class_is_another_object_where_its_own_is_remembered_too() -> None:
    scene = Scene()
    scene.show({1: RED, 2: GREEN}, classes=[1, 2])
    scene.rest(1)
    assert scene.show({3: RED}, classes=[2]) == {3: 103}


def test_who_is_as_much_like_somebody_in_sight_is_not_surely_back() -> None:
    scene = Scene()
    scene.show({1: RED, 2: BLUE})
    scene.show({2: BLUE})
    found = scene.show({2: BLUE, 3: np.float32(0.82) * RED + np.float32(0.57) * BLUE}, instances=[-1, 1])
    assert found == {2: 102, 3: 101}
    other = Scene(margin=0.3)
    other.show({1: RED, 2: BLUE})
    other.show({2: BLUE})
    assert other.show({2: BLUE, 3: np.float32(0.82) * RED + np.float32(0.57) * BLUE}) == {2: 102, 3: 103}


def test_who_was_away_for_too_long_is_forgotten() -> None:
    scene = Scene(memory_s=2.0)
    scene.show({1: RED})
    scene.rest(1.8)
    assert scene.show({2: RED}) == {2: 101}
    scene.rest(2.2)
    assert scene.show({3: RED}) == {3: 102}


def test_an_unconfirmed_track_has_no_id_and_leaves_nothing() -> None:
    scene = Scene()
    assert scene.show({1: RED}, ids=[0]) == {1: 0}
    scene.rest(1)
    assert scene.show({2: RED}) == {2: 101}


def test_the_id_waits_for_looks_where_somebody_is_remembered_but_not_for_ever() -> None:
    scene = Scene(looks=3, wait_s=0.5)
    assert scene.show({1: RED}) == {1: 101}  # nobody is remembered: there is nothing to wait for
    scene.rest(1)
    assert [scene.show({2: RED})[2] for _ in range(3)] == [0, 0, 101]
    scene.rest(1)
    hidden = [scene.show({3: RED}, instances=[-1])[3] for _ in range(7)]
    assert hidden == [0, 0, 0, 0, 0, 102, 102]


def test_after_a_gap_in_sight_who_was_there_is_known_again() -> None:
    scene = Scene()
    scene.show({1: RED, 2: BLUE})
    scene.identities.blind()
    assert scene.show({3: BLUE, 4: RED}) == {3: 102, 4: 101}


def test_looks_are_taken_early_on_and_then_now_and_again() -> None:
    scene = Scene()
    taken = []
    for frame in range(EARLY_LOOKS + 2 * EVERY_FRAMES):
        scene.show({1: RED})
        taken += [frame] if scene.asked else []
    early = list(range(EARLY_LOOKS))
    assert taken == [*early, early[-1] + EVERY_FRAMES, early[-1] + 2 * EVERY_FRAMES]


def test_what_the_border_cuts_is_not_looked_at() -> None:
    scene = Scene()
    frame, tracks = Frame("c", 0, 0.0, PICTURE), tracks_of([(0, 50, 40, 90), (50, 50, 90, 90)], instances=[0, 1])
    assert scene.identities.due(frame, tracks).tolist() == [1]


def test_only_so_many_are_asked_for_and_those_without_an_id_first() -> None:
    ids = itertools.count(1)
    identities = Identities(Reidentify(), "stripes", (LENGTH, 2), SIZE, CLASSES, lambda: next(ids))
    boxes = [(10 + 60 * i, 50, 50 + 60 * i, 90) for i in range(4)]
    tracks = tracks_of(boxes, instances=range(4))
    first = identities.due(Frame("c", 0, 0.0, PICTURE), tracks)
    looks = np.tile(RED, (2, 1))
    identities.named(Frame("c", 0, 0.0, PICTURE), tracks, instances_of(boxes), first, looks)
    second = identities.due(Frame("c", 1, 0.1, PICTURE), tracks)
    assert len(first) == len(second) == 2
    assert set(first.tolist()) | set(second.tolist()) == {0, 1, 2, 3}


@given(st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), max_size=30), st.randoms())
def test_whoever_comes_and_goes_no_two_tracks_share_an_id_and_no_track_changes_its_own(
    there: list[list[int]], random: Any
) -> None:
    scene = Scene(margin=0.01)
    looks = [like(RED, np.eye(LENGTH, dtype=np.float32)[1 + i % 6], random.uniform(0.7, 1)) for i in range(6)]
    keys, number, known = dict[int, int](), itertools.count(1), dict[int, int]()
    for people in there:
        keys = {person: keys[person] if person in keys else next(number) for person in people}
        found = scene.show({key: looks[person] for person, key in keys.items()})
        assert len(set(found.values())) == len(found)
        assert all(known.get(key, track) == track for key, track in found.items())
        known |= found


def crowd(*looks: Any, first: int = 1) -> Crowd:
    return Crowd(
        np.arange(first, first + len(looks)),
        np.ones(len(looks), np.int64),
        np.asarray(looks, np.float32).reshape(-1, LENGTH),
    )


def test_nobody_comes_and_nobody_is_remembered() -> None:
    for come, remembered in ((crowd(), crowd(RED)), (crowd(RED), crowd()), (crowd(), crowd())):
        found = match(come, remembered, crowd(), 0.5, 0.1)
        assert len(found.rows) == len(found.known) == len(found.candidates) == len(come)
        assert not found.known.any()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 4), st.integers(0, 2**31))
def test_a_match_is_the_same_whichever_way_round_all_are_given(n: int, m: int, p: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    looks = np.abs(random.normal(size=(n + m + p, LENGTH)))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    come, remembered, present = crowd(*looks[:n]), crowd(*looks[n : n + m]), crowd(*looks[n + m :])
    found = match(come, remembered, present, 0.7, 0.02)
    order = random.permutation(m)
    turned = Crowd(remembered.ids[order], remembered.labels, remembered.looks[order])
    other = match(come, turned, present, 0.7, 0.02)
    assert found.known.tolist() == other.known.tolist()
    ids = remembered.ids[found.rows[found.known]]
    assert ids.tolist() == turned.ids[other.rows[other.known]].tolist()
    assert len(set(ids.tolist())) == len(ids)


def test_a_gallery_keeps_the_newest() -> None:
    gallery = Gallery(1e9, LENGTH)
    for first in range(0, 3 * MOST_REMEMBERED, 300):
        gallery.add(crowd(*[RED] * 300, first=first), np.zeros(300))
        assert len(gallery) <= MOST_REMEMBERED
    assert gallery.crowd.ids.tolist() == list(range(2 * MOST_REMEMBERED, 3 * MOST_REMEMBERED))
    left = gallery.take(np.asarray([0, 2]))
    assert left.tolist() == [0, 0]
    assert len(gallery) == MOST_REMEMBERED - 2


def test_what_lasts_is_what_was_put_in_last() -> None:
    lasting: Lasting[str] = Lasting()
    for i in range(MOST_REMEMBERED + 1):
        lasting.keep(i, f"{i}")
    assert len(lasting) == MOST_REMEMBERED
    assert lasting.take(0) is None
    assert lasting.take(1) == "1"
    assert lasting.take(1) is None


def test_every_kind_of_appearance_has_its_limits() -> None:
    kinds = [
        kind_of(Reidentify(), "free"),
        kind_of(Reidentify(), "belt"),
        kind_of(Reidentify(appearance="model"), "free"),
    ]
    assert kinds == ["stripes", "rings", "model"]
    assert set(kinds) == set(LIMITS)
