"""The belt, seen by the cascade and by full-frame passes of its instance network: same frames, exact truth."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import cv2
import msgspec
import numpy as np

from benchmarks.accuracy import Average, Carried, Flags, Judged, of_instances, overlap_of
from benchmarks.common import Options
from benchmarks.duty import belt_frames
from benchmarks.full_frame import FullFrame, FullFrameTracks, full_frame_bundle, letterbox, spread
from edge.boxes import touches_border
from edge.bundle import Bundle, open_bundle
from edge.config import Config, load_config
from edge.config import Models as ModelRules
from edge.daemon import open_models
from edge.events import Count, Event
from edge.health import Stopwatch
from edge.station import Models, Station
from edge.types import Array, Frame
from examples.belt.belt import COUNT_LINE_X, DEFECTS, FPS, HEIGHT, WIDTH, Belt, View, crossings
from examples.belt.demo import HERE, cache_folder
from examples.belt.score import PIXEL_CENTRE
from export.build import cached_bundle
from export.heldout import true_instances

FIRST_SEED: Final = 300  # test seeds that no other benchmark uses: no network was trained on them, nothing chosen
PRECISIONS: Final = ("float32", "int8")
WIDTHS: Final = (480, 640, 960, 1280, 1600, 1920)  # of full-frame inputs, px
QUICK_WIDTHS: Final = (640, 1280, 1920)
COUNTED: Final = ("full640", "full1920")  # passes that count
SMALL_PART_PX: Final = 3800.0  # the smallest third of the parts of four validation seeds
SMALL_DEFECT_PX: Final = 200.0  # the smallest quarter of their defects
WARM_FRAMES: Final = 40  # after which tracks are what they are in a long run
CALIBRATION: Final = """[[calibration.recordings]]
command = ["{python}", "-m", "examples.belt.stream", "--seed", "2000", "--frames", "900", "--every", "15"]
size = [1920, 1080]
fps = 2
"""
FULL_RECIPE: Final = f"""name = "belt-full"
version = "1"

[instance]
model = "{{model}}"
head = "centers"
classes = ["belt", "washer", "nut", "gear", "bracket"]
defects = ["scratch", "chip", "stain", "missing_hole"]
color = "bgr"
score = 0.3
top_k = 256
fit = "letterbox"

[calibration]
frames = 16
limit = 60
method = "mse"

{CALIBRATION}"""


@dataclass(frozen=True)
class Network:
    """An instance network for the belt: the bundle of the cascade, and that of a full-frame pass at an input width."""

    cascade: Callable[[], Bundle]
    full: Callable[[int], Bundle]


OWN: Final = Network(
    lambda: cached_bundle(HERE / "recipe.toml", cache_folder()),
    lambda width: full_frame_bundle(
        HERE / "instance.onnx", letterbox((WIDTH, HEIGHT), width), FULL_RECIPE + CALIBRATION
    ),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    seeds: int
    frames: int
    every: int  # frames between two that are judged, and that full-frame passes see
    duty_frames: int
    counted: int  # frames of the first seed on which full-frame passes count


FULL: Final = Plan(seeds=3, frames=400, every=20, duty_frames=600, counted=300)
QUICK: Final = Plan(seeds=1, frames=120, every=20, duty_frames=300, counted=0)


@dataclass
class Side:
    """One way of seeing, and how good it is."""

    average: Average
    flags: Flags = field(default_factory=lambda: Flags(SMALL_DEFECT_PX))
    ms: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    true: Counter[str] = field(default_factory=Counter)  # what there was to count

    def judge(self, truth: Judged, defects_px: Array, found: Judged) -> None:
        """Add one frame."""
        overlaps = overlap_of(found, truth, masks=True)
        self.average.add(truth, found, overlaps)
        self.flags.add(truth, defects_px, found, overlaps)


class Watched:
    """The cascade of one precision on one belt."""

    def __init__(self, config: Config, models: Models, least: Array, share: Array) -> None:
        ids = count(1)
        self._station = Station("belt", (WIDTH, HEIGHT), config, models, lambda: next(ids))
        self._carried = Carried(least, share)
        self.events: list[Event] = []

    def __call__(self, frame: Frame, side: Side | None, *, empty: bool = False) -> Judged:
        """See a frame and return what is there; its time goes to `side` where something is in view, or `empty` is."""
        watch = Stopwatch()
        start = time.perf_counter()
        moment = self._station.see(frame, watch)
        spent = (time.perf_counter() - start) * 1e3
        self.events += moment.events
        if side is not None and (empty or len(moment.tracks) or len(moment.regions)):
            side.ms.append(spent)
            for stage, ms in moment.stages_ms.items():
                side.stages[stage].append(ms)
        return self._carried(moment)


@dataclass(frozen=True)
class Bench:
    """Everything that is opened once."""

    config: Config
    models: dict[str, Models]  # by precision
    passes: list[FullFrame]
    least: Array  # (d,) frame pixels from which on a defect is flagged
    share: Array  # (d,) of a part's looks that must flag it


@contextlib.contextmanager
def bench(options: Options, network: Network) -> Iterator[Bench]:
    """Yield the belt's cascade and its full-frame passes in both precisions, exported where that was not done yet."""
    cv2.setNumThreads(1)
    bundle = network.cascade()
    config = msgspec.structs.replace(load_config(HERE / "config.toml"), bundle=bundle.path, mqtt=None)
    limits = config.gates[0].defects
    with contextlib.ExitStack() as stack:
        rules = {precision: msgspec.convert({"precision": precision}, ModelRules) for precision in PRECISIONS}
        models = {
            precision: open_models(msgspec.structs.replace(config, models=rule), open_bundle(bundle.path), stack)
            for precision, rule in rules.items()
        }
        passes = []
        for width in QUICK_WIDTHS if options.quick else WIDTHS:
            made = network.full(width)
            passes += [FullFrame(f"full{width}", made, precision, stack) for precision in PRECISIONS]
        yield Bench(
            config,
            models,
            passes,
            np.asarray([limits[name].min_area_px for name in DEFECTS]),
            np.asarray([limits[name].looks for name in DEFECTS]),
        )


def measure(options: Options, network: Network = OWN) -> dict[str, dict[str, Any]]:
    """Return the figures of every way of seeing, by its name; "seen" holds what was there to see."""
    plan = QUICK if options.quick else FULL
    seeds = range(FIRST_SEED + options.seed, FIRST_SEED + options.seed + plan.seeds)
    with bench(options, network) as ready:
        sides = _watch(ready, plan, seeds)
        duty = {name: Side(_average(ready)) for name in (f"cascade_{precision}" for precision in PRECISIONS)}
        share = _duty(ready, plan, FIRST_SEED + options.seed, duty)
        if plan.counted:
            _count(ready, seeds[0], plan.counted, sides)
        figures = {name: _figures(side) for name, side in sides.items()}
        for one in ready.passes:
            figures[_key(one)] |= {"network_ms": spread(one.times.network_ms)[0]}
        for name, side in duty.items():
            figures[name] |= {"duty_ms_mean": spread(side.ms)[3], "duty_ms": spread(side.ms)[0]}
    figures["seen"] = {"busy_share": share, "frames": plan.seeds * plan.frames}
    return figures


def _key(one: FullFrame) -> str:
    return f"{one.name}_{one.precision}"


def _average(ready: Bench) -> Average:
    return Average(len(ready.models["int8"].instance_classes), masks=True, small_px=SMALL_PART_PX)


def _watch(ready: Bench, plan: Plan, seeds: range) -> dict[str, Side]:
    """Let the cascades see every frame and the full-frame passes some, all in turn."""
    sides = {f"cascade_{precision}": Side(_average(ready)) for precision in PRECISIONS}
    sides |= {_key(one): Side(_average(ready)) for one in ready.passes}
    for seed in seeds:
        belt = Belt(seed)
        cascades = {name: Watched(ready.config, ready.models[p], ready.least, ready.share) for name, p in _named()}
        for index in range(plan.frames):
            judged = index >= WARM_FRAMES and index % plan.every == 0
            view = belt.step(truth=judged)
            frame = Frame("belt", index, index / FPS, view.image)
            there = _there(view, ready) if judged else None
            for name in _turned(list(cascades), index):
                found = cascades[name](frame, sides[name] if index >= WARM_FRAMES else None)
                if there is not None:
                    sides[name].judge(*there, found)
            for turn in _turned(list(range(len(ready.passes))), index // plan.every) if there is not None else []:
                one = ready.passes[turn]
                side = sides[_key(one)]
                found = of_instances(one(view.image), ready.least)
                side.ms.append(one.times.all_ms[-1])
                if there is not None:
                    side.judge(*there, found)
        for name, cascade in cascades.items():
            sides[name].counts += _counted(cascade.events)
            sides[name].true += _crossed(seed, plan.frames)
    return sides


def _named() -> list[tuple[str, str]]:
    return [(f"cascade_{precision}", precision) for precision in PRECISIONS]


def _turned(names: list[Any], by: int) -> list[Any]:
    """Return `names` in an order that begins elsewhere each time: nobody always comes after the same."""
    start = by % max(1, len(names))
    return names[start:] + names[:start]


def _there(view: View, ready: Bench) -> tuple[Judged, Array]:
    """Return the true objects of a frame and the visible area (m, d) of their defects."""
    if view.truth is None:
        raise AssertionError("a step with truth has truth")
    kinds = {part.id: part.kind for part in view.truth.parts}
    flaws = {part.id: [part.defects.get(name, 0.0) for name in DEFECTS] for part in view.truth.parts}
    model = ready.passes[0].model
    true = true_instances(view.truth.instances, None, kinds, model)
    ids = [int(i) for i in np.unique(view.truth.instances) if i]
    cut = touches_border(true.boxes, (WIDTH, HEIGHT)) | (true.areas_px < ready.config.tracks.min_area_px)
    none = np.zeros((len(ids), len(DEFECTS)), np.bool_)
    there = Judged(true.boxes, true.scores, true.classes, true.masks, none, cut)
    return there, np.asarray([flaws[i] for i in ids], np.float64).reshape(len(ids), len(DEFECTS))


def _duty(ready: Bench, plan: Plan, seed: int, sides: dict[str, Side]) -> float:
    """Let the cascades see a belt that is empty most of the time; return in which share of the frames it was not."""
    cascades = {name: Watched(ready.config, ready.models[p], ready.least, ready.share) for name, p in _named()}
    busy = 0
    for index, (image, there) in enumerate(belt_frames(seed, plan.duty_frames)):
        busy += there
        for name in _turned(list(cascades), index):
            cascades[name](Frame("belt", index, index / FPS, image), sides[name], empty=True)
    return busy / plan.duty_frames


def _count(ready: Bench, seed: int, frames: int, sides: dict[str, Side]) -> None:
    """Let the smallest common and the native full-frame pass count, in INT8, each with tracks of its own."""
    chosen = [one for one in ready.passes if one.precision == "int8" and one.name in COUNTED]
    belt, classes = Belt(seed), ready.models["int8"].instance_classes
    tracks = [FullFrameTracks("belt", (WIDTH, HEIGHT), ready.config, classes) for _ in chosen]
    for index in range(frames):
        frame = Frame("belt", index, index / FPS, belt.step().image)
        for one, follow in zip(chosen, tracks, strict=True):
            sides[_key(one)].counts += _counted(follow(frame, one(frame.image))[1])
    for one in chosen:
        sides[_key(one)].true += _crossed(seed, frames)


def _crossed(seed: int, frames: int) -> Counter[str]:
    return Counter(f"count/{part.kind}" for part in crossings(seed, frames, COUNT_LINE_X - PIXEL_CENTRE))


def _counted(events: list[Event]) -> Counter[str]:
    return Counter(event.counter for event in events if isinstance(event, Count))


def _figures(side: Side) -> dict[str, Any]:
    median, low, high, mean = spread(side.ms)
    figures = {"ms": median, "ms_p10": low, "ms_p90": high, "ms_mean": mean, "frames": len(side.ms)}
    figures |= {f"mask_{name}": value for name, value in side.average.figures().items()} | side.flags.figures()
    figures |= {f"stage_{stage}_ms": float(np.mean(values)) for stage, values in side.stages.items()}
    if side.true:
        wrong = sum(abs(side.counts[name] - side.true[name]) for name in side.counts.keys() | side.true.keys())
        figures |= {"counted": side.counts.total(), "true": side.true.total()}
        figures["count_error"] = wrong / side.true.total()
    return figures
