"""Parts of the belt that leave and come back, turned and elsewhere, among others that never were there.

The renderer's own parts, paint, belt, lamps and sensor; only where parts lie is another matter, for its belt never
shows one twice. Nothing touches here. What makes a part another one is its kind, its size and proportions, one of
eight metals, its tint (10 % of light, 3 % of each colour) and, of one in seven, defects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from benchmarks.loop import station
from benchmarks.reid_score import Passing
from edge.config import Config
from edge.health import Stopwatch
from edge.station import Models
from edge.types import Frame
from examples.belt.camera import Camera
from examples.belt.defects import Shape, draw_shape
from examples.belt.layout import Placed
from examples.belt.optics import BELT_HEIGHT, project
from examples.belt.scene import FPS, WIDTH, Field
from examples.belt.score import PIXEL_CENTRE
from examples.belt.strip import Strip

SPEED: Final = 20.0  # px a frame
PITCH: Final = 176  # strip px from one column of parts to the next
LANES: Final = (136, 308, 480, 652, 824)  # strip px
JITTER: Final = 6  # px
NEAR_PX: Final = 20.0  # of a part's true place, within which a track is of it
NEW_SHARE: Final = 0.5  # parts that come with those that return, and were never there, as a share of these
_BELT, _CAMERA, _ORDER = range(3)


@dataclass(frozen=True, slots=True)
class Lying:
    """One part on its way past the camera."""

    thing: int  # the part, whichever time it passes
    placed: Placed


def passes(config: Config, models: Models, seed: int, things: int, *, alike: bool = False) -> list[Passing]:
    """Return what became of `things` parts that pass, and of them when they come back among half as many new ones.

    `alike` says that all of them are the same to look at.
    """
    seeds = np.random.SeedSequence(seed).spawn(3)
    lying = _laid(np.random.default_rng(seeds[_ORDER]), seed, things, alike=alike)
    watcher = station(config, models)
    found = [Passing(one.thing) for one in lying]
    for frame, travel in _frames(seeds, lying):
        tracks = watcher.see(frame, Stopwatch()).tracks
        for track, center in zip(tracks.ids.tolist(), tracks.centers.tolist(), strict=True):
            if track:
                _note(found, lying, travel, track, center)
    return found


def turned(shape: Shape, turn: float) -> Shape:
    """Return a part that lies turned by `turn`, rad, clockwise as it is seen."""
    old, side = shape.outline, shape.mask.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -float(np.degrees(turn)), 1.0)

    def moved(field: Field, way: int, outside: float) -> Field:
        return np.asarray(cv2.warpAffine(field, matrix, (side, side), flags=way, borderValue=outside), field.dtype)

    line = np.arange(side, dtype=np.float32) - side // 2
    cos, sin = np.float32(np.cos(old.angle + turn)), np.float32(np.sin(old.angle + turn))
    outline = dataclasses.replace(
        old,
        angle=old.angle + turn,
        x=cos * line[None, :] + sin * line[:, None],
        y=cos * line[:, None] - sin * line[None, :],
        outer=moved(old.outer, cv2.INTER_LINEAR, 9.0),
    )
    solid = moved(shape.solid, cv2.INTER_LINEAR, 9.0)
    defects = np.asarray(cv2.warpAffine(shape.defects, matrix, (side, side), flags=cv2.INTER_NEAREST), np.uint8)
    return Shape(outline, solid, solid < 0, defects, moved(shape.softness, cv2.INTER_LINEAR, 0.0), shape.filled)


def _laid(rng: np.random.Generator, seed: int, things: int, *, alike: bool) -> list[Lying]:
    """Return all parts in the order in which they pass: each once, then each again, turned, among new ones."""
    again = rng.permutation(things + round(NEW_SHARE * things))
    lying = []
    for i, thing in enumerate([*range(things), *again.tolist()]):
        column, lane = divmod(i, len(LANES))
        design = 0 if alike else thing
        shape = draw_shape(np.random.default_rng((seed, design)))
        if i >= things:
            shape = turned(shape, float(rng.uniform(0, 2 * np.pi)))
        along, across = rng.integers(-JITTER, JITTER + 1, 2).tolist()
        lying.append(Lying(thing, _placed(shape, design + 1, column * PITCH + along, LANES[lane] + across)))
    return lying


def _placed(shape: Shape, number: int, position: int, v: int) -> Placed:
    rows, columns = np.nonzero(shape.mask)
    reach = shape.mask.shape[0] // 2
    centre = position - (float(columns.mean()) - reach), v + float(rows.mean()) - reach
    return Placed(number, shape, position, v, shape.mask, shape.defects, centre)


def _slices(lying: Sequence[Lying]) -> Iterator[tuple[float, list[Placed]]]:
    """Yield the belt column by column, and empty belt for ever after."""
    column = 0
    while True:
        parts = lying[column * len(LANES) : (column + 1) * len(LANES)]
        yield (column + 0.5) * PITCH, [one.placed for one in parts]
        column += 1


def _frames(seeds: Sequence[np.random.SeedSequence], lying: Sequence[Lying]) -> Iterator[tuple[Frame, float]]:
    """Yield every frame and how far the belt has gone, px, until the last part has left."""
    strip, camera = Strip(seeds[_BELT], _slices(lying)), Camera(seeds[_CAMERA])
    last = lying[-1].placed.position + WIDTH + PITCH
    for index in range(int(last / SPEED)):
        travel = index * SPEED
        strip.advance(travel)
        yield Frame("belt", index, index / FPS, camera.expose(strip.picture(travel), index, SPEED)), travel


def _note(found: list[Passing], lying: Sequence[Lying], travel: float, track: int, center: Sequence[float]) -> None:
    """Note the id of the part that is at `center`, x and y in frame px."""
    first = max(0, int((travel - WIDTH) / PITCH) * len(LANES))
    last = int(travel / PITCH + 2) * len(LANES)
    for one, passing in zip(lying[first:last], found[first:last], strict=True):
        x, v = travel - one.placed.centre[0], one.placed.centre[1]
        if 0 <= x < WIDTH and 0 <= v < BELT_HEIGHT:
            column, row = project(x, v)
            if np.hypot(column + PIXEL_CENTRE - center[0], row + PIXEL_CENTRE - center[1]) < NEAR_PX:
                passing.tracks.append(track) if track not in passing.tracks else None
