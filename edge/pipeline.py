"""The loop: every frame is looked at, and whatever is decided is on disk before the next one.

    frame -> labels -> regions -> looks -> instances -> tracks -> events -> ledger

`Station` holds what one camera needs for it; `run` is the loop itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from edge.bundle import TensorSpec
from edge.config import Config, Gate, Line, check_point, class_numbers
from edge.decide.counting import LineCounter
from edge.decide.gate import QualityGate
from edge.decide.tracks import Tracker
from edge.errors import ConfigError
from edge.events import Event, GapEvent
from edge.health import Health, Stopwatch
from edge.see.attention import Chooser
from edge.see.audit import Audit
from edge.see.cameras import Camera
from edge.see.instances import InstancePass
from edge.see.regions import Painter, find_regions, foreground, widened
from edge.types import Frame, Gap, Instances, Labels, Moment, Tracks

WAIT_S = 0.2  # how long the loop waits for a frame before it looks after other things
POLL_S = 0.01  # the same for several cameras together: none of them may hold up the others

Watcher = Callable[[Moment], None]


class EventSink(Protocol):
    """Where events become durable: the ledger."""

    def commit(self, events: Sequence[Event]) -> list[Event]:
        """Write `events` in one durable transaction and return them with their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Models:
    """The two models of a bundle, loaded."""

    semantic: Callable[[Frame], Labels]
    instances: InstancePass
    semantic_classes: list[str]
    instance_classes: list[str]
    defects: list[str]


class Station:
    """Everything that one camera needs between a frame and its events."""

    def __init__(
        self, name: str, size: tuple[int, int], config: Config, models: Models, new_id: Callable[[], int]
    ) -> None:
        """`size` is the camera's (width, height); raises `ConfigError` on a class or point that is not there."""
        check_names(config, models.semantic_classes, models.instance_classes, models.defects)
        check_places(config, name, size)
        self._config = config
        self._models = models
        self._size = size
        self._wanted = _wanted(config, models)
        canvas = models.instances.size
        self._chooser = Chooser(config.attention, size, canvas, at_border=config.tracks.at_border)
        self._audit = Audit(
            config.audit,
            size,
            canvas,
            config.attention.canvases,
            models.instance_classes,
            config.tracks.confirm_looks,
        )
        names = config.tracks.classes or models.instance_classes[1:]
        followed = class_numbers(names, models.instance_classes, "tracks.classes")
        self._tracker = Tracker(config.tracks, followed, len(models.instance_classes), size, new_id)
        classes, defects = models.instance_classes, models.defects
        self._counters = [LineCounter(line, classes) for line in config.lines if line.camera == name]
        self._gates = [QualityGate(gate, classes, defects) for gate in config.gates if gate.camera == name]
        self._painter = Painter()
        self._last: int | None = None
        self._tracks: Tracks | None = None

    @property
    def waiting(self) -> int:
        """Regions and tracks that were due for a look in the last frame and got none."""
        return self._chooser.waiting

    @property
    def waiting_frames(self) -> int:
        """For how many frames the one of them that waits longest has been due."""
        return self._chooser.waiting_frames

    @property
    def audit(self) -> dict[str, Any]:
        """What the audit has found so far."""
        return self._audit.report

    def see(self, frame: Frame, watch: Stopwatch, *, spare: bool = False) -> Moment:
        """Return all that is known of `frame`, what was decided in it included; `watch` takes each stage's time.

        `spare` says that there was time left before it.
        """
        labels = self._models.semantic(frame)
        watch.lap("semantic")
        rules = widened(self._config.regions) if self._audit.alarm else self._config.regions
        found = foreground(labels, self._wanted, rules.confidence)
        elapsed = 1 if self._last is None else max(1, frame.index - self._last)
        self._last = frame.index
        expected = self._tracker.predict(found, labels.scale, elapsed)
        explained = self._painter(expected.masks, expected.boxes, found.shape, labels.scale)
        regions = find_regions(found, explained, labels.scale, rules, self._size)
        watch.lap("regions")
        tile = self._audit.tile(frame.index, spare=spare)
        looks = self._chooser.choose(frame.index, regions, expected, self._tracker.shift, tile)
        watch.lap("attention")
        instances = self._models.instances(frame.image, looks)
        watch.lap("instances")
        tracks, ended = self._tracker.update(instances, looks)
        self._chooser.follow(instances, tracks)
        self._tracks = tracks
        watch.lap("tracks")
        events = self._decide(frame, instances, tracks, ended)
        watch.lap("rules")
        events += self._marked(self._audit.judge(frame, tile, found, labels.scale, instances, tracks, ended))
        watch.lap("audit")
        return Moment(frame, labels, regions, looks, instances, tracks, events, watch.stages_ms)

    def blind(self, gap: Gap) -> list[Event]:
        """Return what a time without sight means, and forget all tracks: what is there now need not be what was."""
        events: list[Event] = [gap_event(gap)]
        if self._tracks is not None:
            for gate in self._gates:
                events += gate.blind(gap, self._tracks)
        for counter in self._counters:
            counter.reset()
        self._tracker.reset()
        self._chooser.reset()
        self._audit.reset()
        self._tracks = None
        return self._marked(events)

    def _decide(self, frame: Frame, instances: Instances, tracks: Tracks, ended: list[int]) -> list[Event]:
        events: list[Event] = []
        for counter in self._counters:
            events += counter.count(frame, tracks, ended)
        for gate in self._gates:
            events += gate.judge(frame, instances, tracks, ended)
        return self._marked(events)

    def _marked(self, events: Sequence[Event]) -> list[Event]:
        """Return `events`, as simulated ones where the configuration says that they are."""
        if not self._config.simulated:
            return list(events)
        return [msgspec.structs.replace(event, simulated=True) for event in events]


def run(
    cameras: dict[str, Camera],
    stations: dict[str, Station],
    ledger: EventSink,
    health: Health,
    *,
    watchers: Iterable[Watcher] = (),
    frames: int | None = None,
) -> None:
    """Look at every frame until the recordings end, `frames` frames were seen, or `health` says stop."""
    for seen in moments(cameras, health, frames):
        if isinstance(seen, Gap):
            health.committed(ledger.commit(stations[seen.camera].blind(seen)))
            health.gap(seen)
            continue
        watch = Stopwatch()
        station = stations[seen.camera]
        moment = station.see(seen, watch, spare=cameras[seen.camera].live and health.waited)
        health.committed(ledger.commit(moment.events))
        watch.lap("ledger")
        health.beat(moment, station.waiting, station.waiting_frames, station.audit)
        for watcher in watchers:
            watcher(moment)


def moments(cameras: dict[str, Camera], health: Health, frames: int | None) -> Iterable[Frame | Gap]:
    """Yield the newest frame of each camera in turn, until every recording has ended.

    Recordings among themselves are waited for, so that their frames always come in the same order. Beside a live camera
    nothing is waited for as long as another camera has something.
    """
    playing = dict(cameras)
    replay = not any(camera.live for camera in cameras.values())
    seen, wait_s = 0, 0.0
    while playing and not health.stopping:
        idle = True
        for name, camera in list(playing.items()):
            got = _awaited(camera, health) if replay else camera.read(wait_s)
            if got is None:
                if camera.ended:
                    del playing[name]
                continue
            idle = False
            yield got
            seen += isinstance(got, Frame)
            if health.stopping or (frames is not None and seen >= frames):
                return
        wait_s = 0.0
        if idle:
            health.idle()
            wait_s = WAIT_S if len(playing) == 1 else POLL_S / max(1, len(playing))


def _awaited(camera: Camera, health: Health) -> Frame | Gap | None:
    """Return what comes next of a recording, however long it takes; None at its end, and when the loop is to stop."""
    got = camera.read(WAIT_S)
    while got is None and not (camera.ended or health.stopping):
        health.idle()
        got = camera.read(WAIT_S)
    return got


def gap_event(gap: Gap) -> GapEvent:
    """Return the event that tells of `gap`."""
    return GapEvent(
        time=gap.until,
        camera=gap.camera,
        frame=gap.index,
        since=gap.since,
        until=gap.until,
        reason=gap.reason,
    )


def _wanted(config: Config, models: Models) -> npt.NDArray[np.uint8]:
    """Return a lookup table (256,) uint8: 1 for every semantic class that deserves attention."""
    names = config.regions.classes or models.semantic_classes[1:]
    table: npt.NDArray[np.uint8] = np.zeros(256, np.uint8)
    table[class_numbers(names, models.semantic_classes, "regions.classes")] = 1
    return table


def check_names(config: Config, semantic: list[str], instance: list[str], defects: list[str]) -> None:
    """Raise `ConfigError` where `config` names a class that the models do not have; the background is none to name."""
    class_numbers(config.regions.classes, semantic[1:], "regions.classes")
    class_numbers(config.tracks.classes, instance[1:], "tracks.classes")
    for gate in config.gates:
        class_numbers(list(gate.defects), defects, f"gate {gate.name!r}: defects")


def check_places(config: Config, name: str, size: tuple[int, int]) -> None:
    """Raise `ConfigError` where a line or gate of camera `name` leaves its frame of `size` (w, h) or never counts."""
    rules: list[Line | Gate] = [*config.lines, *config.gates]
    for rule in rules:
        if rule.camera == name:
            check_point(rule.start, size, f"line or gate {rule.name!r}: start")
            check_point(rule.end, size, f"line or gate {rule.name!r}: end")
    for line in config.lines:
        reach = _reach(line, size)
        if line.camera == name and line.hysteresis_px >= reach:
            raise ConfigError(
                f"line {line.name!r}: hysteresis_px {line.hysteresis_px:g}: no point of the frame is so far from it; "
                f"set less than {reach:g}"
            )


def check_confidence(config: Config, outputs: Sequence[TensorSpec]) -> None:
    """Raise `ConfigError` where `config` asks for a confidence that is not among the semantic model's `outputs`."""
    if config.regions.confidence > 0 and all(spec.name != "confidence" for spec in outputs):
        raise ConfigError(
            f"regions.confidence {config.regions.confidence:g}: the bundle's semantic model gives no confidence; "
            "leave it out, or export a model that gives its logits"
        )


def _reach(line: Line, size: tuple[int, int]) -> float:
    """Return how far the farthest corner of a frame of `size` is from a line, pixels."""
    (x0, y0), (x1, y1) = line.start, line.end
    corners = [(x, y) for x in (0, size[0]) for y in (0, size[1])]
    return max(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) for x, y in corners) / math.hypot(x1 - x0, y1 - y0)
