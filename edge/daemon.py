"""From a configuration to a running loop, and an orderly end of it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from edge import memory, notify
from edge.album import Album, open_album
from edge.bundle import Bundle, Model, Role, open_bundle, read_engine
from edge.config import Camera as CameraConfig
from edge.config import Config
from edge.engines import Engine, choose_engine, models_for, open_engine
from edge.errors import BundleError, FoveateError
from edge.events import GapEvent
from edge.governor import open_governor
from edge.health import Health
from edge.job_check import JobChecker, asked_by_signal
from edge.onlookers import progress, recorder
from edge.pipeline import Watcher, run
from edge.see.appearance import Embedder
from edge.see.cameras import Camera, open_camera
from edge.see.cameras.capture import without_password
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.site_checks import check_confidence
from edge.spare import check_spared
from edge.station import Models, Stations
from edge.stopping import stopped_by_signals
from edge.summary import check_target, summarise, write_json
from edge.tell.clocks import Clock, wall_clock
from edge.tell.delivery import Delivery
from edge.tell.ledger import Ledger
from edge.tell.store import EVIDENCE
from edge.workers import Tool, Workers, cores_of, worker_counts

ID_BLOCK = 1000  # track ids reserved with one write to the disk
CHECK_S = 0.2  # how often it is looked, while cameras open, whether to stop
STOP_S = 2.0  # how long a camera that is being opened may take when the run is to stop
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to a configuration."""

    json: Path | None = None  # where the summary goes
    save: Path | None = None  # where the overlay video goes
    frames: int | None = None  # frames after which the run ends
    file: Path | None = None  # that the configuration was read from; it is never written to
    clock: Clock = wall_clock  # the time of day in events
    stream: str | None = None  # id of the ledger, where that begins; None: one that no other has
    pictures: bool = True  # evidence is written; its names are the same without
    evidence: Path | None = None  # where it goes; None: into the state folder


def serve(config: Config, options: Options, watchers: Sequence[Watcher] = ()) -> dict[str, Any]:
    """Run until the recordings end or a signal comes; return the summary of the run.

    `watchers` are called after each frame.

    Raises a `FoveateError` where something is missing or fails; the ledger is closed in any case.
    """
    check_target("--json", options.json)
    check_target("--save", options.save)
    check_spared(config, options.file, {"--json": options.json, "--save": options.save})
    cv2.setNumThreads(1)  # the models have the cores; a second pool only steals from them
    with contextlib.ExitStack() as stack:
        health = Health(notify.watchdog)
        stack.enter_context(stopped_by_signals(health))
        wish = stack.enter_context(asked_by_signal())
        bundle = open_bundle(config.bundle)
        cameras, models = _open(config, bundle, health, stack)
        ledger = _open_ledger(config, options)
        stack.callback(ledger.close)
        ids = _ids(ledger)
        sizes = {name: camera.size for name, camera in cameras.items()}
        clocks = {name: time.monotonic for name, camera in cameras.items() if camera.live}
        stations = Stations(config, models, sizes, lambda: next(ids), clocks, ledger.newest_counts())
        checker = JobChecker(config, models, sizes, stations, health, wish)
        ledger.commit(checker.at_start(time.monotonic() if clocks else 0.0))
        if refusal := checker.refusal():
            raise refusal
        health.memory_mib = memory.claim(config, models_for(config, bundle), sizes, save=options.save is not None)
        _note_blind_time(config, ledger, cameras)
        folder = (options.evidence or config.state / EVIDENCE) if options.pictures else None
        album = open_album(config, models.defects, ledger, folder)
        _say_what_runs(config, cameras)
        onlookers, finish = recorder(options.save, config, models, cameras)
        stack.callback(finish)
        health.on_beat(lambda: ledger.beat(time.time()))
        told = [] if any(camera.live for camera in cameras.values()) else [progress(health)]
        seen_by = [*onlookers, *watchers, *told]
        failure = _look(cameras, stations, config, options, ledger, album, health, seen_by, checker=checker)
        try:
            finish()
        except FoveateError as error:  # after the summary, and after what has ended the run
            failure = failure or error
        summary = summarise(health, ledger)
    if options.json is not None:
        write_json(options.json, summary)
    if failure is not None:
        raise failure
    return summary


def _look(
    cameras: dict[str, Camera],
    stations: Stations,
    config: Config,
    options: Options,
    ledger: Ledger,
    album: Album,
    health: Health,
    watchers: Sequence[Watcher],
    *,
    checker: JobChecker,
) -> FoveateError | None:
    """Run the loop beside the delivery; return what ended it early: what was decided before is told first."""
    delivery = Delivery(config, ledger, health.state) if config.mqtt is not None else None
    if delivery is not None:
        delivery.start()
        health.on_beat(delivery.check)
    notify.ready()
    try:
        governor = open_governor(config, coarse=stations.coarse)
        run(
            cameras, stations, ledger, health, governor=governor, album=album, accounts=ledger.accounts,
            watchers=watchers, frames=options.frames, chores=checker.due,
        )  # fmt: skip
    except FoveateError as error:
        return error
    finally:  # also after a bug: the delivery must not outlive its ledger
        notify.stopping()
        if delivery is not None and config.mqtt is not None:
            delivery.stop(config.mqtt.drain_s)
    return None


def _open(
    config: Config, bundle: Bundle, health: Health, stack: contextlib.ExitStack
) -> tuple[dict[str, Camera], Models]:
    """Open cameras and models at the same time: either may take a second. No cameras where a stop comes before them."""
    opening = {name: _opened(name, camera) for name, camera in config.cameras.items()}
    for future in opening.values():
        stack.callback(future.add_done_callback, _close)  # now, or when at last it is open
    try:
        models = open_models(config, bundle, stack)
    finally:
        while wait(opening.values(), CHECK_S).not_done and not health.stopping:
            pass
    if health.stopping:
        wait(opening.values(), STOP_S)  # a program that is just being started is to be ended too
        return {}, models
    return {name: future.result() for name, future in opening.items()}, models  # raises what the opening raised


def _opened(name: str, camera: CameraConfig) -> Future[Camera]:
    """Open a camera in a thread that nobody has to wait for: no driver can be asked to hurry."""
    future: Future[Camera] = Future()

    def work() -> None:
        try:
            future.set_result(open_camera(name, camera))
        except BaseException as error:  # noqa: BLE001  as an executor does: the caller gets it
            future.set_exception(error)

    threading.Thread(target=work, name=f"open-{name}", daemon=True).start()
    return future


def _close(opened: Future[Camera]) -> None:
    if opened.exception() is None:
        opened.result().close()


def open_models(config: Config, bundle: Bundle, stack: contextlib.ExitStack) -> Models:
    """Load the models of `bundle` that `config` runs; raises `BundleError`, `EngineError` or `ConfigError`."""
    semantic, instance = _model(bundle, "semantic"), _model(bundle, "instance")
    coarse, appearance = (models_for(config, bundle).get(role) for role in ("coarse", "appearance"))
    check_confidence(config, semantic.outputs)
    counts, cores = worker_counts(config), cores_of(config)

    def engine(model: Model, threads: int, stack: contextlib.ExitStack) -> Engine:
        return _engine(config, bundle, model, threads, stack)

    def labels(model: Model, threads: int, stack: contextlib.ExitStack) -> SemanticPass:
        return SemanticPass(engine(model, threads, stack), model)

    asked = {"sized": config.measures, "counted": config.counts_flaws}
    beside = _workers(config, instance, counts["instance"], partial(engine, instance), stack)
    return Models(
        labels(semantic, cores, stack),
        InstancePass(engine(instance, cores, stack), instance, config.models.score, beside, **asked),
        semantic.classes,
        instance.classes,
        instance.defects,
        _workers(config, semantic, counts["semantic"], partial(labels, semantic), stack),
        labels(coarse, cores, stack) if coarse is not None else None,
        _workers(config, coarse, counts["semantic"], partial(labels, coarse), stack) if coarse is not None else None,
        Embedder(engine(appearance, cores, stack), appearance) if appearance is not None else None,
    )


def _workers(
    config: Config,
    model: Model,
    count: int,
    make: Callable[[int, contextlib.ExitStack], Tool],
    stack: contextlib.ExitStack,
) -> Workers[Tool] | None:
    """Return `count` threads with an engine of `model` each, which share the cores; None where that is no use.

    `make` is told how many threads each engine may have.
    """
    if not count or choose_engine(model, config.models).runtime != "onnxruntime":
        return None  # a GPU runs one after the other
    workers = Workers(choose_engine(model, config.models).file, partial(make, cores_of(config) // count), count)
    stack.callback(workers.close)
    return workers


def _model(bundle: Bundle, role: Role) -> Model:
    if role not in bundle.manifest.models:
        raise BundleError(f"bundle {bundle.path}: has no {role} model; export one with both")
    return bundle.manifest.models[role]


def _engine(config: Config, bundle: Bundle, model: Model, threads: int, stack: contextlib.ExitStack) -> Engine:
    chosen = choose_engine(model, config.models)
    engine = open_engine(read_engine(bundle, chosen), model, chosen, threads, dla=config.models.dla)
    stack.callback(engine.close)
    engine.infer({model.input.name: np.zeros(model.input.shape, np.uint8)})  # now it has the memory it needs
    log.info("engine=%s runtime=%s precision=%s threads=%d", chosen.file, chosen.runtime, chosen.precision, threads)
    return engine


def _say_what_runs(config: Config, cameras: dict[str, Camera]) -> None:
    sizes = ",".join(f"{name}:{camera.size[0]}x{camera.size[1]}" for name, camera in cameras.items())
    told = f"{config.mqtt.host}:{config.mqtt.port}" if config.mqtt is not None else "nobody"
    log.info("started bundle=%s cameras=%s tells=%s", config.bundle, sizes, told)


def _open_ledger(config: Config, options: Options) -> Ledger:
    receivers = config.mqtt.receivers if config.mqtt else []
    ledger = Ledger(config.state, config.ledger, receivers, clock=options.clock, stream=options.stream)
    ledger.accounts.follow(config, options.clock)
    sources = {name: camera.source or " ".join(camera.command) for name, camera in config.cameras.items()}
    ledger.sources.follow({name: without_password(source) for name, source in sources.items()})
    return ledger


def _ids(ledger: Ledger) -> Iterator[int]:
    """Yield track ids that are never reused, also not after a restart."""
    while True:
        first = ledger.reserve_ids(ID_BLOCK)
        yield from range(first, first + ID_BLOCK)


def _note_blind_time(config: Config, ledger: Ledger, cameras: dict[str, Camera]) -> None:
    """Commit what the run before this one left open: the parts under way, and a gap since its last sign of life."""
    ledger.commit(ledger.gates.left_over(time.monotonic(), simulated=config.simulated))
    if ledger.last_beat is None:
        return
    now, blind_s = time.monotonic(), max(0.0, time.time() - ledger.last_beat)
    gap = GapEvent(
        time=now, camera="", frame=0, simulated=config.simulated, since=now - blind_s, until=now, reason="start"
    )
    live = [name for name, camera in cameras.items() if camera.live]
    ledger.commit([msgspec.structs.replace(gap, camera=name) for name in live])
