"""Sizes through the whole loop, with exact models: parts of 21 x 21 pixels, defects of 5 x 5."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge import config
from edge.bundle import EngineFile
from edge.config import Config
from edge.engines import Engine
from edge.errors import ConfigError
from edge.events import Count, Event, GrowthEvent, Measurement, Verdict
from edge.health import Stopwatch
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models, Station
from edge.types import Frame
from tests.see.coded import FRAME, NAMES, SIDE, belt, instance_model, picture, read_labels, read_parts, semantic_model
from tests.see.made import FakeEngine

FILE = EngineFile("onnxruntime", "float32", "m.onnx", 0, "")
MM = 0.5
LINE = config.Line(
    name="door", camera="c", start=(80, 0), end=(80, 120), direction="right", settle_looks=1, measure=True
)
GATE = config.Gate(name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right")


def settings(**changes: Any) -> Config:
    fields: dict[str, Any] = {
        "bundle": Path("b"),
        "state": Path("s"),
        "cameras": {"c": config.Camera(source="x", mm_per_px=MM, measure=config.Measuring(scale_u=0.001))},
        "regions": config.RegionRules(min_area_px=50, pad_px=6),
        "attention": config.Attention(canvases=2),
        "tracks": config.TrackRules(motion="belt", at_border="wait"),
        "lines": [LINE],
        **changes,
    }
    return Config(**fields)


def station(rules: Config) -> Station:
    semantic, instance = semantic_model(FILE), instance_model(FILE)
    engines: tuple[Engine, Engine] = FakeEngine(semantic, read_labels), FakeEngine(instance, read_parts)
    objects = InstancePass(engines[1], instance, sized=rules.measures)
    models = Models(SemanticPass(engines[0], semantic), objects, NAMES, NAMES, ["scratch"])
    ids = itertools.count(1)
    return Station("c", FRAME, rules, models, lambda: next(ids))


def events_of(rules: Config, flawed: tuple[int, ...] = ()) -> list[Event]:
    watcher = station(rules)
    found = (watcher.see(Frame("c", i, i / 10, picture(belt(i, 2), flawed)), Stopwatch()) for i in range(80))
    return [event for moment in found for event in moment.events]


def test_every_part_that_is_counted_is_measured() -> None:
    events = events_of(settings())
    counts = [event for event in events if isinstance(event, Count)]
    sizes = [event for event in events if isinstance(event, Measurement)]
    assert [event.track for event in sizes] == [event.track for event in counts] == [1, 2]
    for event in sizes:
        assert set(event.measures) == {"area_mm2", "length_mm", "width_mm"}
        assert event.measures["area_mm2"].value == pytest.approx((SIDE * MM) ** 2)
        for name, true in (("width_mm", SIDE), ("length_mm", math.hypot(SIDE, SIDE))):
            size = event.measures[name]
            assert abs(size.value - true * MM) <= size.uncertainty < 1
        assert event.looks >= 2
    assert msgspec.json.decode(msgspec.json.encode(sizes[0]), type=Event) == sizes[0]


def test_defects_are_measured_where_there_are_any() -> None:
    sizes = [event for event in events_of(settings(), flawed=(1,)) if isinstance(event, Measurement)]
    assert not any("scratch" in name for name in sizes[0].measures)
    assert sizes[1].measures["scratch/area_mm2"].value == pytest.approx(25 * MM**2)
    assert sizes[1].measures["scratch/width_mm"].value == pytest.approx(5 * MM)
    assert sizes[1].measures["scratch/length_mm"].value == pytest.approx((math.hypot(4, 4) + 1) * MM, abs=0.01)


@pytest.mark.parametrize(("limit", "verdict"), [((8, 13), "PASS"), ((10.5, 13), "REVIEW"), ((13, 15), "REJECT")])
def test_a_gate_judges_by_size(limit: tuple[float, float], verdict: str) -> None:
    gate = msgspec.structs.replace(GATE, limits={"part": config.SizeLimits(width_mm=limit)})
    verdicts = [event for event in events_of(settings(lines=[], gates=[gate])) if isinstance(event, Verdict)]
    assert [event.verdict for event in verdicts] == [verdict] * 2


def test_without_measuring_nothing_is_measured() -> None:
    lines = [msgspec.structs.replace(LINE, measure=False)]
    events = events_of(settings(lines=lines, gates=[GATE]))
    assert not any(isinstance(event, Measurement) for event in events)
    assert all(event.measures == {} for event in events if isinstance(event, Verdict))


def test_the_same_pictures_give_the_same_sizes() -> None:
    first, second = (msgspec.json.encode(events_of(settings(), flawed=(0,))) for _ in range(2))
    assert first == second


def test_a_camera_that_cannot_measure_and_a_class_that_is_not_there_are_refused() -> None:
    blind = config.Camera(source="x", measure=config.Measuring(scale_u=0.001))
    with pytest.raises(ConfigError, match="camera c: mm_per_px is not set"):
        station(settings(cameras={"c": blind}))
    marks = [(500.0, 0.0, 0.0, 0.0), (9.0, 0.0, 1.0, 0.0), (0.0, 9.0, 0.0, 1.0), (9.0, 9.0, 1.0, 1.0)]
    beyond = config.Camera(source="x", measure=config.Measuring(scale_u=0.001, marks=marks))
    with pytest.raises(ConfigError, match=r"camera c: measure.marks: point \(500, 0\) is outside the frame"):
        station(settings(cameras={"c": beyond}))
    gate = msgspec.structs.replace(GATE, limits={"bolt": config.SizeLimits()})
    with pytest.raises(ConfigError, match="gate 'exit': limits: no class 'bolt'"):
        station(settings(gates=[gate]))


def test_what_the_labels_show_at_one_place_is_watched_for_growth() -> None:
    rules = settings(lines=[], growth=[config.Growth(name="rust", camera="c")], tracks=config.TrackRules())
    watcher = station(rules)
    told: list[GrowthEvent] = []
    for i in range(24):
        image = np.zeros((FRAME[1], FRAME[0], 3), np.uint8)
        image[40 : 44 + i, 60 : 64 + i] = (200, 128, 128)
        told += [event for event in watcher.see(Frame("c", i, float(i), image), Stopwatch()).events
                 if isinstance(event, GrowthEvent)]  # fmt: skip
    assert [event.stage for event in told] == ["persists", "grows"]
    assert told[1].place == pytest.approx((60 / 160, 40 / 120, 70 / 160, 50 / 120), abs=0.05)
