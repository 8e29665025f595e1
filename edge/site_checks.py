"""What a configuration must fulfil for these models and this camera."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.bundle import TensorSpec
from edge.config import (
    Camera,
    Config,
    Gate,
    Interaction,
    Line,
    Presence,
    Unattended,
    check_point,
    class_numbers,
    zones_of,
)
from edge.decide.measure import plane_of
from edge.errors import ConfigError
from edge.polygons import Polygon
from edge.see.regions import scaled


def check_names(config: Config, semantic: list[str], instance: list[str], defects: list[str]) -> None:
    """Raise `ConfigError` where `config` names a class that the models do not have; the background is none to name."""
    class_numbers(config.regions.classes, semantic[1:], "regions.classes")
    class_numbers(config.tracks.classes, instance[1:], "tracks.classes")
    for gate in config.gates:
        class_numbers(list(gate.defects), defects, f"gate {gate.name!r}: defects")
        class_numbers(list(gate.limits), instance[1:], f"gate {gate.name!r}: limits")
    tracked = config.tracks.classes or instance[1:]
    for gate in config.gates:
        _check_contents(gate, instance[1:], tracked)
    for presence in config.presence:
        _check_presence(presence, semantic[1:], tracked)
    within = {zone.name: zone.classes or tracked for zone in config.zones}
    for zone in config.zones:
        _check_among(zone.classes, tracked, f"zone {zone.name!r}: classes", "is tracked")
    for rule in config.rules:
        if isinstance(rule, (Unattended, Interaction)):
            inside = f"can be in zone {rule.zone!r}"
            _check_among(rule.classes, within[rule.zone], f"rule {rule.name!r}: classes", inside)
            _check_among(rule.others, tracked, f"rule {rule.name!r}: others", "is tracked")


def _check_contents(gate: Gate, known: Sequence[str], tracked: Sequence[str]) -> None:
    """Raise `ConfigError` where parts are to contain what is no class, or what is a part itself."""
    setting = f"gate {gate.name!r}: contains"
    _check_among(list(gate.contains), tracked, setting, "is tracked")
    for part, held in gate.contains.items():
        class_numbers(list(held), list(known), f"{setting}.{part}")
        for name in [name for name in held if name in tracked]:
            raise ConfigError(
                f"{setting}.{part}: class {name!r} is tracked, so each of them is a part of its own; name the parts "
                "alone in tracks.classes"
            )


def _check_presence(presence: Presence, semantic: Sequence[str], tracked: Sequence[str]) -> None:
    """Raise `ConfigError` for a class that the model which shows what is there does not have."""
    for key, names in (("classes", presence.classes), ("empty", presence.empty)):
        setting = f"presence {presence.name!r}: {key}"
        if presence.by == "labels":
            class_numbers(names, list(semantic), setting)
        else:
            _check_among(names, tracked, setting, "is tracked")


def _check_among(names: Sequence[str], known: Sequence[str], setting: str, what: str) -> None:
    """Raise `ConfigError` for a class that is not among those of which `what` is true."""
    for name in names:
        if name not in known:
            raise ConfigError(f"{setting}: no class {name!r} {what}; {', '.join(known) or 'none'} is")


def check_places(config: Config, name: str, size: tuple[int, int]) -> None:
    """Raise `ConfigError` where a rule of camera `name` leaves its frame of `size` (w, h) or has no effect."""
    rules: list[Line | Gate] = [*config.lines, *config.gates]
    for rule in rules:
        if rule.camera == name:
            check_point(rule.start, size, f"line or gate {rule.name!r}: start")
            check_point(rule.end, size, f"line or gate {rule.name!r}: end")
    _check_areas(config, name, size)
    _check_plane(config.cameras[name], f"camera {name}", size)
    smallest_px = scaled(config.regions, config.cameras[name].mm_per_px).min_area_px
    if smallest_px > size[0] * size[1]:
        key = "min_area_px" if config.regions.min_area_mm2 is None else "min_area_mm2"
        raise ConfigError(
            f"regions.{key} {getattr(config.regions, key):g}: is {smallest_px:g} pixels for camera {name}, and its "
            f"frame of {size[0]} x {size[1]} has {size[0] * size[1]}: nothing would ever be looked at; set less"
        )
    for line in config.lines:
        reach = _reach(line, size)
        if line.camera == name and line.hysteresis_px >= reach:
            raise ConfigError(
                f"line {line.name!r}: hysteresis_px {line.hysteresis_px:g}: no point of the frame is so far from it; "
                f"set less than {reach:g}"
            )
    _check_zones(config, name)


def _check_areas(config: Config, name: str, size: tuple[int, int]) -> None:
    """Raise `ConfigError` where a zone or a place of camera `name` leaves its frame of `size` (w, h)."""
    for zone in config.zones:
        for point in zone.points if zone.camera == name else []:
            check_point(point, size, f"zone {zone.name!r}: points")
    for presence in config.presence:
        for place, points in presence.places.items() if presence.camera == name else ():
            for point in points:
                check_point(point, size, f"presence {presence.name!r}: places.{place}")


def _check_zones(config: Config, name: str) -> None:
    """Raise `ConfigError` for a zone of camera `name` that has rules and can never be entered."""
    used = {zone for rule in config.rules for zone in zones_of(rule)}
    for zone in config.zones:
        if zone.camera != name or zone.name not in used:
            continue
        deepest = Polygon(zone.points).deepest()
        if zone.hysteresis_px >= deepest:
            raise ConfigError(
                f"zone {zone.name!r}: hysteresis_px {zone.hysteresis_px:g}: no point in it is so far from its border; "
                f"set less than {deepest:.3g}"
            )


def _check_plane(camera: Camera, setting: str, size: tuple[int, int]) -> None:
    """Raise `ConfigError` where a camera that measures does not say how large a pixel is, or marks are not in sight."""
    if camera.measure is not None:
        for x, y, _, _ in camera.measure.marks:
            check_point((x, y), size, f"{setting}: measure.marks")
        plane_of(camera, setting)


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
