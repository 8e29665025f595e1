"""TOML -> typed configuration. A wrong key, range, class or path names itself and its fix."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from edge.config.behaviour import (
    AgainstFlow,
    BehaviourRule,
    Congestion,
    Conversion,
    Dwell,
    Interaction,
    Loitering,
    Occupancy,
    SlowStation,
    Trajectory,
    Unattended,
    Unique,
    zones_of,
)
from edge.config.checks import check
from edge.config.decide import (
    DefectLimit,
    Gate,
    Growth,
    JobCheck,
    Line,
    Presence,
    Reidentify,
    SizeLimits,
    TrackRules,
    Zone,
    corners_of,
)
from edge.config.see import Attention, Audit, Camera, Encoder, Governor, Measuring, Models, RegionRules
from edge.config.tell import Evidence, Ledger, Mqtt, Shift, Summary
from edge.config.values import MOST, MOST_LOOKS, PATTERNS, Fraction, Name, Point, Positive, Text, Whole
from edge.config.values import Table as _Table
from edge.errors import ConfigError

__all__ = [
    "MOST", "MOST_LOOKS", "AgainstFlow", "Attention", "Audit", "BehaviourRule", "Camera", "Config", "Congestion",
    "Conversion", "DefectLimit", "Dwell", "Encoder", "Evidence", "Fraction", "Gate", "Governor", "Growth",
    "Interaction", "JobCheck", "Ledger", "Line", "Loitering", "Measuring", "Models", "Mqtt", "Name", "Occupancy",
    "Point", "Positive", "Presence", "RegionRules", "Reidentify", "Shift", "SizeLimits", "SlowStation", "Summary",
    "Text", "TrackRules", "Trajectory", "Unattended", "Unique", "Whole", "Zone", "check_point", "class_numbers",
    "corners_of", "load_config", "zones_of",
]  # fmt: skip


class Config(_Table, frozen=True, kw_only=True):
    """A whole configuration file. Paths in it are relative to its own folder."""

    bundle: Path
    state: Path
    cameras: dict[Name, Camera]
    site: Name = "site"
    line: Name = "line"
    device: Name = "device"
    simulated: bool = False  # every event says that it is not from real cameras
    models: Models = Models()
    regions: RegionRules = RegionRules()
    attention: Attention = Attention()
    audit: Audit = Audit()
    governor: Governor = Governor()
    tracks: TrackRules = TrackRules()
    lines: list[Line] = []
    gates: list[Gate] = []
    zones: list[Zone] = []
    rules: list[BehaviourRule] = []
    growth: list[Growth] = []
    presence: list[Presence] = []
    job_check: JobCheck | None = None
    mqtt: Mqtt | None = None
    ledger: Ledger = Ledger()
    evidence: Evidence = Evidence()
    summary: Summary = Summary()
    shifts: list[Shift] = []

    @property
    def pictured(self) -> bool:
        """Tell whether anything that is decided has a picture."""
        return bool((self.gates and self.evidence.verdicts) or self.evidence.lines or self.evidence.rules)

    @property
    def measures(self) -> bool:
        """Tell whether any line or gate measures."""
        return any(line.measure for line in self.lines) or any(gate.measures for gate in self.gates)

    @property
    def counts_flaws(self) -> bool:
        """Tell whether any gate limits the number of spots of a defect."""
        return any(gate.counts_flaws for gate in self.gates)


def load_config(path: Path) -> Config:
    """Return the configuration in file `path` (TOML, or JSON by its suffix), its paths made absolute.

    Raises `ConfigError`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # as some editors write it
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path}: cannot be read: {error}; name a TOML file") from error
    decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
    try:
        config = decode(text, type=Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration {path}: {_with_hint(_with_name(str(error), decode(text)))}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # tomllib: huge integers, endless nesting
        raise ConfigError(f"configuration {path}: cannot be understood: {error}") from error
    check(config, path)
    return _absolute(config, path.resolve().parent)


def class_numbers(names: list[str], known: list[str], setting: str) -> list[int]:
    """Return the indices of `names` in `known`; an unknown name raises `ConfigError` that lists the known ones."""
    for name in names:
        if name not in known:
            raise ConfigError(f"{setting}: no class {name!r} in the bundle; it has {', '.join(known) or 'none'}")
    return [known.index(name) for name in names]


def check_point(point: Point, size: tuple[int, int], setting: str) -> None:
    """Raise `ConfigError` where `point` lies outside a frame of `size` (width, height)."""
    if not (0 <= point[0] <= size[0] and 0 <= point[1] <= size[1]):
        raise ConfigError(
            f"{setting}: point ({point[0]:g}, {point[1]:g}) is outside the frame of {size[0]} x {size[1]} pixels; "
            f"x goes from 0 to {size[0]}, y from 0 to {size[1]}"
        )


def _decode(kind: type, value: Any) -> Any:
    """Turn a string into a path, the one type that msgspec leaves to us."""
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


_T = TypeVar("_T", bound=msgspec.Struct)


def _absolute(config: Config, folder: Path) -> Config:
    """Make every path absolute; a camera's `source` only where it names something beside the configuration."""
    cameras = {name: _replaced(camera, _source(camera, folder)) for name, camera in config.cameras.items()}
    changes: dict[str, Any] = {
        "bundle": Path(os.path.realpath(folder / config.bundle)),
        "state": folder / config.state,
        "cameras": cameras,
    }
    if config.mqtt is not None:
        names = ("password_file", "ca_file", "cert_file", "key_file")
        found = {name: getattr(config.mqtt, name) for name in names}
        changes["mqtt"] = _replaced(config.mqtt, {name: folder / p for name, p in found.items() if p is not None})
    if config.job_check is not None:
        changes["job_check"] = _replaced(config.job_check, {"folder": folder / config.job_check.folder})
    return _replaced(config, changes)


def _source(camera: Camera, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if camera.encoder is not None and camera.encoder.source:
        found["encoder"] = _replaced(camera.encoder, {"source": str(folder / camera.encoder.source)})
    if not camera.source or "://" in camera.source or camera.source.startswith("usb:"):
        return found
    return {**found, "source": str(folder / camera.source)}


def _replaced(struct: _T, changes: dict[str, Any]) -> _T:
    return msgspec.structs.replace(struct, **changes)


def _with_name(message: str, found: Any) -> str:
    """Put the name of the camera into msgspec's message: its path does not say which of a table's keys it means."""
    if "$.cameras[...]" not in message:
        return message
    name = next((name for name, camera in found["cameras"].items() if not _is_camera(camera)), "[...]")
    return message.replace("$.cameras[...]", f"$.cameras.{name}")


def _is_camera(table: Any) -> bool:
    try:
        msgspec.convert(table, Camera)
    except msgspec.ValidationError:
        return False
    return True


def _with_hint(message: str) -> str:
    """Add the nearest key of the same table to msgspec's message on an unknown one; put patterns into words."""
    for pattern, words in PATTERNS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    if "got `time`" in message:
        message += '; write it as a text, such as "06:00"'
    if "unknown field" not in message:
        return message
    wrong = message.split("`")[1]
    near = difflib.get_close_matches(wrong, _known_keys(message), n=1)
    return message + (f"; did you mean `{near[0]}`?" if near else "; see docs/config.md for every key")


def _known_keys(message: str) -> list[str]:
    """Return the keys of the table that `message` is about: at `$.gates[0].defects[...]` those of a defect."""
    tables: set[type[_Table]] = {Config}
    for step in re.findall(r"\w+", message.partition("$")[2]):
        types = [field.type for table in tables for field in msgspec.structs.fields(table) if field.name == step]
        tables = {table for kind in types for table in _tables(kind)} or tables
    return sorted({field for table in tables for field in table.__struct_fields__})


def _tables(kind: Any) -> list[type[_Table]]:
    """Return the tables that values of type `kind` are or hold."""
    if isinstance(kind, type) and issubclass(kind, _Table):
        return [kind]
    return [table for part in get_args(kind) for table in _tables(part)]
