"""Counts of the belt against the truth over many seeds, with frames dropped and processes begun anew.

Parts touch, overlap, stop and go back. Of the frames a share is dropped at random, as a camera's ring drops them. In
every other seed everything that the process remembers is thrown away once, and the next one goes on with the next frame
and the same ledger. A bar is judged per seed and counter: the sum of the bars of its processes. Its nominal rate is the
95 % of the audit's bound. What is off is contested where at least as many events said so of the same counter.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Options
from benchmarks.loop import belt_frames, belt_models
from edge.config import Config
from edge.config import Ledger as Limits
from edge.decide.counting import Bar
from edge.events import Contested, Count
from edge.health import Stopwatch
from edge.station import Models, Station
from edge.tell.ledger import Ledger
from edge.types import Frame
from examples.belt.belt import COUNT_LINE_X, crossings
from examples.belt.score import PIXEL_CENTRE

FIRST_SEED, SEEDS, FRAMES = 300, 20, 2000  # seeds of this benchmark alone: nothing was trained or chosen on them
DROPPED = 0.05  # share of the frames
RESTART = (0.3, 0.7)  # share of the frames between which the process of every other seed begins anew


@dataclass
class _Run:
    """What was counted of one seed."""

    true: Counter[str]
    counted: Counter[str] = field(default_factory=Counter)
    contested: Counter[str] = field(default_factory=Counter)
    doubts: Counter[tuple[str, str]] = field(default_factory=Counter)  # the same by counter and error
    bars: dict[str, Bar] = field(default_factory=dict)
    restarts: int = 0
    dropped: int = 0
    falls: int = 0  # totals of the ledger that were lower than before

    def off(self) -> int:
        """Return by how many the counters are off."""
        return sum(abs(self.counted[name] - self.true[name]) for name in self.true | self.counted)

    def uncontested(self) -> int:
        """Return by how many more than was contested."""
        return sum(
            max(0, self.true[name] - self.counted[name] - self.doubts[name, "missed"])
            + max(0, self.counted[name] - self.true[name] - self.doubts[name, "doubled"])
            for name in self.true | self.counted
        )

    def close(self, station: Station, last: Any) -> None:
        """Add the bars of a process that ends."""
        for name, (low, high) in station.report(last).bars.items():
            low0, high0 = self.bars.get(name, (0, 0))
            self.bars[name] = low0 + low, None if high is None or high0 is None else high0 + high


def run(options: Options) -> dict[str, Any]:
    """Return counts against truth, contested ones, and how often the bars cover the truth."""
    seeds, frames = (2, 300) if options.quick else (SEEDS, FRAMES)
    with belt_models() as (config, models):
        runs = [_run(config, models, FIRST_SEED + options.seed + i, frames, i % 2 == 0) for i in range(seeds)]
    return _figures(runs, frames)


def _run(config: Config, models: Models, seed: int, frames: int, restart: bool) -> _Run:
    rng = np.random.default_rng(seed)
    found = _Run(Counter(f"count/{part.kind}" for part in crossings(seed, frames, COUNT_LINE_X - PIXEL_CENTRE)))
    again = int(rng.uniform(*RESTART) * frames) if restart else frames
    ids = count(1)
    with tempfile.TemporaryDirectory() as folder:
        station, ledger = _process(config, models, ids, Path(folder))
        last = None
        for frame in _some(belt_frames(config, seed, frames), rng, found):
            if frame.index >= again and not found.restarts:
                found.close(station, last)
                before = dict(ledger.totals())
                ledger.close()
                station, ledger = _process(config, models, ids, Path(folder))
                found.restarts += 1
                found.falls += sum(ledger.totals()[name] < total for name, total in before.items())
            last = station.see(frame, Stopwatch())
            for event in ledger.commit(last.events):
                if isinstance(event, Count):
                    found.falls += event.total <= found.counted[event.counter]
                    found.counted[event.counter] += 1
                elif isinstance(event, Contested):
                    found.contested[event.why] += 1
                    found.doubts[event.counter, event.error] += 1
        found.close(station, last)
        ledger.close()
    return found


def _process(config: Config, models: Models, ids: Iterator[int], folder: Path) -> tuple[Station, Ledger]:
    size = config.cameras["belt"].size or (0, 0)
    ledger = Ledger(folder, Limits(), [])
    return Station("belt", size, config, models, lambda: next(ids), told=ledger.newest_counts()), ledger


def _some(frames: Iterator[Frame], rng: np.random.Generator, found: _Run) -> Iterator[Frame]:
    """Yield most of `frames`; each says how many before it were dropped."""
    dropped = 0
    for frame in frames:
        if rng.random() < DROPPED:
            dropped += 1
            continue
        found.dropped += dropped
        yield replace(frame, dropped=dropped)
        dropped = 0


def _figures(runs: list[_Run], frames: int) -> dict[str, Any]:
    true, counted = (sum((getattr(one, name) for one in runs), Counter[str]()) for name in ("true", "counted"))
    off = [one.off() for one in runs]
    contested = sum((one.contested for one in runs), Counter[str]())
    bars = [(bar, one.true[name], one.counted[name]) for one in runs for name, bar in one.bars.items()]
    bounded = [(low, high, truth, total) for (low, high), truth, total in bars if high is not None]
    return {
        "seeds": len(runs),
        "frames": frames * len(runs),
        "frames_dropped": sum(one.dropped for one in runs),
        "restarts": sum(one.restarts for one in runs),
        "parts_true": true.total(),
        "parts_counted": counted.total(),
        "off": sum(off),
        "off_uncontested": sum(one.uncontested() for one in runs),
        "off_with_a_restart": sum(one.off() for one in runs if one.restarts),
        "count_error": round(sum(off) / true.total(), 5),
        "count_error_of_all": round(abs(counted.total() - true.total()) / true.total(), 5),
        "count_error_worst_seed": round(max(o / one.true.total() for o, one in zip(off, runs, strict=True)), 5),
        **{f"contested_{why}": contested[why] for why in ("lost", "appeared", "unconfirmed", "again")},
        "bars": len(bars),
        "bars_with_a_bound": len(bounded),
        "bars_that_cover": sum(low <= truth <= high for low, high, truth, _ in bounded),
        "bars_width_mean": round(float(np.mean([high - low for low, high, *_ in bounded] or [0])), 2),
        "bars_width_share": round(sum(high - low for low, high, *_ in bounded) / max(1, counted.total()), 4),
        "totals_that_fell": sum(one.falls for one in runs),
    }
