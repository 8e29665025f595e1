"""Eight cameras in one daemon against eight daemons, as their users run them.

Eight belts, drawn once from eight seeds into recordings of 640 x 360 pixels. `one` is one process with all of them,
`eight` a process for each, all at the same time, with the default of as many threads as there are cores; `single` is
the same with one thread each. The better of the two is the rival. Rounds are interleaved: one, eight, single, one …
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import msgspec

from benchmarks.common import ROOT, Options
from edge.config import Audit, Camera, Config, Models, Point, load_config
from edge.errors import FoveateError
from edge.threads import available_cores
from examples.belt.belt import Belt
from examples.belt.demo import HERE, cache_folder
from export.build import cached_bundle

CAMERAS, FRAMES, QUICK_FRAMES = 8, 150, 30
ROUNDS, QUICK_ROUNDS = 3, 1
START = 100  # frames after which the belt is full
SHRINK = 3  # of the belt's 1920 x 1080 pixels
SIZE = (640, 360)
SHARPNESS = 95  # of the recordings' JPEGs
FPS = 30.0
PEEK_S = 0.25  # between two looks at the memory of all processes
MODES = ("one", "eight", "single")


@dataclass(frozen=True, slots=True)
class Run:
    """What one round of one mode gave."""

    wall_s: float  # from the first start to the last end
    rss_mib: float  # of all processes at the same time, at the most
    pss_mib: float  # the same, what they share counted once; 0 where the kernel does not tell
    summaries: list[dict[str, Any]]

    @property
    def frames(self) -> int:
        """Return the frames of all cameras."""
        return sum(found["frames"] for found in self.summaries)


def run(options: Options) -> dict[str, Any]:
    """Return frames per second, memory and canvases of every mode, medians and spreads, and whether counts agree."""
    frames, rounds = (QUICK_FRAMES, QUICK_ROUNDS) if options.quick else (FRAMES, ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {f"c{i}": _recording(folder, options.seed + i, frames) for i in range(CAMERAS)}
        runs: dict[str, list[Run]] = {mode: [] for mode in MODES}
        for number in range(rounds):
            for mode in MODES:
                runs[mode].append(_run(folder / f"{mode}{number}", mode, sources))
    figures: dict[str, Any] = {"cameras": CAMERAS, "frames": runs["one"][0].frames, "rounds": rounds}
    figures["eight_threads_each"] = available_cores()
    for mode, found in runs.items():
        figures |= {f"{mode}_{key}": value for key, value in _figures(found).items()}
    return figures | _compared(figures, runs)


def _compared(figures: dict[str, Any], runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Return `one` against the better of the rivals, and how far they decide the same."""
    rival = max(("eight", "single"), key=lambda mode: figures[f"{mode}_fps"])
    ours, theirs = _decided(runs["one"][0]), _decided(runs[rival][0])
    counters = sorted({*ours, *theirs})
    counts = [name for name in counters if not name.startswith("gate")]
    return {
        "rival": rival,
        "fps_ratio": figures["one_fps"] / figures[f"{rival}_fps"],
        "fps_running_ratio": figures["one_fps_running"] / figures[f"{rival}_fps_running"],
        "rss_ratio": figures["one_rss_mib"] / figures[f"{rival}_rss_mib"],
        "pss_ratio": figures["one_pss_mib"] / max(1e-9, figures[f"{rival}_pss_mib"]),
        "canvases_ratio": figures["one_canvases"] / figures[f"{rival}_canvases"],
        "counts_one": sum(ours.get(name, 0) for name in counts),
        "counts_rival": sum(theirs.get(name, 0) for name in counts),
        "counters_equal": f"{sum(ours.get(name) == theirs.get(name) for name in counters)} of {len(counters)}",
    }


def _figures(found: Sequence[Run]) -> dict[str, Any]:
    fps = [one.frames / one.wall_s for one in found]
    running = [one.frames / (one.wall_s - median(told["startup_s"] for told in one.summaries)) for one in found]
    return {
        "fps": median(fps),
        "fps_least": min(fps),
        "fps_most": max(fps),
        "fps_running": median(running),  # the time until the first frames left out
        "rss_mib": median(one.rss_mib for one in found),
        "pss_mib": median(one.pss_mib for one in found),
        "canvases": median(sum(told["canvases"] for told in one.summaries) for one in found),
    }


def _decided(found: Run) -> dict[str, int]:
    """Return all counts and verdicts by counter; every camera's have names of their own."""
    return {
        name: number for told in found.summaries for name, number in {**told["counted"], **told["verdicts"]}.items()
    }


def _recording(folder: Path, seed: int, frames: int) -> Path:
    """Draw a belt into a recording, and return its path."""
    path, belt = folder / f"belt{seed}.avi", Belt(seed)
    belt.skip(START)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE)
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, SHARPNESS)
    for image in belt.frames(frames):
        writer.write(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA))
    writer.release()
    return path


def _run(folder: Path, mode: str, sources: Mapping[str, Path]) -> Run:
    """Run all cameras once; raises `FoveateError` where a process fails."""
    folder.mkdir()
    groups = [dict(sources)] if mode == "one" else [{name: path} for name, path in sources.items()]
    commands = []
    for number, group in enumerate(groups):
        path = folder / f"{number}.json"
        config = _config(folder / f"state{number}", group, 1 if mode == "single" else None)
        path.write_bytes(msgspec.json.encode(config, enc_hook=str))
        arguments = ["run", str(path), "--json", str(folder / f"out{number}.json"), "--log-level", "error"]
        commands.append([sys.executable, "-m", "foveate", *arguments])
    begin = time.monotonic()
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for command in commands]
    rss_mib = pss_mib = 0.0
    while any(process.poll() is None for process in processes):
        rss_mib, pss_mib = max(rss_mib, _memory(processes, "Rss")), max(pss_mib, _memory(processes, "Pss"))
        time.sleep(PEEK_S)
    wall_s = time.monotonic() - begin
    for process in processes:
        said = process.communicate()[1]
        if process.returncode:
            raise FoveateError(f"cameras: a daemon ended with exit code {process.returncode}: {said.strip()}")
    outputs = [folder / f"out{number}.json" for number in range(len(groups))]
    return Run(wall_s, rss_mib, pss_mib, [json.loads(path.read_text()) for path in outputs])


def _memory(processes: Sequence[subprocess.Popen[str]], kind: str) -> float:
    """Return the resident memory of all processes, MiB: "Rss", or "Pss", which counts what they share once."""
    total_kib = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total_kib / 1024


def _config(state: Path, sources: Mapping[str, Path], threads: int | None) -> Config:
    """Return the belt's configuration for smaller frames, with a line and a gate for each camera."""
    belt = load_config(HERE / "config.toml")
    bundle = cached_bundle(HERE / "recipe.toml", cache_folder()).path
    (line,), (gate,) = belt.lines, belt.gates
    changed, area = msgspec.structs.replace, SHRINK**2
    defects = {name: changed(limit, min_area_px=limit.min_area_px / area) for name, limit in gate.defects.items()}
    return changed(
        belt,
        bundle=bundle,
        state=state,
        cameras={name: Camera(source=str(path)) for name, path in sources.items()},
        models=Models(threads=threads),
        regions=changed(belt.regions, min_area_px=belt.regions.min_area_px / area, pad_px=8),
        attention=changed(belt.attention, pad_px=6, max_scale=2.0),
        audit=Audit(every_frames=0),  # its pieces are at native resolution, where the network knows no part so small
        tracks=changed(belt.tracks, min_area_px=belt.tracks.min_area_px / area),
        lines=[
            changed(line, name=f"line-{name}", camera=name, start=_shrunk(line.start), end=_shrunk(line.end))
            for name in sources
        ],
        gates=[
            changed(
                gate,
                name=f"gate-{name}",
                camera=name,
                start=_shrunk(gate.start),
                end=_shrunk(gate.end),
                defects=defects,
            )
            for name in sources
        ],
        mqtt=None,
    )


def _shrunk(point: Point) -> Point:
    return point[0] / SHRINK, point[1] / SHRINK
