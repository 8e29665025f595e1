"""The loop: every frame is looked at, and whatever is decided is on disk before the next one.

frame -> labels -> regions -> looks -> instances -> tracks -> events -> ledger; verdicts that the labels suffice for go
from there straight to the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from edge.album import Album, Sight
from edge.events import Event, Verdict
from edge.governor import Governor
from edge.health import Health, Stopwatch
from edge.see.cameras import Camera
from edge.station import Stations
from edge.tell.accounts import Accounts
from edge.types import Frame, Gap, Moment

WAIT_S = 0.2  # how long the loop waits for a frame before it looks after other things
POLL_S = 0.01  # the same for several cameras together: none of them may hold up the others

Watcher = Callable[[Moment], None]


class EventSink(Protocol):
    """Where events become durable: the ledger."""

    def commit(self, events: Sequence[Event]) -> list[Event]:
        """Write `events` in one durable transaction and return them with their numbers."""
        ...


def run(
    cameras: dict[str, Camera],
    stations: Stations,
    ledger: EventSink,
    health: Health,
    *,
    governor: Governor | None = None,
    album: Album | None = None,
    accounts: Accounts | None = None,
    watchers: Iterable[Watcher] = (),
    frames: int | None = None,
    chores: Callable[[float], Sequence[Event]] = lambda _: (),
) -> None:
    """Look at every frame until the recordings end, `frames` frames were seen, or `health` says stop.

    The newest frames of all cameras are looked at together. `governor` is asked only where a camera is live: what is
    decided in recordings depends on no clock, and they wait. `album` has the pictures of what is decided,
    `accounts` says when a shift is over. `chores` is called before each round with its time, s monotonic, and returns
    what is to be told of what it did.
    """
    if not any(camera.live for camera in cameras.values()):
        governor = None
    commit = partial(_commit, ledger, health, stations.clocks, album)
    for seen in rounds(cameras, health, frames):
        now = _time_of(seen)
        over = accounts.due(now, health.blind) if accounts is not None else []
        if waiting := [*chores(now), *over, *stations.overdue()]:
            commit(waiting)
        for gap in (got for got in seen if isinstance(got, Gap)):
            commit(stations.blind(gap))
            health.gap(gap)
        taken = [got for got in seen if isinstance(got, Frame)]
        together, skipped = stations.sift(taken)
        if skipped:
            health.skip(skipped)
        if not together:
            continue
        watch = Stopwatch()
        spare = [cameras[frame.camera].live and health.waited for frame in together]
        moments = _decided(stations, together, spare, commit, watch)
        if governor is not None:
            changes = governor.govern(together[0], time.monotonic(), watch.total_ms)
            ledger.commit(changes)
            stations.effort, health.governor = governor.effort, governor.report()
        health.beat(moments, stations.report)
        for watcher in watchers:
            for moment in moments:
                watcher(moment)


def _decided(
    stations: Stations,
    frames: Sequence[Frame],
    spare: Sequence[bool],
    commit: Callable[[Sequence[Event], Sequence[Sight]], None],
    watch: Stopwatch,
) -> list[Moment]:
    """Return all that is known of `frames`, once what is decided in them is on disk.

    What needs no closer look is there before anything is looked at: a part at its gate does not wait for the others.
    """
    glances = []
    for glance in stations.glances(frames, watch, spare):
        if glance.early:
            commit(glance.early, [glance])
            watch.lap("ledger")
        glances.append(glance)
    moments = stations.look(glances, watch)
    commit([event for moment in moments for event in moment.events[moment.early :]], moments)
    watch.lap("ledger")
    return moments


def _time_of(seen: Sequence[Frame | Gap]) -> float:
    """Return the latest time of what a round begins with, s monotonic; now, where only live cameras have nothing."""
    times = [got.time if isinstance(got, Frame) else got.until for got in seen]
    return max(times) if times else time.monotonic()


def _commit(
    ledger: EventSink,
    health: Health,
    clocks: Mapping[str, Callable[[], float]],
    album: Album | None,
    events: Sequence[Event],
    sights: Sequence[Sight] = (),
) -> None:
    """Write `events`, decided by `sights`, and note what of them is on disk too late.

    `clocks` are those of the live cameras.
    """
    told = ledger.commit(events if album is None else album.illustrate(events, sights))
    passed = [event for event in told if isinstance(event, Verdict) and event.verdict == "PASS" and event.deadline]
    late = [event for event in passed if event.camera in clocks and clocks[event.camera]() > (event.deadline or 0)]
    health.committed(told, len(late))
    if album is not None:
        album.settle()
        health.evidence = album.report()


def rounds(cameras: dict[str, Camera], health: Health, frames: int | None) -> Iterable[list[Frame | Gap]]:
    """Yield what the cameras have at a time, at most one of each, until every recording has ended.

    Nothing is yielded, as a list without anything in it, where live cameras have nothing new.

    Recordings among themselves are waited for, so that the same frames always come together. Beside a live camera
    nothing is waited for as long as another camera has something.
    """
    playing = dict(cameras)
    replay = not any(camera.live for camera in cameras.values())
    seen, wait_s = 0, 0.0
    while playing and not health.stopping:
        together: list[Frame | Gap] = []
        for name, camera in list(playing.items()):
            if frames is not None and seen >= frames:
                break
            got = _awaited(camera, health) if replay else camera.read(wait_s)
            if got is not None:
                together.append(got)
                seen += isinstance(got, Frame)
            elif camera.ended:
                del playing[name]
        if together or not replay:
            yield together
        if frames is not None and seen >= frames:
            return
        wait_s = 0.0
        if not together:
            health.idle()
            wait_s = WAIT_S if len(playing) == 1 else POLL_S / max(1, len(playing))


def _awaited(camera: Camera, health: Health) -> Frame | Gap | None:
    """Return what comes next of a recording, however long it takes; None at its end, and when the loop is to stop."""
    got = camera.read(WAIT_S)
    while got is None and not (camera.ended or health.stopping):
        health.idle()
        got = camera.read(WAIT_S)
    return got
