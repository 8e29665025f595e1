"""What a model is worth against the truth, and whether another way to use it is worth clearly more."""

from __future__ import annotations

import cv2
import lap
import numpy as np
import numpy.typing as npt

from edge.types import Image, Instances
from export.metrics import Counts, pasted, whole_box

LONGEST = 480  # pixels of the longer side at which maps are compared
MARGIN = 0.05  # mean IoU by which another way must be better
SHAPE_MARGIN = 0.1  # the same where only the size of things changes: that may help an honest model a little, too
CERTAIN = 3.0  # and standard errors of the differences between frames
LEAST_FRAMES = 3
MOVED = 0.25  # IoU that the classes gain, on average, that another order of the classes moves

PerFrame = npt.NDArray[np.float64]


def painted(instances: Instances, size: tuple[int, int]) -> Image:
    """Return a class map (h, w) uint8 of objects in a frame of `size` (width, height), reduced; 0 is no object."""
    found = np.zeros((size[1], size[0]), np.uint8)
    for i in np.argsort(instances.scores, kind="stable").tolist():
        x0, y0, x1, y1 = whole_box(instances, i)
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, size[0]), min(y1, size[1])
        if left < right and top < bottom:
            mask = pasted(instances, i, (left, top), (right - left, bottom - top))
            found[top:bottom, left:right][mask] = instances.classes[i]
    return reduced(found)


def reduced(classes: Image) -> Image:
    """Return a class map (h, w) no larger than `LONGEST`."""
    share = LONGEST / max(classes.shape)
    if share >= 1:
        return classes
    size = max(1, round(classes.shape[1] * share)), max(1, round(classes.shape[0] * share))
    return np.asarray(cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def class_iou(counts: Counts) -> PerFrame:
    """Return the IoU of every class of a confusion matrix (k, k), rows are true; NaN where the truth has none of it."""
    both = np.diag(counts).astype(np.float64)
    true = counts.sum(axis=1)
    either = true + counts.sum(axis=0) - both
    return np.asarray(np.divide(both, either, out=np.full(len(both), np.nan), where=true > 0), np.float64)


def frame_scores(counts: list[Counts]) -> PerFrame:
    """Return the mean IoU, over the classes that the truth has, of every frame; 1 where all of it is ignored."""
    found = [class_iou(one) for one in counts]
    return np.asarray([np.nanmean(one) if np.isfinite(one).any() else 1.0 for one in found])


def skill(counts: Counts) -> float | None:
    """Return how much better than one class everywhere a model is: 0 is as good as that, 1 is the truth.

    That is (m - c) / (1 - c) of the mean IoU m over the classes that the truth has, and of the best such map's, c, as
    Cohen's kappa (1960) does it for agreement. None where the truth has fewer than two classes.
    """
    true = counts.sum(axis=1)
    classes = int((true > 0).sum())
    if classes < 2:
        return None
    constant = float(true.max() / true.sum() / classes)
    return (float(np.nanmean(class_iou(counts))) - constant) / (1 - constant)


def clearly_better(other: PerFrame, own: PerFrame, margin: float = MARGIN) -> bool:
    """Return whether `other` is better on the same frames by `margin`, and by `CERTAIN` standard errors."""
    gains = other - own
    if len(gains) < LEAST_FRAMES:
        return False
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains))
    return bool(gains.mean() >= max(margin, CERTAIN * error))


def best_order(counts: Counts) -> npt.NDArray[np.int64] | None:
    """Return for every true class the number under which the model finds it, or None where the order is right.

    The assignment has the highest sum of IoUs (Jonker and Volgenant 1987); it is right unless the classes it moves, as
    far as the truth has them, gain `MOVED` on average.
    """
    both = counts.astype(np.float64)
    true, found = both.sum(axis=1, keepdims=True), both.sum(axis=0, keepdims=True)
    iou = both / np.maximum(true + found - both, 1)
    np.fill_diagonal(iou, np.diag(iou) + 1e-9)  # of equal ones, what is said
    _, order, _ = lap.lapjv(-iou)
    moved = np.flatnonzero((order != np.arange(len(order))) & (true[:, 0] > 0))
    if not len(moved):
        return None
    gains = iou[moved, order[moved]] - iou[moved, moved]
    return np.asarray(order, np.int64) if gains.mean() >= MOVED else None
