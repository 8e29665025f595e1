"""Objects that leave and come back: have they their old ids, new ones, or those of others?

The belt: 500 parts, each of which comes back turned and elsewhere, half as many new ones among them, through the whole
loop; and the same with parts that all look alike, where every old id is a guess. The street: people whose tracks are
cut into pieces, and the loop itself. Nothing was chosen on seeds of this benchmark (701 and on) or on the second half
of the street: limits and weights were on the belt's seeds 2100 and 2101 and the first half.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import msgspec
import numpy as np

from benchmarks import reid_belt, reid_street
from benchmarks.common import Options
from benchmarks.loop import belt_config
from benchmarks.reid_score import score
from edge.bundle import open_bundle
from edge.config import Reidentify
from edge.daemon import open_models
from edge.decide.gallery import MOST_REMEMBERED, Crowd, match
from edge.errors import FoveateError
from edge.see.appearance import Appearance, Rings, Stripes
from edge.types import Instances

FIRST_SEED: Final = 700
THINGS, QUICK_THINGS = 500, 80  # more than a frame shows: they must leave before they return
ALIKE, QUICK_ALIKE = 80, 60  # parts that all look the same
QUICK_FRAMES: Final = 450  # of the street: some of its second half
SIDE: Final = 100  # frame pixels of an object whose appearance is timed
COME, PRESENT = 5, 30  # tracks that get an id in one frame, and that are in sight
RUNS: Final = 200
STREET_KINDS: Final[tuple[Literal["stripes", "model"], ...]] = ("stripes", "model")  # rings are for parts that turn
FOR_EVER: Final = 1e6  # s


def run(options: Options) -> dict[str, Any]:
    """Return how many have their old ids, those of others, or new ones, and what it costs."""
    figures = {**_belt(options), **_costs()}
    try:
        figures |= _street(options)
    except FoveateError as error:
        figures["street_left_out"] = str(error)
    return figures


def _belt(options: Options) -> dict[str, Any]:
    config, seed = belt_config(), FIRST_SEED + options.seed
    tracks = msgspec.structs.replace(config.tracks, reidentify=Reidentify(memory_s=FOR_EVER))
    config = msgspec.structs.replace(config, tracks=tracks, lines=[], gates=[])
    figures: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        models = open_models(config, open_bundle(config.bundle), stack)
        for name, things, alike in (
            ("belt", QUICK_THINGS if options.quick else THINGS, False),
            ("belt_alike", QUICK_ALIKE if options.quick else ALIKE, True),
        ):
            figures |= score(reid_belt.passes(config, models, seed, things, alike=alike)).figures(name)
    return figures


def _street(options: Options) -> dict[str, Any]:
    frames = QUICK_FRAMES if options.quick else None
    seen, figures = reid_street.seen(frames), dict[str, Any]()
    halves = {"first_half": (0, reid_street.HALF), "second_half": (reid_street.HALF, len(seen.sights))}
    for kind in STREET_KINDS:
        times = seen.ms[kind]
        for name, (first, last) in halves.items():
            rules = Reidentify(memory_s=FOR_EVER, appearance=kind)
            found = reid_street.replayed(seen, kind, rules, first, last)
            figures |= found.figures(f"street_{kind}_{name}")
        figures |= {f"street_{kind}_ms": statistics.median(times), f"street_{kind}_ms_least": min(times)}
    for name, found in reid_street.looped(frames).items():
        figures |= found.figures(f"street_loop_{name}")
        figures[f"street_loop_{name}_ids"] = found.ids
    figures["street_loop_people"] = found.things
    return figures


def _costs() -> dict[str, float]:
    """Return the median and the least ms of one vector, and of giving ids to some against all that is remembered."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (2 * SIDE, 2 * SIDE, 3)).astype(np.uint8)
    instances = _disc()
    figures: dict[str, float] = {}
    kinds: dict[str, Appearance] = {"rings": Rings(), "stripes": Stripes()}
    for name, appearance in kinds.items():
        figures |= _timed(f"{name}_vector_ms", partial(appearance, image, instances, np.asarray([0])))
    looks = np.abs(random.normal(size=(MOST_REMEMBERED + COME + PRESENT, Stripes.size))).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    cuts = np.cumsum([0, MOST_REMEMBERED, COME, PRESENT]).tolist()
    gone, come, there = (
        Crowd(np.arange(a, b), np.ones(b - a, np.int64), looks[a:b]) for a, b in itertools.pairwise(cuts)
    )
    return figures | _timed(f"match_{COME}_of_{MOST_REMEMBERED}_ms", lambda: match(come, gone, there, 0.7, 0.02))


def _disc() -> Instances:
    """Return one round object in the middle of a picture."""
    line = np.arange(SIDE) - SIDE / 2
    mask = np.hypot(line, line[:, None]) < SIDE / 2
    box = np.asarray([[SIDE / 2, SIDE / 2, 1.5 * SIDE, 1.5 * SIDE]], np.float32)
    one = np.ones(1, np.float32)
    areas = np.asarray([mask.sum()], np.float32)
    flaws = np.zeros((1, 0), np.float32)
    return Instances(box, one, one.astype(np.uint8), box[:, :2] + SIDE / 2, areas, flaws, [mask], one, one > 0)


def _timed(name: str, call: Callable[[], object]) -> dict[str, float]:
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(times), f"{name}_least": min(times)}
