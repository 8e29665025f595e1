"""A small world of people and bags whose every move is known, and what a detector would tell of it.

Bodies go from waypoint to waypoint, stop, walk up and down, turn back, stand on borders, leave bags and meet. They keep
to lanes: who is who is the business of other benchmarks, and here it is what rules make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.types import Instances

SIZE, FPS, SECONDS = (1280, 720), 10.0, 90.0
FRAMES = int(SECONDS * FPS)
CLASSES = ["background", "person", "bag"]
PERSON, BAG = 1, 2
SIDES = {PERSON: (40.0, 76.0), BAG: (26.0, 26.0)}
JITTER_PX, MISSES = 1.5, 0.03  # of every edge; share of the boxes
BAD, OFF = 0.01, 0.3  # share of the boxes that are off by as much of the width of what they show, at the most
HIDDEN_S, HIDES_S = (0.2, 0.8), 15.0  # how long one is hidden at a time, and how often on average
STEADY = 10  # frames before and after one changes its pace in which nobody is hidden: else it is the tracker's matter

Places = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Body:
    """One object of the world."""

    label: int
    places: Places  # (FRAMES, 2) its centre, frame pixels; NaN while it is not there

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        """Return (FRAMES,) whether it is there."""
        return ~np.isnan(self.places[:, 0])

    def steady(self) -> npt.NDArray[np.bool_]:
        """Return (FRAMES,) when it keeps its pace, and has kept and will keep it for a while."""
        steps = np.diff(self.places, axis=0, prepend=self.places[:1])
        changes = (np.abs(np.diff(steps, axis=0, append=steps[-1:])) > 0.01).any(axis=1)
        return np.convolve(changes, np.ones(2 * STEADY + 1), "same") < 0.5

    def boxes(self) -> npt.NDArray[np.float64]:
        """Return (FRAMES, 4) its box, NaN while it is not there."""
        half = np.asarray(SIDES[self.label]) / 2
        return np.concatenate([self.places - half, self.places + half], axis=1)


class Walk:
    """A way that is put together piece by piece, one place per frame."""

    def __init__(self, x: float, y: float) -> None:
        self.places: list[tuple[float, float]] = [(x, y)]

    def to(self, x: float, y: float, speed: float) -> Walk:
        """Go straight to (x, y) at `speed`, frame pixels per second."""
        (x0, y0), steps = self.places[-1], 0
        steps = max(1, round(float(np.hypot(x - x0, y - y0)) / speed * FPS))
        self.places += [(x0 + (x - x0) * i / steps, y0 + (y - y0) * i / steps) for i in range(1, steps + 1)]
        return self

    def stay(self, seconds: float) -> Walk:
        """Stand."""
        self.places += [self.places[-1]] * round(seconds * FPS)
        return self

    @property
    def x(self) -> float:
        """Return where it is now."""
        return self.places[-1][0]

    def body(self, first: int, label: int = PERSON) -> Body:
        """Return the body that begins this way in frame `first`."""
        places = np.full((FRAMES, 2), np.nan)
        way = self.places[: max(0, FRAMES - first)]
        if way:
            places[first : first + len(way)] = way
        return Body(label, places)


Random = np.random.Generator
LEFT, RIGHT, AWAY = 40.0, 1240.0, 955.0  # where people come from, go to, and turn away
HALL = [(400.0, 0.0), (880.0, 0.0), (840.0, 720.0), (430.0, 720.0)]
TILL = [(1000.0, 0.0), (1270.0, 0.0), (1270.0, 720.0), (1000.0, 720.0)]
STATION = [(500.0, 0.0), (800.0, 0.0), (800.0, 720.0), (500.0, 720.0)]
SHIFT = 300  # frames that the station is quick, and then slow
ALL = [(5.0, 5.0), (1275.0, 5.0), (1275.0, 715.0), (5.0, 715.0)]


def hall(random: Random) -> list[Body]:
    """Return people who cross a hall, one after the other in each of seven lanes, most of them to the right."""
    bodies = []
    for lane in range(7):
        first = int(random.integers(0, 60))
        while first < FRAMES - 60:
            walk = _visit(random, 70.0 + 96 * lane)
            bodies.append(walk.body(first))
            first += len(walk.places) + int(random.integers(45, 70))  # its track has ended by then
    return bodies


def _visit(random: Random, y: float) -> Walk:
    """Return one way through the hall."""
    speed = random.uniform(60, 140)
    if random.random() < 0.2:  # the wrong way
        return _act(random, Walk(RIGHT, y), y, speed).to(LEFT, y, speed)
    walk = _act(random, Walk(LEFT, y), y, speed)
    if random.random() < 0.15:
        return walk.to(LEFT, y, speed)
    if random.random() < 0.35:
        return walk.to(AWAY, y, speed)
    return walk.to(TILL[0][0] - 40, y, random.uniform(20, 140)).to(RIGHT, y, speed)


def _act(random: Random, walk: Walk, y: float, speed: float) -> Walk:
    """Go to somewhere in the hall and do something there."""
    at = random.uniform(500, 780)
    walk.to(at, y, speed)
    kind = random.choice(["pass", "stop", "stop", "pace", "back", "border"])
    if kind == "stop":
        walk.stay(random.uniform(2, 16))
    elif kind == "pace":
        reach, pace = random.uniform(15, 90), random.uniform(30, 80)
        for _ in range(int(random.integers(3, 8))):
            walk.to(at + reach, y, pace).to(at, y, pace)
    elif kind == "back":
        walk.to(at - random.uniform(15, 200), y, speed).stay(random.uniform(0, 2))
    elif kind == "border":
        border = HALL[0][0] + (HALL[3][0] - HALL[0][0]) * y / SIZE[1]
        walk.to(border + random.uniform(-9, 9), y, speed).stay(random.uniform(2, 8))
    return walk


def platform(random: Random) -> list[Body]:
    """Return people who set bags down, wait by them, go away, come back or do not, and others who pass by."""
    bodies = []
    for lane in range(5):
        first, y = int(random.integers(0, 60)), 90.0 + 134 * lane
        while first < FRAMES - 250:
            person, bag, set_down, gone = _owner(random, y)
            bodies += [person.body(first), bag.body(first + set_down, BAG)]
            first += max(len(person.places), gone) + int(random.integers(50, 90))
    return bodies


def _owner(random: Random, y: float) -> tuple[Walk, Walk, int, int]:
    """Return a person, a bag, and in which of the person's frames the bag is set down and taken up or forgotten."""
    speed, at = random.uniform(60, 120), random.uniform(350, 900)
    person = Walk(LEFT, y).to(at, y, speed).stay(0.5)
    set_down = len(person.places)
    person.stay(random.uniform(0, 4))
    if random.random() < 0.6:  # at a distance for a while, and back
        person.to(person.x + random.uniform(20, 260), y, speed).stay(random.uniform(1, 14)).to(at, y, speed).stay(1)
        gone = len(person.places)
        person.to(RIGHT, y, speed)
    else:
        person.to(RIGHT, y, speed)
        gone = len(person.places) + int(random.uniform(0, 150))
    return person, Walk(at - 46, y + 20).stay((gone - set_down) / FPS), set_down, gone


def pairs(random: Random) -> list[Body]:
    """Return people who meet, more or less near, for a while, and part."""
    bodies = []
    for lane in range(6):
        first, y = int(random.integers(0, 60)), 80.0 + 112 * lane
        while first < FRAMES - 150:
            speed, at, gap = random.uniform(60, 120), random.uniform(450, 830), random.uniform(4, 60)
            reach, seconds = (SIDES[PERSON][0] + gap) / 2, random.uniform(0.5, 9)
            both = [Walk(x, y).to(at + way * reach, y, speed) for x, way in ((LEFT, -1), (RIGHT, 1))]
            longest = max(len(walk.places) for walk in both)
            for walk in both:
                walk.stay((longest - len(walk.places)) / FPS + seconds)
            both[0].to(LEFT, y, speed)
            both[1].to(RIGHT, y, speed)
            bodies += [walk.body(first) for walk in both]
            first += max(len(walk.places) for walk in both) + int(random.integers(45, 70))
    return bodies


def station(random: Random) -> list[Body]:
    """Return what passes a station of five lanes that is quick for a while, and slow for a while."""
    bodies = []
    for lane in range(5):
        first, y = int(random.integers(0, 60)), 100.0 + 130 * lane
        while first < FRAMES - 60:
            slow = (first + 50) // SHIFT % 2 == 1  # when it gets there
            speed, stay = random.uniform(90, 140), random.uniform(7, 12) if slow else random.uniform(0.5, 3)
            walk = Walk(LEFT, y).to(650, y, speed).stay(stay).to(RIGHT, y, speed)
            bodies.append(walk.body(first))
            first += len(walk.places) + int(random.integers(45, 70))
    return bodies


SCENES: dict[str, Callable[[Random], list[Body]]] = {
    "hall": hall,
    "platform": platform,
    "pairs": pairs,
    "station": station,
}


def detections(bodies: list[Body], random: Random) -> Iterator[tuple[Instances, list[int]]]:
    """Yield for each frame what a detector finds, and which body each of that is."""
    shown = np.stack([body.there & ~(_hidden(random) & body.steady()) for body in bodies], axis=1)
    shown &= random.random(shown.shape) >= MISSES
    boxes = np.stack([body.boxes() for body in bodies], axis=1)
    boxes += random.normal(0, JITTER_PX, boxes.shape)
    bad = random.random(shown.shape) < BAD
    labels = np.asarray([body.label for body in bodies], np.uint8)
    widths = np.asarray([SIDES[body.label][0] for body in bodies])
    off = widths[:, None] * random.uniform(-OFF, OFF, (*shown.shape, 2))
    boxes[bad] += np.tile(off[bad], 2)
    for frame in range(FRAMES):
        rows = np.flatnonzero(shown[frame])
        yield _instances(boxes[frame, rows].astype(np.float32), labels[rows]), rows.tolist()


def _hidden(random: Random) -> npt.NDArray[np.bool_]:
    """Return (FRAMES,) when something stands before a body."""
    hidden, at = np.zeros(FRAMES, np.bool_), 0.0
    while (at := at + random.exponential(HIDES_S)) < SECONDS:
        hidden[int(at * FPS) : int((at + random.uniform(*HIDDEN_S)) * FPS)] = True
    return hidden


def _instances(boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> Instances:
    n = len(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    fields: dict[str, Any] = {
        "boxes": boxes,
        "scores": np.full(n, 0.9, np.float32),
        "classes": labels,
        "centers": (boxes[:, :2] + boxes[:, 2:]) / 2,
        "areas_px": sides.prod(axis=1),
        "defects_px": np.zeros((n, 0), np.float32),
        "masks": [np.ones((4, 4), np.bool_)] * n,
        "scales": np.ones(n, np.float32),
        "whole": np.ones(n, np.bool_),
    }
    return Instances(**fields)
