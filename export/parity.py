"""Decisions of the whole cascade: a site's rules on recordings, with the float models and with what the bundle runs.

Both sides are the daemon's own loop, as `foveate replay` runs it. An object has another number on either side, so the
two are brought together by where they are: tracks whose boxes overlap in most frames are of the same object.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from edge.boxes import overlaps
from edge.config import Config, load_config
from edge.errors import ConfigError
from edge.events import Count, Verdict
from edge.rehearsal import alone, is_live, with_sources
from edge.replay import STREAM
from edge.tell.clocks import clock_from
from edge.types import Boxes, Moment
from export.bounds import Parity

SAME_IOU = 0.5  # of the boxes of two tracks in one frame that vote for being the same object
NONE = "none"  # the verdict of a part that only the other side has seen
Key = tuple[str, int]  # camera and frame; or gate and track


@dataclass
class Played:
    """What one side decided, and where its tracks were."""

    counts: Counter[str] = field(default_factory=Counter)  # by counter
    verdicts: dict[Key, Verdict] = field(default_factory=dict)  # by gate and track
    places: dict[Key, tuple[npt.NDArray[np.int64], Boxes]] = field(default_factory=dict)  # ids and boxes by frame

    def __call__(self, moment: Moment) -> None:
        """Take note of one frame."""
        for event in moment.events:
            if isinstance(event, Count):
                self.counts[event.counter] += 1
            elif isinstance(event, Verdict):
                self.verdicts[event.gate, event.track] = event
        known = moment.tracks.ids > 0
        key = moment.frame.camera, moment.frame.index
        self.places[key] = moment.tracks.ids[known].copy(), moment.tracks.boxes[known].copy()


@dataclass
class Compared:
    """Both sides against each other."""

    figures: dict[str, float]
    flips: list[str]  # in words


def site_of(parity: Parity) -> Config:
    """Return the site's configuration with the recordings in the place of its cameras.

    Raises `ConfigError` where it cannot be read, has no such camera, or where a camera would still be live.
    """
    config = load_config(parity.config)
    unknown = parity.recordings.keys() - config.cameras.keys()
    if unknown:
        known = ", ".join(config.cameras)
        raise ConfigError(f"parity.recordings: {parity.config} has no camera {min(unknown)!r}; it has {known}")
    config = with_sources(config, [f"{name}={source}" for name, source in parity.recordings.items()])
    for name, camera in config.cameras.items():
        if camera.live or is_live(camera.source):
            raise ConfigError(
                f'parity.recordings: camera {name} of {parity.config} is live; name a recording, {name} = "FILE"'
            )
    return config


def play(config: Config, bundle: Path, frames: int) -> Played:
    """Run the loop of `config` with a bundle on its recordings to their end, or for `frames` frames."""
    from edge.daemon import Options, serve  # noqa: PLC0415  the device's engines are loaded only where they are used

    played = Played()
    start = clock_from(datetime.fromtimestamp(0, timezone.utc))
    given = Options(frames=frames, clock=start, stream=STREAM, pictures=False)
    with alone(msgspec.structs.replace(config, bundle=bundle)) as rehearsed:
        if serve(rehearsed, given, [played])["interrupted"]:
            raise KeyboardInterrupt
    return played


def compare(first: Played, second: Played) -> Compared:
    """Return what the float models (`first`) decided and the bundle (`second`) did not, or otherwise."""
    same = same_tracks(first, second)
    pairs = [(first.verdicts[key], second.verdicts.get((key[0], same.get(key[1], 0)))) for key in first.verdicts]
    taken = {(there.gate, there.track) for _, there in pairs if there is not None}
    alone_there = [verdict for key, verdict in second.verdicts.items() if key not in taken]
    flips = [_flip(here, there) for here, there in pairs if there is None or here.verdict != there.verdict]
    flips += [_flip(None, verdict) for verdict in alone_there]
    differ = [abs(first.counts[name] - second.counts[name]) for name in first.counts | second.counts]
    figures = {
        "parity_frames": len(first.places),
        "parity_counts_float": sum(first.counts.values()),
        "parity_counts_bundle": sum(second.counts.values()),
        "parity_counts_differ": max(differ, default=0),
        "parity_parts": len(pairs) + len(alone_there),
        "parity_verdicts_flipped": len(flips),
    }
    return Compared({key: float(value) for key, value in figures.items()}, flips)


def same_tracks(first: Played, second: Played) -> dict[int, int]:
    """Return the track of the second side that is of the same object as each of the first side's, where there is one.

    Every frame in which two boxes overlap by more than half is a vote; pairs with the most votes come first, and each
    track is in one of them.
    """
    votes: Counter[tuple[int, int]] = Counter()
    for key in first.places.keys() & second.places.keys():
        (ids, boxes), (others, other_boxes) = first.places[key], second.places[key]
        if len(ids) and len(others):
            rows, columns = np.nonzero(overlaps(boxes, other_boxes) > SAME_IOU)
            votes.update(zip(ids[rows].tolist(), others[columns].tolist(), strict=True))
    found: dict[int, int] = {}
    taken: set[int] = set()
    for (here, there), _ in sorted(votes.items(), key=lambda entry: (-entry[1], entry[0])):
        if here not in found and there not in taken:
            found[here] = there
            taken.add(there)
    return found


def _flip(here: Verdict | None, there: Verdict | None) -> str:
    """Return in words what the two sides say of one part."""
    part = here or there
    if part is None:
        return ""
    x, y = part.position
    said = [NONE if verdict is None else _reasons(verdict) for verdict in (here, there)]
    where = f"camera {part.camera}, frame {part.frame}, {part.label} at ({x:.0f}, {y:.0f})"
    return f"{where}: float {said[0]}, bundle {said[1]}"


def _reasons(verdict: Verdict) -> str:
    return f"{verdict.verdict} ({', '.join(verdict.reasons)})" if verdict.reasons else verdict.verdict
