"""Labels -> regions."""

from __future__ import annotations

import time
import tracemalloc

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import RegionRules
from edge.see.regions import MOST_REGIONS, Painter, find_regions, foreground, padded, scaled
from edge.types import Image, Labels, Regions, Tracks
from tests.see.made import tracks_of

SIZE = (320, 240)  # frame
SCALE = (2.0, 2.0)  # frame pixels per label pixel
NOBODY = tracks_of([])


def blank() -> Image:
    return np.zeros((120, 160), np.uint8)


def rules(**changes: object) -> RegionRules:
    return RegionRules(**{"min_area_px": 16.0, "pad_px": 0, **changes})  # type: ignore[arg-type]


def find(
    found: Image, tracks: Tracks, scale: tuple[float, float], limits: RegionRules, size: tuple[int, int]
) -> Regions:
    return find_regions(found, Painter()(tracks.masks, tracks.boxes, found.shape, scale), scale, limits, size)


def painted_of(boxes: list[tuple[int, ...]]) -> Image:
    tracks = tracks_of(boxes)
    return Painter()(tracks.masks, tracks.boxes, (120, 160), SCALE)


def wanted(*classes: int) -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(classes)] = 1
    return table


def test_each_spot_is_a_region_with_its_box_and_area() -> None:
    found = blank()
    found[10:20, 30:50] = 1
    found[60:64, 100:102] = 1
    regions = find(found, NOBODY, SCALE, rules(), SIZE)
    assert regions.boxes.tolist() == [[60, 20, 100, 40], [200, 120, 204, 128]]
    assert regions.area_px.tolist() == [800.0, 32.0]


def test_an_uneven_scale_maps_both_axes() -> None:
    found = blank()
    found[10:20, 30:50] = 1
    regions = find(found, NOBODY, (1.5, 2.0), rules(), (240, 240))
    assert regions.boxes.tolist() == [[45, 20, 75, 40]]
    assert regions.area_px.tolist() == [200 * 1.5 * 2.0]


def test_spots_that_touch_at_a_corner_are_one() -> None:
    found = blank()
    found[10:20, 10:20] = 1
    found[20:30, 20:30] = 1
    assert find(found, NOBODY, SCALE, rules(), SIZE).boxes.tolist() == [[20, 20, 60, 60]]


@pytest.mark.parametrize(("cells", "kept"), [(12, 0), (13, 1)])
def test_the_smallest_area_is_in_frame_pixels(cells: int, kept: int) -> None:
    found = blank()
    found[50, 20 : 20 + cells] = 1
    assert len(find(found, NOBODY, SCALE, rules(min_area_px=50.0), SIZE)) == kept


@given(
    st.lists(st.tuples(*[st.floats(-50, 400, width=32)] * 4), max_size=6),
    st.integers(0, 80),
)
def test_padding_widens_and_stays_inside_the_frame(corners: list[tuple[float, ...]], pad: int) -> None:
    boxes = np.asarray([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners], np.float32)
    got = padded(boxes.reshape(-1, 4), pad, SIZE)
    assert (got >= 0).all()
    assert (got <= [*SIZE, *SIZE]).all()
    for box, wide in zip(boxes, got, strict=True):
        assert (wide[:2] <= np.maximum(box[:2] - pad, 0)).all() or (box[:2] > SIZE).any()
        assert (wide[2:] >= np.minimum(box[2:] + pad, SIZE)).all() or (box[2:] < 0).any()


def test_regions_at_the_border_are_clipped() -> None:
    found = blank()
    found[:5, :5] = found[-5:, -5:] = 1
    regions = find(found, NOBODY, SCALE, rules(pad_px=16), SIZE)
    assert sorted(regions.boxes.tolist()) == [[0, 0, 26, 26], [294, 214, 320, 240]]


def test_what_a_track_explains_is_no_region() -> None:
    found = blank()
    found[10:20, 30:50] = 1
    found[60:80, 100:120] = 1
    tracks = tracks_of([(60, 20, 100, 40)])
    assert find(found, tracks, SCALE, rules(), SIZE).boxes.tolist() == [[200, 120, 240, 160]]


def test_a_track_explains_its_mask_and_one_label_pixel_more_but_not_its_whole_box() -> None:
    tracks = tracks_of([(60, 20, 100, 40)])
    tracks.masks[0][:, 2:] = False  # its right half is empty
    everywhere = np.ones_like(blank())
    everywhere[9:21, 29:41] = 0
    rest = find(np.ones_like(blank()), tracks, SCALE, rules(), SIZE)
    assert rest.boxes.tolist() == [[0, 0, 320, 240]]
    assert rest.area_px.tolist() == [everywhere.sum() * 4]
    found = blank()
    found[9:21, 29:41] = 1
    assert len(find(found, tracks, SCALE, rules(min_area_px=1.0), SIZE)) == 0


def test_the_masks_of_tracks_are_painted_where_they_lie() -> None:
    masks = painted_of([(60, 20, 100, 40), (100, 100, 120, 140)])
    expected = np.zeros((120, 160))
    expected[10:20, 30:50] = 1
    expected[50:70, 50:60] = 1
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize(
    "box", [(-40, -40, 10, 10), (310, 230, 400, 300), (-500, 0, -400, 10), (8, 8, 8, 20), (-9, -9, 999, 999)]
)
def test_tracks_at_and_beyond_the_border_are_painted_only_inside(box: tuple[int, ...]) -> None:
    ys, xs = np.nonzero(painted_of([box]))
    inside = max(0, min(box[2], 320) - max(box[0], 0)) * max(0, min(box[3], 240) - max(box[1], 0))
    assert bool(len(xs)) == bool(inside)
    if inside:
        assert xs.max() < box[2] / 2
        assert ys.min() >= max(0, np.floor(box[1] / 2))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_painter_paints_what_a_new_one_does_and_forgets_old_masks(seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    paint, boxes = Painter(), np.zeros((0, 4), np.float32)
    masks: list[npt.NDArray[np.bool_]] = []
    for shape in [(120, 160)] * 8 + [(60, 80)] * 4:
        masks = [mask for mask in masks if random.random() < 0.7][:most]
        masks += [random.random(random.integers(1, 40, 2)) < 0.5 for _ in range(most - len(masks))]
        corners = random.uniform(-40, 330, (most, 2))
        boxes = np.hstack([corners, corners + random.uniform(1, 90, (most, 2))]).astype(np.float32)
        scale = 320 / shape[1], 240 / shape[0]
        np.testing.assert_array_equal(paint(masks, boxes, shape, scale), Painter()(masks, boxes, shape, scale))
        assert len(paint._known) <= 2 * most
    assert not paint([], boxes[:0], (120, 160), SCALE).any()
    assert not paint._known


def test_a_painted_mask_is_stretched_to_the_nearest_cell() -> None:
    mask = np.random.default_rng(1).random((7, 11)) < 0.5
    area = Painter()([mask], np.asarray([[20, 30, 64, 72]], np.float32), (120, 160), SCALE)
    for y in range(21):
        for x in range(22):
            assert area[15 + y, 10 + x] == mask[y * 7 // 21, x * 11 // 22]


@pytest.mark.parametrize("step", [4, 9, 30])
def test_ten_thousand_specks_are_a_bounded_number_of_regions_and_none_is_lost(step: int) -> None:
    found = np.zeros((100 * step, 100 * step), np.uint8)
    found[::step, ::step] = 1  # 10,000
    regions = find(found, NOBODY, (1.0, 1.0), rules(min_area_px=1.0), found.shape[::-1])
    assert 0 < len(regions) <= MOST_REGIONS
    assert regions.area_px.sum() == 10_000
    covered = np.zeros_like(found)
    for x0, y0, x1, y1 in regions.boxes.tolist():
        covered[y0:y1, x0:x1] = 1
    assert covered[::step, ::step].all()


def test_noise_costs_bounded_time_and_still_finds_regions() -> None:
    found = (np.random.default_rng(3).random((540, 960)) < 0.3).astype(np.uint8)
    begin = time.perf_counter()
    regions = find(found, NOBODY, SCALE, rules(min_area_px=60.0), (1920, 1080))
    assert time.perf_counter() - begin < 2
    assert 0 < len(regions) <= MOST_REGIONS


def test_only_wanted_classes_are_foreground() -> None:
    classes = np.tile(np.arange(8, dtype=np.uint8), (4, 3))
    found = foreground(Labels(classes, None, SCALE), wanted(2, 5), 0.9)
    np.testing.assert_array_equal(found, np.isin(classes, [2, 5]))
    assert found.dtype == np.uint8


@pytest.mark.parametrize(("confidence", "least"), [(0.0, 0), (0.5, 128), (1.0, 255)])
def test_label_pixels_below_the_confidence_are_background(confidence: float, least: int) -> None:
    sure = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = foreground(Labels(np.ones((16, 16), np.uint8), sure, SCALE), wanted(1), confidence)
    np.testing.assert_array_equal(found, sure >= least)


def test_labels_cut_out_of_a_larger_map_are_read_right() -> None:
    whole = np.zeros((40, 60), np.uint8)
    whole[4, 7] = whole[30, 50] = 1
    found = foreground(Labels(whole[:20, :30], None, SCALE), wanted(1), 0.0)
    assert np.argwhere(found).tolist() == [[4, 7]]


@given(st.integers(0, 2**32 - 1))
def test_every_large_spot_lies_in_a_region(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = blank()
    for x, y in random.integers(0, 100, (6, 2)):
        cv2.circle(found, (int(x), int(y)), int(random.integers(1, 8)), (1,), -1)
    covered = blank()
    for x0, y0, x1, y1 in find(found, NOBODY, SCALE, rules(min_area_px=4.0), SIZE).boxes.tolist():
        covered[y0 // 2 : -(-y1 // 2), x0 // 2 : -(-x1 // 2)] = 1
    assert (covered[found > 0] == 1).all()


def test_a_spot_that_shrinks_a_little_does_not_come_and_go() -> None:
    found = blank()
    found[50, 20:26] = 1  # 24 frame pixels
    limits = rules(min_area_px=40.0)
    near, far = (np.asarray([box], np.float32) for box in ((44, 100, 60, 104), (200, 100, 220, 104)))
    assert [len(find_regions(found, blank(), SCALE, limits, SIZE, before)) for before in (near, far)] == [1, 0]
    assert not len(find_regions(found, blank(), SCALE, rules(min_area_px=60.0), SIZE, near)), "less than half"


@pytest.mark.parametrize(("mm_per_px", "area_px"), [(0.5, 400.0), (2.0, 25.0), (None, 16.0)])
def test_the_smallest_area_can_be_in_square_millimetres(mm_per_px: float | None, area_px: float) -> None:
    assert scaled(rules(min_area_mm2=100.0), mm_per_px).min_area_px == area_px
    assert scaled(rules(), mm_per_px).min_area_px == 16.0


def test_specks_that_are_nearly_large_enough_are_compared_in_bounded_memory() -> None:
    found = np.zeros((400, 400), np.uint8)
    found[::4, ::4] = 1  # 10,000, each half of what is needed
    before = np.tile(np.asarray([[0, 0, 30, 30]], np.float32), (MOST_REGIONS, 1))
    tracemalloc.start()
    try:
        regions = find_regions(found, np.zeros_like(found), (1.0, 1.0), rules(min_area_px=2.0), (400, 400), before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(regions) > 0
    assert peak < 12 << 20
