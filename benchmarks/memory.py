"""A million objects through one process: does its memory grow?

The whole loop but the networks: a drawn belt with exact models (`benchmarks/drawn.py`), the real stations, tracker,
line, gate, audit and attention, the real ledger and delivery. A mosquitto and a receiver that acknowledges run beside
it; for `AWAY` of the objects the broker is gone, and the outbox fills to its cap.

NumPy keeps freed buffers: up to `KEPT` of each size below 1 KiB. Masks of all sizes fill that slowly, 3.2 MiB in all,
which would pass for a leak that ends only after a million objects: it is filled before.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import drawn
from benchmarks.broker import RECEIVER, Mosquitto, telling
from benchmarks.common import Options
from edge import config, memory
from edge.allowances import MIB
from edge.bundle import Model, Role
from edge.daemon import ID_BLOCK
from edge.health import Health
from edge.pipeline import run as run_loop
from edge.station import Stations
from edge.tell.delivery import Delivery
from edge.tell.ledger import Ledger
from edge.types import Moment

OBJECTS, QUICK_OBJECTS = 1_000_000, 30_000
WARM = 0.05  # share of the objects before the first sample that counts
AWAY = (0.2, 0.8)  # share of the objects from which, and up to which, there is no broker: telling takes most time
SAMPLES = 200
OUTBOX_MIB = 4
DRAIN_S = 60.0
KEPT, KEPT_BYTES = 7, 1024  # NumPy's NCACHE and NBUCKETS (numpy/_core/src/multiarray/alloc.c)


class _Watch:
    """Takes samples of the resident set, and the broker away in between."""

    def __init__(self, frames: int, broker: Mosquitto) -> None:
        self.samples: list[tuple[int, float]] = []  # objects so far, MiB
        self.most_mib = 0.0
        self._frames, self._broker, self._seen = frames, broker, 0
        self._every = max(1, frames // SAMPLES)

    def __call__(self, _: Moment) -> None:
        self._seen += 1
        if self._seen == int(AWAY[0] * self._frames):
            self._broker.stop()
        elif self._seen == int(AWAY[1] * self._frames):
            self._broker.start()
        if self._seen % self._every == 0:
            now_mib = memory.resident() / MIB
            self.most_mib = max(self.most_mib, now_mib)
            if self._seen >= WARM * self._frames:
                self.samples.append((self._seen * drawn.COLUMNS * drawn.ROWS, now_mib))


def run(options: Options) -> dict[str, Any]:
    """Return objects, counts against the truth, and resident memory: at both ends, its slope, and the ceiling."""
    cv2.setNumThreads(1)
    objects = QUICK_OBJECTS if options.quick else OBJECTS
    frames = -(-objects // (drawn.COLUMNS * drawn.ROWS))
    with tempfile.TemporaryDirectory() as name, telling(Path(name)) as broker:
        return _run(Path(name) / "state", broker, frames, options.seed)


def _run(state: Path, broker: Mosquitto, frames: int, seed: int) -> dict[str, Any]:
    mqtt = config.Mqtt(port=broker.port, receivers=[RECEIVER], drain_s=DRAIN_S)
    rules = drawn.settings(state, ["belt"], mqtt=mqtt, ledger=config.Ledger(max_mib=OUTBOX_MIB))
    ledger = Ledger(state, rules.ledger, [RECEIVER])
    ids, sizes = _ids(ledger), {"belt": drawn.SIZE}
    stations = Stations(rules, drawn.models(), sizes, lambda: next(ids))
    health = Health()
    delivery = Delivery(rules, ledger, health.state)
    models: dict[Role, Model] = {"semantic": drawn.semantic_model(), "instance": drawn.instance_model()}
    ceiling_mib = memory.claim(rules, models, sizes)
    belt, watch = drawn.Belt("belt", frames, seed), _Watch(frames, broker)
    _fill_cache()
    delivery.start()
    health.on_beat(delivery.check)
    begin = time.perf_counter()
    run_loop({"belt": belt}, stations, ledger, health, watchers=[watch])
    took_s = time.perf_counter() - begin
    drained = delivery.stop(DRAIN_S)
    identity = ledger.identity()
    ledger.close()
    where = f"{identity.counted} = {identity.delivered} + {identity.queued} + {identity.lost}"
    return {
        "objects": frames * drawn.COLUMNS * drawn.ROWS,
        "frames": frames,
        "ms_per_frame": took_s / frames * 1000,
        **_counts(belt, health),
        "ledger": where,
        "ledger_holds": identity.holds,
        "drained": drained,
        **_growth(watch, ceiling_mib),
    }


def _fill_cache() -> None:
    """Have NumPy keep as many small buffers as it ever will."""
    for size in range(1, KEPT_BYTES):
        kept = [np.empty(size, np.uint8) for _ in range(KEPT)]
        del kept


def _counts(belt: drawn.Belt, health: Health) -> dict[str, Any]:
    verdicts = sum(health.verdicts.values())
    return {
        "counted": sum(health.counted.values()),
        "counted_true": belt.counted,
        "judged": verdicts,
        "judged_true": belt.judged,
        "rejected": sum(number for name, number in health.verdicts.items() if name.endswith("REJECT")),
        "rejected_true": belt.judged_flawed,
    }


def _growth(watch: _Watch, ceiling_mib: int) -> dict[str, Any]:
    """Return resident memory after the warm-up and at the end, and the slope of the line through all in between."""
    at, mib = np.asarray(watch.samples).T
    slope = float(np.polyfit(at / OBJECTS, mib, 1)[0])
    third = max(1, len(mib) // 3)
    return {
        "rss_warm_mib": float(mib[0]),
        "rss_end_mib": float(mib[-1]),
        "rss_most_mib": watch.most_mib,
        "slope_mib_per_million": slope,
        "last_third_less_first_mib": float(np.median(mib[-third:]) - np.median(mib[:third])),
        "ceiling_mib": ceiling_mib,
    }


def _ids(ledger: Ledger) -> Iterator[int]:
    """Yield ids as the daemon does: reserved on the disk in blocks."""
    for _ in count():
        first = ledger.reserve_ids(ID_BLOCK)
        yield from range(first, first + ID_BLOCK)
