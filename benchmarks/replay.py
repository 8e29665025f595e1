"""Replay: a recording of the belt gives the same events, byte for byte, on every run and on any number of threads.

The belt is drawn into a file first. Each replay is a process of its own, `foveate replay --hash`, as its users run it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec

from benchmarks.common import ROOT, Options
from benchmarks.loop import belt_config
from edge.config import Config
from edge.errors import FoveateError
from examples.belt.belt import Belt

FRAMES, QUICK_FRAMES = 400, 60
START = 300  # number of the first frame: parts are crossing the lines
CASES: dict[str, tuple[Literal["int8", "float32"], list[str]]] = {
    "int8": ("int8", ["belt"]),
    "float32": ("float32", ["belt"]),
    "two_cameras": ("int8", ["belt", "other"]),  # with two threads, inferences run side by side
}
THREADS = (2, 2, 2, 1)  # of each replay
CODEC, SUFFIX = "mp4v", ".mp4"  # lossy: what a recording of a camera is


def run(options: Options) -> dict[str, Any]:
    """Return events, their SHA-256, whether all replays of a precision agree in it, and seconds of each."""
    frames = QUICK_FRAMES if options.quick else FRAMES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = _recorded(folder / f"belt{SUFFIX}", options.seed, frames)
        figures: dict[str, Any] = {"frames": frames, "recording_mib": recording.stat().st_size / (1 << 20)}
        for case, (precision, cameras) in CASES.items():
            site = folder / f"{case}.json"
            site.write_bytes(msgspec.json.encode(_site(precision, cameras), enc_hook=str))
            recordings = [f"{camera}={recording}" for camera in cameras]
            found = [_replay(site, recordings, threads) for threads in THREADS]
            figures |= {f"{case}_{key}": value for key, value in _figures(found).items()}
    return figures


def _recorded(path: Path, seed: int, frames: int) -> Path:
    """Draw the belt into a video, and return it."""
    belt, config = Belt(seed), belt_config()
    camera = config.cameras["belt"]
    if camera.size is None or camera.fps is None:
        raise FoveateError("examples/belt/config.toml: the belt's camera has no size or no fps")
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), camera.fps, camera.size)
    if not video.isOpened():
        raise FoveateError(f"{path}: OpenCV here cannot write {CODEC}; install opencv-python-headless from PyPI")
    belt.skip(START)
    for _ in range(frames):
        video.write(belt.step().image)
    video.release()
    return path


def _site(precision: Literal["int8", "float32"], cameras: list[str]) -> Config:
    """Return the belt's configuration, with its lines and gates in each of `cameras`."""
    config = belt_config()
    replace = msgspec.structs.replace
    return replace(
        config,
        models=replace(config.models, precision=precision),
        cameras=dict.fromkeys(cameras, config.cameras["belt"]),
        lines=[replace(line, name=f"{name}-{line.name}", camera=name) for name in cameras for line in config.lines],
        gates=[replace(gate, name=f"{name}-{gate.name}", camera=name) for name in cameras for gate in config.gates],
    )


def _figures(found: list[tuple[str, float, dict[str, Any]]]) -> dict[str, Any]:
    """Return what came of all replays of one case."""
    hashes = [digest for digest, _, _ in found]
    figures: dict[str, Any] = {
        "events": found[0][2]["ledger"]["counted"],
        "counted": sum(found[0][2]["counted"].values()),
        "sha256": hashes[0],
        "replays": len(found),
        "all_equal": len(set(hashes)) == 1,
    }
    for threads in sorted(set(THREADS)):
        seconds = [taken for (_, taken, _), given in zip(found, THREADS, strict=True) if given == threads]
        figures[f"s_{threads}_threads"] = min(seconds)
    return figures


def _replay(site: Path, recordings: list[str], threads: int) -> tuple[str, float, dict[str, Any]]:
    """Return the hash of one replay, the seconds it took, and its summary."""
    summary = site.with_suffix(".summary")
    command = [sys.executable, "-m", "foveate", "replay", *recordings, "--config", str(site), "--hash"]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--threads", str(threads), "--json", str(summary)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise FoveateError(f"foveate replay ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip(), time.perf_counter() - began, msgspec.json.decode(summary.read_bytes())
