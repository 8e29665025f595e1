"""What a picture costs the loop: cut, encoded, written and brought to its place, beside the commit that names it.

Crops of a drawn belt, of several sizes, as a gate's rejects have them. Two ledgers in turn, commit by commit, so that
the disk is the same for both: one whose verdicts have a picture, one whose verdicts have none.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.common import Options
from edge import config
from edge.events import Verdict
from edge.tell.evidence import Pictures
from edge.tell.ledger import Ledger
from edge.types import Image
from examples.belt.belt import Belt

SIDES = (128, 320, 724, 1024)  # pixels: a part of the belt, a canvas, the half and all of the most that is kept
ROUNDS, QUICK_ROUNDS = 300, 40
PACE_S = 0.005  # between two commits: a disk that is never at rest measures itself


def run(options: Options) -> dict[str, Any]:
    """Return milliseconds of a picture by its side, and of a verdict's commit with and without one."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    belt = Belt(options.seed)
    frame = next(image.copy() for i, image in enumerate(belt.frames(200)) if i == 150)
    figures: dict[str, Any] = {"rounds": rounds}
    with tempfile.TemporaryDirectory() as name:
        for side in SIDES:
            figures |= _cost(Path(name) / str(side), frame[:side, 400 : 400 + side], rounds)
        figures |= _kept_within(Path(name) / "budget", frame[:128, 400:528], rounds)
    return figures


def _cost(folder: Path, crop: Image, rounds: int) -> dict[str, Any]:
    plain, pictured = (Ledger(folder / case, config.Ledger(max_mib=64), []) for case in ("plain", "pictured"))
    pictures = Pictures(folder / "pictured" / "evidence", config.Evidence(budget_mib=512), 64)
    took: dict[str, list[float]] = {"picture": [], "with": [], "without": []}
    for number in range(rounds):
        began = time.perf_counter()
        plain.commit([_verdict(number)])
        took["without"].append(time.perf_counter() - began)
        time.sleep(PACE_S)
        began = time.perf_counter()
        name = pictures.write(f"belt-{number}-{number}", crop)
        written = time.perf_counter()
        pictured.commit([msgspec.structs.replace(_verdict(number), picture=name)])
        committed = time.perf_counter()
        pictures.settle()
        took["picture"].append(written - began + time.perf_counter() - committed)
        took["with"].append(committed - began)  # when the verdict is on the disk
        time.sleep(PACE_S)
    for ledger in (plain, pictured):
        ledger.close()
    size = pictures.report()["mib"] * 1024 / rounds
    name = f"{crop.shape[0]}_px"
    found = {f"{name}_kib": size}
    for case, values in took.items():
        ms = np.asarray(values) * 1000
        found[f"{name}_{case}_ms_median"] = float(np.median(ms))
        found[f"{name}_{case}_ms_p99"] = float(np.percentile(ms, 99))
    return found


def _kept_within(folder: Path, crop: Image, rounds: int) -> dict[str, Any]:
    """Return what a picture takes where the oldest has to go for it."""
    pictures = Pictures(folder, config.Evidence(budget_mib=1))
    took = []
    for number in range(3 * rounds):
        began = time.perf_counter()
        pictures.write(f"belt-{number}-{number}", crop)
        pictures.settle()
        took.append((time.perf_counter() - began) * 1000)
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*.jpg")) / (1 << 20)
    return {"budget_of_1_mib_used": used, "budget_picture_ms_median": float(np.median(took[rounds:]))}


def _verdict(number: int) -> Verdict:
    return Verdict(
        time=number / 30, camera="belt", frame=number, gate="gate", track=number, label="washer",
        position=(1480.0, 500.0),
        verdict="REJECT", reasons=["scratch 52 px"], defects_px={"scratch": 52.0}, looks=4, deadline=number / 30 + 1,
    )  # fmt: skip
