"""The ledger: what a commit costs while history is kept and dropped, and what a full one takes to open and to read.

Commits of one count each, as at a line that is crossed, with every event acknowledged by another thread as the delivery
does it: first with nothing kept (`keep_days = 0`), then with a history that is at its bound, so that each event pushes
one out, then with nobody to look after it, so that commits make their own room. Then a ledger of many events is opened
as by a daemon that starts, shown and verified.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Options
from deploy.ledger import main as ledger_command
from edge import config
from edge.events import Count
from edge.tell.ledger import Ledger

EVENTS, QUICK_EVENTS = 1_000_000, 20_000
COMMITS, QUICK_COMMITS = 2000, 200
BATCH = 500  # events of a commit where only the size matters
PACE_S = 0.002  # between two commits: a disk that is never at rest measures itself
MIB, LARGE_MIB = 4, 1024
NAME = "archive"


def run(options: Options) -> dict[str, Any]:
    """Return milliseconds of commits and drops, and seconds to open, show and verify a ledger of `EVENTS`."""
    commits, events = (QUICK_COMMITS, QUICK_EVENTS) if options.quick else (COMMITS, EVENTS)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for case, days, tended in (("nothing_kept", 0, True), ("kept", 30, True), ("untended", 30, False)):
            limits = config.Ledger(max_mib=MIB, keep_days=days)
            figures |= _commits(Path(name) / case, limits, commits, tended=tended, prefix=case)
        figures |= _large(Path(name) / "large", events)
    return figures


def _commits(folder: Path, limits: config.Ledger, commits: int, *, tended: bool, prefix: str) -> dict[str, Any]:
    """Commit beside a thread that acknowledges, in a ledger that is as full as it gets."""
    ledger = Ledger(folder, limits, [NAME])
    while ledger._store.used(ledger._db) < ledger._store.pages * 0.45 and limits.keep_days:  # noqa: SLF001
        _deliver(ledger, ledger.commit([_count(n) for n in range(BATCH)])[-1].seq)
    times_ms: list[float] = []
    with _delivering(ledger, tended=tended) as dropped:
        for number in range(commits):
            time.sleep(PACE_S)
            began = time.perf_counter()
            ledger.commit([_count(number)])
            times_ms.append((time.perf_counter() - began) * 1000)
    identity = ledger.identity()
    ledger.close()
    return {
        f"{prefix}_commit_ms_median": float(np.median(times_ms)),
        f"{prefix}_commit_ms_p99": float(np.percentile(times_ms, 99)),
        f"{prefix}_commit_ms_max": max(times_ms),
        f"{prefix}_drops": len(dropped),
        f"{prefix}_drop_ms_median": float(np.median(dropped)) if dropped else 0.0,
        f"{prefix}_drop_ms_max": max(dropped, default=0.0),
        f"{prefix}_lost": identity.lost,
        f"{prefix}_holds": identity.holds,
    }


@contextlib.contextmanager
def _delivering(ledger: Ledger, *, tended: bool) -> Iterator[list[float]]:
    """Acknowledge in another thread whatever comes; yield the milliseconds of each drop of history there."""
    dropped: list[float] = []
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.001):
            rows = ledger.outbox.pending(ledger.outbox.floor, 16)
            if rows:
                ledger.outbox.acknowledge(NAME, ledger.stream, rows[-1].seq)
            if tended:
                began = time.perf_counter()
                if ledger.outbox.drop_history():
                    dropped.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield dropped
    finally:
        over.set()
        thread.join()


def _large(folder: Path, events: int) -> dict[str, Any]:
    limits = config.Ledger(max_mib=LARGE_MIB)
    ledger = Ledger(folder, limits, [NAME])
    for _ in range(0, events, BATCH):
        _deliver(ledger, ledger.commit([_count(n) for n in range(BATCH)])[-1].seq)
    used = ledger._store.used(ledger._db)  # noqa: SLF001
    queued_ms = min(_seconds(ledger.identity) for _ in range(20)) * 1000
    ledger.close()
    return {
        "large_events": events,
        "large_mib": used * 4096 / (1 << 20),
        "large_identity_ms": queued_ms,
        "large_open_s": min(_seconds(lambda: Ledger(folder, limits, [NAME]).close()) for _ in range(3)),
        "large_show_s": _seconds(lambda: _quiet("show", str(folder))),
        "large_verify_s": _seconds(lambda: _quiet("verify", str(folder))),
    }


def _quiet(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        ledger_command(arguments)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _deliver(ledger: Ledger, seq: int) -> None:
    ledger.outbox.pending(seq - 1, 1)
    ledger.outbox.acknowledge(NAME, ledger.stream, seq)


def _count(number: int) -> Count:
    return Count(
        time=number / 30, camera="door", frame=number, counter="door/person/left", track=number, position=(638.5, 402.0)
    )
