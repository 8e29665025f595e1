"""What the instance model will see: canvases packed from what the semantic model finds, as at run time.

This is the one place where calibration touches the runtime's region, packing and canvas code.
"""

from __future__ import annotations

import numpy as np

from edge.config import RegionRules
from edge.see.crops import tiles
from edge.see.packing import fill_canvas, pack
from edge.see.regions import find_regions, foreground
from edge.types import Image, Labels, Looks

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
        explained = np.zeros_like(found)  # there are no tracks
        sources = tiles(find_regions(found, explained, labels.scale, rules, size).boxes, canvas_size)
    return pack(sources, canvas_size, MOST_CANVASES)[0]


def fill_canvases(image: Image, looks: Looks, canvas_size: tuple[int, int], fill: int) -> list[Image]:
    """Return the canvases (h, w, 3) of one frame."""
    count = int(looks.canvases.max()) + 1 if len(looks) else 0
    canvases = [np.empty((canvas_size[1], canvas_size[0], 3), np.uint8) for _ in range(count)]
    for index, canvas in enumerate(canvases):
        fill_canvas(canvas, [image], looks, index, fill)
    return canvases
