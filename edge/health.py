"""What the daemon knows of itself: the retained state message and the summary of a run."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.event_facts import counter_of
from edge.events import Arrival, AuditEvent, Contested, Event, Verdict
from edge.types import REASONS, Frame, Gap, Moment

log = logging.getLogger(__name__)

DARK_S = 5.0  # without any frame, after which the mode is Error
WINDOW = 512  # rounds over which times are summarised
CANVAS_GAIN = 0.05  # weight of one round in what a canvas costs
CASCADE = ("semantic", "regions", "attention", "instances")  # the stages that a full-frame pass would replace


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What one camera's station tells in the state message."""

    tracks: int  # confirmed
    tiles: int  # canvases that a pass over the whole of its frames would take
    waiting: int  # spots and tracks that were due for a look in the last frame and got none
    waiting_frames: int  # for how many frames the one of them that waits longest has been due
    audit: dict[str, Any]
    bars: dict[str, tuple[int, int | None]]  # counter -> what it is between
    zones: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # how many are inside, by zone and class
    alerts: Mapping[str, int] = field(default_factory=dict)  # how many last, by rule
    encoder: str | None = None  # why its ticks are not believed; empty: they are; None: there is none


class Stopwatch:
    """Milliseconds of each stage of the frames that are looked at together."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    @property
    def total_ms(self) -> float:
        """Return the time of all stages."""
        return sum(self.stages_ms.values())

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now


class Health:
    """Counts what happens; written by the pipeline thread, read by the delivery thread through `state`."""

    def __init__(self, *beats: Callable[[], None]) -> None:
        """`beats` are called once a frame, and when nothing comes from a live camera: the loop moves."""
        self.stopping = False
        self.governor: dict[str, Any] = {}  # what it tells; replaced, never changed
        self.job_check: dict[str, Any] = {}  # the same of the last job check; empty: there was none
        self.evidence: dict[str, Any] = {}  # what is told of pictures; the same
        self.waited = False  # something was waited for since the last frame
        self.frames = 0
        self.looks = 0
        self.canvases = 0
        self.skipped = 0
        self.startup_s: float | None = None
        self.memory_mib = 0  # the ceiling of what this configuration may take
        self.counted: Tally[str] = Tally()
        self.verdicts: Tally[str] = Tally()
        self._beats = list(beats)
        self._first_s = self._last_s = 0.0  # s, monotonic: when the first and the newest frame were done
        self._busy_s = 0.0
        self._spent_px = np.zeros(len(REASONS))  # frame pixels that were looked at, by reason
        self._frame_px = 0.0
        self._dropped = 0
        self._corrupt = 0
        self._late = 0
        self._gaps = 0
        self._blind: dict[str, str] = {}  # camera -> why it does not see
        self._cameras: dict[str, CameraReport] = {}
        self._canvas_ms = 0.0
        self._saved_ms: deque[float] = deque(maxlen=WINDOW)  # per frame of each round
        self._rounds: deque[tuple[int, dict[str, float]]] = deque(maxlen=WINDOW)  # frames and what their stages took
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
        self.moves()

    def moves(self) -> None:
        """Note that the loop moves: what it does now may take longer than a round."""
        for call in self._beats:
            call()

    def gap(self, gap: Gap) -> None:
        """Note a time in which a camera did not see, and that it may last: only a frame ends it."""
        with self._lock:
            self._gaps += 1
            self._blind[gap.camera] = gap.reason
        self.moves()

    def blind(self) -> dict[str, str]:
        """Return which cameras do not see now, and the reason of the gap that each is in."""
        with self._lock:
            return dict(self._blind)

    def skip(self, frames: Sequence[Frame]) -> None:
        """Note `frames` that are not looked at: the governor leaves them out."""
        with self._lock:
            self.skipped += len(frames)
            self._dropped += sum(frame.dropped for frame in frames)
            self._corrupt += sum(frame.corrupt for frame in frames)
            for frame in frames:
                self._blind.pop(frame.camera, None)
        self.moves()

    def committed(self, events: Sequence[Event], late: int = 0) -> None:
        """Note what was decided; `late` of it are a PASS that reached the disk after its deadline."""
        with self._lock:
            self._late += late
            for event in events:
                counter = counter_of(event)
                if isinstance(event, Verdict):
                    self.verdicts[str(counter)] += 1
                elif isinstance(event, AuditEvent) and event.alarm:
                    log.warning("audit=alarm camera=%s group=%s share=%.2f", event.camera, event.group, event.share)
                elif counter is not None and not isinstance(event, (Arrival, Contested)):
                    self.counted[counter] += 1

    def beat(self, moments: Sequence[Moment], report: Callable[[Moment], CameraReport]) -> None:
        """Note that the frames of `moments`, looked at together, are done; `report` tells of each one's camera."""
        self._last_s = time.monotonic()
        self.waited = False
        if self.startup_s is None:
            self.startup_s, self._first_s = since_process_start(), self._last_s
        reports = {moment.frame.camera: report(moment) for moment in moments}
        stages_ms = moments[0].stages_ms
        with self._lock:
            self._busy_s += sum(stages_ms.values()) / 1000
            self._rounds.append((len(moments), stages_ms))
            self._cameras |= reports
            for moment in moments:
                self._note(moment)
            self._note_canvases(moments, sum(told.tiles for told in reports.values()))
        self.moves()

    def _note(self, moment: Moment) -> None:
        looks = moment.looks
        x0, y0, x1, y1 = looks.sources.T.astype(np.float64)
        self.frames += 1
        self.looks += len(looks)
        self._spent_px += np.bincount(looks.reasons, (x1 - x0) * (y1 - y0), len(REASONS))
        self._frame_px += float(moment.frame.image.shape[0] * moment.frame.image.shape[1])
        self._dropped += moment.frame.dropped
        self._corrupt += moment.frame.corrupt
        self._blind.pop(moment.frame.camera, None)

    def _note_canvases(self, moments: Sequence[Moment], tiles: int) -> None:
        """Learn what a canvas costs, and what is saved against looking at the whole of every frame, in `tiles`."""
        stages_ms = moments[0].stages_ms
        used = 1 + max(int(moment.looks.canvases.max(initial=-1)) for moment in moments)
        self.canvases += used
        if used:
            cost_ms = stages_ms["instances"] / used
            self._canvas_ms += CANVAS_GAIN * (cost_ms - self._canvas_ms) if self._canvas_ms else cost_ms
        spent_ms = sum(stages_ms[stage] for stage in CASCADE)
        self._saved_ms.append((tiles * self._canvas_ms - spent_ms) / len(moments))

    def state(self) -> dict[str, Any]:
        """Return what the retained `state` message says of the loop."""
        with self._lock:  # the pipeline waits for it: only copies in here
            rounds, saved_ms, cameras = list(self._rounds), list(self._saved_ms), dict(self._cameras)
            spent_px = self._spent_px.copy()
            state: dict[str, Any] = {
                "mode": self._mode(),
                "frames": self.frames,
                "skipped": self.skipped,
                "dropped": self._dropped,
                "corrupt": self._corrupt,
                "gaps": self._gaps,
                "blind": dict(self._blind),
                "fps_wall": round(self.fps_wall(), 1),
                "looks": self.looks,
                "canvases": self.canvases,
                "canvas_ms": round(self._canvas_ms, 3),
                "looked_share": round(float(spent_px.sum()) / self._frame_px, 4) if self._frame_px else 0.0,
                "counted": dict(self.counted),
                "verdicts": dict(self.verdicts),
                "late": self._late,
                "startup_s": self.startup_s,
            }
        state |= _of_cameras(cameras)
        state["governor"] = self.governor
        state["job_check"] = self.job_check
        state["evidence"] = self.evidence
        state["spent"] = _shares(spent_px)
        state["saved_ms"] = round(float(np.mean(saved_ms)), 2) if saved_ms else 0.0
        latencies_ms = [sum(stages.values()) for _, stages in rounds]
        busy_s = sum(latencies_ms) / 1000
        state["fps"] = round(sum(count for count, _ in rounds) / busy_s, 1) if busy_s else 0.0
        state["ms"] = _medians([{stage: ms / count for stage, ms in stages.items()} for count, stages in rounds])
        state["ms_p99"] = round(float(np.percentile(latencies_ms, 99)), 2) if rounds else 0.0
        state["rss_mb"] = peak_resident_mb()
        state["memory_mib"] = self.memory_mib
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


def _of_cameras(cameras: dict[str, CameraReport]) -> dict[str, Any]:
    """Return what all cameras together tell, and each one's audit."""
    return {
        "tracks": sum(camera.tracks for camera in cameras.values()),
        "waiting": sum(camera.waiting for camera in cameras.values()),
        "waiting_frames": max((camera.waiting_frames for camera in cameras.values()), default=0),
        "bars": {counter: bar for camera in cameras.values() for counter, bar in camera.bars.items()},
        "audit": {name: camera.audit for name, camera in cameras.items()},
        "zones": {zone: dict(inside) for camera in cameras.values() for zone, inside in camera.zones.items()},
        "alerts": {rule: count for camera in cameras.values() for rule, count in camera.alerts.items()},
        "encoders": {
            name: camera.encoder or "believed" for name, camera in cameras.items() if camera.encoder is not None
        },
    }


def _shares(spent_px: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the share of the pixels looked at by reason; reasons that took none are left out."""
    shares = spent_px / max(1.0, float(spent_px.sum()))
    return {name: round(float(share), 4) for name, share in zip(REASONS, shares, strict=True) if share > 0}


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
