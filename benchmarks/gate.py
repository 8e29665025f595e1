"""The gate under faults: a camera that stalls or freezes, engines four times as slow, a process that is killed.

The belt comes before a live camera whose time stands still while a picture is drawn, and otherwise is that of this
machine; the loop, the engines and the ledger on disk are the daemon's. The killed process is the daemon itself, over
recordings. What is told is held against the renderer's truth: when each part was at the gate and at the ejector, and
what was wrong with it. After every commit a second connection reads the ledger's file and checks its identities.

The trigger of a verdict is the time at which the frame was taken that shows its part at the gate. From there to the
verdict on disk three things take time: the loop may still be at the frame before; the semantic pass, tracks and rules
say that it is there; the ledger writes.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.common import ROOT, Options
from benchmarks.gate_belt import Clock, LiveBelt, parts_of, percentile, within
from benchmarks.loop import belt_config
from benchmarks.slowed import slowed_models
from edge.config import Config
from edge.events import Arrival, Event, GapEvent, Verdict
from edge.health import Health
from edge.pipeline import run as run_loop
from edge.station import Stations
from edge.tell.ledger import Ledger
from edge.tell.schema import LAWS
from edge.types import Moment
from examples.belt.belt import FPS, GATE_LINE_X

FRAMES, QUICK_FRAMES = 2250, 300  # of each trial: some 550 parts at the gate
FIRST_S = 4.0  # of the belt: parts are at the gate by then
SEED = 300  # of the first trial, with the option's: no threshold was chosen on it
SLOWER = 4.0
IDENTITIES = ("seen = passed + rejected + reviewed + expired + under way", "counted = delivered + queued + lost")
TIMED = {"stall": (10.0, 6.5), "slow": (10.0, 8.0), "frozen": (8.0, 3.0)}  # s: one fault in so long a time, for so long
KILLED_AFTER = 25  # verdicts
GONE_FRAMES = 45  # that pass while nobody is there


@dataclass
class Told:
    """What one trial told, and what its ledger said from outside."""

    events: list[tuple[Event, float]] = field(default_factory=list)  # with the time it was on disk, s
    waits_ms: list[tuple[float, float, float]] = field(
        default_factory=list
    )  # until it was handed over, decided, on disk
    commits: int = 0
    broken: int = 0  # commits after which an identity did not hold
    early: int = 0  # verdicts that were on disk before anything in their frame was looked at
    stages_ms: dict[str, float] = field(default_factory=dict)  # medians of the loop

    def watch(self, moment: Moment) -> None:
        """Note what was decided early."""
        self.early += moment.early


class Witness:
    """A ledger whose every commit is checked from outside."""

    def __init__(self, ledger: Ledger, folder: Path, clock: Clock, told: Told) -> None:
        self.camera: LiveBelt | None = None
        self._ledger, self._clock, self._told = ledger, clock, told
        self._file = sqlite3.connect(folder / "ledger.db")

    def commit(self, events: Sequence[Event]) -> list[Event]:
        """Commit, note when, and look at the file."""
        asked_s = self._clock()
        done = self._ledger.commit(events)
        self._clock.pause()
        now_s = self._clock()
        if events:
            self._told.commits += 1
            self._told.broken += not sound(self._file)
            self._told.events += [(event, now_s) for event in done]
        if self.camera is not None:
            at_s = self.camera.handed_s, asked_s, now_s
            self._told.waits_ms += [_waits_ms(event.time, *at_s) for event in done if _judged(event)]
        self._clock.go()
        return done


def run(options: Options) -> dict[str, Any]:
    """Return what the gate said of the parts without a fault and with each, and how soon.

    Defective are the parts that are so by truth and were judged: what nobody saw at the gate cannot pass there either.
    """
    frames = QUICK_FRAMES if options.quick else FRAMES
    rules = belt_config()
    figures: dict[str, Any] = {}
    for number, fault in enumerate(("none", *TIMED, "killed")):
        seed = SEED + options.seed + number
        told = _killed(rules, seed, frames) if fault == "killed" else _timed(rules, seed, frames, fault)
        figures |= {f"{fault}_{name}": value for name, value in _figures(rules, told, seed, frames, fault).items()}
    faults = (*TIMED, "killed")
    for name in ("parts", "passed_late", "passed_uninspected", "identity_broken", "commits", "defective", "escaped"):
        figures[f"faults_{name}"] = sum(figures[f"{fault}_{name}"] for fault in faults)
    for case in ("none", "faults"):
        figures[f"{case}_escape_rate"] = figures[f"{case}_escaped"] / max(1, figures[f"{case}_defective"])
    return figures


def _timed(rules: Config, seed: int, frames: int, fault: str) -> Told:
    """Run the belt with one kind of fault again and again, in the clock's own time."""
    every_s, lasts_s = TIMED.get(fault, (1e9, 0.0))
    windows = [(begin, begin + lasts_s) for begin in _steps(FIRST_S + 2.0, frames / FPS, every_s)]
    at = {name: windows if name == fault else [] for name in TIMED}
    clock, told, health = Clock(FIRST_S), Told(), Health()

    def rest(seconds: float) -> None:
        if within(clock() - seconds, at["slow"]):
            clock.skip(seconds * (SLOWER - 1))

    with tempfile.TemporaryDirectory() as folder, slowed_models(rules, rest) as models:
        ledger = Ledger(Path(folder), rules.ledger, [])
        witness = Witness(ledger, Path(folder), clock, told)
        camera = witness.camera = LiveBelt(seed, clock, frames, at["stall"], at["frozen"])
        stations = Stations(rules, models, {"belt": camera.size}, count(1).__next__, {"belt": clock})
        run_loop({"belt": camera}, stations, witness, health, watchers=[told.watch])
        ledger.close()
    told.stages_ms = health.state()["ms"]
    return told


def _killed(rules: Config, seed: int, frames: int) -> Told:
    """Run the daemon over the belt, kill it again and again, and start it where the belt is by then.

    The belt waits for it: what is decided in a frame is on disk before the next one: then it counts as told.
    """
    told, start = Told(), int(FIRST_S * FPS)
    with tempfile.TemporaryDirectory() as name:
        folder, starts = Path(name), list[tuple[int, int]]()  # last number before a run, and its first frame
        while start < frames:
            starts.append((_last_seq(folder), start))
            daemon = _daemon(rules, folder, seed, start, frames)
            start += _watched(folder, daemon, told) + GONE_FRAMES
        told.events = [(event, (event.frame + 1) / FPS) for event in _numbered(folder, starts)]
    return told


def _daemon(rules: Config, folder: Path, seed: int, start: int, frames: int) -> subprocess.Popen[bytes]:
    stream = ["{python}", "-m", "examples.belt.stream", "--seed", f"{seed}", "--start", f"{start}", "--demand"]
    camera = msgspec.structs.replace(rules.cameras["belt"], command=[*stream, "--frames", f"{frames}"])
    config = msgspec.structs.replace(rules, state=folder / "state", cameras={"belt": camera})
    path = folder / "config.json"
    path.write_bytes(msgspec.json.encode(config, enc_hook=str))
    return subprocess.Popen([sys.executable, "-m", "edge", str(path)], cwd=ROOT, stderr=subprocess.DEVNULL)


def _watched(folder: Path, daemon: subprocess.Popen[bytes], told: Told) -> int:
    """Read the ledger until enough was said, kill the daemon in mid-work; return how many frames it saw at least."""
    before = last = _last_seq(folder)
    first: int | None = None
    while daemon.poll() is None:
        time.sleep(0.01)
        seq = _last_seq(folder)
        if seq > last:
            last, told.commits = seq, told.commits + 1
            with contextlib.closing(sqlite3.connect(folder / "state" / "ledger.db")) as file:
                told.broken += not sound(file)
                judged = _judged_parts(file)
            first = judged if first is None else first
            if judged - first >= KILLED_AFTER:
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()
    return max((event.frame for event in _events(folder, before)), default=0)


def _figures(rules: Config, told: Told, seed: int, frames: int, fault: str) -> dict[str, Any]:
    parts = parts_of(seed, frames, GATE_LINE_X, rules.gates[0].ejector_px or 0.0)
    told_of, pairs = set[int](), list[tuple[Verdict, float, int]]()
    for event, at_s in told.events:
        if _judged(event) and isinstance(event, Verdict):
            part = parts.at(event.frame, event.position, told_of)
            if part is not None:
                told_of.add(part.id)
                pairs.append((event, at_s, part.id))
    passed = [(verdict, at_s, part) for verdict, at_s, part in pairs if verdict.verdict == "PASS"]
    first = FIRST_S * FPS
    there = [part for part in parts.at_gate.values() if first + FPS < part.frame < frames]
    errors_ms = [
        ((verdict.deadline or 0.0) - parts.ejected[part] / FPS) * 1000
        for verdict, _, part in pairs
        if verdict.deadline and fault != "killed"
    ]
    said = Counter(event.verdict for event, _ in told.events if isinstance(event, Verdict))
    arrivals = sum(isinstance(event, Arrival) for event, _ in told.events)
    return {
        "parts": len(there),
        "said": " ".join(f"{name}:{number}" for name, number in sorted(said.items())),
        "seen_less_verdicts": arrivals - sum(said.values()),
        "not_seen_at_the_gate": sum(part.id not in told_of for part in there),
        "passed_late": sum(at_s > parts.ejected[part] / FPS for _, at_s, part in passed),
        "passed_uninspected": _uninspected(told, rules.gates[0].min_looks),
        "defective": sum(bool(parts.at_gate[part].defects) for _, _, part in pairs),
        "escaped": sum(bool(parts.at_gate[part].defects) for _, _, part in passed),
        "commits": told.commits,
        "identity_broken": told.broken,
        "late": sum(isinstance(event, Verdict) and event.late for event, _ in told.events),
        "judged_early": told.early,
        **_latency(told, [at_s - parts.at_gate[part].frame / FPS for _, at_s, part in pairs]),
        "deadline_error_p50_ms": percentile([abs(ms) for ms in errors_ms], 50),
        "deadline_error_p95_ms": percentile([abs(ms) for ms in errors_ms], 95),
    }


def _waits_ms(taken_s: float, handed_s: float, asked_s: float, done_s: float) -> tuple[float, float, float]:
    """Return what a verdict waited for, milliseconds: the loop, its decision, the disk."""
    return (handed_s - taken_s) * 1000, (asked_s - handed_s) * 1000, (done_s - asked_s) * 1000


def _latency(told: Told, after_truth_s: Sequence[float]) -> dict[str, float]:
    """Return from trigger to verdict on disk, what that consists of, and how long after a part truly was there."""
    if not told.waits_ms:  # a killed daemon plays a recording: nothing waits
        return {}
    columns = dict(zip(("loop", "decision", "disk"), zip(*told.waits_ms, strict=True), strict=True))
    columns["trigger"] = tuple(map(sum, told.waits_ms))
    columns["truth"] = tuple(1000 * after_s for after_s in after_truth_s)
    waits = {f"{name}_p{share}_ms": percentile(ms, share) for name, ms in columns.items() for share in (50, 99)}
    return waits | {f"round_{stage}_p50_ms": ms for stage, ms in told.stages_ms.items()}


def _judged(event: Event) -> bool:
    """Tell whether `event` was decided as its part was seen at the gate."""
    seen = isinstance(event, Verdict) and event.verdict != "EXPIRED"
    return seen and not any(r.startswith(("camera", "nothing", "crossing")) for r in getattr(event, "reasons", ()))


def _uninspected(told: Told, least: int) -> int:
    """Return how many parts passed with too few looks, or had arrived before the camera was last blind."""
    arrived, found = set[int](), 0
    for event, _ in told.events:
        if isinstance(event, GapEvent):
            arrived.clear()
        elif isinstance(event, Arrival):
            arrived.add(event.track)
        elif isinstance(event, Verdict) and event.verdict == "PASS":
            found += event.looks < least or event.track not in arrived
    return found


def sound(file: sqlite3.Connection) -> bool:
    """Tell whether the identities hold in a ledger's file, and nothing in it is astray."""
    file.execute("BEGIN")
    held = all(file.execute(LAWS[law]).fetchone() == (1,) for law in IDENTITIES)
    astray = file.execute("SELECT coalesce(sum(astray), 0) FROM gates").fetchone()[0]
    file.execute("COMMIT")
    return held and not astray


def _judged_parts(file: sqlite3.Connection) -> int:
    return int(file.execute("SELECT coalesce(sum(passed + rejected + reviewed), 0) FROM gates").fetchone()[0])


def _last_seq(folder: Path) -> int:
    if not (folder / "state" / "ledger.db").exists():
        return 0
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(folder / "state/ledger.db")) as file:
        return int(file.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
    return 0


def _events(folder: Path, after: int) -> list[Event]:
    with contextlib.closing(sqlite3.connect(folder / "state" / "ledger.db")) as file:
        rows = file.execute("SELECT payload FROM events WHERE seq > ? ORDER BY seq", (after,)).fetchall()
    return [msgspec.json.decode(payload, type=Event) for (payload,) in rows]


def _numbered(folder: Path, starts: Sequence[tuple[int, int]]) -> Iterator[Event]:
    """Yield all events with the frames that the belt counts, each run beginning where it was started."""
    for event in _events(folder, 0):
        start = [frame for seq, frame in starts if seq < event.seq][-1]
        yield msgspec.structs.replace(event, frame=event.frame + start)


def _steps(begin: float, end: float, every: float) -> list[float]:
    return [begin + every * i for i in range(int(max(0.0, end - begin) // every) + 1)]
