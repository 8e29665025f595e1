"""Engine outputs -> objects: both decoders against what was drawn, and against a slow reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Head
from edge.see.centers import SMALLEST_CELLS, VOTE_RADIUS_PX, decode_centers
from edge.see.found import MOST_MASK_CELLS, Found, thinned
from edge.see.prototypes import decode_prototypes, suppress
from edge.types import Array

SIDE = 128  # of the canvas
STRIDE = 4
CELLS = SIDE // STRIDE
CENTERS = Head("centers", label_stride=STRIDE, offset_px=0.5)
WHOLE = np.asarray([[0, 0, SIDE, SIDE]], np.int32)


class Disc(NamedTuple):
    """An object as it is drawn."""

    x: int
    y: int
    radius: int
    label: int = 1


def drawn(discs: list[Disc], slots: int = 8, defects: bool = False) -> dict[str, Array]:
    """Return what a perfect model says of `discs`: each cell votes for the disc whose centre is nearest to its rim."""
    peaks = np.zeros((slots, 3), np.int16)
    labels = np.zeros((CELLS, CELLS), np.uint8)
    offsets = np.zeros((2, CELLS, CELLS), np.int8)
    ys, xs = (np.mgrid[:CELLS, :CELLS] + 0.5) * STRIDE
    best = np.full((CELLS, CELLS), np.inf)
    for i, disc in enumerate(discs):
        peaks[i] = disc.x, disc.y, 250 - i
        distance = np.hypot(xs - disc.x, ys - disc.y) - disc.radius
        mine = (distance <= 0) & (distance < best)
        best[mine] = distance[mine]
        labels[mine] = disc.label
        offsets[0][mine] = np.round((disc.x - xs[mine]) / CENTERS.offset_px)
        offsets[1][mine] = np.round((disc.y - ys[mine]) / CENTERS.offset_px)
    outputs: dict[str, Array] = {"peaks": peaks, "labels": labels, "offsets": offsets}
    if defects:
        outputs["defects"] = np.zeros((SIDE, SIDE), np.uint8)
    return outputs


def centers(
    outputs: Mapping[str, Array], places: npt.NDArray[np.int32] = WHOLE, score: float = 0.3, defects: int = 0
) -> Found:
    return decode_centers(outputs, places, CENTERS, score, defects)


class Slow(NamedTuple):
    """One object of the reference."""

    place: int
    cells: set[tuple[int, int]]
    label: int
    defects: tuple[int, ...]


def reference(outputs: Mapping[str, Array], places: npt.NDArray[np.int32], score: float, defects: int) -> list[Slow]:
    """Do what `docs/bundle.md` says, cell by cell, in plain Python."""
    found = []
    for number, (x0, y0, x1, y1) in enumerate(places.tolist()):
        peaks = [
            p for p in outputs["peaks"].tolist() if p[2] >= max(1, score * 255) and x0 <= p[0] < x1 and y0 <= p[1] < y1
        ]
        cells: list[set[tuple[int, int]]] = [set() for _ in peaks]
        flaws = [[0] * (defects + 1) for _ in peaks]
        for row, column in itertools.product(
            range(y0 // STRIDE, -(-y1 // STRIDE)), range(x0 // STRIDE, -(-x1 // STRIDE))
        ):
            label = int(outputs["labels"][row, column])
            block = (
                outputs["defects"][row * STRIDE : (row + 1) * STRIDE, column * STRIDE : (column + 1) * STRIDE]
                if defects
                else np.zeros(1)
            )
            if not peaks or (label == 0 and not block.any()):
                continue
            x = (column + 0.5) * STRIDE + int(outputs["offsets"][0, row, column]) * CENTERS.offset_px
            y = (row + 0.5) * STRIDE + int(outputs["offsets"][1, row, column]) * CENTERS.offset_px
            squares = [(x - p[0]) ** 2 + (y - p[1]) ** 2 for p in peaks]
            nearest = squares.index(min(squares))
            if squares[nearest] > VOTE_RADIUS_PX**2:
                continue
            if label:
                cells[nearest].add((row, column))
            for flaw in block.ravel().tolist():
                flaws[nearest][int(flaw)] += 1
        for mine, counts in zip(cells, flaws, strict=True):
            if len(mine) >= SMALLEST_CELLS:
                votes = np.bincount([int(outputs["labels"][cell]) for cell in mine])
                found.append(Slow(number, mine, int(votes.argmax()), tuple(counts[1:])))
    return found


def cells_of(found: Found, i: int) -> set[tuple[int, int]]:
    corner = (found.boxes[i, :2] / STRIDE).astype(int)
    return {(int(y + corner[1]), int(x + corner[0])) for y, x in np.argwhere(found.masks[i])}


@st.composite
def scenes(draw: st.DrawFn) -> tuple[dict[str, Array], npt.NDArray[np.int32]]:
    """Return outputs with discs, defects and noise, and one to four places with gutters between them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    discs = [
        Disc(*(int(random.integers(*span)) for span in ((4, 124), (4, 124), (3, 20), (1, 3))))
        for _ in range(draw(st.integers(0, 8)))
    ]
    outputs = drawn(discs, defects=True)
    noisy = random.random((CELLS, CELLS)) < draw(st.sampled_from([0.0, 0.05]))
    outputs["labels"][noisy] = random.integers(0, 3, int(noisy.sum()))
    outputs["offsets"][:, noisy] = random.integers(-128, 128, (2, int(noisy.sum())))
    flaws = random.random((SIDE, SIDE)) < draw(st.sampled_from([0.0, 0.02]))
    outputs["defects"][flaws] = random.integers(1, 3, int(flaws.sum()))
    middle = draw(st.integers(40, 80))
    places = [[0, 0, middle, SIDE], [middle + 8, 0, SIDE, SIDE]] if draw(st.booleans()) else WHOLE.tolist()
    return outputs, np.asarray(places, np.int32)


@given(scenes())
def test_centers_agree_with_a_cell_by_cell_reference(scene: tuple[dict[str, Array], npt.NDArray[np.int32]]) -> None:
    outputs, places = scene
    found, slow = centers(outputs, places, defects=2), reference(outputs, places, 0.3, 2)
    assert found.places.tolist() == [thing.place for thing in slow]
    for i, thing in enumerate(slow):
        assert cells_of(found, i) == thing.cells
        assert found.classes[i] == thing.label
        assert tuple(found.defects[i].tolist()) == thing.defects
        assert found.areas[i] == len(thing.cells) * STRIDE**2
        rows, columns = zip(*thing.cells, strict=True)
        assert found.centers[i].tolist() == pytest.approx(
            [(np.mean(columns) + 0.5) * STRIDE, (np.mean(rows) + 0.5) * STRIDE], abs=1e-3
        )
        box = [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
        assert found.boxes[i].tolist() == [side * STRIDE for side in box]


def test_touching_discs_stay_apart() -> None:
    discs = [Disc(40, 64, 16), Disc(72, 64, 16, 2)]
    found = centers(drawn(discs))
    assert found.classes.tolist() == [1, 2]
    for i, disc in enumerate(discs):
        assert found.centers[i].tolist() == pytest.approx([disc.x, disc.y], abs=1.5)
        assert found.areas[i] == pytest.approx(np.pi * 16**2, rel=0.06)
        assert found.boxes[i, 2] - found.boxes[i, 0] == pytest.approx(32, abs=4)
    assert not cells_of(found, 0) & cells_of(found, 1)


def test_scores_are_the_peaks() -> None:
    found = centers(drawn([Disc(40, 64, 16), Disc(90, 64, 12)]))
    assert found.scores.tolist() == pytest.approx([250 / 255, 249 / 255])


@pytest.mark.parametrize(("score", "kept"), [(0.97, 2), (0.98, 1), (0.99, 0)])
def test_peaks_below_the_score_are_dropped(score: float, kept: int) -> None:
    assert len(centers(drawn([Disc(40, 64, 16), Disc(100, 64, 12)]), score=score).boxes) == kept


@pytest.mark.parametrize("defects", [0, 3])
def test_no_peaks_give_no_objects_of_the_right_shapes(defects: int) -> None:
    outputs = drawn([], defects=True)
    outputs["labels"][:] = 1
    found = centers(outputs, score=0.0, defects=defects)
    assert found.boxes.shape == (0, 4)
    assert found.centers.shape == (0, 2)
    assert found.defects.shape == (0, defects)
    assert found.masks == []


def test_no_places_give_no_objects() -> None:
    assert len(centers(drawn([Disc(40, 64, 16)]), np.zeros((0, 4), np.int32)).boxes) == 0


def test_sixty_four_peaks_give_sixty_four_objects() -> None:
    discs = [Disc(8 + 16 * x, 8 + 16 * y, 8) for x, y in itertools.product(range(8), range(8))]
    found = centers(drawn(discs, slots=64))
    assert len(found.boxes) == 64
    np.testing.assert_allclose(found.centers, [disc[:2] for disc in discs], atol=1)


def test_fewer_cells_than_an_object_has_are_noise() -> None:
    outputs = drawn([Disc(64, 64, 10)])
    outputs["labels"][:] = 0
    outputs["labels"][16, 14 : 14 + SMALLEST_CELLS - 1] = 1
    outputs["offsets"][:] = 0
    assert len(centers(outputs).boxes) == 0
    outputs["labels"][17, 14] = 1
    assert len(centers(outputs).boxes) == 1


def test_cells_that_vote_for_nobody_near_join_nobody() -> None:
    outputs = drawn([Disc(30, 30, 12)])
    alone = centers(outputs).areas[0]
    outputs["labels"][20:26, 20:26] = 1  # 60 px away, offsets 0
    assert centers(outputs).areas.tolist() == [alone]


def test_chips_and_defects_are_counted_to_their_part() -> None:
    outputs = drawn([Disc(40, 64, 16), Disc(72, 64, 16)], defects=True)
    outputs["defects"][60:64, 36:40] = 1  # a scratch on the left one
    outputs["defects"][70:72, 74:78] = 2  # a stain on the right one
    # A bite out of the right one's rim: background that still votes for it.
    bite = np.s_[15:17, 21:22]
    outputs["labels"][bite] = 0
    outputs["defects"][60:68, 84:88] = 3
    found = centers(outputs, defects=3)
    assert found.defects.tolist() == [[16, 0, 0], [0, 8, 32]]
    assert found.areas[1] == found.areas[0] - 2 * STRIDE**2


def test_a_defect_far_from_any_part_is_nobodys() -> None:
    outputs = drawn([Disc(30, 30, 12)], defects=True)
    outputs["defects"][100:108, 100:108] = 1
    assert centers(outputs, defects=1).defects.tolist() == [[0]]


def test_defect_classes_beyond_the_known_ones_do_not_break_the_count() -> None:
    outputs = drawn([Disc(30, 30, 12)], defects=True)
    outputs["defects"][28:32, 28:32] = 200
    found = centers(outputs, defects=2)
    assert found.defects.sum() == 16


@given(st.integers(20, 100), st.integers(-128, 127), st.integers(0, 3))
def test_owner_test_nothing_joins_across_two_places(border: int, pull: int, shift: int) -> None:
    """Two neighbouring crops with the same peak height, every pixel of either pointing to the other: no merge."""
    places = np.asarray([[0, 0, border, SIDE], [border + 8, 0, SIDE, SIDE]], np.int32)
    peaks = np.asarray([[border - 1 - shift, 64, 255], [border + 8 + shift, 64, 255]], np.int16)
    labels = np.ones((CELLS, CELLS), np.uint8)
    offsets = np.zeros((2, CELLS, CELLS), np.int8)
    xs = (np.arange(CELLS) + 0.5) * STRIDE
    offsets[0] = np.where(xs < border + 4, abs(pull) % 128, -(abs(pull) % 128))
    found = centers({"peaks": peaks, "labels": labels, "offsets": offsets}, places)
    for i in range(len(found.boxes)):
        place = places[found.places[i]]
        assert found.boxes[i, 0] >= place[0] - STRIDE + 1
        assert found.boxes[i, 2] <= place[2] + STRIDE - 1
        assert place[0] <= peaks[found.places[i]][0] < place[2]
    for i, j in itertools.combinations(range(len(found.boxes)), 2):
        assert not cells_of(found, i) & cells_of(found, j)


def test_owner_test_a_peak_in_the_gutter_takes_nothing() -> None:
    outputs = drawn([Disc(64, 64, 20)])
    places = np.asarray([[0, 0, 60, SIDE], [68, 0, SIDE, SIDE]], np.int32)
    assert len(centers(outputs, places).boxes) == 0


# Prototypes


def field(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return a prototype that is positive inside a shape, given a signed distance in canvas pixels at every cell."""
    return np.clip(-distance, -30, 30).astype(np.float32)


def ellipse(x: float, y: float, a: float, b: float) -> npt.NDArray[np.float32]:
    ys, xs = (np.mgrid[: SIDE // 4, : SIDE // 4] + 0.5) * 4
    return field((np.hypot((xs - x) / a, (ys - y) / b) - 1) * min(a, b))


def yolo(
    boxes: Sequence[Sequence[float]],
    scores: list[float],
    classes: list[int] | None = None,
    prototypes: list[npt.NDArray[np.float32]] | None = None,
    coefficients: list[list[float]] | None = None,
) -> dict[str, Array]:
    """Return the outputs of a head; without prototypes every mask fills its box."""
    planes = [np.ones((SIDE // 4, SIDE // 4), np.float32)] if prototypes is None else prototypes
    n = len(boxes)
    return {
        "boxes": np.asarray(boxes, np.float32).reshape(n, 4),
        "scores": np.asarray(scores, np.float32),
        "classes": np.asarray(classes or [1] * n, np.uint8),
        "coefficients": np.asarray(coefficients or [[1.0] * len(planes)] * n, np.float32).reshape(n, len(planes)),
        "prototypes": np.stack(planes),
    }


PROTOTYPES = Head("prototypes", iou=0.5)


def prototypes(outputs: Mapping[str, Array], places: npt.NDArray[np.int32] = WHOLE, score: float = 0.3) -> Found:
    return decode_prototypes(outputs, places, PROTOTYPES, score)


@pytest.mark.parametrize(("x", "y", "a", "b"), [(64, 64, 40, 20), (50.5, 70.5, 22, 30), (30, 90, 20, 12)])
def test_the_mask_of_a_known_ellipse_has_its_area_and_centre(x: float, y: float, a: float, b: float) -> None:
    found = prototypes(yolo([[x - a, y - b, x + a, y + b]], [0.9], prototypes=[ellipse(x, y, a, b)]))
    assert found.areas[0] == pytest.approx(np.pi * a * b, rel=0.03)
    assert found.centers[0].tolist() == pytest.approx([x, y], abs=0.6)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, ((x - 0.5, y - 0.5), (2 * a, 2 * b), 0.0), (1,), -1)
    x0, y0 = np.round(found.boxes[0, :2]).astype(int)
    got = np.zeros_like(mask)
    height, width = found.masks[0].shape
    got[y0 : y0 + height, x0 : x0 + width] = found.masks[0]
    assert (got & mask).sum() / (got | mask).sum() > 0.9


def test_coefficients_mix_prototypes_per_object() -> None:
    planes = [(ellipse(x, 64, 20, 20) > 0).astype(np.float32) for x in (32, 96)]
    planes.append(np.full_like(planes[0], 0.5))
    boxes = [[8.0, 40.0, 56.0, 88.0], [72.0, 40.0, 120.0, 88.0], [8.0, 40.0, 120.0, 88.0]]
    found = prototypes(yolo(boxes, [0.9, 0.8, 0.7], [1, 1, 2], planes, [[1, 0, -1], [0, 1, -1], [-1, -1, 1]]))
    assert found.areas[0] == pytest.approx(np.pi * 20**2, rel=0.05)
    assert found.centers[1, 0] - found.centers[0, 0] == pytest.approx(64, abs=0.5)
    assert found.areas[2] == pytest.approx(112 * 48 - found.areas[:2].sum(), rel=0.02)


def test_masks_do_not_reach_beyond_their_box() -> None:
    found = prototypes(yolo([[20, 20, 51, 43]], [0.9]))
    assert found.masks[0].shape == (23, 31)
    assert found.masks[0].all()
    assert found.areas[0] == 23 * 31


def test_suppression_works_per_class_and_keeps_the_best() -> None:
    boxes = [[10, 10, 50, 50], [12, 12, 52, 52], [11, 11, 51, 51], [70, 70, 90, 90]]
    found = prototypes(yolo(boxes, [0.5, 0.9, 0.6, 0.4], [1, 1, 2, 1]))
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.4])
    assert found.classes.tolist() == [1, 2, 1]


def test_an_end_to_end_model_is_not_suppressed() -> None:
    outputs = yolo([[10, 10, 50, 50], [12, 12, 52, 52]], [0.5, 0.9])
    head = Head("prototypes", nms=False)
    assert len(decode_prototypes(outputs, WHOLE, head, 0.3).boxes) == 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_suppression_agrees_with_its_definition(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores, classes = random.random(count).astype(np.float32), random.integers(1, 3, count).astype(np.uint8)

    def iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
        common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
        return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))

    expected: list[int] = []
    for i in sorted(range(count), key=lambda k: -scores[k]):
        if all(classes[i] != classes[k] or iou(boxes[i], boxes[k]) <= 0.5 for k in expected):
            expected.append(i)
    assert suppress(boxes, scores, classes, 0.5).tolist() == expected


def test_boxes_are_clipped_to_the_place_that_holds_their_centre() -> None:
    places = np.asarray([[0, 0, 60, SIDE], [68, 0, SIDE, SIDE]], np.int32)
    found = prototypes(yolo([[30, 10, 80, 50], [50, 70, 100, 110]], [0.9, 0.8]), places)
    assert found.places.tolist() == [0, 1]
    assert found.boxes.tolist() == [[30, 10, 60, 50], [68, 70, 100, 110]]


def test_a_box_whose_centre_is_in_the_gutter_is_dropped() -> None:
    places = np.asarray([[0, 0, 60, SIDE], [68, 0, SIDE, SIDE]], np.int32)
    assert len(prototypes(yolo([[44, 10, 84, 50]], [0.9]), places).boxes) == 0


def test_nothing_found_has_the_right_shapes() -> None:
    for outputs in (yolo([], []), yolo([[10, 10, 50, 50]], [0.1])):
        found = prototypes(outputs)
        assert found.boxes.shape == (0, 4)
        assert found.centers.shape == (0, 2)
        assert found.defects.shape == (0, 0)
        assert found.masks == []
    assert len(prototypes(yolo([[10, 10, 50, 50]], [0.9]), np.zeros((0, 4), np.int32)).boxes) == 0


def test_an_object_whose_mask_is_empty_is_dropped() -> None:
    outputs = yolo([[10, 10, 50, 50], [60, 60, 90, 90]], [0.9, 0.8], coefficients=[[-1.0], [1.0]])
    assert prototypes(outputs).boxes.tolist() == [[60, 60, 90, 90]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_take_no_other_object_with_them(bad: float) -> None:
    good = [60.0, 60, 90, 90]
    for corner in range(4):
        broken = [10.0, 10, 50, 50]
        broken[corner] = bad
        assert prototypes(yolo([broken, good], [0.9, 0.8])).boxes.tolist() == [good]
    found = prototypes(yolo([[10, 10, 50, 50], good], [bad, 0.8]))
    assert good in found.boxes.tolist()
    assert (bad > 0.3) == (len(found.boxes) == 2)


@pytest.mark.parametrize("box", [[50.0, 10, 10, 50], [30, 30, 30, 30], [120, 10, 8, 12], [10, 50, 50, 10]])
def test_boxes_without_an_inside_are_dropped(box: list[float]) -> None:
    good = [60.0, 60, 90, 90]
    assert prototypes(yolo([box, good], [0.9, 0.8])).boxes.tolist() == [good]


@given(st.lists(st.tuples(*[st.floats(-300, 500, width=32)] * 4), max_size=8))
def test_any_finite_boxes_give_objects_inside_their_place(corners: list[tuple[float, ...]]) -> None:
    found = prototypes(yolo([list(box) for box in corners], [0.9] * len(corners)))
    assert (found.boxes >= 0).all()
    assert (found.boxes <= SIDE).all()
    for box, mask in zip(found.boxes, found.masks, strict=True):
        whole = (np.round(box[2:]) - np.round(box[:2])).astype(int)[::-1]
        assert mask.shape == tuple(whole) or (mask.size <= MOST_MASK_CELLS < whole.prod())


@pytest.mark.parametrize("shape", [(1, 1), (90, 91), (91, 91), (400, 300), (40, 4000), (40000, 1), (2000, 2000)])
def test_a_mask_keeps_its_shape_with_fewer_cells(shape: tuple[int, int]) -> None:
    """A disc stays the share of its box that it was."""
    ys, xs = np.indices(shape)
    mask = np.hypot((ys + 0.5) / shape[0] - 0.5, (xs + 0.5) / shape[1] - 0.5) < 0.4
    small = thinned(mask)
    assert small.size <= MOST_MASK_CELLS
    assert (small is mask) == (mask.size <= MOST_MASK_CELLS)
    assert small.mean() == pytest.approx(mask.mean(), abs=0.03)


def test_a_large_object_is_measured_before_its_mask_is_thinned() -> None:
    found = prototypes(yolo([[0.0, 0.0, SIDE, SIDE]], [0.9]))
    (mask,) = found.masks
    assert mask.size <= MOST_MASK_CELLS < SIDE**2
    assert found.areas[0] == pytest.approx(mask.mean() * SIDE**2, rel=0.05)
