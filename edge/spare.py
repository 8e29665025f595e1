"""What a run writes must not be what it reads: no recording, configuration or model is worth an overlay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge.config import Config
from edge.errors import FoveateError
from edge.see.cameras.folder import SUFFIXES


def check_spared(config: Config, file: Path | None, targets: dict[str, Path | None]) -> None:
    """Raise `FoveateError` where one of `targets` (by flag) is something that the run reads, or another target.

    `file` is the one that `config` was read from.
    """
    given = {flag: path for flag, path in targets.items() if path is not None}
    for flag, path in given.items():
        what = next((what for what, read in _inputs(config, file) if _same(path, read)), None) or _inside(config, path)
        if what is not None:
            raise FoveateError(f"{flag} {path}: would replace {what}; name another file")
    places = {os.path.realpath(path) for path in given.values()}
    if len(places) < len(given):
        flags = " and ".join(f"{flag} {path}" for flag, path in given.items())
        raise FoveateError(f"{flags}: are the same file; name two")


def _inputs(config: Config, file: Path | None) -> Iterator[tuple[str, Path]]:
    if file is not None:
        yield "the configuration", file
    for name, camera in config.cameras.items():
        for word in filter(None, [camera.source, *camera.command]):
            yield f"what camera {name} reads", Path(word)
    if config.mqtt is not None:
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            path = getattr(config.mqtt, key)
            if path is not None:
                yield f"mqtt.{key}", path


def _inside(config: Config, path: Path) -> str | None:
    """Return what `path` is a part of, by the folder that it lies in."""
    folders = [("a part of the bundle", config.bundle), ("a part of the state folder", config.state)]
    if config.job_check is not None:
        folders.append(("a reference picture", config.job_check.folder))
    for what, folder in folders:
        if any(_same(above, folder) for above in Path(os.path.realpath(path)).parents):
            return what
    for name, camera in config.cameras.items():
        pictures = bool(camera.source) and path.suffix.lower() in SUFFIXES
        if pictures and _same(Path(os.path.realpath(path)).parent, Path(camera.source)):
            return f"a picture of camera {name}"
    return None


def _same(path: Path, other: Path) -> bool:
    """Return whether both are there and are one file, links of either kind included."""
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there, or a name that no file can have
        return False
