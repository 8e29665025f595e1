"""Engine outputs of one canvas -> objects in canvas pixels, one decoder per head family (`docs/bundle.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.boxes import overlaps
from edge.bundle import PROTOTYPE_STRIDE, Head
from edge.types import Array, Boxes

VOTE_RADIUS_PX = 24.0  # canvas pixels between where a pixel votes and the peak it joins, at the most
SMALLEST_CELLS = 6  # label cells below which an object is noise
SCORE_UNITS = 255.0


@dataclass(frozen=True, slots=True)
class Found:
    """Objects on one canvas, in canvas pixels."""

    boxes: Boxes  # (n, 4)
    scores: npt.NDArray[np.float32]  # (n,)
    classes: npt.NDArray[np.uint8]  # (n,)
    centers: npt.NDArray[np.float32]  # (n, 2)
    areas: npt.NDArray[np.float32]  # (n,)
    defects: npt.NDArray[np.float32]  # (n, d) canvas pixels per defect class
    masks: list[npt.NDArray[np.bool_]]  # n, stretched over the boxes
    places: npt.NDArray[np.int32]  # (n,) index of the place the object is in


def decode_centers(
    outputs: Mapping[str, Array], places: npt.NDArray[np.int32], head: Head, score: float, defects: int
) -> Found:
    """Group foreground pixels by the peak they vote for, as Panoptic-DeepLab (Cheng et al. 2020, section 3.2) does.

    `places` is (n, 4) in canvas pixels: a pixel can only join a peak in its own place. `defects` is the number of
    defect classes.
    """
    peaks = outputs["peaks"]
    peaks = peaks[peaks[:, 2] >= max(1.0, score * SCORE_UNITS)]
    parts = [_group(outputs, peaks, place, head, defects) for place in places]
    return _join(parts, defects)


def _group(
    outputs: Mapping[str, Array], peaks: Array, place: npt.NDArray[np.int32], head: Head, defects: int
) -> list[tuple[Array, float, int, Array, float, Array, Array]]:
    """Return the objects of one place: box, score, class, centre, area, defects, mask."""
    x0, y0, x1, y1 = place.tolist()
    inside = (peaks[:, 0] >= x0) & (peaks[:, 0] < x1) & (peaks[:, 1] >= y0) & (peaks[:, 1] < y1)
    local = peaks[inside]
    if not len(local):
        return []
    s = head.label_stride
    rows, columns = slice(y0 // s, -(-y1 // s)), slice(x0 // s, -(-x1 // s))
    labels = outputs["labels"][rows, columns]
    fine = slice(rows.start * s, rows.stop * s), slice(columns.start * s, columns.stop * s)
    flaws = outputs["defects"][fine] if defects else None
    owner = _owners(labels, outputs["offsets"][:, rows, columns], flaws, local, (x0 // s, y0 // s), head)
    counts = _defect_counts(owner, flaws, s, len(local), defects)
    corner = np.asarray([x0 // s, y0 // s])
    objects = (_measure(owner == i, labels, corner, s) for i in range(len(local)))
    return [
        (box, float(peak[2]) / SCORE_UNITS, label, center, area, flaw, mask)
        for peak, flaw, measured in zip(local, counts, objects, strict=True)
        if measured is not None
        for box, label, center, area, mask in [measured]
    ]


def _owners(
    labels: Array, offsets: Array, flaws: Array | None, peaks: Array, corner: tuple[int, int], head: Head
) -> npt.NDArray[np.int32]:
    """Return (h, w) the index of the peak each foreground or defect cell votes for, -1 elsewhere."""
    s = head.label_stride
    solid = labels > 0
    if flaws is not None:  # a bite out of the contour is background, and still belongs to its part
        solid = solid | (flaws.reshape(solid.shape[0], s, solid.shape[1], s).max(axis=(1, 3)) > 0)
    ys, xs = np.nonzero(solid)
    votes = offsets[:, ys, xs].astype(np.float32) * head.offset_px
    votes[0] += (xs + corner[0] + 0.5) * s
    votes[1] += (ys + corner[1] + 0.5) * s
    distances = (votes[0][:, None] - peaks[:, 0]) ** 2 + (votes[1][:, None] - peaks[:, 1]) ** 2
    nearest = distances.argmin(axis=1)
    near = distances[np.arange(len(nearest)), nearest] <= VOTE_RADIUS_PX**2
    owner = np.full(labels.shape, -1, np.int32)
    owner[ys, xs] = np.where(near, nearest, -1)
    return owner


def _defect_counts(owner: Array, flaws: Array | None, stride: int, peaks: int, defects: int) -> npt.NDArray[np.float32]:
    """Return (peaks, defects) canvas pixels of every defect class that belong to each peak."""
    if flaws is None:
        return np.zeros((peaks, defects), np.float32)
    ys, xs = np.nonzero(flaws)
    owners = owner[ys // stride, xs // stride]
    kept = owners >= 0
    index = owners[kept] * (defects + 1) + np.minimum(flaws[ys, xs][kept], defects)
    counts = np.bincount(index, minlength=peaks * (defects + 1)).reshape(peaks, defects + 1)
    return counts[:, 1:].astype(np.float32)


def _measure(mine: Array, labels: Array, corner: Array, stride: int) -> tuple[Array, int, Array, float, Array] | None:
    """Return box, class, centre, area and mask of the cells `mine` that are foreground; None if too few."""
    ys, xs = np.nonzero(mine & (labels > 0))
    if len(xs) < SMALLEST_CELLS:
        return None
    low, high = np.asarray([xs.min(), ys.min()]), np.asarray([xs.max(), ys.max()]) + 1
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.bool_)
    mask[ys - low[1], xs - low[0]] = True
    label = int(np.bincount(labels[ys, xs]).argmax())
    center = (np.asarray([xs.mean(), ys.mean()]) + 0.5 + corner) * stride
    box = np.concatenate([low + corner, high + corner]) * stride
    return box.astype(np.float32), label, center.astype(np.float32), float(len(xs) * stride * stride), mask


def _join(parts: list[list[tuple[Array, float, int, Array, float, Array, Array]]], defects: int) -> Found:
    objects = [thing for part in parts for thing in part]
    place = [i for i, part in enumerate(parts) for _ in part]
    columns = list(zip(*objects, strict=True)) if objects else [()] * 7
    return Found(
        boxes=np.asarray(columns[0], np.float32).reshape(-1, 4),
        scores=np.asarray(columns[1], np.float32),
        classes=np.asarray(columns[2], np.uint8),
        centers=np.asarray(columns[3], np.float32).reshape(-1, 2),
        areas=np.asarray(columns[4], np.float32),
        defects=np.asarray(columns[5], np.float32).reshape(len(objects), defects),
        masks=list(columns[6]),
        places=np.asarray(place, np.int32),
    )


def decode_prototypes(outputs: Mapping[str, Array], places: npt.NDArray[np.int32], head: Head, score: float) -> Found:
    """Decode YOLO-style heads: boxes, and masks as combinations of prototypes (Bolya et al. 2019, YOLACT, section 3).

    Boxes belong to the place (n, 4) their centre lies in and are clipped to it; those in a gutter are dropped.
    """
    sound = np.isfinite(outputs["boxes"]).all(axis=1) & (outputs["boxes"][:, 2:] > outputs["boxes"][:, :2]).all(axis=1)
    best = np.flatnonzero((outputs["scores"] >= score) & sound)
    boxes, scores = outputs["boxes"][best].astype(np.float32), outputs["scores"][best].astype(np.float32)
    classes = outputs["classes"][best].astype(np.uint8)
    owner = _owner_places(boxes, places)
    kept = np.flatnonzero(owner >= 0)
    if head.nms:
        kept = kept[suppress(boxes[kept], scores[kept], classes[kept], head.iou)]
    limits = places[owner[kept]].astype(np.float32)
    clipped = np.concatenate(
        [np.maximum(boxes[kept, :2], limits[:, :2]), np.minimum(boxes[kept, 2:], limits[:, 2:])], axis=1
    )
    prototypes = outputs["prototypes"]
    masks = _prototype_masks(outputs["coefficients"][best][kept], prototypes, clipped)
    areas, centers = _mask_moments(masks, clipped)
    none = np.zeros((len(kept), 0), np.float32)
    return _without_empty(Found(clipped, scores[kept], classes[kept], centers, areas, none, masks, owner[kept]))


def _owner_places(boxes: Boxes, places: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return (n,) the index of the place that holds each box's centre, or -1."""
    centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = np.asarray(((centers >= places[None, :, :2]) & (centers < places[None, :, 2:])).all(axis=2))
    return np.where(inside.any(axis=1), inside.argmax(axis=1) if len(places) else -1, -1).astype(np.int32)


def suppress(
    boxes: Boxes, scores: npt.NDArray[np.float32], classes: npt.NDArray[np.uint8], iou: float
) -> npt.NDArray[np.int64]:
    """Return the indices that greedy non-maximum suppression per class keeps, best first."""
    order = np.argsort(-scores, kind="stable")
    overlap = overlaps(boxes, boxes)
    kept: list[int] = []
    for i in order:
        rivals = [k for k in kept if classes[k] == classes[i]]
        if not rivals or float(overlap[i, rivals].max()) <= iou:
            kept.append(int(i))
    return np.asarray(kept, np.int64)


def _prototype_masks(coefficients: Array, prototypes: Array, boxes: Boxes) -> list[npt.NDArray[np.bool_]]:
    """Return one mask per box at canvas resolution, thresholded after enlarging, clipped to the box."""
    s = PROTOTYPE_STRIDE
    low, high = np.round(boxes[:, :2]).astype(int), np.round(boxes[:, 2:]).astype(int)  # centres inside the box
    flat = prototypes.reshape(len(prototypes), -1)
    logits: Array = (coefficients @ flat).reshape(len(coefficients), *prototypes.shape[1:])
    masks: list[npt.NDArray[np.bool_]] = []
    for plane, (x0, y0), (x1, y1) in zip(logits, low.tolist(), high.tolist(), strict=True):
        # cut with one cell of margin before enlarging: the border cells need their neighbours
        left, top = max(0, x0 // s - 1), max(0, y0 // s - 1)
        part = np.ascontiguousarray(plane[top : y1 // s + 2, left : x1 // s + 2])
        fine = cv2.resize(part, None, fx=s, fy=s, interpolation=cv2.INTER_LINEAR)
        ox, oy = x0 - left * s, y0 - top * s
        masks.append(fine[oy : oy + y1 - y0, ox : ox + x1 - x0] > 0)
    return masks


def _mask_moments(masks: list[npt.NDArray[np.bool_]], boxes: Boxes) -> tuple[Array, Array]:
    """Return areas (n,) and centroids (n, 2) of masks at canvas resolution."""
    areas, centers = np.zeros(len(masks), np.float32), np.zeros((len(masks), 2), np.float32)
    for i, mask in enumerate(masks):
        ys, xs = np.nonzero(mask)
        areas[i] = len(xs)
        if len(xs):
            centers[i] = np.round(boxes[i, :2]) + np.asarray((xs.mean() + 0.5, ys.mean() + 0.5))
    return areas, centers


def _without_empty(found: Found) -> Found:
    """Drop objects whose mask holds nothing."""
    kept = np.flatnonzero(found.areas > 0)
    return Found(
        found.boxes[kept],
        found.scores[kept],
        found.classes[kept],
        found.centers[kept],
        found.areas[kept],
        found.defects[kept],
        [found.masks[i] for i in kept],
        found.places[kept],
    )
