"""Outputs of a `prototypes` head on one canvas -> objects: YOLO-style boxes, coefficients and prototypes."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from edge.boxes import overlaps
from edge.bundle import PROTOTYPE_STRIDE, Head
from edge.see.found import Found, thinned
from edge.types import Array, Boxes

MOST_BOXES = 512  # on one canvas before suppression, the surest: a model that fires everywhere takes bounded time
MOST_OBJECTS = 128  # and after it


def decode_prototypes(
    outputs: Mapping[str, Array], places: npt.NDArray[np.int32], head: Head, score: float, defects: int = 0
) -> Found:
    """Decode YOLO-style heads: boxes, and masks as combinations of prototypes (Bolya et al. 2019, YOLACT, section 3).

    Boxes belong to the place (n, 4) their centre lies in and are clipped to it; those in a gutter are dropped.
    Each of the `defects` defect classes is a class of objects, after all others: no object has defects of its own here.
    """
    sound = np.isfinite(outputs["boxes"]).all(axis=1) & (outputs["boxes"][:, 2:] > outputs["boxes"][:, :2]).all(axis=1)
    best = np.flatnonzero((outputs["scores"] >= score) & sound)
    best = best[np.argsort(-outputs["scores"][best], kind="stable")][:MOST_BOXES]
    boxes, scores = outputs["boxes"][best].astype(np.float32), outputs["scores"][best].astype(np.float32)
    classes = outputs["classes"][best].astype(np.uint8)
    owner = _owner_places(boxes, places)
    kept = np.flatnonzero(owner >= 0)
    if head.nms:
        kept = kept[suppress(boxes[kept], scores[kept], classes[kept], head.iou)]
    kept = kept[:MOST_OBJECTS]
    limits = places[owner[kept]].astype(np.float32)
    clipped = np.concatenate(
        [np.maximum(boxes[kept, :2], limits[:, :2]), np.minimum(boxes[kept, 2:], limits[:, 2:])], axis=1
    )
    masks, areas, centers = _prototype_masks(outputs["coefficients"][best][kept], outputs["prototypes"], clipped)
    none = np.zeros((len(kept), defects), np.float32)
    found = Found(clipped, scores[kept], classes[kept], centers, areas, none, masks, owner[kept])
    return found.of(areas > 0)


def _owner_places(boxes: Boxes, places: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return (n,) the index of the place that holds each box's centre, or -1."""
    centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = np.asarray(((centers >= places[None, :, :2]) & (centers < places[None, :, 2:])).all(axis=2))
    return np.where(inside.any(axis=1), inside.argmax(axis=1) if len(places) else -1, -1).astype(np.int32)


def suppress(
    boxes: Boxes, scores: npt.NDArray[np.float32], classes: npt.NDArray[np.uint8], iou: float
) -> npt.NDArray[np.int64]:
    """Return the indices that greedy non-maximum suppression per class keeps, best first."""
    rivals = overlaps(boxes, boxes) > iou
    rivals &= classes[:, None] == classes
    kept, alive = [], np.ones(len(boxes), np.bool_)
    for i in np.argsort(-scores, kind="stable").tolist():
        if alive[i]:
            kept.append(i)
            alive &= ~rivals[i]
    return np.asarray(kept, np.int64)


def _prototype_masks(
    coefficients: Array, prototypes: Array, boxes: Boxes
) -> tuple[list[npt.NDArray[np.bool_]], Array, Array]:
    """Return one mask per box, its area (n,) and its centroid (n, 2), canvas pixels.

    Masks are made at canvas resolution, thresholded after enlarging and clipped to the box; one at a time, for only the
    thinned one is kept.
    """
    s = PROTOTYPE_STRIDE
    low, high = np.round(boxes[:, :2]).astype(int), np.round(boxes[:, 2:]).astype(int)  # centres inside the box
    flat = prototypes.reshape(len(prototypes), -1)
    logits: Array = (coefficients @ flat).reshape(len(coefficients), *prototypes.shape[1:])
    masks: list[npt.NDArray[np.bool_]] = []
    areas, centers = np.zeros(len(boxes), np.float32), np.zeros((len(boxes), 2), np.float32)
    for i, (plane, (x0, y0), (x1, y1)) in enumerate(zip(logits, low.tolist(), high.tolist(), strict=True)):
        # cut with one cell of margin before enlarging: the border cells need their neighbours
        left, top = max(0, x0 // s - 1), max(0, y0 // s - 1)
        part = np.ascontiguousarray(plane[top : y1 // s + 2, left : x1 // s + 2])
        fine = cv2.resize(part, None, fx=s, fy=s, interpolation=cv2.INTER_LINEAR)
        ox, oy = x0 - left * s, y0 - top * s
        mask = fine[oy : oy + y1 - y0, ox : ox + x1 - x0] > 0
        ys, xs = np.nonzero(mask)
        areas[i] = len(xs)
        if len(xs):
            centers[i] = np.round(boxes[i, :2]) + np.asarray((xs.mean() + 0.5, ys.mean() + 0.5))
        masks.append(thinned(mask))
    return masks, areas, centers
