"""What the instance model will see: canvases packed from what the semantic model finds, as at run time.

This is the one place where calibration touches the runtime's region, packing and canvas code.
"""

from __future__ import annotations

import numpy as np

from edge.config import RegionRules
from edge.see.packing import fill_canvas, pack
from edge.see.regions import find_regions, foreground
from edge.types import Image, Labels, Looks, Tracks

MOST_CANVASES = 8  # of one frame; quality is judged without a look budget


def find_looks(
    image: Image, labels: Labels | None, rules: RegionRules, wanted: list[int], canvas_size: tuple[int, int]
) -> Looks:
    """Return where the instance model has to look in `image` (h, w, 3), on canvases of `canvas_size` (width, height).

    `wanted` are the numbers of the semantic classes that deserve attention. Without `labels`, the whole frame is
    one look.
    """
    size = image.shape[1], image.shape[0]
    if labels is None:
        sources = np.asarray([[0, 0, *size]], np.int32)
    else:
        table = np.zeros(256, np.uint8)
        table[wanted] = 1
        found = foreground(labels, table, rules.confidence)
        sources = find_regions(found, labels.scale, _no_tracks(), rules, size).boxes
    return pack(sources, canvas_size, MOST_CANVASES)[0]


def fill_canvases(image: Image, looks: Looks, canvas_size: tuple[int, int], fill: int) -> list[Image]:
    """Return the canvases (h, w, 3) of one frame."""
    count = int(looks.canvases.max()) + 1 if len(looks) else 0
    canvases = [np.empty((canvas_size[1], canvas_size[0], 3), np.uint8) for _ in range(count)]
    for index, canvas in enumerate(canvases):
        fill_canvas(canvas, image, looks, index, fill)
    return canvases


def _no_tracks() -> Tracks:
    whole, points = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    return Tracks(
        keys=whole,
        ids=whole,
        boxes=np.zeros((0, 4), np.float32),
        classes=np.zeros(0, np.uint8),
        centers=points,
        velocities=points,
        looks=np.zeros(0, np.int32),
        since_look=np.zeros(0, np.int32),
        supported=np.zeros(0, np.bool_),
        instances=np.zeros(0, np.int32),
        located=np.zeros(0, np.bool_),
        masks=[],
    )
