"""The synthetic belt: is its truth true, and is it the same each time?"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from examples.belt import belt as belts
from examples.belt.belt import (
    COUNT_LINE_X,
    DEFECTS,
    HEIGHT,
    KINDS,
    MIN_DEFECT_PX,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    WIDTH,
    Belt,
    View,
    crossings,
)
from examples.belt.defects import CHIP, draw_shape
from examples.belt.layout import Placed, layout
from examples.belt.motion import MAX_BACK_PX, Motion
from examples.belt.optics import project, unproject_x
from examples.belt.scene import MIN_DEFECT_VISIBLE, MIN_VISIBLE, RAIL_BOTTOM, RAIL_TOP

SEED = 7
FRAMES = 900
ROUNDING_PX = 1.0
"""Nearest-pixel sampling of a part moves the centroid of its pixels by less than this."""


def motion(seed: int) -> Motion:
    return Motion(np.random.default_rng(np.random.SeedSequence(seed).spawn(4)[belts._MOTION]))


@lru_cache
def placed(seed: int) -> list[Placed]:
    """Return the parts that enter within the first frames."""
    found: list[Placed] = []
    reach = max(motion(seed).travels(FRAMES))
    for end, parts in layout(np.random.SeedSequence(seed).spawn(4)[belts._LAYOUT]):
        found += parts
        if end > reach:
            break
    return found


@lru_cache
def views() -> list[View]:
    """Return truth of frames where the belt runs, and of some further on."""
    belt = Belt(SEED)
    belt.skip(150)
    found = list(belt.views(60))
    belt.skip(230)
    return found + list(belt.views(6))


def masses(view: View) -> dict[int, tuple[int, float, float]]:
    """Return per part id in the instance map: pixels, and their centroid x, y."""
    assert view.truth is not None
    rows, columns = np.nonzero(view.truth.instances)
    ids = view.truth.instances[rows, columns].astype(np.int64)
    count = np.bincount(ids)
    x, y = np.bincount(ids, columns), np.bincount(ids, rows)
    return {int(i): (int(count[i]), x[i] / count[i], y[i] / count[i]) for i in np.flatnonzero(count)}


def whole(x: float) -> bool:
    """Tell whether a part whose centroid is at x is wholly between the frame's left and right."""
    return 150 < x < WIDTH - 150


def test_same_seed_same_bytes_with_and_without_truth() -> None:
    plain = Belt(SEED)
    known = Belt(SEED)
    for index in range(4):
        first, second = plain.step(), known.step(truth=index % 2 == 0)
        assert first.image.tobytes() == second.image.tobytes()
        assert (second.truth is not None) == (index % 2 == 0)


def test_skipping_does_not_change_a_frame() -> None:
    leap, walk = Belt(SEED), Belt(SEED)
    leap.skip(400)
    for stop in range(50, 401, 50):
        walk.skip(stop - walk.index - 1)
        walk.step()
    first, second = leap.step(truth=True), walk.step(truth=True)
    assert first.index == second.index == 400
    assert np.array_equal(first.image, second.image)
    assert first.truth is not None
    assert second.truth is not None
    assert np.array_equal(first.truth.instances, second.truth.instances)
    assert first.truth.parts == second.truth.parts


def test_other_seed_other_belt() -> None:
    first, second = next(Belt(1).frames()), next(Belt(2).frames())
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.dtype == np.uint8
    assert np.mean(first != second) > 0.5
    assert crossings(1, 300, COUNT_LINE_X) != crossings(2, 300, COUNT_LINE_X)


def test_frames_stop_at_their_count_and_own_their_memory() -> None:
    first, second = Belt(3).frames(2)
    assert not np.shares_memory(first, second)


def test_nothing_starts_past_the_left_third() -> None:
    view = Belt(SEED).step(truth=True)
    assert view.truth is not None
    assert view.truth.parts
    assert not view.truth.instances[:, WIDTH // 3 :].any()


def test_maps_agree_with_each_other() -> None:
    for view in views()[::10]:
        truth = view.truth
        assert truth is not None
        assert {part.id for part in truth.parts} == set(np.unique(truth.instances)) - {0}
        kind_of = np.zeros(65536, np.uint8)
        for part in truth.parts:
            kind_of[part.id] = KINDS.index(part.kind) + 1
        assert np.array_equal(kind_of[truth.instances], truth.semantic)
        chips = truth.defects == CHIP
        assert not truth.semantic[chips].any()
        assert truth.semantic[(truth.defects > 0) & ~chips].all()


def test_centroids_agree_with_the_maps() -> None:
    for view in views():
        seen = masses(view)
        assert view.truth is not None
        for part in view.truth.parts:
            if whole(part.x):
                _, x, y = seen[part.id]
                assert abs(x - part.x) < ROUNDING_PX
                assert abs(y - part.y) < ROUNDING_PX


def test_no_part_shows_through_another() -> None:
    """The hole or chip of the upper part lies inside its outline, but is not of its material."""
    parts = sorted(placed(SEED), key=lambda part: part.id)
    pairs = [(a, b) for a in parts for b in parts if a.id < b.id and abs(a.position - b.position) < a.reach + b.reach]
    met = 0
    for upper, lower in pairs:
        open_ = (upper.shape.outline.outer < 0) & ~upper.shape.mask
        rows, columns = np.nonzero(open_)
        row = rows - upper.reach + upper.v - lower.v + lower.reach
        column = columns - upper.reach + lower.position - upper.position + lower.reach
        inside = (row >= 0) & (row <= 2 * lower.reach) & (column >= 0) & (column <= 2 * lower.reach)
        met += int(inside.any())
        assert not lower.shape.mask[row[inside], column[inside]].any(), (upper.id, lower.id)
    assert met > 20


def test_crossings_agree_with_the_frames() -> None:
    """Every part that the instance maps show passing the line is listed, at that frame, and no other."""
    shown = views()[:60]
    left = {i: x for i, (_, x, _) in masses(shown[0]).items()}
    passed: dict[int, int] = {i: -1 for i, x in left.items() if x >= COUNT_LINE_X}
    close: set[int] = set()
    for view in shown:
        for i, (_, x, _) in masses(view).items():
            if abs(x - COUNT_LINE_X) < ROUNDING_PX:
                close.add(i)
            if x >= COUNT_LINE_X and i not in passed:
                passed[i] = view.index
    said = {item.id: item for item in crossings(SEED, shown[-1].index + 1, COUNT_LINE_X)}
    fresh = {i: frame for i, frame in passed.items() if frame > shown[0].index}
    assert len(fresh) > 5
    for i, frame in fresh.items():
        assert abs(said[i].frame - frame) <= (1 if i in close else 0)
    assert {i for i, item in said.items() if item.frame > shown[0].index + 1} - set(fresh) <= close


def test_crossings_follow_from_where_parts_are_said_to_be() -> None:
    """Exact: the frame of a crossing is the first whose travel brings the centroid to the line."""
    travels = motion(SEED).travels(FRAMES)
    said = {item.id: item for item in crossings(SEED, FRAMES, COUNT_LINE_X)}
    for part in placed(SEED):
        along, v = part.centre
        over = [frame for frame, travel in enumerate(travels) if travel - along >= unproject_x(COUNT_LINE_X, v)]
        assert (said[part.id].frame if part.id in said else None) == (over[0] if over else None)
        if over:
            x, y = project(travels[over[0]] - along, v)
            assert x >= COUNT_LINE_X - 1e-6
            assert said[part.id].y == pytest.approx(y)


def test_a_shorter_run_is_a_prefix() -> None:
    long = crossings(SEED, FRAMES, COUNT_LINE_X)
    assert crossings(SEED, 500, COUNT_LINE_X) == [item for item in long if item.frame < 500]


def test_defect_areas_agree_with_the_map() -> None:
    checked = 0
    for view in views()[::6]:
        truth = view.truth
        assert truth is not None
        for number, name in enumerate(DEFECTS, 1):
            whole_parts = [part for part in truth.parts if name in part.defects]
            if not all(whole(part.x) for part in whole_parts):
                continue
            area = np.count_nonzero(truth.defects == number)
            assert area == pytest.approx(sum(part.defects[name] for part in whole_parts), rel=0.1, abs=8)
            checked += int(area > 0)
    assert checked > 5


@pytest.mark.parametrize("seed", [1, SEED, 1500])
def test_every_phase_and_load_occurs(seed: int) -> None:
    drive = motion(seed)
    travels = np.array(drive.travels(FRAMES))
    phases = Counter(drive.phase(frame) for frame in range(FRAMES))
    assert set(phases) == {"run", "fast", "slow", "stop", "reverse"}
    assert np.count_nonzero(np.diff(travels) == 0) >= 30
    assert (np.diff(travels) < -4).sum() >= 10
    assert np.max(np.maximum.accumulate(travels) - travels) <= MAX_BACK_PX
    assert np.abs(np.diff(np.diff(travels))).max() <= 1.01
    along = np.array([part.centre[0] for part in placed(seed)])
    in_view = np.array([np.count_nonzero((travel - along > 0) & (travel - along < WIDTH)) for travel in travels])
    assert 90 <= in_view.max() <= 125
    assert np.count_nonzero(in_view[100:] == 0) >= 10
    assert np.count_nonzero((in_view >= 15) & (in_view <= 45)) >= 60
    assert 180 <= len(crossings(seed, FRAMES, COUNT_LINE_X)) <= 450


def test_parts_stay_in_sight() -> None:
    """Visibility is counted again from all silhouettes, newest lowest, on one map of the belt."""
    parts = placed(SEED)
    start = min(part.position for part in parts) - 100
    belt = np.zeros((960, max(part.position for part in parts) - start + 100), np.uint16)
    for part in parts:
        reach = part.reach
        column = belt.shape[1] - 1 - (part.position - start)
        spot = belt[part.v - reach : part.v + reach + 1, column - reach : column + reach + 1]
        seen = part.shape.mask & (spot == 0)
        assert np.array_equal(seen, part.visible)
        assert seen.sum() >= MIN_VISIBLE * part.shape.mask.sum()
        spot[part.shape.mask | (part.shape.defects == CHIP)] = part.id
    assert sum(not np.array_equal(part.visible, part.shape.mask) for part in parts) > 10


def test_defects_lie_in_their_part_and_stay_in_sight() -> None:
    parts = list(chain(placed(SEED), placed(1), placed(1500)))
    defective = [part for part in parts if part.shape.defects.any()]
    assert 0.09 < len(defective) / len(parts) < 0.21
    kinds: Counter[str] = Counter()
    for part in defective:
        shape = part.shape
        assert (shape.outline.outer[shape.defects > 0] < 0).all()
        assert shape.mask[(shape.defects > 0) & (shape.defects != CHIP)].all()
        assert not shape.mask[shape.defects == CHIP].any()
        assert set(np.unique(part.marks[~part.visible]).tolist()) <= {0, CHIP}
        for number in range(1, len(DEFECTS) + 1):
            seen = np.count_nonzero(part.marks == number)
            assert seen >= MIN_DEFECT_VISIBLE * np.count_nonzero(shape.defects == number)
        for name, area in part.known.defects.items():
            assert area >= MIN_DEFECT_PX
            kinds[name] += 1
    assert set(kinds) == set(DEFECTS)


def test_good_parts_have_no_marks() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        shape = draw_shape(rng)
        if not shape.defects.any():
            assert shape.filled is None
            assert not shape.softness.any()


def test_nothing_is_cut_by_the_belt_edge() -> None:
    for part in chain(placed(SEED), placed(1)):
        rows = np.flatnonzero(part.shape.mask.any(axis=1)) + part.v - part.reach
        assert project(0.0, float(rows[0]))[1] > RAIL_TOP
        assert project(0.0, float(rows[-1]))[1] < RAIL_BOTTOM - 1
    for view in views()[::20]:
        assert view.truth is not None
        assert not view.truth.instances[: RAIL_TOP + 1].any()
        assert not view.truth.instances[RAIL_BOTTOM - 1 :].any()


def test_seed_ranges_are_disjoint() -> None:
    ranges = (set(TRAIN_SEEDS), set(VALIDATION_SEEDS), set(TEST_SEEDS))
    assert sum(map(len, ranges)) == len(set().union(*ranges))


def test_stream_on_demand_gives_the_frames_and_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "examples.belt.stream", "--seed", "7", "--frames", "9", "--demand"]
    done = subprocess.run(command, input=b"xx", capture_output=True, timeout=60, check=True, cwd=_root())
    expected = b"".join(image.tobytes() for image in Belt(7).frames(2))
    assert done.stdout == expected
    assert done.stderr == b""


def test_stream_ends_quietly_when_nobody_reads() -> None:
    command = [sys.executable, "-m", "examples.belt.stream", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=_root()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def _root() -> Path:
    return Path(__file__).parents[2]
