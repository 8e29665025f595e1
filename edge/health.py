"""What the daemon knows of itself: the retained state message and the summary of a run."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.events import Count, Event, Verdict
from edge.types import Gap, Moment

DARK_S = 5.0  # without any frame, after which the mode is Error
WINDOW = 512  # frames over which times are summarised


class Stopwatch:
    """Milliseconds of each stage of one frame."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Put the time since the last lap down to `stage`."""
        now = time.perf_counter()
        self.stages_ms[stage] = (now - self._last) * 1000
        self._last = now


class Health:
    """Counts what happens; written by the pipeline thread, read by the delivery thread through `state`."""

    def __init__(self, *beats: Callable[[], None]) -> None:
        """`beats` are called once a frame, and when nothing comes from a live camera: the loop moves."""
        self.stopping = False
        self.waited = False  # something was waited for since the last frame
        self.frames = 0
        self.looks = 0
        self.startup_s: float | None = None
        self.counted: Tally[str] = Tally()
        self.verdicts: Tally[str] = Tally()
        self._beats = list(beats)
        self._first_s = self._last_s = 0.0  # s, monotonic: when the first and the newest frame were done
        self._busy_s = 0.0
        self._looked_px = 0.0
        self._frame_px = 0.0
        self._dropped = 0
        self._gaps = 0
        self._tracks = 0
        self._waiting = self._waiting_frames = 0
        self._audits: dict[str, dict[str, Any]] = {}
        self._stages: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Ask the loop to end after the frame it is at."""
        self.stopping = True

    def on_beat(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever the loop moves."""
        self._beats.append(call)

    def idle(self) -> None:
        """Note that no camera had anything new: the loop moves all the same."""
        self.waited = True
        self._moves()

    def _moves(self) -> None:
        for call in self._beats:
            call()

    def gap(self, gap: Gap) -> None:  # noqa: ARG002  the gap itself is in the ledger
        """Note a time in which a camera did not see."""
        with self._lock:
            self._gaps += 1
        self._moves()

    def committed(self, events: Sequence[Event]) -> None:
        """Note what was decided."""
        with self._lock:
            for event in events:
                if isinstance(event, Count):
                    self.counted[event.counter] += 1
                elif isinstance(event, Verdict):
                    self.verdicts[f"{event.gate}/{event.verdict}"] += 1

    def beat(self, moment: Moment, waiting: int, waiting_frames: int, audit: dict[str, Any]) -> None:
        """Note that a frame is done; the rest is what its station says of it."""
        self._last_s = time.monotonic()
        self.waited = False
        if self.startup_s is None:
            self.startup_s, self._first_s = since_process_start(), self._last_s
        x0, y0, x1, y1 = moment.looks.sources.T.astype(np.float64)
        looked_px = float((x1 - x0) @ (y1 - y0))
        with self._lock:
            self.frames += 1
            self.looks += len(moment.looks)
            self._busy_s += sum(moment.stages_ms.values()) / 1000
            self._looked_px += looked_px
            self._frame_px += float(moment.frame.image.shape[0] * moment.frame.image.shape[1])
            self._dropped += moment.frame.dropped
            self._tracks = int(np.count_nonzero(moment.tracks.ids > 0))
            self._waiting, self._waiting_frames = waiting, waiting_frames
            self._audits[moment.frame.camera] = audit
            self._stages.append(moment.stages_ms)
        self._moves()

    def state(self) -> dict[str, Any]:
        """Return what the retained `state` message says of the loop."""
        with self._lock:  # the pipeline waits for it: only copies in here
            times = list(self._stages)
            state: dict[str, Any] = {
                "mode": self._mode(),
                "frames": self.frames,
                "dropped": self._dropped,
                "gaps": self._gaps,
                "fps_wall": round(self.fps_wall(), 1),
                "looks": self.looks,
                "looked_share": round(self._looked_px / self._frame_px, 4) if self._frame_px else 0.0,
                "tracks": self._tracks,
                "waiting": self._waiting,
                "waiting_frames": self._waiting_frames,
                "counted": dict(self.counted),
                "verdicts": dict(self.verdicts),
                "audit": dict(self._audits),
                "startup_s": self.startup_s,
            }
        busy_s = sum(sum(row.values()) for row in times) / 1000
        state["fps"] = round(len(times) / busy_s, 1) if busy_s else 0.0
        state["ms"] = _medians(times)
        state["ms_p99"] = round(float(np.percentile([sum(t.values()) for t in times], 99)), 2) if times else 0.0
        state["rss_mb"] = peak_resident_mb()
        return state

    def fps(self) -> float:
        """Return frames per second of the stages alone, since the start; reading, decoding and drawing do not count."""
        return self.frames / self._busy_s if self._busy_s else 0.0

    def fps_wall(self) -> float:
        """Return frames per second by the clock, from the first frame to the newest, everything included."""
        elapsed_s = self._last_s - self._first_s
        return (self.frames - 1) / elapsed_s if elapsed_s > 0 else 0.0

    def _mode(self) -> str:
        """Return the state of OPC UA for Machine Vision (OPC 40100-1, 8.2.6)."""
        if self.stopping:
            return "Halted"
        if not self.frames:
            return "Preoperational"
        return "Error" if time.monotonic() - self._last_s > DARK_S else "Operational"


def _medians(times: list[dict[str, float]]) -> dict[str, float]:
    stages = {stage: None for row in times for stage in row}
    return {stage: round(float(np.median([row.get(stage, 0.0) for row in times])), 3) for stage in stages}


def since_process_start() -> float | None:
    """Return the seconds since this process was started, from Linux's own clock; None elsewhere."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return None
    return round(uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 3)


def peak_resident_mb() -> float:
    """Return the largest resident set of this process so far, MiB; 0 where /proc is not there."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return round(found[0], 1) if found else 0.0
