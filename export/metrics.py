"""How alike two results are, and how good one is: mean IoU, panoptic quality, mask AP."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Array, Image, Instances

MATCH_IOU = 0.5  # of two masks that count as the same object (Kirillov et al. 2019, panoptic segmentation)
DEFECT_PX = 30.0  # frame pixels from which on a defect counts as seen
IGNORED = 255  # label of pixels that are not judged
Counts = npt.NDArray[np.int64]


def confusion(truth: Image, found: Image, classes: int) -> Counts:
    """Return (classes, classes) pixel counts of two label maps (h, w) uint8; `truth` 255 is left out."""
    kept = truth != IGNORED
    pairs = truth[kept].astype(np.int64) * classes + np.minimum(found[kept], classes - 1)
    return np.bincount(pairs, minlength=classes * classes)[: classes * classes].reshape(classes, classes)


def resized(classes: Image, shape: tuple[int, ...]) -> Image:
    """Return a class map (h, w) uint8 of the whole frame at another `shape`."""
    return np.asarray(cv2.resize(classes, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def mean_iou(counts: Counts) -> float:
    """Return the mean over classes of intersection over union; classes that the first map lacks are left out.

    What the second map alone has of such a class is missing in another one: a mean over both maps' classes would fall
    by a whole class for a single pixel of it.
    """
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    present = counts.sum(axis=1) > 0
    return float((both[present] / either[present]).mean()) if present.any() else 1.0


@dataclass
class Panoptic:
    """Sums of panoptic quality over frames: matched objects, unmatched ones of either side."""

    iou: float = 0.0
    matched: int = 0
    only_first: int = 0
    only_second: int = 0
    defects_equal: int = 0  # matched objects on which both sides see the same defect classes

    def add(self, first: Instances, second: Instances, defect_px: float) -> None:
        """Add one frame; a defect class counts as seen from `defect_px` frame pixels on."""
        pairs = matches(first, second)
        self.iou += sum(iou for _, _, iou in pairs)
        self.matched += len(pairs)
        self.only_first += len(first) - len(pairs)
        self.only_second += len(second) - len(pairs)
        for i, j, _ in pairs:
            same = (first.defects_px[i] >= defect_px) == (second.defects_px[j] >= defect_px)
            self.defects_equal += bool(same.all())

    @property
    def quality(self) -> float:
        """Return the sum of matched IoUs over matched + half of the unmatched; 1 where there is nothing at all."""
        total = self.matched + (self.only_first + self.only_second) / 2
        return self.iou / total if total else 1.0


def matches(first: Instances, second: Instances) -> list[tuple[int, int, float]]:
    """Return (i, j, IoU) of objects of one class whose masks overlap by more than half; each appears once at most."""
    pairs = []
    boxes = np.maximum(first.boxes[:, None, :2], second.boxes[None, :, :2])
    ends = np.minimum(first.boxes[:, None, 2:], second.boxes[None, :, 2:])
    touching = (ends > boxes).all(axis=2) & (first.classes[:, None] == second.classes[None, :])
    for i, j in zip(*np.nonzero(touching), strict=True):
        iou = mask_iou(first, int(i), second, int(j))
        if iou > MATCH_IOU:
            pairs.append((int(i), int(j), iou))
    used: tuple[set[int], set[int]] = (set(), set())
    best = []
    for i, j, iou in sorted(pairs, key=lambda pair: -pair[2]):
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            best.append((i, j, iou))
    return best


def mask_iou(first: Instances, i: int, second: Instances, j: int) -> float:
    """Return the IoU of two masks at frame resolution."""
    a, b = whole_box(first, i), whole_box(second, j)
    x0, y0 = min(a[0], b[0]), min(a[1], b[1])
    size = max(a[2], b[2]) - x0, max(a[3], b[3]) - y0
    one, other = pasted(first, i, (x0, y0), size), pasted(second, j, (x0, y0), size)
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 0.0


def whole_box(instances: Instances, i: int) -> tuple[int, int, int, int]:
    """Return the box of one object in whole frame pixels, at least one pixel wide."""
    x0, y0, x1, y1 = np.round(instances.boxes[i]).astype(int).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def pasted(instances: Instances, i: int, corner: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask of one object on a map of `size` (width, height) whose corner lies at `corner` of the frame."""
    x0, y0, x1, y1 = whole_box(instances, i)
    mask = cv2.resize(instances.masks[i].view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    result = np.zeros((size[1], size[0]), np.bool_)
    left, top = x0 - corner[0], y0 - corner[1]
    cut_x, cut_y = max(0, -left), max(0, -top)
    part = mask[cut_y : size[1] - top, cut_x : size[0] - left]
    if part.size:
        result[top + cut_y : top + cut_y + part.shape[0], left + cut_x : left + cut_x + part.shape[1]] = part
    return result


def has_coco() -> bool:
    """Return whether mask AP can be had: pycocotools is in the extra `bench`."""
    return importlib.util.find_spec("pycocotools") is not None


def mask_ap(
    frames: Iterable[tuple[Instances, Instances]], sizes: list[tuple[int, int]], classes: list[str]
) -> dict[str, float]:
    """Return COCO's mask AP of (truth, found) per frame: "ap" (IoU 0.5 to 0.95) and "ap50".

    `sizes` are the frames' (width, height), `classes` the manifest's.
    """
    from pycocotools.coco import COCO  # noqa: PLC0415  an extra
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    truths, found = [], []
    for number, ((truth, result), size) in enumerate(zip(frames, sizes, strict=True)):
        truths += [_annotation(truth, i, number, size) for i in range(len(truth))]
        found += [_annotation(result, i, number, size) for i in range(len(result))]
    for number, entry in enumerate(truths, 1):
        entry["id"] = number
    if not truths or not found:
        return {"ap": 0.0, "ap50": 0.0}
    images = [{"id": n, "width": w, "height": h} for n, (w, h) in enumerate(sizes)]
    categories = [{"id": n, "name": name} for n, name in enumerate(classes) if n]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress and a table
        reference = COCO()
        reference.dataset = {"info": {}, "images": images, "annotations": truths, "categories": categories}
        reference.createIndex()
        judged = COCOeval(reference, reference.loadRes(found), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {"ap": float(judged.stats[0]), "ap50": float(judged.stats[1])}


def _annotation(instances: Instances, i: int, frame: int, size: tuple[int, int]) -> dict[str, object]:
    from pycocotools import mask as rle  # noqa: PLC0415

    mask: Array = np.asfortranarray(pasted(instances, i, (0, 0), size).view(np.uint8))
    x0, y0, x1, y1 = whole_box(instances, i)
    return {
        "image_id": frame,
        "category_id": int(instances.classes[i]),
        "segmentation": rle.encode(mask),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "score": float(instances.scores[i]),
    }
