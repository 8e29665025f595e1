"""Decisions that the bundle makes otherwise than the float models: an object, its class, its defects; pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.bundle import Model
from edge.types import Image, Instances
from export.cascade import Result
from export.metrics import DEFECT_PX, MATCH_IOU, mask_iou, matches, whole_box
from export.pictures import GAP, ONLY_BUNDLE, ONLY_FLOAT, QUALITY, Window, outline

MOST = 24  # flips with a picture
TILE = 240  # pixels of one side of a picture
LEAST = 48  # frame pixels that it shows at the least
AROUND = 1.6  # times the longer side of the object


@dataclass(frozen=True)
class Flip:
    """One decision that differs."""

    frame: str
    text: str
    picture: bytes  # JPEG: as the float models see it, as the bundle does


@dataclass
class Flips:
    """All that differ, the first `MOST` of them with pictures."""

    count: int = 0
    shown: list[Flip] = field(default_factory=list)

    def add(self, name: str, image: Image, reference: Result, product: Result, model: Model) -> None:
        """Add what differs on one frame (h, w, 3) between float models and bundle; `model` is the instance model."""
        if reference.instances is None or product.instances is None:
            return
        for text, i, j in _differences(reference.instances, product.instances, model):
            self.count += 1
            if len(self.shown) < MOST:
                drawn = _picture(image, (reference.instances, i), (product.instances, j))
                self.shown.append(Flip(name, text, drawn))


def _differences(first: Instances, second: Instances, model: Model) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield what differs, and the number of the object on either side."""
    pairs = matches(first, second)
    for i, j, _ in pairs:
        a, b = _defects(first, i, model), _defects(second, j, model)
        if a != b:
            yield f"{_name(first, i, model)}: {a or 'no defect'} becomes {b or 'no defect'}", i, j
    lone = [i for i in range(len(first)) if i not in {pair[0] for pair in pairs}]
    other = [j for j in range(len(second)) if j not in {pair[1] for pair in pairs}]
    for i in lone:
        same = [j for j in other if _touch(first, i, second, j) and mask_iou(first, i, second, j) > MATCH_IOU]
        if same:
            other.remove(same[0])
            yield f"{_name(first, i, model)} becomes {_name(second, same[0], model)}", i, same[0]
        else:
            yield f"{_name(first, i, model)}, {first.scores[i]:.2f}: the bundle does not find it", i, None
    for j in other:
        yield f"{_name(second, j, model)}, {second.scores[j]:.2f}: only the bundle finds it", None, j


def _touch(first: Instances, i: int, second: Instances, j: int) -> bool:
    """Return whether two boxes have pixels in common."""
    a, b = first.boxes[i], second.boxes[j]
    return bool((np.maximum(a[:2], b[:2]) < np.minimum(a[2:], b[2:])).all())


def _name(instances: Instances, i: int, model: Model) -> str:
    return model.classes[int(instances.classes[i])]


def _defects(instances: Instances, i: int, model: Model) -> str:
    """Return the defects of one object that count as seen."""
    return ", ".join(model.defects[d] for d in np.flatnonzero(instances.defects_px[i] >= DEFECT_PX).tolist())


def _picture(image: Image, reference: tuple[Instances, int | None], product: tuple[Instances, int | None]) -> bytes:
    """Return both sides' view of one object as a JPEG."""
    window = _around(image, *(reference if reference[1] is not None else product))
    tiles = []
    for (instances, i), color in ((reference, ONLY_FLOAT), (product, ONLY_BUNDLE)):
        tile = window.cut(image, cv2.INTER_LINEAR)
        if i is not None:
            outline(tile, instances, i, window, color)
        tiles.append(tile)
    gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
    joined = np.concatenate([tiles[0], gap, tiles[1]], axis=1)
    return bytes(cv2.imencode(".jpg", joined, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def _around(image: Image, instances: Instances, i: int | None) -> Window:
    """Return the square round an object, as far as the frame has one."""
    x0, y0, x1, y1 = whole_box(instances, i or 0)
    height, width = image.shape[:2]
    side = min(max(LEAST, round(AROUND * max(x1 - x0, y1 - y0))), width, height)
    left = min(max((x0 + x1 - side) // 2, 0), width - side)
    top = min(max((y0 + y1 - side) // 2, 0), height - side)
    return Window(left, top, side, side, TILE)
