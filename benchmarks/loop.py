"""The belt in this process: the same models and stations as the daemon's, without a ledger and a broker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import cv2
import msgspec

from edge.bundle import open_bundle
from edge.config import Camera, Config, load_config
from edge.daemon import open_models
from edge.see.cameras import open_camera
from edge.station import Models, Station
from edge.types import Array, Frame, Image
from examples.belt.demo import HERE, cache_folder
from export.build import cached_bundle

READ_S = 60.0

Outputs = Mapping[str, Array]


@contextlib.contextmanager
def belt_models() -> Iterator[tuple[Config, Models]]:
    """Yield the belt's configuration and its models."""
    config = belt_config()
    with contextlib.ExitStack() as stack:
        yield config, open_models(config, open_bundle(config.bundle), stack)


def belt_config() -> Config:
    """Return the belt's configuration with its bundle, exported where that has not been done; OpenCV has one thread."""
    cv2.setNumThreads(1)
    bundle = cached_bundle(HERE / "recipe.toml", cache_folder())
    return msgspec.structs.replace(load_config(HERE / "config.toml"), bundle=bundle.path, mqtt=None)


def station(config: Config, models: Models) -> Station:
    """Return the belt's station."""
    ids = count(1)
    return Station("belt", config.cameras["belt"].size or (0, 0), config, models, lambda: next(ids))


def belt_frames(config: Config, seed: int, frames: int, *, every: int = 1, start: int = 0) -> Iterator[Frame]:
    """Yield frames of the belt, drawn ahead by another process."""
    command = ["{python}", "-m", "examples.belt.stream", "--seed", f"{seed}", "--frames", f"{start + frames * every}"]
    command += ["--every", f"{every}", "--start", f"{start}"]
    camera = Camera(command=command, size=config.cameras["belt"].size, fps=config.cameras["belt"].fps)
    with open_camera("belt", camera) as source:
        while not source.ended:
            frame = source.read(READ_S)
            if isinstance(frame, Frame):
                yield frame


class Tap:
    """An engine that does what another does, and keeps what went in and came out."""

    def __init__(self, infer: Callable[[Mapping[str, Array]], Outputs], keep: Callable[[Image, Outputs], None]) -> None:
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self._infer, self._keep = infer, keep

    def infer(self, feeds: Mapping[str, Array]) -> Outputs:
        """Run, and keep."""
        found = self._infer(feeds)
        (image,) = feeds.values()
        self._keep(image, found)
        return found

    def close(self) -> None:
        """Nothing of its own is held."""
