"""Looks -> canvases: nothing overlaps, nothing is lost, and what is worth most comes first."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.see.packing import GUTTER_PX, fill_canvas, pack, room_of
from edge.types import Image, Looks

CANVAS = (96, 64)
Sources = npt.NDArray[np.int32]


@st.composite
def rectangles(draw: st.DrawFn, most: int = 24) -> Sources:
    """Return up to `most` crops of a frame of 400 x 300, tiny ones and ones larger than a canvas among them."""
    sides = st.tuples(st.integers(0, 380), st.integers(0, 280), st.integers(1, 200), st.integers(1, 160))
    rows = draw(st.lists(sides, max_size=most))
    return np.asarray([(x, y, min(x + w, 400), min(y + h, 300)) for x, y, w, h in rows], np.int32).reshape(-1, 4)


def apart(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> int:
    """Return by how many pixels two boxes are apart, along the axis where they are most so."""
    return int(np.maximum(b[:2] - a[2:], a[:2] - b[2:]).max())


@given(rectangles(), st.integers(1, 3), st.sampled_from([1.0, 2.0]))
def test_places_lie_inside_their_canvas_and_a_gutter_apart(sources: Sources, canvases: int, most: float) -> None:
    looks, kept = pack(sources, CANVAS, canvases, most)
    assert len(looks) == len(kept) == len(looks.places) == len(looks.canvases) == len(looks.scales)
    assert ((looks.canvases >= 0) & (looks.canvases < canvases)).all()
    assert (looks.places[:, :2] >= 0).all()
    assert (looks.places[:, 2:] <= CANVAS).all()
    assert (looks.places[:, 2:] > looks.places[:, :2]).all()
    for i in range(len(looks)):
        for j in range(i):
            if looks.canvases[i] == looks.canvases[j]:
                assert apart(looks.places[i], looks.places[j]) >= GUTTER_PX


@given(rectangles(), st.integers(1, 3), st.sampled_from([1.0, 2.0]))
def test_kept_sources_are_as_given_and_scaled_no_more_than_needed(sources: Sources, canvases: int, most: float) -> None:
    looks, kept = pack(sources, CANVAS, canvases, most)
    assert sorted(set(kept.tolist())) == kept.tolist()
    np.testing.assert_array_equal(looks.sources, sources[kept])
    sizes = looks.sources[:, 2:] - looks.sources[:, :2]
    expected = np.minimum(most, (np.asarray(CANVAS) / sizes).min(axis=1, initial=np.inf))
    np.testing.assert_allclose(looks.scales, expected, rtol=1e-5)
    got = looks.places[:, 2:] - looks.places[:, :2]
    np.testing.assert_array_equal(got, np.maximum(1, np.floor(sizes * expected[:, None] + 1e-4)))


@given(rectangles(), st.integers(1, 2))
@example(np.asarray([(0, 0, 90, 10), (0, 20, 90, 80), (0, 100, 90, 160)], np.int32), 1)
def test_what_is_worth_most_is_never_left_out_for_what_is_worth_less(sources: Sources, canvases: int) -> None:
    _, kept = pack(sources, CANVAS, canvases)
    assert not len(sources) or 0 in kept
    left = sorted(set(range(len(sources))) - set(kept.tolist()))
    if left:  # the ones before it fill the canvases so far that it does not fit any more
        _, alone = pack(sources[: left[0] + 1], CANVAS, canvases)
        assert alone.tolist() == list(range(left[0]))


@given(rectangles(), rectangles(), st.integers(1, 3))
def test_fillers_open_no_canvas_and_change_nothing_for_those_that_are_due(
    due: Sources, fillers: Sources, canvases: int
) -> None:
    alone, kept_alone = pack(due, CANVAS, canvases)
    both, kept = pack(np.concatenate([due, fillers]), CANVAS, canvases, due=len(due))
    first = kept < len(due)
    assert kept[first].tolist() == kept_alone.tolist()
    np.testing.assert_array_equal(both.places[first], alone.places)
    assert set(both.canvases.tolist()) == set(alone.canvases.tolist())
    for i, j in itertools.combinations(range(len(both)), 2):
        assert both.canvases[i] != both.canvases[j] or apart(both.places[i], both.places[j]) >= GUTTER_PX


def test_room_that_is_left_is_filled() -> None:
    boxes = np.asarray([(0, 0, 40, 40), (50, 0, 80, 30), (100, 0, 190, 60)], np.int32)
    assert pack(boxes, CANVAS, 2, due=1)[1].tolist() == [0, 1]


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_no_label_cell_belongs_to_two_places(stride: int) -> None:
    for width, height in itertools.product(range(1, 33), range(1, 17)):
        sources = np.asarray([(0, 0, width, height), (0, 0, 20, height), (0, 0, 90, 20)], np.int32)
        looks, _ = pack(sources, CANVAS, 1)
        taken = np.zeros((CANVAS[1] // stride, CANVAS[0] // stride), np.int64)
        for x0, y0, x1, y1 in looks.places.tolist():
            taken[y0 // stride : -(-y1 // stride), x0 // stride : -(-x1 // stride)] += 1
        assert len(looks) == 3
        assert taken.max() <= 1


def test_many_regions_of_many_sizes_fill_the_canvases() -> None:
    fills = []
    for seed in range(40):
        sides = np.random.default_rng(seed).integers(20, 201, (32, 2))
        whole, room = (320 + GUTTER_PX) ** 2, room_of(sides)
        canvases = int(room.sum() / whole)  # they would fill more than these
        _, kept = pack(np.concatenate([0 * sides, sides], axis=1).astype(np.int32), (320, 320), canvases)
        fills.append(room[kept].sum() / (canvases * whole))
    assert np.mean(fills) > 0.85


@pytest.mark.parametrize("count", [1, 3, 40])
def test_everything_is_kept_while_there_is_room(count: int) -> None:
    sources = np.asarray([(i, 0, i + 30, 20) for i in range(count)], np.int32)
    looks, kept = pack(sources, (320, 320), 1)
    assert kept.tolist() == list(range(count))
    assert (looks.scales == 1).all()


def test_nothing_to_pack_gives_nothing() -> None:
    looks, kept = pack(np.zeros((0, 4), np.int32), CANVAS, 2)
    assert len(looks) == len(kept) == 0
    assert looks.places.shape == (0, 4)


def picture(width: int = 400, height: int = 300) -> Image:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


@given(rectangles(), st.integers(1, 3))
def test_crops_of_native_size_are_copied_exactly_and_the_rest_is_grey(sources: Sources, canvases: int) -> None:
    image = picture()
    looks, _ = pack(sources, CANVAS, canvases)
    for index in range(canvases):
        canvas = np.full((CANVAS[1], CANVAS[0], 3), 255, np.uint8)
        fill_canvas(canvas, [image], looks, index, 114)
        empty = np.ones(canvas.shape[:2], np.bool_)
        for i in np.flatnonzero(looks.canvases == index):
            (x0, y0, x1, y1), (sx0, sy0, sx1, sy1) = looks.places[i].tolist(), looks.sources[i].tolist()
            empty[y0:y1, x0:x1] = False
            if looks.scales[i] == 1:
                np.testing.assert_array_equal(canvas[y0:y1, x0:x1], image[sy0:sy1, sx0:sx1])
        assert (canvas[empty] == 114).all()


@pytest.mark.parametrize(("side", "scale"), [(24, 2.0), (192, 0.5), (100, 0.96)])
def test_a_resized_crop_shows_its_content_where_it_belongs(side: int, scale: float) -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[50 : 50 + side, 40 : 40 + side // 2] = (10, 20, 30)  # the left half of the crop
    image[50 : 50 + side, 40 + side // 2 : 40 + side] = (210, 220, 230)
    source = np.asarray([[40, 50, 40 + side, 50 + side]], np.int32)
    looks, _ = pack(source, (96, 96), 1, max_scale=2.0)
    assert looks.scales[0] == pytest.approx(scale)
    canvas = np.zeros((96, 96, 3), np.uint8)
    fill_canvas(canvas, [image], looks, 0, 114)
    extent = round(side * scale)
    assert looks.places[0].tolist() == [0, 0, extent, extent]
    middle = extent // 2
    assert (canvas[:extent, : middle - 2] == (10, 20, 30)).all()
    assert (canvas[:extent, middle + 2 : extent] == (210, 220, 230)).all()


def test_only_the_crops_of_the_canvas_asked_for_are_drawn() -> None:
    looks = Looks.at_one(
        np.asarray([[0, 0, 8, 8], [0, 0, 8, 8]], np.int32),
        np.asarray([0, 1], np.int32),
        np.asarray([[0, 0, 8, 8], [16, 0, 24, 8]], np.int32),
        np.ones(2, np.float32),
    )
    canvas = np.zeros((16, 32, 3), np.uint8)
    fill_canvas(canvas, [np.full((8, 8, 3), 200, np.uint8)], looks, 1, 5)
    assert (canvas[:8, 16:24] == 200).all()
    assert (np.delete(canvas[:8], np.s_[16:24], axis=1) == 5).all()
