"""Reference pictures and what is expected of them: `golden.toml` in a folder of pictures, beside them.

[pictures."good nut.png"]
verdicts = { PASS = 1 }
counts = { nut = 1 }
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.config import Config, Name
from edge.config.values import Count, Table
from edge.errors import ConfigError
from edge.events import Event, PresenceEvent, Verdict
from edge.see.cameras.stills import NoPictureError, read_still
from edge.types import Image

FILE = "golden.toml"
MOST_PICTURES = 1000  # of one folder


class Expected(Table, frozen=True, kw_only=True):
    """What one picture must give; what is left out is not held against anything."""

    camera: Name | None = None  # whose rules it is for; the only one, where it is left out
    verdicts: dict[Literal["PASS", "REJECT", "REVIEW"], Count] | None = None  # parts by verdict, at all gates
    defects: list[str] | None = None  # classes that reject one of the parts
    counts: dict[str, Count] | None = None  # objects by class; a class that is not named: none
    missing: dict[Name, list[str]] | None = None  # by presence check: the places that are not filled


class Golden(Table, frozen=True):
    """`golden.toml`."""

    pictures: Annotated[dict[str, Expected], msgspec.Meta(min_length=1, max_length=MOST_PICTURES)]


@dataclass(frozen=True, slots=True)
class Told:
    """What one picture gives."""

    verdicts: Mapping[str, int] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, list[str]] = field(default_factory=dict)


def read_golden(folder: Path, config: Config) -> dict[str, Expected]:
    """Return what is expected of each picture in `folder`, by file name, each with its camera.

    Raises `ConfigError` where the file is missing or wrong, or names a picture, camera or presence check that is not
    there.
    """
    path = folder / FILE
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise ConfigError(f"reference pictures {path}: is no file; write one that says what each picture must give")
    try:
        golden = msgspec.toml.decode(path.read_text(encoding="utf-8-sig"), type=Golden)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"reference pictures {path}: cannot be read: {error}; name the folder that holds it"
        ) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"reference pictures {path}: {error}; docs/config.md says what each picture may have"
        ) from error
    return {name: _checked(folder, name, expected, config) for name, expected in golden.pictures.items()}


def read_picture(path: Path) -> Image:
    """Return a picture (h, w, 3); raises `ConfigError` where there is none."""
    try:
        return read_still(path)
    except NoPictureError as error:
        raise ConfigError(f"reference picture {path}: {error}; {error.fix or 'copy it there again'}") from error


def told_by(events: Sequence[Event], counts: Mapping[str, int]) -> Told:
    """Return what `events`, decided in one picture in which there are `counts` objects by class, come to."""
    verdicts = [event for event in events if isinstance(event, Verdict)]
    return Told(
        Counter(event.verdict for event in verdicts),
        sorted({name for event in verdicts for name in event.defects_px}),
        counts,
        {event.rule: event.missing for event in events if isinstance(event, PresenceEvent)},
    )


def differences(expected: Expected, told: Told) -> list[str]:
    """Return in what a picture is judged otherwise than expected."""
    found = []
    for key in ("verdicts", "counts"):
        wanted, got = getattr(expected, key), getattr(told, key)
        if wanted is not None and Counter(wanted) != Counter(got):
            found.append(f"{key} {_numbered(got)}, expected {_numbered(wanted)}")
    if expected.defects is not None and sorted(expected.defects) != told.defects:
        found.append(f"defects {_listed(told.defects)}, expected {_listed(sorted(expected.defects))}")
    for rule, names in (expected.missing or {}).items():
        missing = sorted(told.missing.get(rule, []))
        if missing != sorted(names):
            found.append(f"{rule}: missing {_listed(missing)}, expected {_listed(sorted(names))}")
    return found


def summary_of(expected: Expected) -> str:
    """Return what is expected of a picture, in a few words."""
    numbers = [*(expected.verdicts or {}).items(), *(expected.counts or {}).items()]
    words = [*(f"{number} {name}" for name, number in numbers), *(expected.defects or [])]
    words += [f"{rule} without {_listed(names)}" for rule, names in (expected.missing or {}).items()]
    return ", ".join(words)


def _checked(folder: Path, name: str, expected: Expected, config: Config) -> Expected:
    """Return `expected` of picture `name` with its camera; raises `ConfigError`."""
    setting = f"reference picture {folder / name}"
    if not (folder / name).is_file():
        raise ConfigError(f"{setting}: is not there; copy it there, or take it out of {FILE}")
    if not any(getattr(expected, key) is not None for key in ("verdicts", "defects", "counts", "missing")):
        raise ConfigError(f"{setting}: nothing is expected of it; give verdicts, defects, counts or missing")
    if expected.camera is None and len(config.cameras) > 1:
        raise ConfigError(f"{setting}: camera is not set; it is one of {', '.join(config.cameras)}")
    camera = expected.camera or next(iter(config.cameras))
    if camera not in config.cameras:
        raise ConfigError(f"{setting}: no camera {camera!r}; there is {', '.join(config.cameras)}")
    rules = {rule.name: [*rule.places] for rule in config.presence if rule.camera == camera}
    for rule, names in (expected.missing or {}).items():
        strange = [place for place in names if place not in rules.get(rule, [])]
        if rule not in rules or strange:
            raise ConfigError(
                f"{setting}: missing.{rule}: camera {camera} has no such presence check or place; there is "
                f"{rules or 'none'}"
            )
    return msgspec.structs.replace(expected, camera=camera)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "none"


def _numbered(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{number} {name}" for name, number in sorted(counts.items()) if number) or "none"
