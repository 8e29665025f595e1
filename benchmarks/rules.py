"""Rules of zones: precision and recall of each, through the real tracker, against a world whose every move is known.

Four scenes of 90 s at 10 frames/s per world (`rules_world`): a hall that people cross, stop in, pace in and turn back
in; a platform on which bags are left; people who meet; a station that is slow for a while. Boxes jitter, 3 % are
missing, 1 % are bad, and everybody is hidden now and then, but not so that one is taken for another: objects that had
several tracks all the same are counted. The truth is computed from places without noise, by the definitions, in its
own code (`rules_truth`, where margins and tolerances stand). An event is right if one of the same rule, kind and
objects was due then; what must come is used once. Beginnings and ends of alerts count each for itself. Seed S has the
worlds 1000 S, 1000 S + 1 …; the rules' constants and the truth's margins were chosen on seed 2, what is reported is
seed 1.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import rules_truth as truth
from benchmarks import rules_world as world
from benchmarks.common import Options
from benchmarks.rules_truth import Due, Place
from edge import config
from edge.decide.behaviour.staying import SLACK
from edge.decide.rules import Rules
from edge.decide.tracks import Tracker
from edge.events import Alert, ConversionEvent, Event, TrajectoryEvent, ZoneEvent
from edge.types import Frame, Image, Looks, Seen, Tracks

WORLDS, QUICK_WORLDS = 20, 2
ZONES = {"hall": world.HALL, "till": world.TILL, "station": world.STATION, "all": world.ALL}
HALL_RULES: list[config.BehaviourRule] = [
    config.Occupancy(name="occupancy", zone="hall", most=4),
    config.Dwell(name="dwell", zone="hall", seconds=8),
    config.Loitering(name="loitering", zone="hall", seconds=6, radius_px=45),
    config.AgainstFlow(name="against_flow", zone="hall", flow=(1, 0), distance_px=60),
    config.Congestion(name="congestion", zone="hall", least=3, speed_px_s=20, seconds=2),
    config.Conversion(name="conversion", zone="hall", to="till", seconds=12),
    config.Trajectory(name="trajectory", zone="hall", tolerance_px=6),
]
UNATTENDED = config.Unattended(
    name="unattended", zone="all", classes=["bag"], others=["person"], distance_px=40, seconds=6
)
INTERACTION = config.Interaction(
    name="interaction", zone="all", classes=["person"], others=["person"], distance_px=35, seconds=3
)
STATION = config.SlowStation(name="slow_station", zone="station", planned_s=8, newest=5)
RULES: dict[str, list[config.BehaviourRule]] = {
    "hall": HALL_RULES,
    "platform": [UNATTENDED],
    "pairs": [INTERACTION],
    "station": [STATION],
}
OF_ALL = {"occupancy", "congestion", "slow_station"}  # rules whose alerts are about the zone
LABELS: Image = np.zeros((36, 64), np.uint8)  # nothing is known between looks
SCALE = (20.0, 20.0)
NO_LOOKS = Looks.at_one(
    np.zeros((0, 4), np.int32), np.zeros(0, np.int32), np.zeros((0, 4), np.int32), np.zeros(0, np.float32)
)


@dataclass(slots=True)
class Told:
    """What was told of one world, with bodies in place of tracks."""

    events: list[Event] = field(default_factory=list)
    owners: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))  # track -> bodies, frames
    rules_ms: list[float] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)

    @property
    def bodies(self) -> Counter[int]:
        """Return how many tracks each body had."""
        return Counter(self.body(track) for track in self.owners)

    def body(self, track: int) -> int:
        """Return the body that a track followed most of the time; -1: none."""
        seen = self.owners.get(track)
        return seen.most_common(1)[0][0] if seen else -1

    def of(self, rule: str) -> list[tuple[str, frozenset[int], float]]:
        """Return what was told by `rule`: what, of which bodies, when."""
        return [found for event in self.events for found in self._known(event, rule)]

    def _known(self, event: Event, rule: str) -> list[tuple[str, frozenset[int], float]]:
        match event:
            case ZoneEvent() if rule == "zone":
                return [(event.change, frozenset([self.body(event.track)]), event.time)]
            case Alert() if event.rule == rule:
                bodies = [] if rule in OF_ALL else [self.body(track) for track in event.tracks]
                return [("begin" if event.alarm else "end", frozenset(bodies), event.time)]
            case ConversionEvent() if event.rule == rule:
                return [(event.step, frozenset([self.body(event.track)]), event.time)]
            case TrajectoryEvent() if event.rule == rule:
                return [("path", frozenset([self.body(event.track)]), event.time)]
            case _:
                return []


@dataclass(slots=True)
class Score:
    """How many events were right, missing and wrong."""

    hits: int = 0
    missed: int = 0
    wrong: int = 0

    def add(self, due: Sequence[Due], told: Sequence[tuple[str, frozenset[int], float]]) -> None:
        """Match what was told with what was due, one to one, what had to come first."""
        left = list(told)
        for one in sorted(due, key=lambda one: (not one.required, one.last_s)):
            fits = [row for row in left if row[:2] == (one.what, one.bodies) and one.first_s <= row[2] <= one.last_s]
            self.hits += bool(fits) and one.required
            self.missed += not fits and one.required
            for row in fits[:1] if one.required else fits:
                left.remove(row)
        self.wrong += len(left)

    def figures(self, name: str) -> dict[str, float]:
        """Return precision, recall, and of how many events; 0 where there were none."""
        return {
            f"{name}_precision": self.hits / max(1, self.hits + self.wrong),
            f"{name}_recall": self.hits / max(1, self.hits + self.missed),
            f"{name}_due": self.hits + self.missed,
        }


def run(options: Options) -> dict[str, Any]:
    """Return precision and recall of every rule, how exact dwell times and paths are, and what the rules take."""
    scores: dict[str, Score] = defaultdict(Score)
    dwells_s: list[float] = []
    paths: list[float] = []
    played: list[Told] = []
    for number in range(QUICK_WORLDS if options.quick else WORLDS):
        for scene, (name, make) in enumerate(world.SCENES.items()):
            random = np.random.default_rng([options.seed * 1000 + number, scene])
            bodies = make(random)
            told = play(bodies, RULES[name], random)
            played.append(told)
            for rule, due in DUE[name](bodies).items():
                scores[rule].add(due, told.of(rule))
            if name == "hall":
                dwells_s += _dwell_errors_s(bodies, told)
                paths += _path_errors(bodies, told)
    figures: dict[str, Any] = {
        "scenes": len(played),
        "bodies": sum(len(told.bodies) for told in played),
        "bodies_with_several_tracks": sum(tracks > 1 for told in played for tracks in told.bodies.values()),
    }
    for rule, score in scores.items():
        figures |= score.figures(rule)
    return figures | {
        "dwell_error_s_median": float(np.median(dwells_s)),
        "dwell_error_s_p95": float(np.percentile(dwells_s, 95)),
        "path_error_px_median": float(np.median(paths)),
        "path_error_px_p99": float(np.percentile(paths, 99)),
        "hall_tracks_median": float(np.median([n for told in played[:: len(RULES)] for n in told.tracks])),
        "hall_ms_median": float(np.median([ms for told in played[:: len(RULES)] for ms in told.rules_ms])),
    }


def play(bodies: list[world.Body], rules: list[config.BehaviourRule], random: world.Random) -> Told:
    """Return what `rules` tell of `bodies` that a detector sees, through the tracker."""
    names = {zone for rule in rules for zone in config.zones_of(rule)}
    zones = [config.Zone(name=name, camera="c", points=ZONES[name]) for name in ZONES if name in names]
    settings = config.Config(
        bundle=Path("none"),
        state=Path("none"),
        cameras={"c": config.Camera(source="none")},
        zones=zones,
        rules=rules,
    )
    ids = itertools.count(1)
    follow = Tracker(settings.tracks, [1, 2], len(world.CLASSES), world.SIZE, lambda: next(ids))
    decide = Rules(settings, "c", world.CLASSES, [])
    picture: Image = np.zeros((1, 1, 3), np.uint8)
    told = Told()
    for index, (instances, rows) in enumerate(world.detections(bodies, random)):
        follow.predict(LABELS, SCALE, 1)
        tracks, ended = follow.update(instances, NO_LOOKS)
        _note_owners(told, tracks, rows)
        seen = Seen(Frame("c", index, index / world.FPS, picture), LABELS, SCALE, instances, tracks, ended)
        started = time.perf_counter()
        told.events += decide.decide(seen)
        told.rules_ms.append((time.perf_counter() - started) * 1000)
        told.tracks.append(len(tracks))
    return told


def _note_owners(told: Told, tracks: Tracks, rows: list[int]) -> None:
    for number, instance in zip(tracks.ids.tolist(), tracks.instances.tolist(), strict=True):
        if number and instance >= 0:
            told.owners[number][rows[instance]] += 1


def _hall(bodies: list[world.Body]) -> dict[str, list[Due]]:
    """Return what is due in the hall, with the limits of `HALL_RULES`."""
    hall, till = Place.of(world.HALL, bodies), Place.of(world.TILL, bodies)
    return {
        "zone": truth.moves(hall),
        "occupancy": truth.crowd(hall.inside, 4, 1.0, 1.0),
        "dwell": truth.dwell(hall, bodies, 8.0),
        "loitering": truth.loitering(hall, bodies, 6.0, 45.0, SLACK),
        "against_flow": truth.against_flow(hall, bodies, (1.0, 0.0), 60.0),
        "congestion": truth.crowd(truth.slow(hall, bodies, 20.0), 2, 2.0, 1.0),
        "conversion": truth.conversion(hall, till, bodies, 12.0),
        "trajectory": _paths_due(hall, bodies),
    }


def _platform(bodies: list[world.Body]) -> dict[str, list[Due]]:
    return {"unattended": truth.unattended(Place.of(world.ALL, bodies), bodies, 40.0, 6.0, 1.0)}


def _pairs(bodies: list[world.Body]) -> dict[str, list[Due]]:
    return {"interaction": truth.interaction(bodies, 35.0, 3.0, 1.0)}


def _station(bodies: list[world.Body]) -> dict[str, list[Due]]:
    return {"slow_station": truth.slow_station(Place.of(world.STATION, bodies), 8.0, 5, 3)}


DUE = {"hall": _hall, "platform": _platform, "pairs": _pairs, "station": _station}


def _paths_due(hall: Place, bodies: list[world.Body]) -> list[Due]:
    """Return the one path of every body that was in the hall, once its track has ended."""
    due = []
    for row, body in enumerate(bodies):
        if hall.inside(truth.LOOSE)[row].any():
            gone_s = (int(np.flatnonzero(body.there)[-1]) + 1) / world.FPS
            last_s = gone_s + truth.ENDED_S
            sure = bool(hall.inside(truth.TIGHT)[row].any()) and last_s < world.SECONDS
            due.append(Due("path", frozenset([row]), gone_s - 0.2, last_s, sure))
    return due


def _apart(time: float, stay: tuple[float, float]) -> float:
    """Return how far the end of a stay is from `time`, s."""
    return abs(stay[1] - time)


def _dwell_errors_s(bodies: list[world.Body], told: Told) -> list[float]:
    """Return by how much the dwell times of those who walked in and out are wrong."""
    hall = Place.of(world.HALL, bodies)
    errors = []
    for event in told.events:
        if isinstance(event, ZoneEvent) and event.change == "leave" and event.reason == "crossed":
            stays = truth.runs(hall.depths[told.body(event.track)] > 0)
            nearest = min(stays, key=partial(_apart, event.time), default=(0.0, 0.0))
            errors.append(abs(float(event.dwell_s or 0) - (nearest[1] - nearest[0])))
    return errors


def _path_errors(bodies: list[world.Body], told: Told) -> list[float]:
    """Return how far bodies were from the path that was told of them, in every frame of it."""
    errors: list[float] = []
    for event in told.events:
        if isinstance(event, TrajectoryEvent):
            x, y, times = np.asarray(event.points).T
            frames = np.arange(round(times[0] * world.FPS), round(times[-1] * world.FPS) + 1)
            where = bodies[told.body(event.track)].places[frames]
            told_x, told_y = (np.interp(frames / world.FPS, times, values) for values in (x, y))
            errors += np.hypot(told_x - where[:, 0], told_y - where[:, 1]).tolist()
    return errors
