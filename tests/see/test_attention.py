"""Which regions and tracks get a look: what is worth one, and that nothing starves."""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.config import Attention
from edge.see.attention import NOTHING, Chooser
from edge.see.crops import cut, merge
from edge.see.sharing import share
from edge.see.spots import MOST_DOUBLINGS
from edge.types import FULL, REASONS, Boxes, Effort, Looks, Regions, Stakes, Tracks
from tests.see.made import Box, instances_of, tracks_of

SIZE = (1920, 1080)
CANVAS = (320, 320)
NOBODY = tracks_of([])
STILL = np.zeros(2, np.float32)


def rules(**changes: object) -> Attention:
    return Attention(**changes)  # type: ignore[arg-type]


class Alone(Chooser):
    """The chooser of the only camera there is."""

    def choose(
        self,
        frame: int,
        regions: Regions,
        expected: Tracks,
        shift: npt.NDArray[np.float32],
        audited: npt.NDArray[np.int32] = NOTHING,
        effort: Effort = FULL,
        stakes: Stakes | None = None,
    ) -> Looks:
        wanted = self.candidates(frame, regions, expected, shift, audited, effort, stakes)
        looks = share([wanted], CANVAS, self._rules.canvases, self._rules.max_scale)
        self.settle(frame, looks)
        return looks


def chooser(pad: int = 16, at_border: str = "track", **changes: object) -> Alone:
    return Alone(rules(pad_px=pad, **changes), SIZE, CANVAS, at_border=at_border)


def spots(*boxes: Box) -> Regions:
    array = np.asarray(boxes, np.int32).reshape(-1, 4)
    return Regions(array, np.full(len(array), 500, np.float32))


NONE = spots()


def covers(looks: Looks, box: Box) -> bool:
    inside = (looks.sources[:, :2] <= box[:2]).all(axis=1) & (looks.sources[:, 2:] >= box[2:]).all(axis=1)
    return bool(inside.any())


def track(box: Box, **fields: list[object]) -> Tracks:
    return tracks_of([box], **fields)


def test_a_new_spot_is_looked_at_at_once_at_native_resolution() -> None:
    looks = chooser().choose(0, spots((100, 100, 200, 180)), NOBODY, STILL)
    assert looks.sources.tolist() == [[100, 100, 200, 180]]
    assert looks.scales.tolist() == [1.0]


@pytest.mark.parametrize("retry", [1, 3, 4])
def test_a_spot_that_shows_nothing_is_looked_at_after_ever_longer_times(retry: int) -> None:
    choose = chooser(retry_frames=retry)
    spot = spots((96, 96, 192, 192))
    seen = [frame for frame in range(40 * retry) if len(choose.choose(frame, spot, NOBODY, STILL))]
    assert seen == [0, retry, 3 * retry, 7 * retry, *range(15 * retry, 40 * retry, 8 * retry)]


def test_what_was_looked_at_in_vain_is_known_where_the_belt_has_carried_it() -> None:
    choose, shift = chooser(retry_frames=4), np.asarray([30, 0], np.float32)
    seen = [
        frame
        for frame in range(12)
        if len(choose.choose(frame, spots((96 + 30 * frame, 96, 192 + 30 * frame, 192)), NOBODY, shift))
    ]
    assert seen == [0, 4]


def test_another_spot_is_not_held_back_by_one_that_was_looked_at() -> None:
    choose = chooser()
    choose.choose(0, spots((96, 96, 192, 192)), NOBODY, STILL)
    looks = choose.choose(1, spots((96, 96, 192, 192), (960, 96, 1056, 192)), NOBODY, STILL)
    assert looks.sources.tolist() == [[960, 96, 1056, 192]]


def test_a_new_track_gets_its_first_looks_quickly_and_then_only_refreshes() -> None:
    choose = chooser(inspect_looks=3, refresh_frames=10)
    seen, looks, since = [], 1, 0
    for frame in range(1, 60):
        since += 1
        chosen = choose.choose(frame, NONE, track((500, 500, 560, 560), looks=[looks], since_look=[since]), STILL)
        if len(chosen):
            seen.append(frame)
            looks, since = looks + 1, 0
    assert seen == [2, 4, 14, 24, 34, 44, 54]


def test_a_track_that_looks_alone_cannot_confirm_is_looked_at_like_the_others() -> None:
    seen = track((500, 500, 560, 560), ids=[0], looks=[9], since_look=[1])
    assert len(chooser().choose(0, NONE, seen, STILL)) == 0


def test_an_unconfirmed_track_is_looked_at_in_every_frame() -> None:
    choose = chooser()
    for frame in range(5):
        assert (
            len(choose.choose(frame, NONE, track((500, 500, 560, 560), ids=[0], looks=[1], since_look=[1]), STILL)) == 1
        )


@given(st.integers(0, 100))
def test_the_crop_of_a_track_holds_it_and_widens_with_the_time_since_its_look(since: int) -> None:
    looks = chooser(pad=16).choose(0, NONE, track((500, 500, 560, 560), since_look=[max(since, 2)], looks=[0]), STILL)
    pad = 16 + min(0.5 * max(since, 2), 16)
    assert looks.sources[0].tolist() == pytest.approx([500 - pad, 500 - pad, 560 + pad, 560 + pad], abs=1)


@pytest.mark.parametrize("box", [(0, 500, 60, 560), (500, 1, 560, 60), (1860, 500, 1920, 560), (500, 1000, 560, 1079)])
def test_objects_at_the_border_wait_where_the_rules_say_so(box: Box) -> None:
    due = track(box, since_look=[99])
    assert len(chooser(at_border="wait").choose(0, NONE, due, STILL)) == 0
    assert len(chooser().choose(0, NONE, due, STILL)) == 1


def test_a_track_outside_the_frame_gets_no_look() -> None:
    assert len(chooser().choose(0, NONE, track((-200, 10, -100, 60), since_look=[99]), STILL)) == 0


def test_an_object_that_its_crop_cut_gets_a_wider_look_in_the_next_frame() -> None:
    choose = chooser(pad=16, retry_frames=100)
    first = choose.choose(0, spots((500, 500, 560, 560)), NOBODY, STILL)
    assert first.sources.tolist() == [[500, 500, 560, 560]]
    choose.follow(instances_of([(500, 510, 560, 550)], whole=[False]), NOBODY)
    second = choose.choose(1, NONE, NOBODY, STILL)
    assert len(second) == 1
    assert second.sources[0].tolist() == [500 - 46, 510 - 46, 560 + 46, 550 + 46]
    choose.follow(instances_of([(480, 505, 570, 555)]), NOBODY)
    assert len(choose.choose(2, NONE, NOBODY, STILL)) == 0


def test_a_cut_view_of_a_known_object_is_no_reason_to_look_again() -> None:
    choose = chooser()
    choose.follow(instances_of([(500, 510, 560, 550)], whole=[False]), tracks_of([(490, 500, 570, 560)]))
    assert len(choose.choose(1, NONE, NOBODY, STILL)) == 0


def test_what_is_cut_beside_a_track_is_looked_at_together_with_it() -> None:
    """It may be the rest of the track's object, which has grown since the border cut it."""
    choose = chooser(pad=16)
    fresh = tracks_of([(520, 500, 620, 600), (700, 500, 760, 560)])
    choose.follow(instances_of([(496, 500, 516, 600)], whole=[False]), fresh)
    looks = choose.choose(1, NONE, NOBODY, STILL)
    assert looks.sources.tolist() == [[496 - 66, 500 - 66, 620 + 66, 600 + 66]]


@pytest.mark.parametrize("at_border", ["track", "wait"])
def test_an_object_that_stays_cut_is_followed_after_ever_longer_times(at_border: str) -> None:
    choose = chooser(at_border=at_border, retry_frames=2)
    seen = []
    for frame in range(60):
        choose.follow(instances_of([(500, 60, 620, 150)], whole=[False]), NOBODY)
        if len(choose.choose(frame, NONE, NOBODY, STILL)):
            seen.append(frame)
    assert np.diff([0, *seen]).tolist() == [0, 2, 4, 8, 16, 16]


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([20, 60]))
def test_no_spot_starves_under_a_full_budget(seed: int, count: int) -> None:
    """More spots than fit, of all shapes, for 110 frames: each is looked at again within a bounded time."""
    random = np.random.default_rng(seed)
    corners = np.stack([random.integers(0, 11, count) * 160, random.integers(0, 7, count) * 150], axis=1)
    boxes = np.concatenate([corners, corners + random.integers(20, 140, (count, 2))], axis=1)
    regions = spots(*np.unique(boxes, axis=0).tolist())
    choose = chooser(canvases=1, retry_frames=4)
    last = np.full(len(regions), -1)
    frames = 110
    for frame in range(frames):
        looks = choose.choose(frame, regions, NOBODY, STILL)
        last[[covers(looks, box) for box in regions.boxes.tolist()]] = frame
    area = (regions.boxes[:, 2:] - regions.boxes[:, :2] + 8).prod(axis=1).sum()
    rounds = 4 * area / (320 * 320)  # canvases needed for one round, packed at a quarter of what they hold
    assert (frames - 1 - last).max() <= 4 * 2**MOST_DOUBLINGS + rounds, (frames - 1 - last).max()


def test_no_track_starves_beside_spots_that_never_end() -> None:
    """Spots that take fifteen frames for one round are worth 15 at the most: a track overtakes them by waiting."""
    choose = chooser(canvases=1, retry_frames=1, refresh_frames=4)
    regions = spots(*[(x, y, x + 150, y + 140) for x in range(0, 1600, 160) for y in range(0, 900, 150)])
    box, since, waited = (1700, 900, 1740, 920), 0, []
    for frame in range(200):
        since += 1
        if covers(choose.choose(frame, regions, track(box, since_look=[since]), STILL), box):
            waited.append(since)
            since = 0
        assert choose.waiting > 0
    assert len(waited) >= 2
    assert max(waited) <= 4 * 18


def test_a_canvas_that_is_run_anyway_is_filled_with_what_will_be_due_before_long() -> None:
    boxes: list[Box] = [(100, 100, 160, 160), (500, 100, 560, 160), (900, 100, 960, 160)]
    choose = chooser(refresh_frames=20)
    looks = choose.choose(0, NONE, tracks_of(boxes, looks=[9, 9, 9], since_look=[20, 15, 5]), STILL)
    assert [covers(looks, box) for box in boxes] == [True, True, False]
    assert choose.waiting == 0
    assert len(choose.choose(1, NONE, tracks_of(boxes, looks=[9, 9, 9], since_look=[19, 15, 5]), STILL)) == 0


def test_what_a_chosen_crop_shows_and_what_fillers_share_is_not_looked_at_twice() -> None:
    boxes: list[Box] = [(100, 100, 200, 200), (120, 120, 160, 160), (500, 100, 560, 160), (510, 110, 570, 170)]
    looks = chooser(refresh_frames=20).choose(
        0, NONE, tracks_of(boxes, looks=[9] * 4, since_look=[20, 15, 15, 15]), STILL
    )
    assert len(looks) == 2
    assert all(covers(looks, box) for box in boxes)


def test_after_a_reset_a_spot_that_showed_nothing_is_new_again() -> None:
    choose = chooser(retry_frames=4)
    spot = spots((96, 96, 192, 192))
    assert [len(choose.choose(frame, spot, NOBODY, STILL)) for frame in (0, 1)] == [1, 0]
    choose.follow(instances_of([(500, 510, 560, 550)], whole=[False]), NOBODY)
    choose.reset()
    looks = choose.choose(2, spot, NOBODY, STILL)
    assert looks.sources.tolist() == [[96, 96, 192, 192]]


def test_what_is_left_over_is_counted() -> None:
    choose = chooser(canvases=1)
    choose.choose(0, spots(*[(400 * i, 0, 400 * i + 300, 300) for i in range(4)]), NOBODY, STILL)
    assert choose.waiting == 3
    choose.choose(1, NONE, NOBODY, STILL)
    assert choose.waiting == 0


def test_a_region_larger_than_a_canvas_at_half_size_is_cut_into_tiles() -> None:
    looks = chooser(canvases=8).choose(0, spots((0, 0, 1900, 600)), NOBODY, STILL)
    assert len(looks) >= 3
    assert looks.scales.min() >= 0.5
    covered = np.zeros((600, 1900), np.bool_)
    for x0, y0, x1, y1 in looks.sources.tolist():
        covered[y0:y1, x0:x1] = True
    assert covered.all()


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 3000), st.integers(1, 3000))
def test_tiles_cover_their_box_and_none_is_larger_than_allowed(x: int, y: int, width: int, height: int) -> None:
    limit = np.asarray([640.0, 480.0])
    tiles = cut(np.asarray([x, y, x + width, y + height], np.int32), limit)
    columns, rows = sorted({(t[0], t[2]) for t in tiles}), sorted({(t[1], t[3]) for t in tiles})
    assert len(tiles) == len(columns) * len(rows)
    for spans, low, extent, most in ((columns, x, width, 640), (rows, y, height, 480)):
        assert spans[0][0] == low
        assert spans[-1][1] == low + extent
        assert all(end - start <= most for start, end in spans)
        assert all(after[0] <= before[1] - most // 4 + 1 for before, after in itertools.pairwise(spans))


@given(st.lists(st.tuples(*[st.integers(0, 600)] * 2, *[st.integers(1, 400)] * 2), max_size=12))
def test_merging_loses_no_box_and_costs_no_more(sides: list[tuple[int, ...]]) -> None:
    boxes = np.asarray([(x, y, x + w, y + h) for x, y, w, h in sides], np.int32).reshape(-1, 4)
    merged, _ = merge(boxes, CANVAS)
    assert len(merged) <= len(boxes)

    def area(some: npt.NDArray[np.int32]) -> int:
        return int((some[:, 2:] - some[:, :2]).prod(axis=1).sum())

    assert area(merged) <= area(boxes)
    for box in boxes:
        assert ((merged[:, :2] <= box[:2]).all(axis=1) & (merged[:, 2:] >= box[2:]).all(axis=1)).any()
    for box in merged:  # only what fits a canvas is joined
        assert (box[2:] - box[:2] <= CANVAS).all() or (box == boxes).all(axis=1).any()


@given(st.lists(st.tuples(*[st.integers(0, 24)] * 2, *[st.integers(1, 12)] * 2), max_size=12))
@example([(0, 0, 4, 4), (4, 0, 4, 4)])
@example([(0, 0, 4, 4), (0, 4, 4, 4)])
def test_a_box_stays_alone_only_if_no_other_could_join_it(sides: list[tuple[int, ...]]) -> None:
    boxes = np.asarray([(x, y, x + w, y + h) for x, y, w, h in sides], np.int32).reshape(-1, 4)
    merged, heads = merge(boxes, (16, 12))

    def size(x0: int, y0: int, x1: int, y1: int) -> tuple[bool, int]:
        return x1 - x0 <= 16 and y1 - y0 <= 12, (x1 - x0) * (y1 - y0)

    def joins(a: list[int], b: list[int]) -> bool:
        fits, area = size(*np.minimum(a[:2], b[:2]).tolist(), *np.maximum(a[2:], b[2:]).tolist())
        areas = [size(*a)[1], size(*b)[1]]
        return area in areas or (fits and area <= sum(areas))

    rows = boxes.tolist()
    groups: list[tuple[int, list[int]]] = []  # every two are compared, wherever they lie
    for i, box in enumerate(rows):
        partners = any(joins(box, rows[j]) for j in range(len(rows)) if j != i)
        home = next((k for k, (_, other) in enumerate(groups) if partners and joins(box, other)), None)
        if not partners or home is None:
            groups.append((i, box))
        else:
            groups[home] = (
                groups[home][0],
                [*map(min, box[:2], groups[home][1]), *map(max, box[2:], groups[home][1][2:])],
            )
    assert heads.tolist() == [head for head, _ in groups]
    assert merged.tolist() == [box for _, box in groups]


def test_as_many_spots_as_there_can_be_take_bounded_time() -> None:
    random = np.random.default_rng(1)
    corners = random.integers(0, 1000, (256, 2))
    regions = spots(*np.concatenate([corners, corners + random.integers(40, 80, (256, 2))], axis=1).tolist())
    choose = chooser(canvases=2)
    begin = time.perf_counter()
    for frame in range(5):
        assert len(choose.choose(frame, regions, NOBODY, STILL)) > 10
    assert (time.perf_counter() - begin) / 5 < 0.2


def test_boxes_side_by_side_are_one_look_and_boxes_apart_are_two() -> None:
    near, _ = merge(np.asarray([(0, 0, 100, 100), (90, 0, 190, 100)], np.int32), CANVAS)
    far, _ = merge(np.asarray([(0, 0, 100, 100), (150, 0, 250, 100)], np.int32), CANVAS)
    assert near.tolist() == [[0, 0, 190, 100]]
    assert len(far) == 2


def test_an_audited_piece_has_a_canvas_of_its_own_beyond_the_budget() -> None:
    piece = np.asarray([[800, 300, 1120, 620]], np.int32)
    due = tracks_of([(100, 100, 160, 160), (900, 400, 960, 460)], since_look=[99, 99])
    looks = chooser(canvases=1).choose(0, NONE, due, STILL, piece)
    assert looks.canvases.tolist() == [0, 1]
    assert looks.sources.tolist() == [[68, 68, 192, 192], [800, 300, 1120, 620]]  # what lies in the piece is seen there
    assert looks.places[1].tolist() == [0, 0, 320, 320]
    assert looks.scales.tolist() == [1, 1]
    alone = chooser(canvases=1).choose(0, NONE, NOBODY, STILL, piece)
    assert alone.canvases.tolist() == [0]


def test_how_long_the_longest_waits_is_told() -> None:
    choose = chooser(canvases=1, refresh_frames=10)
    due = tracks_of([(0, 0, 300, 300), (400, 0, 700, 300), (800, 0, 1100, 300)], looks=[9] * 3, since_look=[25, 17, 12])
    choose.choose(0, NONE, due, STILL)
    assert (choose.waiting, choose.waiting_frames) == (2, 7)
    choose.choose(1, NONE, NOBODY, STILL)
    assert (choose.waiting, choose.waiting_frames) == (0, 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(2, 14), st.integers(1, 10))
def test_nothing_starves_however_much_is_due(canvases: int, things: int, tracked: int) -> None:
    """Spots that show nothing and tracks that are due in every frame, each the size of a canvas."""
    places = [(330 * (i % 5), 330 * (i // 5), 330 * (i % 5) + 280, 330 * (i // 5) + 280) for i in range(things)]
    tracked = min(tracked, things)
    choose = chooser(canvases=canvases, refresh_frames=1, retry_frames=1)
    waited, longest = np.zeros(things, int), 0
    for frame in range(150):
        waited += 1
        known = tracks_of(places[:tracked], looks=[9] * tracked, since_look=waited[:tracked].tolist())
        looks = choose.choose(frame, spots(*places[tracked:]), known, STILL)
        seen = [covers(looks, place) for place in places]
        waited[seen] = 0
        longest = max(longest, int(waited.max()))
        assert choose.waiting_frames <= longest
    assert longest <= 10 + 16 * things / canvases  # spots back off eightfold, and begin with a head start


@pytest.mark.parametrize(("canvases", "side", "whole"), [(2, 280, True), (1, 280, False), (2, 150, False)])
def test_where_crops_would_cost_as_much_the_whole_frame_is_looked_at(canvases: int, side: int, whole: bool) -> None:
    choose = Alone(rules(canvases=canvases), (600, 320), CANVAS)
    assert choose.tiles.tolist() == [[0, 0, 320, 320], [280, 0, 600, 320]]
    looks = choose.choose(0, spots((0, 0, side, side), (310, 0, 310 + side, side)), NOBODY, STILL)
    assert (looks.sources.tolist() == choose.tiles.tolist()) == whole
    assert {REASONS[reason] for reason in looks.reasons.tolist()} == {"whole" if whole else "new"}
    assert len(set(looks.canvases.tolist())) <= canvases


def test_a_frame_no_larger_than_a_canvas_is_looked_at_whole() -> None:
    looks = Alone(rules(), (320, 240), CANVAS).choose(0, spots((100, 100, 130, 130)), NOBODY, STILL)
    assert looks.sources.tolist() == [[0, 0, 320, 240]]


def test_what_a_look_was_for_is_told() -> None:
    choose = chooser(canvases=4, retry_frames=1, refresh_frames=20)
    places = [(0, 0, 60, 60), (400, 0, 460, 60), (800, 0, 860, 60), (1200, 0, 1260, 60)]
    tracks = tracks_of(places, looks=[1, 9, 9, 9], since_look=[2, 20, 15, 1])
    choose.choose(0, spots((100, 600, 160, 660)), NOBODY, STILL)
    choose.follow(instances_of([(600, 600, 640, 640)], whole=[False]), NOBODY)
    regions = spots((100, 600, 160, 660), (1500, 600, 1560, 660))
    looks = choose.choose(1, regions, tracks, STILL, np.asarray([[1300, 700, 1620, 1020]], np.int32))
    told = {
        tuple(source[:2]): REASONS[reason]
        for source, reason in zip(looks.sources.tolist(), looks.reasons.tolist(), strict=True)
    }
    assert sorted(told.values()) == ["audit", "cut", "early", "new", "refresh", "spot", "young"]
    assert told[1500, 600] == "new"
    assert told[100, 600] == "spot"


PRESSED = Effort(part=0.25, audit=False, deadlines=True)
FAR_APART: list[Box] = [(100, 100, 160, 160), (500, 100, 560, 160), (900, 100, 960, 160), (1300, 100, 1360, 160)]


def test_under_pressure_only_what_cannot_wait_is_looked_at() -> None:
    """Young with a line ahead, young without, old and long unseen, old and soon due: the first one only."""
    seen = tracks_of(FAR_APART, looks=[1, 1, 9, 9], since_look=[4, 4, 99, 25])
    here = Stakes(np.asarray([9.0, np.inf, np.inf, np.inf]), np.zeros(4, np.bool_))
    choose = chooser(canvases=4, refresh_frames=30)
    looks = choose.choose(0, NONE, seen, STILL, NOTHING, PRESSED, here)
    assert [REASONS[reason] for reason in looks.reasons] == ["young"]
    assert covers(looks, FAR_APART[0])
    assert choose.waiting == 2, "what is not permitted waits all the same"
    assert choose.waiting_frames == 99 - 30
    assert len(chooser(canvases=4, refresh_frames=30).choose(0, NONE, seen, STILL)) == 4


def test_under_pressure_without_any_line_every_young_track_is_looked_at() -> None:
    seen = tracks_of(FAR_APART, looks=[1, 1, 9, 9], since_look=[4, 4, 99, 25])
    assert len(chooser(canvases=4).choose(0, NONE, seen, STILL, NOTHING, PRESSED)) == 2


def test_under_pressure_a_spot_is_looked_at_once() -> None:
    choose = chooser(retry_frames=2)
    seen = [
        frame
        for frame in range(50)
        if len(choose.choose(frame, spots((96, 96, 192, 192)), NOBODY, STILL, effort=PRESSED))
    ]
    assert seen == [0]


@pytest.mark.parametrize(("outside", "expected"), [(100, [0, 6]), (10, [0, 1])])
def test_under_pressure_what_enters_is_looked_at_once_it_is_whole(outside: int, expected: list[int]) -> None:
    """One look while the border cuts it, before the pressure, is no look at it; looks that can show nothing wait."""
    choose, shift, seen = chooser(at_border="wait", retry_frames=4), np.asarray([20, 0], np.float32), list[int]()
    for frame in range(30):
        spot = spots((max(0, 20 * frame - outside), 500, 20 * frame + 120 - outside, 600))
        if len(choose.choose(frame, spot, NOBODY, shift, NOTHING, PRESSED if frame > 0 else FULL)):
            seen.append(frame)
    assert seen == expected


def test_what_enters_is_looked_at_once_it_is_whole_however_long_it_has_stood_in_the_border() -> None:
    choose, shift, seen = chooser(at_border="wait", retry_frames=4), np.asarray([20, 0], np.float32), list[int]()
    for frame in range(80):
        moved = max(0, frame - 50)  # the belt stands for 50 frames
        spot = spots((max(0, 20 * moved - 60), 500, 20 * moved + 60, 600))
        if len(choose.choose(frame, spot, NOBODY, shift if moved else STILL)):
            seen.append(frame)
    assert seen == [0, 4, 12, 28, 54], "at 54 it is clear of the border"


def test_under_pressure_what_a_crop_cut_gets_its_wider_one() -> None:
    choose = chooser()
    choose.follow(instances_of([(300, 300, 420, 380)], whole=[False]), NOBODY)
    looks = choose.choose(0, NONE, NOBODY, STILL, effort=PRESSED)
    assert covers(looks, (300, 300, 420, 380))


def test_with_less_than_everything_no_whole_frame_is_looked_at() -> None:
    small = (400, 300)
    flood = spots(*[(x, y, x + 120, y + 120) for x in (10, 140, 270) for y in (10, 150)])
    for effort, whole in ((FULL, True), (Effort(part=0.5), False)):
        choose = Alone(rules(canvases=4), small, CANVAS)
        looks = choose.choose(0, flood, NOBODY, STILL, effort=effort)
        assert all(REASONS[reason] == "whole" for reason in looks.reasons) == whole


@pytest.mark.parametrize(("part", "most", "left"), [(1.0, 3, 3), (0.5, 3, 1), (0.5, 8, 4), (0.25, 8, 2), (0.25, 1, 1)])
def test_some_canvas_is_always_left(part: float, most: int, left: int) -> None:
    assert Effort(part=part).canvases(most) == left


def test_of_young_tracks_that_are_due_the_one_nearest_to_its_line_comes_first() -> None:
    places: list[Box] = [(0, 0, 280, 280), (400, 0, 680, 280), (800, 0, 1080, 280)]
    young = tracks_of(places, looks=[1, 1, 9], since_look=[4, 4, 60])
    for left, first in (([20.0, 3.0, np.inf], 1), ([3.0, 20.0, np.inf], 0), ([np.inf, np.inf, 3.0], 0)):
        stakes = Stakes(np.asarray(left), np.zeros(3, np.bool_))
        looks = chooser(canvases=1, refresh_frames=20).choose(0, NONE, young, STILL, stakes=stakes)
        if first == 0 and left[0] == np.inf:  # an old track gains nothing, it is due thrice as it is
            assert covers(looks, places[2])
        else:
            assert covers(looks, places[first])


def from_left(boxes: Boxes, x: float) -> npt.NDArray[np.float64]:
    return np.abs(boxes[:, 0].astype(np.float64) - x)


def test_of_spots_never_looked_at_the_one_nearest_to_a_line_comes_first() -> None:
    """After a start everything is one of these, and what crosses before it has had two looks is not counted."""
    places: list[Box] = [(0, 0, 280, 280), (400, 0, 680, 280), (800, 0, 1080, 280)]
    young = tracks_of([(1500, 600, 1780, 880)], looks=[1], since_look=[2])
    for near in places:
        stakes = Stakes(np.full(1, 1e6), np.zeros(1, np.bool_), partial(from_left, x=near[0]))
        looks = chooser(canvases=1, pad=0).choose(0, spots(*places), young, STILL, stakes=stakes)
        assert covers(looks, near)
        assert len(looks) == 1


def test_a_track_whose_looks_do_not_agree_gets_more_of_them() -> None:
    seen = track((500, 500, 560, 560), looks=[4], since_look=[3])
    far = np.full(1, 1e6)
    for doubt, looks, count in ((True, 4, 1), (False, 4, 0), (True, 8, 0)):
        seen = track((500, 500, 560, 560), looks=[looks], since_look=[3])
        stakes = Stakes(far, np.asarray([doubt]))
        chosen = chooser(inspect_looks=4, refresh_frames=30).choose(0, NONE, seen, STILL, stakes=stakes)
        assert [REASONS[reason] for reason in chosen.reasons] == ["doubt"] * count


def test_what_lies_on_a_seam_of_the_whole_frame_was_looked_at() -> None:
    choose = Alone(rules(canvases=2, retry_frames=4), (600, 320), CANVAS)
    regions = spots((0, 0, 280, 280), (200, 0, 480, 280), (310, 0, 590, 280))  # the second lies in neither tile
    counts = [len(choose.choose(frame, regions, NOBODY, STILL)) for frame in range(4)]
    assert counts == [2, 0, 0, 0], "what has shown nothing is not looked at again at once"
    assert (choose.waiting, choose.waiting_frames) == (0, 0)
