"""Replay: a recording of the belt gives the same events, byte for byte, on every run and on any number of threads.

The belt is drawn into a file first. Each replay is a process of its own, `foveate replay --hash`, as its users run it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec

from benchmarks.common import ROOT, Options
from benchmarks.loop import belt_config
from edge.errors import FoveateError
from examples.belt.belt import Belt

FRAMES, QUICK_FRAMES = 400, 60
START = 300  # number of the first frame: parts are crossing the lines
PRECISIONS = ("int8", "float32")
THREADS = (2, 2, 2, 1)  # of each replay
CODEC, SUFFIX = "mp4v", ".mp4"  # lossy: what a recording of a camera is


def run(options: Options) -> dict[str, Any]:
    """Return events, their SHA-256, whether all replays of a precision agree in it, and seconds of each."""
    frames = QUICK_FRAMES if options.quick else FRAMES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = _recorded(folder / f"belt{SUFFIX}", options.seed, frames)
        figures: dict[str, Any] = {"frames": frames, "recording_mib": recording.stat().st_size / (1 << 20)}
        for precision in PRECISIONS:
            figures |= _replays(folder, recording, precision, options.quick)
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


def _replays(folder: Path, recording: Path, precision: str, quick: bool) -> dict[str, Any]:
    config = belt_config()
    models = msgspec.structs.replace(config.models, precision=precision)
    site = folder / f"{precision}.json"
    site.write_bytes(msgspec.json.encode(msgspec.structs.replace(config, models=models), enc_hook=str))
    found = [_replay(site, recording, threads) for threads in (THREADS[1:] if quick else THREADS)]
    hashes = [digest for digest, _, _ in found]
    figures: dict[str, Any] = {
        f"{precision}_events": found[0][2]["ledger"]["counted"],
        f"{precision}_counted": sum(found[0][2]["counted"].values()),
        f"{precision}_sha256": hashes[0],
        f"{precision}_replays": len(found),
        f"{precision}_all_equal": len(set(hashes)) == 1,
    }
    for threads in sorted(set(THREADS)):
        figures[f"{precision}_s_{threads}_threads"] = min(
            taken for (_, taken, _), given in zip(found, THREADS[-len(found) :], strict=True) if given == threads
        )
    return figures


def _replay(site: Path, recording: Path, threads: int) -> tuple[str, float, dict[str, Any]]:
    """Return the hash of one replay, the seconds it took, and its summary."""
    summary = site.with_suffix(".summary")
    command = [sys.executable, "-m", "foveate", "replay", str(recording), "--config", str(site), "--hash"]
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
