"""The step with a coarser semantic input: there and back again in the middle of a run, and nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge import config
from edge.bundle import open_bundle
from edge.config import Config, load_config
from edge.daemon import open_models
from edge.engines import models_for
from edge.events import Count, GovernorEvent, Verdict
from edge.governor import STEPS, open_governor
from edge.health import Health, Stopwatch
from edge.pipeline import run
from edge.rounds import FEW
from edge.see.semantic import SemanticPass
from edge.station import Models, Stations
from edge.types import FULL, Effort, Frame, Moment
from examples.belt.belt import Belt
from examples.belt.demo import HERE
from tests.see.coded import COARSE, FRAME, LABELS, read_labels, semantic_model, write_bundle
from tests.see.made import FakeEngine
from tests.test_pipeline import FILE, Memory, Recording, frames, models, never, settings

COARSELY = Effort(coarse=True)
LIMITED = config.Governor(limit_ms=1000.0)
MOST_LATE = 3  # frames by which a crossing may be told later where looks come at other times
APART_PX = 10.0  # frame pixels along the line at most between two sightings of one crossing
Plan = Callable[[int], Effort]  # by number of the frame


def with_coarse() -> tuple[Models, FakeEngine]:
    """Return models with a coarse one, and its engine."""
    coarse = semantic_model(FILE, COARSE)
    engine = FakeEngine(coarse, read_labels)
    return replace(models(), coarse=SemanticPass(engine, coarse)), engine


def play(plan: Plan, rules: Config | None = None) -> tuple[Memory, list[Moment], FakeEngine]:
    pair, engine = with_coarse()
    ids, memory, seen = itertools.count(1), Memory(), list[Moment]()
    stations = Stations(rules or settings(), pair, {"c": FRAME}, lambda: next(ids))
    stations.effort = plan(0)

    def watch(moment: Moment) -> None:
        seen.append(moment)
        stations.effort = plan(moment.frame.index + 1)

    run({"c": Recording("c", frames(90, flawed=(1,)))}, stations, memory, Health(), watchers=[watch])
    return memory, seen, engine


def every(count: int) -> Plan:
    """Change over after each `count` frames."""
    return lambda i: COARSELY if i // count % 2 else FULL


def decided(memory: Memory) -> list[tuple[str, int, str]]:
    """Return what was decided of which track, in order."""
    told = [event for event in memory.events if isinstance(event, (Count, Verdict))]
    return [(type(e).__name__, e.track, e.verdict if isinstance(e, Verdict) else e.counter) for e in told]


@pytest.mark.parametrize("plan", [every(FEW), every(7), every(20), lambda _: COARSELY])
@pytest.mark.parametrize("motion", ["belt", "free"])
def test_what_is_decided_does_not_depend_on_when_the_input_changes(plan: Plan, motion: str) -> None:
    tracks = msgspec.convert({"motion": motion, "at_border": "wait"}, config.TrackRules)
    zone = config.Zone(name="z", camera="c", points=[(0, 0), (160, 0), (160, 120), (0, 120)], attention="only")
    rules = settings(tracks=tracks, zones=[zone], audit=config.Audit(every_frames=5))
    free = play(lambda _: FULL, rules)[0]
    changed, seen, engine = play(plan, rules)
    assert decided(changed) == decided(free)
    assert len(decided(free)) == 8
    coarse = [plan(moment.frame.index).coarse for moment in seen]
    assert len(engine.seen) == sum(coarse) > 0
    shapes = [moment.labels.classes.shape[::-1] for moment in seen]
    assert shapes == [COARSE if small else LABELS for small in coarse]


def test_the_velocity_of_the_belt_survives_every_change() -> None:
    _, seen, _ = play(every(3))
    running = [moment for moment in seen if 30 < moment.frame.index < 60]
    for moment in running:
        np.testing.assert_allclose(moment.tracks.velocities, [[4, 0]] * len(moment.tracks), atol=1.0)
    assert len(running[0].tracks)


def test_without_a_coarse_model_the_step_is_left_out_and_its_effort_changes_nothing() -> None:
    plain, ids = models(), itertools.count(1)
    stations = Stations(settings(governor=config.Governor(limit_ms=1e-6)), plain, {"c": FRAME}, lambda: next(ids))
    memory, count = Memory(), 120
    governor = open_governor(settings(governor=config.Governor(limit_ms=1e-6)), coarse=stations.coarse)
    camera = Recording("c", frames(count), live=True)
    run({"c": camera}, stations, memory, Health(), governor=governor, frames=count)
    names = [event.name for event in memory.events if isinstance(event, GovernorEvent)]
    assert "coarse" not in names
    assert names[-1] == "skipping"


def test_under_load_the_coarse_model_takes_over_and_all_is_marked() -> None:
    pair, engine = with_coarse()
    rules, ids, memory = settings(governor=config.Governor(limit_ms=1e-6)), itertools.count(1), Memory()
    stations = Stations(rules, pair, {"c": FRAME}, lambda: next(ids))
    governor = open_governor(rules, coarse=stations.coarse)
    run({"c": Recording("c", frames(120), live=True)}, stations, memory, Health(), governor=governor, frames=120)
    changes = [event for event in memory.events if isinstance(event, GovernorEvent)]
    first = next(event.seq for event in changes if STEPS[event.name].coarse)
    late = [event for event in memory.events if isinstance(event, (Count, Verdict)) and event.seq > first]
    assert len(engine.seen) > 20
    assert [event.degraded for event in late] == [True] * len(late) != []


def test_the_coarse_model_is_opened_for_a_governor_only(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b", coarse=True))
    free, limited = settings(), settings(governor=LIMITED)
    assert models_for(free, bundle).keys() == {"semantic", "instance"}
    for rules in (free, limited):
        with contextlib.ExitStack() as stack:
            coarse = open_models(rules, bundle, stack).coarse
            assert (coarse is not None) == rules.governor.limits
    assert models_for(limited, open_bundle(write_bundle(tmp_path / "old"))).keys() == {"semantic", "instance"}


def test_the_coarse_model_too_sees_several_cameras_side_by_side(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "b", coarse=True))
    cameras = {name: config.Camera(source="x") for name in "ab"}
    rules = settings(cameras=cameras, lines=[], gates=[], governor=LIMITED, models=config.Models(threads=2))
    with contextlib.ExitStack() as stack:
        opened = open_models(rules, bundle, stack)
        assert opened.semantics is not None
        assert opened.coarses is not None
        beside, ids = replace(opened, coarse=never), itertools.count(1)
        stations = Stations(rules, beside, dict.fromkeys("ab", FRAME), ids.__next__)
        stations.effort = COARSELY
        seen = [Frame(name, 0, 0.0, image) for name, image in zip("ab", frames(42)[40:], strict=True)]
        moments = stations.see(seen, Stopwatch(), [False, False])
        for moment in moments:
            alone = with_coarse()[0].coarse
            assert alone is not None
            np.testing.assert_array_equal(moment.labels.classes, alone(moment.frame).classes)
            assert moment.labels.classes.any()
            assert moment.labels.classes.shape[::-1] == COARSE


class Rendered:
    """A camera that draws the belt."""

    live, ended = False, False
    size: tuple[int, int] = (1920, 1080)
    fps: float | None = 30.0

    def __init__(self, count: int) -> None:
        self._belt, self._count, self._index = Belt(1), count, 0
        self._belt.skip(150)  # it is full by then

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  it never waits
        self.ended = self._index == self._count
        if self.ended:
            return None
        self._index += 1
        return Frame("belt", self._index - 1, self._index / 30, self._belt.step().image)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Rendered:  # noqa: PYI034  typing has no Self in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def follow(rules: Config, plan: Plan, count: int) -> tuple[Memory, list[Moment]]:
    """Run the belt with its own networks; moments without their pictures."""
    ids, memory, seen = itertools.count(1), Memory(), list[Moment]()
    with contextlib.ExitStack() as stack:
        opened = open_models(rules, open_bundle(rules.bundle), stack)
        stations = Stations(rules, opened, {"belt": Rendered.size}, ids.__next__)

        def watch(moment: Moment) -> None:
            frame = replace(moment.frame, image=np.zeros((0, 0, 3), np.uint8))
            seen.append(replace(moment, frame=frame))
            stations.effort = plan(moment.frame.index + 1)

        run({"belt": Rendered(count)}, stations, memory, Health(), watchers=[watch])
    return memory, seen


def same_crossing(one: Count, other: Count) -> bool:
    near = abs(one.frame - other.frame) <= MOST_LATE and abs(one.position[1] - other.position[1]) <= APART_PX
    return near and one.counter == other.counter


def test_the_real_belt_keeps_tracks_ids_and_counts_through_every_change(belt_bundle: Path) -> None:
    rules = msgspec.structs.replace(load_config(HERE / "config.toml"), bundle=belt_bundle, mqtt=None, governor=LIMITED)
    count, steps = 90, ("full", "coarse", "full", "coarse", "deadlines", "full")
    plan = [STEPS[name] for name in steps for _ in range(count // len(steps))]
    free, _ = follow(rules, lambda _: FULL, count)
    changed, seen = follow(rules, lambda i: plan[min(i, count - 1)], count)
    told = [[event for event in run_.events if isinstance(event, Count)] for run_ in (free, changed)]
    for some, others in (told, told[::-1]):
        lonely = [event for event in some if not any(same_crossing(event, other) for other in others)]
        assert [event for event in lonely if event.frame < count - MOST_LATE] == []
        assert len({event.track for event in some}) == len(some) > 30
    for before, after in itertools.pairwise(seen):
        staying = before.tracks.ids[(before.tracks.ids > 0) & (before.tracks.centers[:, 0] < 1800)]
        assert set(staying.tolist()) <= set(after.tracks.ids.tolist()), after.frame.index
    assert {moment.labels.classes.shape for moment in seen} == {(135, 240), (90, 160)}
