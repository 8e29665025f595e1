"""Both models, the tracker, the ledger and the delivery in one process, against each of them alone in a process.

The same frames of the belt, in memory, for all. `semantic` and `instance` are the engines alone, on the inputs that
they have in the loop; `rest` is the loop with engines that answer at once with what was recorded; `ledger` commits the
same events, with the delivery to a real mosquitto beside it; `together` is the loop as it is. A replay does the same
work in every round: the median over the rounds is taken frame by frame, then the mean over the frames. On a machine
that others use too, the least of the rounds instead of their median says more: `ratio_least`. The control is the same
with OpenBLAS threads and with onnxruntime's threads spinning.

``python -m benchmarks.threads PART FOLDER --port N [--control]`` is one such process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import msgspec
import numpy as np
import onnxruntime

from benchmarks.broker import RECEIVER, telling
from benchmarks.common import ROOT, Options
from benchmarks.loop import Outputs, Tap, belt_frames, belt_models
from edge.config import Config, Mqtt
from edge.errors import FoveateError
from edge.events import Event
from edge.health import Health, Stopwatch
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models, Stations
from edge.tell.delivery import Delivery
from edge.tell.ledger import Ledger
from edge.types import Array, Frame, Image

FRAMES, QUICK_FRAMES = 60, 15
START = 100  # frames after which the belt is full
ROUNDS, QUICK_ROUNDS = 5, 1
PARTS = ("semantic", "instance", "rest", "ledger", "together")
POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
WARM = 3  # runs of an engine before it is timed
DRAIN_S = 20.0


@dataclass
class Recorded:
    """What the loop did with the frames: inputs and outputs of both engines, and events, by frame."""

    inputs: list[Image] = field(default_factory=list)  # of the semantic engine
    labels: list[Outputs] = field(default_factory=list)
    canvases: list[list[Image]] = field(default_factory=list)
    found: list[list[Outputs]] = field(default_factory=list)
    events: list[list[Event]] = field(default_factory=list)


def run(options: Options) -> dict[str, Any]:
    """Return milliseconds per frame of every part alone, of all together, and the ratio; the same for the control."""
    frames, rounds = (QUICK_FRAMES, QUICK_ROUNDS) if options.quick else (FRAMES, ROUNDS)
    times: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as name, telling(Path(name)) as broker:
        folder = Path(name)
        _record(folder, options.seed, frames)
        for _ in range(rounds):
            for control in (False, True):
                for part in PARTS:
                    found = _worker(part, folder, broker.port, control=control)
                    times.setdefault(f"{'control_' if control else ''}{part}", []).append(found)
    figures: dict[str, Any] = {"frames": frames, "rounds": rounds}
    for which in ("", "control_"):
        figures |= _ratios(which, times)
    figures["control_against_clean"] = figures["control_together_ms"] / figures["together_ms"]
    return figures


def _ratios(which: str, times: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Return the figures of one setting, by names that begin with `which`."""
    rounds = {part: np.asarray([run["ms"] for run in times[which + part]]) for part in PARTS}
    parts = {part: float(np.median(found, axis=0).mean()) for part, found in rounds.items()}
    least = {part: float(found.min(axis=0).mean()) for part, found in rounds.items()}
    beside = float(np.median([run["delivery_ms"] for run in times[f"{which}ledger"]]))
    alone = sum(ms for part, ms in parts.items() if part != "together")
    beside_least = min(run["delivery_ms"] for run in times[f"{which}ledger"])
    spread = rounds["together"].mean(axis=1)
    return {
        **{f"{which}{part}_ms": ms for part, ms in parts.items()},
        f"{which}delivery_cpu_ms": beside,  # of its own thread, beside the frames
        f"{which}together_least_ms": float(spread.min()),
        f"{which}together_most_ms": float(spread.max()),
        f"{which}ratio": parts["together"] / (alone + beside),
        f"{which}ratio_least": least["together"] / (sum(least.values()) - least["together"] + beside_least),
    }


def _worker(part: str, folder: Path, port: int, *, control: bool) -> Any:
    """Run one part in a process of its own; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in POOLS}
    if not control:
        environment |= dict.fromkeys(POOLS, "1")
    command = [sys.executable, "-m", "benchmarks.threads", part, str(folder), "--port", str(port)]
    done = subprocess.run(
        [*command, *(["--control"] if control else [])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FoveateError(f"threads: {part} ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def _record(folder: Path, seed: int, frames: int) -> None:
    """Run the loop once, and write the frames and what the engines made of them into `folder`."""
    record = Recorded()
    with belt_models() as (config, models):
        seen = [frame.image.copy() for frame in belt_frames(config, seed, frames, start=START)]
        semantic, instances = _engines(models)
        tapped = _with(
            models,
            Tap(semantic, lambda image, out: _keep(record.inputs, record.labels, image, out)),
            Tap(instances, lambda image, out: _keep(record.canvases[-1], record.found[-1], image, out)),
        )
        stations = _stations(config, tapped)
        for frame in _frames(np.stack(seen)):
            record.canvases.append([])
            record.found.append([])
            record.events.append(stations.see([frame], Stopwatch(), [False])[0].events)
    np.stack(seen).tofile(folder / "frames.raw")
    (folder / "recorded.pickle").write_bytes(pickle.dumps(record))


def _keep(inputs: list[Image], outputs: list[Outputs], image: Image, found: Outputs) -> None:
    inputs.append(image.copy())
    outputs.append({name: array.copy() for name, array in found.items()})


def _with(models: Models, semantic: Tap, instances: Tap) -> Models:
    """Return `models` with other engines."""
    passes = models.semantic, models.instances
    assert isinstance(passes[0], SemanticPass)  # noqa: S101  for the type checker
    return Models(
        SemanticPass(semantic, passes[0]._model),  # noqa: SLF001  a benchmark may look inside
        InstancePass(instances, passes[1]._model, passes[1]._score),  # noqa: SLF001
        models.semantic_classes,
        models.instance_classes,
        models.defects,
    )


def _engines(models: Models) -> tuple[Callable[[Mapping[str, Array]], Outputs], ...]:
    return tuple(getattr(one, "_engine").infer for one in (models.semantic, models.instances))  # noqa: B009


def _stations(config: Config, models: Models) -> Stations:
    ids = iter(range(1, 1 << 30))
    size = config.cameras["belt"].size or (0, 0)
    return Stations(config, models, {"belt": size}, lambda: next(ids))


def _frames(images: Array) -> Iterator[Frame]:
    for index, image in enumerate(images):
        yield Frame("belt", index, index / 30.0, image)


def _work(part: str, folder: Path, port: int) -> dict[str, Any]:
    """Return what one part takes, milliseconds by frame."""
    cv2.setNumThreads(1)
    record: Recorded = pickle.loads((folder / "recorded.pickle").read_bytes())  # noqa: S301  our own, of a minute ago
    with belt_models() as (belt, models), tempfile.TemporaryDirectory() as state:
        told = Mqtt(port=port, receivers=[RECEIVER], drain_s=DRAIN_S)
        config = msgspec.structs.replace(belt, mqtt=told, state=Path(state))
        if part == "semantic":
            return {"ms": _engine_ms(_engines(models)[0], [[image] for image in record.inputs])}
        if part == "instance":
            return {"ms": _engine_ms(_engines(models)[1], record.canvases)}
        if part == "ledger":
            return _told(config, lambda commit: [commit(events, Stopwatch()) for events in record.events])
        if part == "rest":
            return {"ms": _loop_ms(config, _replaying(models, record), _images(folder, config), _nothing)}
        for infer, image in zip(_engines(models), (record.inputs[0], record.canvases[0][0]), strict=True):
            for _ in range(WARM):
                infer({"image": image})
        return _told(config, lambda commit: _loop_ms(config, models, _images(folder, config), commit))


Commit = Callable[[list[Event], Stopwatch], float]  # returns milliseconds of the stages so far


def _nothing(_: list[Event], watch: Stopwatch) -> float:
    return sum(watch.stages_ms.values())


def _engine_ms(infer: Callable[[Mapping[str, Array]], Outputs], pictures: Sequence[Sequence[Image]]) -> list[float]:
    for _ in range(WARM):
        infer({"image": next(some[0] for some in pictures if some)})
    times = []
    for some in pictures:
        begin = time.perf_counter()
        for image in some:
            infer({"image": image})
        times.append((time.perf_counter() - begin) * 1000)
    return times


def _replaying(models: Models, record: Recorded) -> Models:
    """Return models whose engines answer with what was recorded, in order."""
    labels, found = iter(record.labels), iter([out for some in record.found for out in some])
    return _with(models, Tap(lambda _: next(labels), _forget), Tap(lambda _: next(found), _forget))


def _forget(image: Image, found: Outputs) -> None:
    """Keep nothing."""


def _images(folder: Path, config: Config) -> Array:
    width, height = config.cameras["belt"].size or (0, 0)
    return np.fromfile(folder / "frames.raw", np.uint8).reshape(-1, height, width, 3)


def _loop_ms(config: Config, models: Models, images: Array, commit: Commit) -> list[float]:
    stations, times = _stations(config, models), []
    for frame in _frames(images):
        watch = Stopwatch()
        (moment,) = stations.see([frame], watch, [False])
        times.append(commit(moment.events, watch))
    return times


def _told(config: Config, work: Callable[[Commit], list[float]]) -> dict[str, Any]:
    """Do `work` with a ledger and its delivery running; return its times and the CPU time of the delivery per frame."""
    ledger = Ledger(config.state, config.ledger, [RECEIVER])
    health = Health()
    delivery = Delivery(config, ledger, health.state)
    delivery.start()
    until = time.monotonic() + DRAIN_S
    while not delivery.status().connected and time.monotonic() < until:
        time.sleep(0.01)

    def commit(events: list[Event], watch: Stopwatch) -> float:
        health.committed(ledger.commit(events))
        watch.lap("ledger")
        return sum(watch.stages_ms.values())

    ours_s, all_s = time.thread_time(), time.process_time()
    times = work(commit)
    delivered = delivery.stop(DRAIN_S)
    beside_s = (time.process_time() - all_s) - (time.thread_time() - ours_s)
    ledger.close()
    if not delivered:
        raise FoveateError("threads: not everything was delivered; is the receiver there?")
    return {"ms": times, "delivery_ms": beside_s / len(times) * 1000}


def _spinning(threads: int) -> onnxruntime.SessionOptions:
    """Return onnxruntime's own defaults: threads that wait for work by spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return options


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", action="store_true")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.control:
            stack.enter_context(mock.patch("edge.engines.ort._options", _spinning))
        print(json.dumps(_work(given.part, given.folder, given.port)))


if __name__ == "__main__":
    _main()
