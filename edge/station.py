"""What one camera needs between a frame and its events; frames that are looked at together share the canvases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.boxes import CORNERS
from edge.config import Config, class_numbers
from edge.decide.rules import Rules
from edge.decide.tracks import Tracker
from edge.events import Count, Event, GapEvent
from edge.health import CameraReport, Stopwatch
from edge.identity import Identity
from edge.marking import marked
from edge.models import Models
from edge.see.attention import NOTHING, Candidates, Chooser
from edge.see.audit import Audit
from edge.see.regions import NO_SPOTS, Painter, find_regions, foreground, scaled, wanted, widened
from edge.see.zones import ZoneMap
from edge.site_checks import check_names, check_places
from edge.together import glances_of, look_closer
from edge.types import FULL, Effort, Frame, Gap, Image, Instances, Labels, Looks, Moment, Regions, Seen, Tracks

__all__ = ["Glance", "Models", "Station", "Stations"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What the semantic pass tells of one frame, before anything in it is looked at."""

    frame: Frame
    labels: Labels
    found: Image  # (h, w) of label size: the foreground
    regions: Regions
    candidates: Candidates
    effort: Effort
    tracks: Tracks  # where they are expected
    early: list[Event]  # decided by that alone
    brief: bool  # a live camera will show a part at its gate in the next frame, and that is not to wait for this one


class Station:
    """Everything that one camera needs between a frame and its events."""

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        config: Config,
        models: Models,
        new_id: Callable[[], int],
        clock: Callable[[], float] | None = None,
        told: Sequence[Count] = (),
        *,
        inspecting: bool = False,
    ) -> None:
        """`size` is the camera's (width, height); `clock` is that of a live one, s, monotonic.

        `told` are counts of earlier processes, the newest first.
        `inspecting` says that nothing is counted: each frame is told what its parts would be told now.
        Raises `ConfigError` on a class or point that is not there.
        """
        check_names(config, models.semantic_classes, models.instance_classes, models.defects)
        check_places(config, name, size)
        self._config = config
        self._models = models
        self._size = size
        self._wanted = wanted(config.regions.classes, models.semantic_classes)
        self._regions = scaled(config.regions, config.cameras[name].mm_per_px)
        self._zones = ZoneMap([zone for zone in config.zones if zone.camera == name])
        canvas = models.instances.size
        self._attention = Chooser(config.attention, size, canvas, at_border=config.tracks.at_border)
        self._audit = Audit(
            config.audit,
            size,
            canvas,
            config.attention.canvases,
            models.instance_classes,
            config.tracks.confirm_looks,
        )
        again = None if inspecting else config.tracks.reidentify  # reference pictures show nobody who left
        self._identity = Identity(again, config.tracks.motion, models, size, new_id)
        self._tracker = _tracker(config, name, models, size, self._identity.tracker_id)
        here = [count for count in told if count.camera == name]
        self._rules = Rules(config, name, models.instance_classes, models.defects, clock, models.semantic_classes, here)
        self._painter = Painter()
        self._inspecting, self._live = inspecting, clock is not None
        self.doubted = ""  # why nobody can vouch for the models, while it is so
        self._slighted: set[int] = set()  # keys of tracks that were there while less was looked at
        self._last: int | None = None
        self._spots = NO_SPOTS  # of the last frame
        self._tracks: Tracks | None = None

    def report(self, moment: Moment) -> CameraReport:
        """Return what is to be told of this camera after `moment`."""
        return CameraReport(
            tracks=int(np.count_nonzero(moment.tracks.ids)),
            tiles=len(self._attention.tiles),
            waiting=self._attention.waiting,
            waiting_frames=self._attention.waiting_frames,
            audit=self._audit.report,
            bars=self._rules.bars(self._audit.upper),
            zones=moment.zones,
            alerts=Counter(alert.rule for alert in moment.alerts),
            encoder=self._tracker.fault,
        )

    def see(self, frame: Frame, watch: Stopwatch, *, spare: bool = False) -> Moment:
        """Return all that is known of `frame`; `watch` takes each stage's time, `spare` says that time was left."""
        glances = list(glances_of([self], [frame], self._models, watch, [spare], FULL))
        return look_closer([self], glances, self._models, self._config.attention, watch, FULL)[0]

    def glance(
        self, frame: Frame, see: Callable[[], Labels], watch: Stopwatch, effort: Effort, *, spare: bool
    ) -> Glance:
        """Return what the semantic pass, `see`, tells of `frame`, and what is worth a look in it within `effort`."""
        labels = see()
        watch.lap("semantic")
        rules = widened(self._regions) if self._audit.alarm else self._regions
        found = foreground(labels, self._wanted, rules.confidence)
        elapsed = 1 if self._last is None else max(1, frame.index - self._last)
        self._last = frame.index
        expected = self._identity.expected(self._tracker.predict(found, labels.scale, elapsed, frame.ticks))
        early = self._marked(self._rules.early(frame, expected, self._tracker.ticks), effort)
        explained = self._painter(expected.masks, expected.boxes, found.shape, labels.scale)
        before = self._spots + self._tracker.shift[CORNERS]
        inside = self._zones(found, labels.scale)
        regions = find_regions(inside, explained, labels.scale, rules, self._size, before)
        self._spots = regions.boxes.astype(np.float32)
        watch.lap("regions")
        brief = self._live and self._rules.awaits(expected)
        tile = NOTHING
        if effort.audit:
            tile = self._audit.tile(frame.index, spare=spare and effort.full, brief=brief)
        pressed = effort.deadlines or self._attention.waiting > 0 or not len(expected)
        stakes = self._rules.stakes(expected, pressed=pressed)
        candidates = self._attention.candidates(
            frame.index, regions, expected, self._tracker.shift, tile, effort, stakes
        )
        watch.lap("attention")
        return Glance(frame, labels, found, regions, candidates, effort, expected, early, brief)

    def decide(self, glance: Glance, looks: Looks, instances: Instances, watch: Stopwatch) -> Moment:
        """Return all that is known of the frame, now that `looks` have shown `instances` in it."""
        frame, labels = glance.frame, glance.labels
        self._attention.settle(frame.index, looks)
        watch.lap("attention")
        tracks, ended = self._tracker.update(instances, looks)
        tracks, returned = self._identity.of(frame, instances, tracks)
        self._attention.follow(instances, tracks)
        slighted, self._tracks = self._slighted_ids(), tracks  # some of them have ended
        if self._slighted or not glance.effort.full:
            there = set(tracks.keys.tolist())
            self._slighted = self._slighted & there if glance.effort.full else there
        watch.lap("tracks")
        seen = Seen(frame, glance.found, labels.scale, instances, tracks, ended, labels.classes, self._tracker.ticks)
        told = returned + self._identity.renamed(self._tracker.told(frame))
        events = self._rules.inspect(seen) if self._inspecting else told + self._rules.decide(seen)
        watch.lap("rules")
        events += self._audit.judge(seen, glance.candidates.audited)
        watch.lap("audit")
        told = [*glance.early, *self._marked(events, glance.effort, slighted)]
        return Moment(
            frame,
            labels,
            glance.regions,
            looks,
            instances,
            tracks,
            told,
            watch.stages_ms,
            self._rules.inside(),
            self._rules.alerts(),
            len(glance.early),
        )

    def blind(self, gap: Gap, effort: Effort) -> list[Event]:
        """Return what a time without sight means, and forget all tracks: what is there now need not be what was."""
        told = GapEvent(
            time=gap.until, camera=gap.camera, frame=gap.index, since=gap.since, until=gap.until, reason=gap.reason
        )
        events: list[Event] = [told]
        if self._tracks is not None:
            events += self._rules.blind(gap, self._tracks)
        marked = self._marked(events, effort)
        self._tracker.reset()
        self._identity.blind()
        self._attention.reset()
        self._audit.reset()
        self._spots, self._tracks = NO_SPOTS, None
        self._slighted.clear()
        return marked

    def overdue(self, effort: Effort) -> list[Event]:
        """Return what cannot wait any longer for a camera that is silent."""
        return self._marked(self._rules.overdue(), effort)

    def _marked(self, events: Sequence[Event], effort: Effort, before: Collection[int] = ()) -> list[Event]:
        """Return `events` with what else is to be known of them: not of real cameras, decided with less `effort`.

        `before` are the ids of tracks of the frame before that were there while less was looked at.
        """
        slighted = self._slighted_ids().union(before)
        return marked(events, self._config, slighted, self.doubted, degraded=not effort.full)

    def _slighted_ids(self) -> set[int]:
        """Return the ids of tracks that were there while less was looked at."""
        if self._tracks is None or not self._slighted:
            return set()
        return set(self._tracks.ids[np.isin(self._tracks.keys, list(self._slighted))].tolist())


def _tracker(config: Config, name: str, models: Models, size: tuple[int, int], new_id: Callable[[], int]) -> Tracker:
    """Return the tracker of camera `name`, with frames of `size` (width, height)."""
    known = models.instance_classes
    followed = class_numbers(config.tracks.classes or known[1:], known, "tracks.classes")
    return Tracker(config.tracks, followed, len(known), size, new_id, config.cameras[name].px_per_tick)


class Stations:
    """The stations of all cameras: frames that are there at the same time share the canvases.

    `effort` is what the governor leaves, everything where there is none; it changes between rounds only.
    """

    def __init__(
        self,
        config: Config,
        models: Models,
        sizes: Mapping[str, tuple[int, int]],
        new_id: Callable[[], int],
        clocks: Mapping[str, Callable[[], float]] | None = None,
        told: Sequence[Count] = (),
    ) -> None:
        """`sizes` are the (width, height) of the cameras' frames, by name; raises `ConfigError` as `Station` does.

        `clocks` are those of the live cameras among them, s, monotonic; `told` as in `Station`.
        """
        self._rules = config.attention
        self._models = models
        self.clocks = clocks or {}
        self._stations = {
            name: Station(name, size, config, models, new_id, self.clocks.get(name), told)
            for name, size in sizes.items()
        }
        self.effort = FULL
        self.coarse = models.coarse is not None  # there is a coarser semantic input
        self._given = {name: i for i, name in enumerate(sizes)}  # frames so far, so that cameras are skipped in turns
        models.instances.reserve(len(sizes) * (config.attention.canvases + 1))  # each may have a piece audited

    def sift(self, frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
        """Return those of `frames`, at most one of each camera, that are to be looked at, and those that are not."""
        both: tuple[list[Frame], list[Frame]] = [], []
        for frame in frames:
            self._given[frame.camera] += 1
            both[self._given[frame.camera] % self.effort.every > 0].append(frame)
        return both

    def see(self, frames: Sequence[Frame], watch: Stopwatch, spare: Sequence[bool]) -> list[Moment]:
        """Return all that is known of `frames`, at most one of each camera; `spare` says for each if time was left."""
        return self.look(list(self.glances(frames, watch, spare)), watch)

    def glances(self, frames: Sequence[Frame], watch: Stopwatch, spare: Sequence[bool]) -> Iterator[Glance]:
        """Yield what the semantic pass alone tells of each of `frames`; `watch` and `spare` as in `see`."""
        return glances_of(self._of(frames), frames, self._models, watch, spare, self.effort)

    def look(self, glances: Sequence[Glance], watch: Stopwatch) -> list[Moment]:
        """Return all that is known of the frames of `glances`, now that what is worth a look gets one."""
        stations = self._of([glance.frame for glance in glances])
        return look_closer(stations, glances, self._models, self._rules, watch, self.effort)

    def _of(self, frames: Sequence[Frame]) -> list[Station]:
        return [self._stations[frame.camera] for frame in frames]

    def blind(self, gap: Gap) -> list[Event]:
        """Return what a time without sight of one camera means."""
        return self._stations[gap.camera].blind(gap, self.effort)

    def overdue(self) -> list[Event]:
        """Return what cannot wait any longer for live cameras that are silent."""
        return [event for name in self.clocks for event in self._stations[name].overdue(self.effort)]

    def doubt(self, reason: str) -> None:
        """Let nothing pass from now on, for `reason`; an empty one lets it again."""
        for station in self._stations.values():
            station.doubted = reason

    def report(self, moment: Moment) -> CameraReport:
        """Return what is to be told of the camera of `moment`."""
        return self._stations[moment.frame.camera].report(moment)
