"""A configuration for a trial: recordings in the place of its cameras, a ledger of its own, and nobody to tell."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edge.config import Config, Encoder
from edge.errors import ConfigError

TICKS = ".ticks"  # behind the name of a recording: the file with the encoder's number for each of its frames


def with_sources(config: Config, given: Sequence[str]) -> Config:
    """Return `config` with other sources: ``SOURCE`` where it has one camera, ``NAME=SOURCE`` for one of several.

    Files are relative to where the command is typed. Of a camera with an encoder, ticks are read from the file of the
    recording's name with `.ticks` behind it; where there is none, there is no encoder. Raises `ConfigError`.
    """
    cameras, named = dict(config.cameras), set[str]()
    for text in given:
        name, source = _named(config, text)
        if name in named:
            raise ConfigError(f"source {text}: camera {name} has been given one already; name each camera once")
        named.add(name)
        cameras[name] = msgspec.structs.replace(
            cameras[name],
            source=_place(source),
            command=[],
            demand=False,
            live=False,
            encoder=_beside(cameras[name].encoder, source),
        )
    return msgspec.structs.replace(config, cameras=cameras)


@contextlib.contextmanager
def alone(config: Config, folder: Path | None = None) -> Iterator[Config]:
    """Yield `config` with nobody to tell, and its ledger in `folder`, or in one that is gone afterwards."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foveate-trial-")))
        yield msgspec.structs.replace(config, state=folder, mqtt=None)


def is_live(source: str) -> bool:
    """Tell whether a source is a device or a stream; any other one is a file or a folder."""
    return "://" in source or source.startswith("usb:")


def _beside(encoder: Encoder | None, source: str) -> Encoder | None:
    """Return where the ticks of a source's frames are: beside a recording, or where they were for a live one."""
    if encoder is None or is_live(source):
        return encoder
    path = Path(f"{_place(source)}{TICKS}")
    return msgspec.structs.replace(encoder, source=str(path), command=[]) if path.is_file() else None


def _named(config: Config, text: str) -> tuple[str, str]:
    """Return the camera that a source on the command line is for, and the source."""
    for name in sorted(config.cameras, key=len, reverse=True):  # a name may hold "=" too
        if text.startswith(f"{name}="):
            return name, text.removeprefix(f"{name}=")
    if len(config.cameras) == 1:
        return next(iter(config.cameras)), text
    raise ConfigError(
        f"source {text}: there are {len(config.cameras)} cameras ({', '.join(config.cameras)}); "
        f"say which one it is for, as in {next(iter(config.cameras), 'NAME')}={text}"
    )


def _place(source: str) -> str:
    return source if is_live(source) else str(Path(source).resolve())
