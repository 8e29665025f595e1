"""What a frame of the belt costs beside the two networks: each stage's own milliseconds, the ledger's fsync included.

The loop of `edge.pipeline.run` in this process. Frames are drawn in blocks before the clock starts, so that nothing
competes with it; every engine adds up its own time, and what is left of a stage is the stage's own work. The times are
by the clock of the wall, so that other programs and the disk are in them; `cpu_ms` is the processor's time alone.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Options
from benchmarks.loop import belt_config, station
from edge.bundle import Model, Role, open_bundle, read_engine
from edge.config import Config
from edge.decide.tracks import Tracker
from edge.engines import Engine, choose_engine, open_engine
from edge.health import Health, Stopwatch
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models, Station
from edge.tell.ledger import Ledger
from edge.threads import available_cores
from edge.types import Array, Boxes, Frame, Instances, Looks, Moment
from examples.belt.belt import FPS, Belt

FRAMES, QUICK_FRAMES = 1100, 300
SETTLED = 100  # frames before which the belt is still filling
BLOCK = 120  # frames held in memory: 750 MB
OBJECTS = (20, 30, 100)  # that the tracker alone is timed with
TRACKER_FRAMES = 100
SIZE = 1920, 1080
MANY = 3  # canvases in a frame, or more: one bucket


class Timed:
    """An engine that adds up its own time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.ms = self.cpu_ms = 0.0

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return what the engine gives."""
        started, busy = time.perf_counter(), time.thread_time()
        found = self._engine.infer(feeds)
        self.cpu_ms += (time.thread_time() - busy) * 1000
        self.ms += (time.perf_counter() - started) * 1000
        return found

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one frame took."""

    stages_ms: dict[str, float]  # without the networks
    cpu_ms: float  # without the networks, of this thread
    frame_ms: float  # all in all
    canvases: int

    @property
    def ms(self) -> float:
        """Return all that is not network."""
        return sum(self.stages_ms.values())


def run(options: Options) -> dict[str, Any]:
    """Return median and p90 of what is not network, in all and per stage, and by how many canvases a frame has."""
    frames = QUICK_FRAMES if options.quick else FRAMES
    with contextlib.ExitStack() as stack:
        config = belt_config()
        networks = {role: _network(config, role, stack) for role in ("semantic", "instance")}
        costs = list(islice(_costs(config, networks, options.seed, stack), frames))
    figures = _figures(costs[SETTLED:])
    for objects in OBJECTS:
        figures |= _spread(f"tracker_{objects}_objects_ms", list(_tracker_ms(config, objects)))
    return figures


def _network(config: Config, role: Role, stack: contextlib.ExitStack) -> tuple[Timed, Model]:
    """Return one model of the bundle, on an engine that knows its time."""
    bundle = open_bundle(config.bundle)
    model = bundle.manifest.models[role]
    chosen = choose_engine(model, config.models)
    threads = config.models.threads or available_cores()
    engine = Timed(open_engine(read_engine(bundle, chosen), model, chosen, threads))
    stack.callback(engine.close)
    return engine, model


def _costs(
    config: Config, networks: Mapping[str, tuple[Timed, Model]], seed: int, stack: contextlib.ExitStack
) -> Iterator[Cost]:
    """Yield what each frame costs, without end."""
    (semantic, semantic_model), (instance, instance_model) = networks["semantic"], networks["instance"]
    models = Models(
        SemanticPass(semantic, semantic_model),
        InstancePass(instance, instance_model, config.models.score),
        semantic_model.classes,
        instance_model.classes,
        instance_model.defects,
    )
    ledger = Ledger(Path(stack.enter_context(tempfile.TemporaryDirectory())), config.ledger, [])
    stack.callback(ledger.close)
    health = Health(lambda: ledger.beat(time.time()))
    seen = station(config, models)
    for frame in _frames(seed):
        semantic.ms = semantic.cpu_ms = instance.ms = instance.cpu_ms = 0.0
        watch, busy = Stopwatch(), time.thread_time()
        moment = _see(seen, frame, watch, ledger, health)
        cpu_ms = (time.thread_time() - busy) * 1000 - semantic.cpu_ms - instance.cpu_ms
        stages = dict(watch.stages_ms)
        frame_ms = sum(stages.values())
        stages["semantic"] -= semantic.ms
        stages["instances"] -= instance.ms
        yield Cost(stages, cpu_ms, frame_ms, len(set(moment.looks.canvases.tolist())))


def _see(seen: Station, frame: Frame, watch: Stopwatch, ledger: Ledger, health: Health) -> Moment:
    """Do what the loop does with a frame."""
    moment = seen.see(frame, watch)
    health.committed(ledger.commit(moment.events))
    watch.lap("ledger")
    health.beat([moment], seen.report)
    watch.lap("health")
    return moment


def _frames(seed: int) -> Iterator[Frame]:
    """Yield frames of the belt, a block of them drawn at a time."""
    belt = Belt(seed)
    while True:
        first = belt.index
        images = [image.copy() for image in belt.frames(BLOCK)]
        yield from (Frame("belt", i, i / FPS, image) for i, image in enumerate(images, start=first))


def _tracker_ms(config: Config, objects: int) -> Iterator[float]:
    """Yield what the tracker alone takes per frame with `objects` on a belt, every one of them seen in every frame."""
    ids, (width, height), scale = count(1), SIZE, 8
    tracker = Tracker(config.tracks, [1], 2, SIZE, lambda: next(ids))
    spots = np.stack(np.meshgrid(np.arange(10) * 130 + 100, np.arange(10) * 95 + 90), axis=2).reshape(-1, 2)[:objects]
    for i in range(TRACKER_FRAMES):
        corners = (spots + np.asarray([4 * i, 0])).astype(np.float32)
        boxes = np.hstack([corners, corners + 64])
        found = np.zeros((height // scale, width // scale), np.uint8)
        for x0, y0, x1, y1 in (boxes // scale).astype(int).tolist():
            found[y0:y1, x0:x1] = 1
        instances, looks = _seen(boxes)
        started = time.perf_counter()
        tracker.predict(found, (scale, scale), 1)
        tracker.update(instances, looks)
        if i > 0:  # all begin in the first
            yield (time.perf_counter() - started) * 1000


def _seen(boxes: Boxes) -> tuple[Instances, Looks]:
    """Return an instance in each of `boxes` (n, 4), and a look at each."""
    n = len(boxes)
    sources = np.hstack([boxes[:, :2] - 16, boxes[:, 2:] + 16]).astype(np.int32)
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.int32)
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)
    masks = [np.ones((16, 16), np.bool_) for _ in range(n)]
    instances = Instances(
        boxes, ones, ones.astype(np.uint8), centers, 4096 * ones, np.zeros((n, 0), np.float32), masks, ones, ones > 0
    )
    return instances, Looks.at_one(sources, zeros, sources, ones)


def _figures(costs: list[Cost]) -> dict[str, Any]:
    """Return the figures of the benchmark; times are in milliseconds."""
    figures: dict[str, Any] = {"frames": len(costs)}
    figures |= _spread("overhead_ms", [cost.ms for cost in costs])
    figures |= _spread("overhead_cpu_ms", [cost.cpu_ms for cost in costs])
    figures |= _spread("frame_ms", [cost.frame_ms for cost in costs])
    figures["overhead_share"] = sum(cost.ms for cost in costs) / sum(cost.frame_ms for cost in costs)
    for stage in costs[0].stages_ms:
        figures |= _spread(f"{stage}_ms", [cost.stages_ms[stage] for cost in costs])
    for canvases in range(MANY + 1):
        here = [cost for cost in costs if min(cost.canvases, MANY) == canvases]
        name = f"canvases{canvases}" + ("_or_more" if canvases == MANY else "")
        figures[f"{name}_frames"] = len(here)
        if here:
            figures |= _spread(f"{name}_overhead_ms", [cost.ms for cost in here])
            figures |= _spread(f"{name}_overhead_cpu_ms", [cost.cpu_ms for cost in here])
            for stage in here[0].stages_ms:
                figures[f"{name}_{stage}_ms_median"] = float(np.median([cost.stages_ms[stage] for cost in here]))
    return figures


def _spread(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_median": float(np.median(values)), f"{name}_p90": float(np.percentile(values, 90))}
