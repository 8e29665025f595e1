"""Objects that move before a camera, ten frames a second, and what the rules of its zones say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge import config
from edge.decide.rules import Rules
from edge.events import Alert, Event
from edge.types import Frame, Gap, Seen, Tracks
from tests.see.made import seen_of, tracks_of

CLASSES = ["background", "person", "bag"]
PICTURE = np.zeros((8, 8, 3), np.uint8)
FPS = 10.0
Place = tuple[float, float] | None  # of an object's centre; None: its track is not there


def zone(
    name: str = "z", low: tuple[float, float] = (100, 100), high: tuple[float, float] = (300, 300), **changes: Any
) -> config.Zone:
    """Return a rectangle that is entered at the first sighting clearly inside."""
    corners = [low, (high[0], low[1]), high, (low[0], high[1])]
    return config.Zone(**{"name": name, "camera": "c", "points": corners, "settle_looks": 1, **changes})


def settings(rules: Sequence[config.BehaviourRule], zones: Sequence[config.Zone] = ()) -> config.Config:
    return config.Config(
        bundle=Path("b"),
        state=Path("s"),
        cameras={"c": config.Camera(source="x")},
        zones=list(zones) or [zone()],
        rules=list(rules),
    )


class World:
    """Plays places of objects, frame by frame, and keeps what was decided."""

    def __init__(self, *rules: config.BehaviourRule, zones: Sequence[config.Zone] = ()) -> None:
        self.rules = Rules(settings(rules, zones), "c", CLASSES, [])
        self.events: list[Event] = []
        self.index = 0
        self.tracks = tracks_of([])

    @property
    def time(self) -> float:
        """Return the time of the next frame."""
        return self.index / FPS

    def see(self, places: Mapping[int, Place], *, side: float = 20, **fields: Sequence[object]) -> list[Event]:
        """Show one frame: objects by key, which is their id too unless `fields` says otherwise."""
        there = {key: place for key, place in places.items() if place is not None}
        boxes = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in there.values()]
        tracks = tracks_of(boxes, **{"keys": list(there), "ids": list(there), **fields})
        return self.show(tracks)

    def show(self, tracks: Tracks) -> list[Event]:
        """Show one frame with these tracks."""
        ended = sorted(set(self.tracks.keys.tolist()) - set(tracks.keys.tolist()))
        seen: Seen = seen_of(Frame("c", self.index, self.time, PICTURE), tracks, ended=ended)
        self.tracks = tracks
        self.index += 1
        told = self.rules.decide(seen)
        self.events += told
        return told

    def walk(self, *frames: Mapping[int, Place], **options: Any) -> list[Event]:
        """Show several frames; return what was decided in them."""
        return [event for places in frames for event in self.see(places, **options)]

    def rest(self, seconds: float, places: Mapping[int, Place], **options: Any) -> list[Event]:
        """Show the same for so long."""
        return self.walk(*[places] * round(seconds * FPS), **options)

    def blind(self, seconds: float = 3.0) -> list[Event]:
        """Let the camera be blind."""
        since, self.index = self.time, self.index + round(seconds * FPS)
        told = self.rules.blind(Gap("c", self.index, since, self.time, "stall"), self.tracks)
        self.tracks = tracks_of([])
        self.events += told
        return told


def alerts(events: Sequence[Event]) -> list[tuple[float, bool, str, list[int]]]:
    """Return of each alert event: when, whether it begins, why it ends, and whom it is about."""
    return [(round(e.time, 3), e.alarm, e.reason, e.tracks) for e in events if isinstance(e, Alert)]


def line(start: tuple[float, float], end: tuple[float, float], speed: float) -> Iterator[tuple[float, float]]:
    """Yield the places on the way from `start` to `end` at `speed`, frame pixels per second, the last one included."""
    way = np.subtract(end, start)
    steps = max(1, round(float(np.hypot(*way)) / speed * FPS))
    for i in range(steps + 1):
        x, y = (np.asarray(start) + way * i / steps).tolist()
        yield (x, y)
