"""Blocks on a belt, with screws in them: from pictures through models, tracks and gate to verdicts; what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import config
from edge.bundle import Head
from edge.config import Config
from edge.errors import ConfigError
from edge.events import PresenceEvent, Verdict
from edge.health import Stopwatch
from edge.see.instances import InstancePass
from edge.station import Models, Station
from edge.types import Array, Frame, Image, Labels
from tests.see.made import FakeEngine, model_of

SIZE, CANVAS, CELL = (640, 360), (160, 160), 4
NAMES = ["background", "block", "screw"]
SIDE, DOT = 80, 10
DOTS = [(16, 16), (56, 16), (16, 56), (56, 56)]
BODY, HEAD = 255, 120  # blue of a block and of a screw's head
GATE = config.Gate(
    name="exit", camera="c", start=(400, 0), end=(400, 360), direction="right", contains={"block": {"screw": (4, 4)}}
)


def block(left: int, screws: int) -> Image:
    """Return a frame with one block and so many of its screws."""
    image: Image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    spot = image[100 : 100 + SIDE, max(0, left) : max(0, left + SIDE)]
    spot[:] = BODY
    for x, y in DOTS[:screws]:
        image[100 + y : 100 + y + DOT, max(0, left + x) : max(0, left + x + DOT)] = HEAD
    return image


def objects(image: Image) -> Mapping[str, Array]:
    """Find the block and its screws on a canvas, as a "prototypes" head gives them."""
    boxes, classes = [], []
    for level, label in ((200, 1), (119, 2)):
        found = (image[..., 0] > level if label == 1 else image[..., 0] == HEAD).astype(np.uint8)
        closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((31, 31), np.uint8)) if label == 1 else found
        _, _, stats, _ = cv2.connectedComponentsWithStats(closed)
        for x, y, width, height, area in stats[1:].tolist():
            if area > 20:
                boxes.append([x, y, x + width, y + height])
                classes.append(label)
    return {
        "boxes": np.asarray(boxes, np.float32).reshape(-1, 4),
        "scores": np.full(len(boxes), 0.9, np.float32),
        "classes": np.asarray(classes, np.uint8),
        "coefficients": np.ones((len(boxes), 1), np.float32),
        "prototypes": np.ones((1, CANVAS[1] // 4, CANVAS[0] // 4), np.float32),
    }


def labels(frame: Frame) -> Labels:
    """Return block and screw in cells of four pixels."""
    blue = frame.image[::CELL, ::CELL, 0]
    return Labels(np.where(blue == BODY, 1, np.where(blue == HEAD, 2, 0)).astype(np.uint8), None, (CELL, CELL))


def station(**changes: Any) -> Station:
    model = model_of(CANVAS, Head("prototypes", score=0.3))
    ids = itertools.count(1)
    engine = InstancePass(FakeEngine(model, objects), model)
    fields: dict[str, Any] = {
        "bundle": Path("b"),
        "state": Path("s"),
        "cameras": {"c": config.Camera(source="x")},
        "regions": config.RegionRules(min_area_px=50, pad_px=8),
        "attention": config.Attention(canvases=2),
        "tracks": config.TrackRules(motion="belt", classes=["block"], at_border="wait"),
        "gates": [GATE],
        **changes,
    }
    return Station("c", SIZE, Config(**fields), Models(labels, engine, NAMES, NAMES, []), lambda: next(ids))


def passed(screws: int, **changes: Any) -> list[Verdict]:
    """Return the verdicts on a block with so many screws that goes through the gate."""
    watcher, told = station(**changes), []
    for index in range(70):
        told += watcher.see(Frame("c", index, index / 25, block(9 * index - SIDE, screws)), Stopwatch()).events
    return [event for event in told if isinstance(event, Verdict)]


@pytest.mark.parametrize(("screws", "verdict", "reasons"), [(4, "PASS", []), (3, "REJECT", ["3 of 4 screw"])])
def test_a_block_without_all_its_screws_is_rejected(screws: int, verdict: str, reasons: Sequence[str]) -> None:
    (told,) = passed(screws)
    assert (told.label, told.verdict, told.reasons) == ("block", verdict, reasons)


def test_screws_are_no_parts_of_their_own() -> None:
    assert {event.label for event in passed(4, gates=[config.Gate(
        name="exit", camera="c", start=(400, 0), end=(400, 360), direction="right")])} == {"block"}  # fmt: skip


PLACES = {f"p{i}": [(200.0 + x, 100.0 + y), (200.0 + x + DOT, 100.0 + y + DOT)] for i, (x, y) in enumerate(DOTS)}


@pytest.mark.parametrize("by", ["labels", "instances"])
def test_presence_by_either_model_sees_what_lies_there(by: str) -> None:
    rule = config.Presence(
        name="screws", camera="c", places=PLACES, classes=["screw"], by=by,  # type: ignore[arg-type]
    )  # fmt: skip
    tracked = config.TrackRules(classes=["block", "screw"])
    attention = config.Attention(canvases=2, refresh_frames=6)
    watcher = station(gates=[], presence=[rule], tracks=tracked, attention=attention)
    told: list[PresenceEvent] = []
    for index in range(60):
        shown = 4 if index < 20 else 2
        moment = watcher.see(Frame("c", index, index / 25, block(200, shown)), Stopwatch())
        told += [event for event in moment.events if isinstance(event, PresenceEvent)]
    assert told[0].verdict == "OK"
    assert told[-1].missing == ["p2", "p3"]
    assert [event.verdict for event in told] in (["OK", "NOK"], ["OK", "NOK", "NOK"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gates": [GATE], "tracks": config.TrackRules()}, "contains.block: class 'screw' is tracked, so each of them"),
        (
            {"gates": [GATE], "tracks": config.TrackRules(classes=["screw"])},
            "gate 'exit': contains: no class 'block' is tracked; screw is",
        ),
        (
            {"gates": [config.Gate(name="g", camera="c", start=(9, 0), end=(9, 9), direction="right",
                                   contains={"block": {"bolt": (1, 1)}})]},
            "gate 'g': contains.block: no class 'bolt' in the bundle; it has block, screw",
        ),
        (
            {"presence": [config.Presence(name="p", camera="c", places=PLACES, classes=["bolt"])]},
            "presence 'p': classes: no class 'bolt' in the bundle; it has block, screw",
        ),
        (
            {"presence": [config.Presence(name="p", camera="c", places=PLACES, classes=["screw"], by="instances")]},
            "presence 'p': classes: no class 'screw' is tracked; block is",
        ),
        (
            {"presence": [config.Presence(name="p", camera="c", classes=["screw"], places={"a": [(9, 9), (900, 99)]})]},
            "presence 'p': places.a: point (900, 99) is outside the frame",
        ),
    ],
)  # fmt: skip
def test_what_the_models_or_the_frame_do_not_have_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        station(**changes)
    assert said in str(error.value)
