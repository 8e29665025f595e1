"""Scenes and models that no budget was made for: the cost is bounded, the state says so, the audit raises the alarm."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from edge import config
from edge.bundle import Head
from edge.config import Config
from edge.decide.tracks import MOST_TRACKS
from edge.events import AuditEvent
from edge.health import Health, Stopwatch
from edge.see.audit import TILES
from edge.see.instances import InstancePass
from edge.see.regions import MOST_REGIONS
from edge.see.spots import MOST_REMEMBERED
from edge.station import Models, Station
from edge.types import Array, Frame, Image, Labels, Moment
from tests.see.made import FakeEngine, model_of

SIZE = (640, 360)
CELLS = (320, 180)  # label pixels, two frame pixels wide
CANVAS = (128, 128)
NAMES = ["background", "part", "other"]
BUDGET = 2

Scene = Callable[[int], npt.NDArray[np.uint8]]  # frame number -> label map
Answer = Callable[[Image], Mapping[str, Array]]


def boxes_found(boxes: Array, scores: Array) -> Mapping[str, Array]:
    n = len(boxes)
    return {
        "boxes": np.asarray(boxes, np.float32).reshape(-1, 4),
        "scores": np.asarray(scores, np.float32),
        "classes": np.ones(n, np.uint8),
        "coefficients": np.ones((n, 1), np.float32),
        "prototypes": np.ones((1, CANVAS[1] // 4, CANVAS[0] // 4), np.float32),
    }


def nothing(_: Image) -> Mapping[str, Array]:
    return boxes_found(np.zeros((0, 4)), np.zeros(0))


def thousands(_: Image) -> Mapping[str, Array]:
    """Boxes everywhere, all sure."""
    corners = np.stack(np.meshgrid(np.arange(0, 120, 3), np.arange(0, 120, 3)), axis=2).reshape(-1, 2)
    return boxes_found(np.hstack([corners, corners + 6]), np.full(len(corners), 0.9))


def no_numbers(_: Image) -> Mapping[str, Array]:
    return boxes_found(np.full((50, 4), np.nan), np.full(50, np.nan))


def station(scene: Scene, answer: Answer, **changes: Any) -> tuple[Station, FakeEngine]:
    fields: dict[str, Any] = {
        "bundle": Path("b"),
        "state": Path("s"),
        "cameras": {"c": config.Camera(source="x")},
        "regions": config.RegionRules(min_area_px=4, pad_px=4),
        "attention": config.Attention(canvases=BUDGET, retry_frames=1),
        **changes,
    }
    model = model_of(CANVAS, Head("prototypes", score=0.3))
    engine = FakeEngine(model, answer)
    labels = itertools.count()

    def semantic(_: Frame) -> Labels:
        return Labels(scene(next(labels)), None, (2.0, 2.0))

    ids = itertools.count(1)
    models = Models(semantic, InstancePass(engine, model), NAMES, NAMES, [])
    return Station("c", SIZE, Config(**fields), models, lambda: next(ids)), engine


def watch(looking: Station, frames: int) -> tuple[list[Moment], Health]:
    image, health, seen = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), Health(), []
    for index in range(frames):
        moment = looking.see(Frame("c", index, index / 10, image), stopwatch := Stopwatch())
        stopwatch.lap("ledger")
        health.beat([moment], looking.report)
        seen.append(moment)
    return seen, health


def empty() -> npt.NDArray[np.uint8]:
    return np.zeros(CELLS[::-1], np.uint8)


def specks(_: int) -> npt.NDArray[np.uint8]:
    """As many single cells as there can be: 14,400."""
    labels = empty()
    labels[::2, ::2] = 1
    return labels


def noise(index: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(index).integers(0, 3, CELLS[::-1], np.uint8)


def one_class(_: int) -> npt.NDArray[np.uint8]:
    return np.ones(CELLS[::-1], np.uint8)


def rim(_: int) -> npt.NDArray[np.uint8]:
    """Spots on every border and in every corner."""
    labels = empty()
    labels[0, ::5] = labels[-1, ::5] = 1
    labels[::5, 0] = labels[::5, -1] = 1
    return labels


@pytest.mark.parametrize("scene", [specks, noise, one_class, rim])
@pytest.mark.parametrize("answer", [nothing, thousands, no_numbers])
def test_the_cost_of_a_frame_stays_within_the_budget(scene: Scene, answer: Answer) -> None:
    looking, engine = station(scene, answer)
    seen, health = watch(looking, 6)
    for moment in seen:
        own = moment.looks.canvases[moment.looks.reasons != 6]  # all but the audit's
        assert len(set(own.tolist())) <= BUDGET
        assert len(moment.regions) <= MOST_REGIONS
        assert len(moment.tracks) <= MOST_TRACKS
        assert (moment.looks.sources[:, 2:] > moment.looks.sources[:, :2]).all()
        assert (moment.looks.sources >= 0).all()
        assert (moment.looks.sources[:, 2:] <= SIZE).all()
    assert len(engine.seen) <= 6 * (BUDGET + 1)
    assert len(looking._attention._memory._boxes) <= MOST_REMEMBERED + 1  # one row stands for what is not remembered
    state = health.state()
    assert state["waiting"] <= MOST_REGIONS + MOST_TRACKS


def test_what_waits_is_told_with_its_age() -> None:
    def scattered(_: int) -> npt.NDArray[np.uint8]:
        labels = empty()
        for y, x in itertools.product(range(5, 170, 24), range(5, 310, 24)):
            labels[y : y + 12, x : x + 12] = 1
        return labels

    looking, _ = station(scattered, nothing, regions=config.RegionRules(min_area_px=4, pad_px=12))
    _, health = watch(looking, 30)
    assert health.state()["waiting"] > 10
    assert health.state()["waiting_frames"] > 5


@pytest.mark.parametrize("scene", [specks, noise, one_class, rim])
def test_every_part_of_a_flood_is_seen_in_time(scene: Scene) -> None:
    looking, _ = station(scene, nothing, audit=config.Audit(every_frames=0))
    shown, covered = np.kron(scene(0), np.ones((2, 2), np.uint8)) > 0, np.zeros(SIZE[::-1], np.bool_)
    for moment in watch(looking, 80)[0]:
        for x0, y0, x1, y1 in moment.looks.sources.tolist():
            covered[y0:y1, x0:x1] = True
    assert covered[shown].all()


def test_nothing_for_an_hour_costs_nothing_and_the_next_thing_is_seen_at_once() -> None:
    hour = 3600

    def scene(index: int) -> npt.NDArray[np.uint8]:
        labels = empty()
        labels[50:60, 100:110] = index == hour
        return labels

    looking, engine = station(scene, nothing, audit=config.Audit(every_frames=0))
    seen, health = watch(looking, hour)
    assert not engine.seen
    assert health.state()["looked_share"] == 0
    assert health.state()["waiting"] == 0
    moment = looking.see(Frame("c", hour, hour / 10, seen[0].frame.image), Stopwatch())
    assert len(moment.looks) == len(engine.seen) == 1


@pytest.mark.parametrize("scene", [noise, one_class])
def test_foreground_in_which_nothing_is_found_raises_the_alarm(scene: Scene) -> None:
    looking, _ = station(scene, nothing, audit=config.Audit(every_frames=1))
    seen, _ = watch(looking, 2 * TILES)
    alarms = [event for moment in seen for event in moment.events if isinstance(event, AuditEvent)]
    assert [(event.group, event.alarm) for event in alarms] == [("unexplained", True)]
    assert looking.report(seen[-1]).audit["alarms"] == ["unexplained"]


def test_objects_that_no_label_shows_raise_the_alarm() -> None:
    """The instance model finds something in every piece; the semantic model is blind."""

    def middle(_: Image) -> Mapping[str, Array]:
        return boxes_found(np.asarray([[40, 40, 80, 80]]), np.asarray([0.9]))

    looking, _ = station(
        lambda _: empty(), middle, audit=config.Audit(every_frames=1), tracks=config.TrackRules(confirm_looks=1)
    )
    seen, _ = watch(looking, 60)
    alarms = {event.group for moment in seen for event in moment.events if isinstance(event, AuditEvent)}
    assert {"class/part", "size/medium"} <= alarms


@examples(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.2, 0.6]), st.integers(1, 4))
def test_any_scene_leaves_every_look_inside_the_frame_and_every_canvas_apart(
    seed: int, share: float, budget: int
) -> None:
    random = np.random.default_rng(seed)

    def scene(_: int) -> npt.NDArray[np.uint8]:
        coarse = random.random((CELLS[1] // 10, CELLS[0] // 10)) < share
        return np.kron(coarse, np.ones((10, 10))).astype(np.uint8)

    looking, _ = station(scene, thousands, attention=config.Attention(canvases=budget))
    for moment in watch(looking, 3)[0]:
        looks = moment.looks
        assert (looks.places >= 0).all()
        assert (looks.places[:, 2:] <= CANVAS).all()
        for a, b in itertools.combinations(range(len(looks)), 2):
            if looks.canvases[a] == looks.canvases[b]:
                gap = np.maximum(looks.places[a, :2] - looks.places[b, 2:], looks.places[b, :2] - looks.places[a, 2:])
                assert gap.max() > 0
