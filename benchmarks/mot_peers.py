"""Other trackers on the same detections: each as it is by default, and with what is best on other sequences."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from benchmarks.mot_data import Curve, Sequence
from benchmarks.tracked import Tracked
from edge.errors import FoveateError

WORKER: Final = Path(__file__).with_name("mot_worker.py")
PEERS: Final = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
    "cbiou": "CBIoUTracker",
}
FIXED: Final[dict[str, dict[str, Any]]] = {"botsort": {"enable_cmc": False}}  # there are no pictures
THRESHOLDS: Final = ("high_conf_det_threshold", "track_activation_threshold")
LOOKS: Final = "minimum_consecutive_frames"

Run: TypeAlias = tuple[str, dict[str, Any]]  # the class, and its options
Told: TypeAlias = tuple[dict[str, Tracked], dict[str, float]]  # by sequence: who is where; milliseconds per frame


def defaults() -> dict[str, Run]:
    """Return each peer as it is."""
    return {f"{name}_default": (kind, FIXED.get(name, {})) for name, kind in PEERS.items()}


def variants(peer: str, thresholds: tuple[float, ...], looks: tuple[int, ...]) -> dict[str, Run]:
    """Return `peer` with each threshold for its sure boxes and each number of looks before a track is told."""
    return {f"{peer}/{t}/{n}": (PEERS[peer], _options(peer, t, n)) for t, n in product(thresholds, looks)}


def _options(peer: str, threshold: float, looks: int) -> dict[str, Any]:
    names = ("track_activation_threshold",) if peer == "sort" else THRESHOLDS[: 1 if peer == "ocsort" else 2]
    return {**FIXED.get(peer, {}), **dict.fromkeys(names, threshold), LOOKS: looks}


def ask(peers: Path, runs: Mapping[str, Run], sequences: Mapping[str, Sequence], curve: Curve) -> dict[str, Told]:
    """Return by run what the trackers of interpreter `peers` make of `sequences`; raises `FoveateError` if it fails."""
    given = {name: _frames(sequence, curve) for name, sequence in sequences.items()}
    question = json.dumps({"runs": runs, "sequences": given}) + "\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(peers), str(WORKER)]
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise FoveateError(f"mot: {peers} {WORKER.name} ended: {said[-1] if said else 'no word why'}")
    told: dict[str, dict[str, dict[str, Any]]] = json.loads(done.stdout)
    return {run: _read(answer) for run, answer in told.items()}


def _frames(sequence: Sequence, curve: Curve) -> list[list[list[float]]]:
    pairs = zip(sequence.boxes, sequence.marks, strict=True)
    return [np.hstack([boxes, curve(marks)[:, None]]).tolist() for boxes, marks in pairs]


def _read(answer: Mapping[str, Mapping[str, Any]]) -> Told:
    tracked = {name: _tracked(said["tracked"]) for name, said in answer.items()}
    return tracked, {name: float(said["ms"]) for name, said in answer.items()}


def _tracked(frames: list[list[list[float]]]) -> Tracked:
    rows = [np.asarray(frame, np.float64).reshape(-1, 5) for frame in frames]
    return Tracked([one[:, 0].astype(np.int64) for one in rows], [one[:, 1:].astype(np.float32) for one in rows])
