"""What must be true between the keys of a configuration, beyond the type and range of each."""

from __future__ import annotations

import ipaddress
import math
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config.behaviour import AgainstFlow, BehaviourRule, SlowStation, ZoneRule, zones_of
from edge.config.decide import corners_of
from edge.config.tell_checks import check_evidence, check_shifts
from edge.config.values import Point
from edge.errors import ConfigError

if TYPE_CHECKING:  # it calls us
    from edge.config import Camera, Config, Gate, Growth, Line, Mqtt, Presence, Zone


def check(config: Config, path: Path) -> None:
    """Raise `ConfigError` where keys of the configuration in file `path` contradict each other."""
    if not config.cameras:
        raise ConfigError(f"configuration {path}: no camera; add a table [cameras.NAME] with a source")
    for name, camera in config.cameras.items():
        _check_camera(f"configuration {path}: cameras.{name}", camera)
    _check_names_and_cameras(config, path)
    rules: list[Line | Gate] = [*config.lines, *config.gates]
    for rule in rules:
        _check_ends(f"configuration {path}: {type(rule).__name__.lower()} {rule.name!r}", rule)
    _check_measuring(config, path)
    for gate in config.gates:
        _check_gate(f"configuration {path}: gate {gate.name!r}", gate, config.cameras[gate.camera])
    for zone in config.zones:
        _check_polygon(f"configuration {path}: zone {zone.name!r}", zone.points)
    _check_zone_rules(config, path)
    for presence in config.presence:
        _check_presence(f"configuration {path}: presence {presence.name!r}", presence)
    if config.regions.min_area_mm2 is not None:
        for name in [name for name, camera in config.cameras.items() if camera.mm_per_px is None]:
            raise ConfigError(
                f"configuration {path}: regions.min_area_mm2 needs cameras.{name}.mm_per_px; set it, or give "
                "min_area_px alone"
            )
    _check_encoders(config, path)
    check_evidence(f"configuration {path}: evidence", config)
    check_shifts(f"configuration {path}", config.shifts, config.summary.timezone)
    if config.mqtt is not None:
        _check_mqtt(f"configuration {path}: mqtt", config.mqtt)


def _check_measuring(config: Config, path: Path) -> None:
    rules: list[Line | Gate] = [*config.lines, *config.gates]
    for rule in rules:
        if rule.measures and config.cameras[rule.camera].measure is None:
            raise ConfigError(
                f"configuration {path}: {type(rule).__name__.lower()} {rule.name!r}: measures, and there is no table "
                f"[cameras.{rule.camera}.measure]; add it, with scale_u"
            )
    for gate in config.gates:
        for label, limits in gate.limits.items():
            for name in limits.__struct_fields__:
                low, high = getattr(limits, name) or (0, 1)
                if low >= high:
                    raise ConfigError(
                        f"configuration {path}: gate {gate.name!r}: limits.{label}.{name} [{low:g}, {high:g}]: nothing "
                        "lies between them; give the smallest first"
                    )


def _check_encoders(config: Config, path: Path) -> None:
    """Raise `ConfigError` for an encoder that says nothing, or of whose ticks nothing would come."""
    for name, camera in config.cameras.items():
        encoder, setting = camera.encoder, f"configuration {path}: cameras.{name}.encoder"
        if encoder is None:
            continue
        if bool(encoder.source) == bool(encoder.command):
            raise ConfigError(f"{setting}: needs exactly one of source and command")
        if not (any(encoder.px_per_tick) and all(map(math.isfinite, encoder.px_per_tick))):
            raise ConfigError(
                f"{setting}: px_per_tick {encoder.px_per_tick}: nothing would ever move; give the frame pixels to the "
                "right and down that the belt moves with one tick, such as [0.4, 0]"
            )
        if encoder.command and not _may_be_live(camera):
            raise ConfigError(f"{setting}: command is for a live camera; name a file with a line per frame as source")
        if config.tracks.motion != "belt":
            raise ConfigError(
                f'{setting}: it is of a belt, and tracks.motion is "{config.tracks.motion}"; set it to "belt", or '
                "leave the encoder out"
            )


def _may_be_live(camera: Camera) -> bool:
    return camera.live or "://" in camera.source or camera.source.startswith("usb:")


def _check_names_and_cameras(config: Config, path: Path) -> None:
    seen: set[str] = set()
    rules: list[Line | Gate | Zone | BehaviourRule | Growth | Presence] = [*config.lines, *config.gates, *config.zones]
    rules += [*config.rules, *config.growth, *config.presence]
    for rule in rules:
        if rule.name in seen:
            raise ConfigError(
                f"configuration {path}: {_called(rule)}: the name is used twice; give each line, gate, zone and rule "
                "its own"
            )
        seen.add(rule.name)
        if not isinstance(rule, ZoneRule) and rule.camera not in config.cameras:
            raise ConfigError(
                f"configuration {path}: {_called(rule)}: no camera {rule.camera!r}; there is "
                f"{', '.join(config.cameras)}"
            )


def _called(rule: Line | Gate | Zone | BehaviourRule | Growth | Presence) -> str:
    kind = "rule" if isinstance(rule, ZoneRule) else type(rule).__name__.lower()
    return f"{kind} {rule.name!r}"


def _check_zone_rules(config: Config, path: Path) -> None:
    """Raise `ConfigError` for a rule that cannot be, and for a zone that nothing would come of."""
    zones = {zone.name: zone for zone in config.zones}
    for rule in config.rules:
        setting = f"configuration {path}: rule {rule.name!r}"
        for name in zones_of(rule):
            if name not in zones:
                raise ConfigError(f"{setting}: no zone {name!r}; there is {', '.join(zones) or 'none'}")
        _check_pair(setting, [zones[name] for name in zones_of(rule)])
        _check_values(setting, rule)
    used = {name for rule in config.rules for name in zones_of(rule)}
    for zone in config.zones:
        if zone.attention is None and zone.name not in used:
            raise ConfigError(
                f"configuration {path}: zone {zone.name!r}: nothing comes of it; set attention, or name it as the "
                "zone of one of [[rules]]"
            )


def _check_pair(setting: str, zones: list[Zone]) -> None:
    """Raise `ConfigError` where a rule is about two zones between which nothing can go."""
    if len({zone.camera for zone in zones}) > 1:
        raise ConfigError(
            f"{setting}: its zones are of {' and '.join(zone.camera for zone in zones)}; take one camera's"
        )
    if len({zone.name for zone in zones}) < len(zones):
        raise ConfigError(f"{setting}: goes from zone {zones[0].name!r} to itself; name two different zones")


def _check_values(setting: str, rule: BehaviourRule) -> None:
    if isinstance(rule, AgainstFlow) and not (any(rule.flow) and all(map(math.isfinite, rule.flow))):
        raise ConfigError(f"{setting}: flow {rule.flow} has no direction; give a vector such as [1, 0], to the right")
    if isinstance(rule, SlowStation) and rule.least > rule.newest:
        raise ConfigError(
            f"{setting}: least {rule.least} of the newest {rule.newest} dwell times can never be; set least to "
            f"{rule.newest} or less"
        )


def _check_ends(setting: str, rule: Line | Gate) -> None:
    if rule.start == rule.end:
        raise ConfigError(f"{setting}: start and end are the same point {rule.start}; give two different points")
    _check_direction(setting, rule)


def _check_polygon(setting: str, points: list[Point]) -> None:
    """Raise `ConfigError` for a polygon that encloses nothing (shoelace formula)."""
    doubled = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True))
    if abs(doubled) < 1:
        raise ConfigError(f"{setting}: its points {points} enclose nothing; give the corners of an area in order")


def _check_presence(setting: str, presence: Presence) -> None:
    """Raise `ConfigError` for places that are none, and classes that contradict each other."""
    for name, points in presence.places.items():
        _check_polygon(f"{setting}: place {name!r}", corners_of(points))
    both = sorted({*presence.classes} & {*presence.empty})
    if both:
        raise ConfigError(f"{setting}: class {both[0]!r} fills a place and shows it empty; name it in one of the two")
    if (presence.empty or presence.turn_deg) and not presence.moves:
        key = "empty" if presence.empty else "turn_deg"
        raise ConfigError(f"{setting}: {key} is for places that have to be found; set move_px too, or leave it out")


def _check_direction(setting: str, rule: Line | Gate) -> None:
    """Raise `ConfigError` for a direction that nothing can take across this line: it would never count."""
    across = abs(rule.end[0] - rule.start[0]), abs(rule.end[1] - rule.start[1])
    possible = ("right", "left") if across[1] >= across[0] else ("up", "down")
    if rule.direction not in {"both", *possible}:
        raise ConfigError(
            f"{setting}: nothing crosses it in direction {rule.direction!r}; from {rule.start} to {rule.end} "
            f"it can be {' or '.join(possible)}"
        )


def _check_gate(setting: str, gate: Gate, camera: Camera) -> None:
    """Raise `ConfigError` for a gate whose ejector is in two places, or in none that can be known."""
    places = [name for name in ("ejector_px", "ejector_mm", "ejector_s") if getattr(gate, name) is not None]
    if len(places) > 1:
        raise ConfigError(f"{setting}: {' and '.join(places)} say where the ejector is; give one of them")
    if gate.ejector_mm is not None and camera.mm_per_px is None:
        raise ConfigError(f"{setting}: ejector_mm needs cameras.{gate.camera}.mm_per_px; set it, or give ejector_px")
    for part, held in gate.contains.items():
        for name, (fewest, most) in held.items():
            if fewest > most:
                raise ConfigError(
                    f"{setting}: contains.{part}.{name} [{fewest}, {most}]: no number lies between them; give the "
                    "fewest first"
                )
    for name, limit in gate.defects.items():
        if limit.review_area_px is not None and limit.review_area_px >= limit.min_area_px:
            raise ConfigError(
                f"{setting}: defects.{name}.review_area_px {limit.review_area_px:g}: from min_area_px "
                f"{limit.min_area_px:g} on the part is rejected; give less"
            )


def _check_camera(setting: str, camera: Camera) -> None:
    if bool(camera.source) == bool(camera.command):
        raise ConfigError(f"{setting}: needs exactly one of source and command")
    if camera.demand and camera.source:
        raise ConfigError(f"{setting}: demand is for a command; leave it out with a source")
    if camera.command and camera.size is None:
        raise ConfigError(f"{setting}: command needs size = [width, height] of the raw frames it writes")
    if camera.live and (not camera.command or camera.demand):
        raise ConfigError(
            f"{setting}: live is for a command without demand; leave it out, other sources know what they are"
        )


def _check_mqtt(setting: str, mqtt: Mqtt) -> None:
    if not (_is_local(mqtt.host) or mqtt.ca_file or mqtt.plaintext):
        raise ConfigError(
            f"{setting}: broker {mqtt.host} is not on this machine and ca_file is not set; "
            "set ca_file for TLS, or plaintext = true to send in the clear"
        )
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        raise ConfigError(f"{setting}: cert_file and key_file belong together; set both or none")
    if mqtt.cert_file and not mqtt.ca_file:
        raise ConfigError(
            f"{setting}: cert_file and key_file need TLS, which ca_file switches on; set it, or leave all out"
        )


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, and one that begins with 127. is no address either
        return False
