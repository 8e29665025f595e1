"""How good what was seen is: COCO's AP of masks and boxes, defects on visible parts, masks that tracks carry.

What the frame's border cuts, and what is too small to be an object, does not count for or against anybody.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edge.boxes import common_of
from edge.types import Array, Boxes, Instances, Moment
from export.metrics import pasted, whole_box

SAME_IOU: Final = 0.5  # of the masks of a part and of what was found of it
MOST_FOUND: Final = 300  # objects of one frame that are judged, best first
SCORE_LOOKS: Final = 0.5  # weight of the newest look's score in a track's


@dataclass(frozen=True, slots=True)
class Judged:
    """Objects of one frame, true or found: flat arrays over them."""

    boxes: Boxes  # (n, 4)
    scores: npt.NDArray[np.float32]  # (n,)
    classes: npt.NDArray[np.uint8]  # (n,)
    masks: list[npt.NDArray[np.bool_]]  # stretched over the boxes
    flags: npt.NDArray[np.bool_]  # (n, d) defect classes that it is said to have
    ignored: npt.NDArray[np.bool_]  # (n,) true objects that do not count

    def __len__(self) -> int:
        return len(self.boxes)


def of_instances(found: Instances, least_px: Array) -> Judged:
    """Return what one frame alone shows; a defect is flagged from `least_px` (d,) frame pixels on."""
    flags = np.asarray(found.defects_px >= least_px[None, :])
    nothing = np.zeros(len(found), np.bool_)
    return Judged(found.boxes, found.scores, found.classes, found.masks, flags, nothing)


class Carried:
    """What the tracks say of a frame: where they are in it, with the masks, scores and defects of their looks."""

    def __init__(self, least_px: Array, share: Array) -> None:
        """A look flags a defect from `least_px` (d,) on, a track where `share` (d,) of its looks do."""
        self._least, self._share = least_px, share
        self._scores: dict[int, float] = {}
        self._flagged: dict[int, list[Array]] = defaultdict(list)

    def __call__(self, moment: Moment) -> Judged:
        """Take what `moment` adds and return what is there in its frame."""
        tracks, found = moment.tracks, moment.instances
        for row, i in enumerate(tracks.instances.tolist()):
            if i >= 0:
                key, score = int(tracks.keys[row]), float(found.scores[i])
                self._scores[key] = score + (1 - SCORE_LOOKS) * (self._scores.get(key, score) - score)
                self._flagged[key].append(found.defects_px[i] >= self._least)
        seen = tracks.since_look == 0
        rows = np.flatnonzero(seen | ((tracks.ids > 0) & tracks.supported))
        keys = tracks.keys[rows].tolist()
        flags = [np.mean(self._flagged[key], axis=0) >= self._share for key in keys]
        return Judged(
            tracks.boxes[rows],
            np.asarray([self._scores[key] for key in keys], np.float32),
            tracks.classes[rows],
            [tracks.masks[row] for row in rows],
            np.asarray(flags, np.bool_).reshape(len(rows), len(self._least)),
            np.zeros(len(rows), np.bool_),
        )


def overlap_of(found: Judged, truth: Judged, *, masks: bool) -> Array:
    """Return (n, m) the IoU of found and true objects; what is ignored overlaps by the share of the found one in it."""
    common = common_of(found.boxes, truth.boxes).astype(np.float64)
    own, other = (np.maximum((side.boxes[:, 2:] - side.boxes[:, :2]).prod(axis=1), 1e-6) for side in (found, truth))
    if masks:
        for i, j in zip(*np.nonzero(common), strict=True):
            common[i, j] = _common_px(found, int(i), truth, int(j))
        own, other = (np.asarray([_area(side, i) for i in range(len(side))], np.float64) for side in (found, truth))
    either = np.where(truth.ignored[None, :], own[:, None], own[:, None] + other[None, :] - common)
    return np.asarray(common / np.maximum(either, 1e-6))


def _common_px(found: Judged, i: int, truth: Judged, j: int) -> int:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = _whole(found, i), _whole(truth, j)
    corner = max(ax0, bx0), max(ay0, by0)
    size = min(ax1, bx1) - corner[0], min(ay1, by1) - corner[1]
    if min(size) <= 0:
        return 0
    return int((_pasted(found, i, corner, size) & _pasted(truth, j, corner, size)).sum())


def _area(side: Judged, i: int) -> int:
    x0, y0, x1, y1 = _whole(side, i)
    return int(_pasted(side, i, (x0, y0), (x1 - x0, y1 - y0)).sum())


def _whole(side: Judged, i: int) -> tuple[int, int, int, int]:
    return whole_box(_as_instances(side), i)


def _pasted(side: Judged, i: int, corner: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return pasted(_as_instances(side), i, corner, size)


def _as_instances(side: Judged) -> Any:
    return side  # `whole_box` and `pasted` read boxes and masks alone


@dataclass
class Average:
    """Average precision over frames, collected one by one."""

    classes: int
    masks: bool
    small_px: float
    _truths: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)
    _overlaps: dict[tuple[int, int], Array] = field(default_factory=dict)
    _frames: int = 0

    def add(self, truth: Judged, found: Judged, overlaps: Array) -> None:
        """Add a frame; `overlaps` is what `overlap_of` says of it."""
        best = np.argsort(-found.scores, kind="stable")[:MOST_FOUND]
        for kind in range(1, self.classes):
            mine, theirs = best[found.classes[best] == kind], np.flatnonzero(truth.classes == kind)
            self._overlaps[self._frames, kind] = overlaps[np.ix_(mine, theirs)]
            self._truths += [self._entry(truth, int(j), kind, crowd=bool(truth.ignored[j])) for j in theirs]
            self._found += [self._entry(found, int(i), kind, crowd=False) for i in mine]
        self._frames += 1

    def _entry(self, side: Judged, i: int, kind: int, *, crowd: bool) -> dict[str, Any]:
        x0, y0, x1, y1 = side.boxes[i].tolist()
        area = _area(side, i) if self.masks else (x1 - x0) * (y1 - y0)
        entry = {"image_id": self._frames, "category_id": kind, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": area}
        return entry | {"iscrowd": int(crowd), "ignore": int(crowd), "score": float(side.scores[i])}

    def figures(self) -> dict[str, float]:
        """Return "ap", "ap50" and "ap_small", 0..1; the area that is small is a true object's."""
        if not self._truths or not self._found:
            return {"ap": 0.0, "ap50": 0.0, "ap_small": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            judged = COCOeval(self._table(self._truths), self._table(self._found), "bbox")
            judged.params.areaRng = [[0, 1e12], [0, self.small_px]]
            judged.params.areaRngLbl = ["all", "small"]
            judged.params.maxDets = [MOST_FOUND]
            judged.computeIoU = lambda image, kind: self._overlaps.get((image, kind), [])
            judged.evaluate()
            judged.accumulate()
        precision = judged.eval["precision"]  # (10 thresholds, 101 recalls, classes, areas, 1)
        return {
            "ap": _mean(precision[:, :, :, 0]),
            "ap50": _mean(precision[:1, :, :, 0]),
            "ap_small": _mean(precision[:, :, :, 1]),
        }

    def _table(self, entries: list[dict[str, Any]]) -> Any:
        table = COCO()
        table.dataset = {
            "info": {},
            "images": [{"id": n} for n in range(self._frames)],
            "annotations": [entry | {"id": n} for n, entry in enumerate(entries, 1)],
            "categories": [{"id": n, "name": str(n)} for n in range(1, self.classes)],
        }
        table.createIndex()
        return table


def _mean(precision: Array) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0


@dataclass
class Flags:
    """Defects on visible parts: true ones flagged, by size, and flags where there is none."""

    small_px: float
    right: int = 0
    true: int = 0
    small_right: int = 0
    small_true: int = 0
    false: int = 0
    clean: int = 0

    def add(self, truth: Judged, defects_px: Array, found: Judged, overlaps: Array) -> None:
        """Add a frame; `defects_px` (m, d) is the visible area of each true part's defects."""
        for j in np.flatnonzero(~truth.ignored).tolist():
            own = overlaps[:, j]
            best = int(own.argmax()) if len(own) else -1
            said = found.flags[best] if best >= 0 and own[best] >= SAME_IOU else np.zeros(defects_px.shape[1], np.bool_)
            true = defects_px[j] > 0
            small = true & (defects_px[j] < self.small_px)
            self.right, self.true = self.right + int((said & true).sum()), self.true + int(true.sum())
            self.small_right += int((said & small).sum())
            self.small_true += int(small.sum())
            self.false, self.clean = self.false + int((said & ~true).sum()), self.clean + int((~true).sum())

    def figures(self) -> dict[str, Any]:
        """Return recalls, and the share of flags that are wrong."""
        return {
            "defects": self.true,
            "small_defects": self.small_true,
            "defect_recall": self.right / max(1, self.true),
            "small_defect_recall": self.small_right / max(1, self.small_true),
            "defect_precision": self.right / max(1, self.right + self.false),
        }
