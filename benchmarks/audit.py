"""The audit against the truth: what the gate really misses, alarms on sabotaged models, no alarm on sound ones.

The gate sees an object where at least half of its visible mask (`[audit] seen_share`) is foreground. The renderer knows
every mask; the audit has only the instance model's. Sabotage is done to the labels of the semantic pass: a class is
erased, or every object is shrunk to half its width and height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from benchmarks.common import Options
from benchmarks.loop import belt_frames, belt_models, station
from edge.config import Config
from edge.events import AuditEvent
from edge.health import Stopwatch
from edge.proportion import upper_bound
from edge.see.audit import seen_share
from edge.see.misses import SIZES
from edge.see.regions import foreground
from edge.station import Models
from edge.types import Frame, Image, Labels
from examples.belt.belt import Belt
from examples.belt.scene import View

SPARSE = 15  # frames between two of which the truth is asked: every part in about eight places
FIRST_SEED = 50  # of this benchmark: no network was trained on it, no threshold chosen

Sabotage = Callable[[Labels], Labels]


def run(options: Options) -> dict[str, Any]:
    """Return the gate's miss rate, the audit's estimate of it, alarms on sabotaged and on sound models."""
    objects, times, good = (300, 1, 300) if options.quick else (10_000, 10, 20_000)
    with belt_models() as (config, models):
        figures = _truth(config, models, objects, FIRST_SEED + options.seed)
        figures |= _good(config, models, good, FIRST_SEED + 100 + options.seed)
        for name, tamper in _sabotages(models).items():
            frames = [_alarm_after(config, models, FIRST_SEED + options.seed + i, tamper(i)) for i in range(times)]
            raised = [frame for frame in frames if frame is not None]
            figures[f"{name}_alarms"] = f"{len(raised)} of {times}"
            figures[f"{name}_frames_worst"] = max(raised, default=None)
            figures[f"{name}_frames_median"] = float(np.median(raised)) if raised else None
    return figures


def _truth(config: Config, models: Models, objects: int, seed: int) -> dict[str, Any]:
    """Return how many of the renderer's objects the gate misses, in all and by size."""
    wanted = np.minimum(np.arange(256), 1).astype(np.uint8)
    shares: list[tuple[float, float]] = []
    while len(shares) < objects:
        belt = Belt(seed)
        belt.skip(60)
        seed += 1
        for _ in range(40):
            view = belt.step(truth=True)
            belt.skip(SPARSE)
            labels = models.semantic(Frame("belt", view.index, 0.0, view.image))
            found = foreground(labels, wanted, config.regions.confidence)
            shares += list(_shares(view, found, labels.scale, config))
    areas, seen = np.asarray(shares[:objects]).T
    figures = _rate("gate", areas > 0, seen, config.audit.seen_share)
    low = 0.0
    for name, high in SIZES.items():
        figures |= _rate(f"gate_{name}", (areas >= low) & (areas < high), seen, config.audit.seen_share)
        low = high
    return figures


def _shares(view: View, found: Image, scale: tuple[float, float], config: Config) -> Iterator[tuple[float, float]]:
    """Yield the area and the seen share of every part that is an object: large enough, and not cut by the border."""
    if view.truth is None:
        return
    ids = view.truth.instances
    height, width = ids.shape
    for number in np.unique(ids)[1:]:
        mask = ids == number
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        whole = x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
        area = float(mask.sum())
        if whole and area >= config.tracks.min_area_px:
            yield area, seen_share(found, scale, np.asarray([x, y, x + w, y + h]), mask[y : y + h, x : x + w])


def _rate(name: str, among: Any, seen: Any, least: float) -> dict[str, Any]:
    count, missed = int(among.sum()), int((seen[among] < least).sum())
    if not count:
        return {f"{name}_objects": 0}
    upper = upper_bound(missed, count)
    return {f"{name}_objects": count, f"{name}_missed": missed, f"{name}_rate": missed / count, f"{name}_upper": upper}


def _good(config: Config, models: Models, frames: int, seed: int) -> dict[str, Any]:
    """Return what the audit says of sound models: alarms, and its estimate."""
    watched, alarms, done = None, 0, 0
    objects = missed = 0
    while done < frames:
        watched = station(config, models)
        for frame in belt_frames(config, seed, min(frames - done, 2000)):
            moment = watched.see(frame, Stopwatch())
            alarms += sum(isinstance(event, AuditEvent) for event in moment.events)
            done += 1
        told = watched.report(moment).audit
        objects, missed = objects + told["objects"], missed + told["missed"]
        seed += 1
    return {
        "good_frames": done,
        "good_alarms": alarms,
        "audited_objects": objects,
        "audited_missed": missed,
        "audited_upper": upper_bound(missed, objects),
    }


def _sabotages(models: Models) -> dict[str, Callable[[int], Sabotage]]:
    kinds = len(models.semantic_classes) - 1
    return {"erased": lambda i: erased(1 + i % kinds), "shrunk": lambda _: shrunk}


def erased(kind: int) -> Sabotage:
    """Return a tampering that makes class number `kind` background."""

    def erase(labels: Labels) -> Labels:
        return Labels(np.where(labels.classes == kind, 0, labels.classes).astype(np.uint8), None, labels.scale)

    return erase


def shrunk(labels: Labels) -> Labels:
    """Make every blob of labels half as wide and high, about its own middle."""
    found = (labels.classes > 0).astype(np.uint8)
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    classes = np.zeros_like(labels.classes)
    for blob in range(1, count):
        x, y, w, h = stats[blob, :4].tolist()
        piece = np.where(blobs[y : y + h, x : x + w] == blob, labels.classes[y : y + h, x : x + w], 0)
        small = cv2.resize(piece, (max(1, w // 2), max(1, h // 2)), interpolation=cv2.INTER_NEAREST)
        left, top = x + (w - small.shape[1]) // 2, y + (h - small.shape[0]) // 2
        target = classes[top : top + small.shape[0], left : left + small.shape[1]]
        np.copyto(target, small, where=small > 0)
    return Labels(classes, None, labels.scale)


def _alarm_after(config: Config, models: Models, seed: int, tamper: Sabotage) -> int | None:
    """Return how many frames it takes until the alarm is raised, None where 300 are not enough."""
    watched = station(config, replace(models, semantic=lambda frame: tamper(models.semantic(frame))))
    for frame in belt_frames(config, seed, 300):
        for event in watched.see(frame, Stopwatch()).events:
            if isinstance(event, AuditEvent) and event.alarm:
                return frame.index + 1
    return None
