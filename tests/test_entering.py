"""Large parts that enter the frame: first seen where the border cuts them, counted all the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edge import config
from edge.bundle import Head
from edge.config import Config
from edge.events import Count
from edge.health import Stopwatch
from edge.see.instances import InstancePass
from edge.station import Models, Station
from edge.types import Array, Frame, Image, Labels
from tests.see.made import FakeEngine, model_of

SIZE, CANVAS, CELL = (640, 360), (128, 128), 4
NAMES = ["background", "part"]
TOP = 20  # frame rows above the part


def part_at(left: int, side: int) -> Image:
    """Return a frame with one bright square whose left edge is at column `left`, in the frame or not."""
    image: Image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[TOP : TOP + side, max(0, left) : max(0, left + side)] = 255
    return image


def bright(image: Image) -> Mapping[str, Array]:
    """Find the one bright square of a canvas, with a mask that fills its box."""
    ys, xs = np.nonzero(image[:, :, 0] > 200)
    found = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if len(xs) else []
    return {
        "boxes": np.asarray(found, np.float32).reshape(-1, 4),
        "scores": np.full(len(found), 0.9, np.float32),
        "classes": np.ones(len(found), np.uint8),
        "coefficients": np.ones((len(found), 1), np.float32),
        "prototypes": np.ones((1, CANVAS[1] // 4, CANVAS[0] // 4), np.float32),
    }


def labels(frame: Frame) -> Labels:
    cells = (frame.image[::CELL, ::CELL, 0] > 200).astype(np.uint8)
    return Labels(cells, None, (float(CELL), float(CELL)))


@pytest.mark.parametrize(("side", "step", "off"), [(70, 9, 0), (130, 9, 0), (192, 6, 0), (230, 6, 0), (330, 6, 3)])
@pytest.mark.parametrize("motion", ["belt", "free"])
def test_a_part_that_was_first_seen_cut_by_the_border_is_counted_once(
    side: int, step: int, off: int, motion: Literal["belt", "free"]
) -> None:
    model = model_of(CANVAS, Head("prototypes", score=0.3))
    ids = itertools.count(1)
    models = Models(labels, InstancePass(FakeEngine(model, bright), model), NAMES, NAMES, [])
    rules = Config(
        bundle=Path("b"),
        state=Path("s"),
        cameras={"c": config.Camera(source="x")},
        regions=config.RegionRules(min_area_px=50, pad_px=8),
        attention=config.Attention(canvases=2),
        tracks=config.TrackRules(motion=motion),
        lines=[config.Line(name="door", camera="c", start=(320, 0), end=(320, 360))],
    )
    station, events = Station("c", SIZE, rules, models, lambda: next(ids)), []
    for index in range((SIZE[0] + 2 * side) // step):
        frame = Frame("c", index, index / 25, part_at(step * index - side - off, side))
        events += station.see(frame, Stopwatch()).events
    assert [event.counter for event in events if isinstance(event, Count)] == ["door/part/right"]
