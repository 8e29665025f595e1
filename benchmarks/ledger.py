"""The ledger: what a commit costs while history is kept and dropped, and what a full one takes to open and to read.

Commits of one count each, as at a line that is crossed, with every event acknowledged by another thread as the
delivery does it. Three ledgers in turn, commit by commit, so that the disk is the same for all: one that keeps nothing
that is delivered, one whose history is at its bound and is looked after, and one that nobody looks after, whose commits
make their own room. Then a ledger of many events is opened as by a daemon that starts, shown and verified.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
import time
from collections.abc import Callable
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
FULL = 0.49  # share of the file in use from which on the next commits have to make room
NAME = "archive"


CASES = {"nothing_kept": (0, True), "kept": (30, True), "untended": (30, False)}  # keep_days, whether it is tended


class _Case:
    """One ledger, the thread that acknowledges what it has, and what commits and drops took."""

    def __init__(self, folder: Path, keep_days: int, *, tended: bool) -> None:
        self.commits_ms: list[float] = []
        self.drops_ms: list[float] = []
        self.ledger = Ledger(folder, config.Ledger(max_mib=MIB, keep_days=keep_days), [NAME])
        store, db = self.ledger._store, self.ledger._db  # noqa: SLF001  a benchmark may look inside
        while keep_days and store.used(db) < FULL * store.pages:
            _deliver(self.ledger, self.ledger.commit([_count(n) for n in range(BATCH)])[-1].seq)
        self._tended, self._over = tended, threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def commit(self, number: int) -> None:
        """Commit one event."""
        began = time.perf_counter()
        self.ledger.commit([_count(number)])
        self.commits_ms.append((time.perf_counter() - began) * 1000)

    def close(self) -> dict[str, Any]:
        """End it, and return its figures."""
        self._over.set()
        self._thread.join()
        identity = self.ledger.identity()
        self.ledger.close()
        return {
            "commit_ms_median": float(np.median(self.commits_ms)),
            "commit_ms_p99": float(np.percentile(self.commits_ms, 99)),
            "commit_ms_least": min(self.commits_ms),
            "drops": len(self.drops_ms),
            "drop_ms_median": float(np.median(self.drops_ms)) if self.drops_ms else 0.0,
            "drop_ms_p99": float(np.percentile(self.drops_ms, 99)) if self.drops_ms else 0.0,
            "lost": identity.lost,
            "holds": identity.holds,
        }

    def _work(self) -> None:
        while not self._over.wait(PACE_S):
            rows = self.ledger.outbox.pending(self.ledger.outbox.floor, 16)
            if rows:
                self.ledger.outbox.acknowledge(NAME, self.ledger.stream, rows[-1].seq)
            began = time.perf_counter()
            if self._tended and self.ledger.outbox.drop_history():
                self.drops_ms.append((time.perf_counter() - began) * 1000)


def run(options: Options) -> dict[str, Any]:
    """Return milliseconds of commits and drops, and seconds to open, show and verify a ledger of `EVENTS`."""
    commits, events = (QUICK_COMMITS, QUICK_EVENTS) if options.quick else (COMMITS, EVENTS)
    figures: dict[str, Any] = {"commits": commits}
    with tempfile.TemporaryDirectory() as name:
        cases = {case: _Case(Path(name) / case, days, tended=tended) for case, (days, tended) in CASES.items()}
        for number in range(commits):
            for case in cases.values():
                time.sleep(PACE_S)
                case.commit(number)
        for name_of, case in cases.items():
            figures |= {f"{name_of}_{key}": value for key, value in case.close().items()}
        return figures | _large(Path(name) / "large", events)


def _large(folder: Path, events: int) -> dict[str, Any]:
    limits = config.Ledger(max_mib=LARGE_MIB)
    ledger = Ledger(folder, limits, [NAME])
    for _ in range(0, events, BATCH):
        _deliver(ledger, ledger.commit([_count(n) for n in range(BATCH)])[-1].seq)
    used = ledger._store.used(ledger._db)  # noqa: SLF001  a benchmark may look inside
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
