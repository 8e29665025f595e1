"""The belt, end to end: `foveate demo` on three test seeds, the daemon as its users run it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Options, run_module

FRAMES, QUICK_FRAMES, SEEDS = 900, 200, 3


def run(options: Options) -> dict[str, Any]:
    """Return count error, defect flags, verdicts, ledger, speed and memory, per seed and for all."""
    frames = QUICK_FRAMES if options.quick else FRAMES
    runs = {seed: _run(seed, frames) for seed in range(options.seed, options.seed + (1 if options.quick else SEEDS))}
    figures: dict[str, Any] = {}
    for seed, found in runs.items():
        figures |= {f"seed{seed}_{name}": value for name, value in _figures(found).items()}
    flags = {name: sum(found["defects"][name] for found in runs.values()) for name in ("tp", "fp", "fn")}
    figures["defect_recall"] = flags["tp"] / max(1, flags["tp"] + flags["fn"])
    figures["defect_precision"] = flags["tp"] / max(1, flags["tp"] + flags["fp"])
    figures["count_error_worst"] = max(found["count_error"] for found in runs.values())
    figures["fps_least"] = min(found["fps"] for found in runs.values())
    return figures


def _run(seed: int, frames: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        run_module("foveate", "demo", "--headless", "--frames", str(frames), "--seed", str(seed), "--json", str(path))
        found: dict[str, Any] = json.loads(path.read_text())
    return found


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    defects, verdicts, ledger = found["defects"], found["verdicts"], found["ledger"]
    return {
        "counted": sum(found["counted"].values()),
        "true": sum(found["true"].values()),
        "count_error": found["count_error"],
        "defects_tp_fp_fn": f"{defects['tp']} {defects['fp']} {defects['fn']}",
        "verdicts_right": f"{verdicts['right']} of {verdicts['parts']}",
        "ledger": f"{ledger['counted']} = {ledger['delivered']} + {ledger['queued']} + {ledger['lost']}",
        "fps": found["fps"],
        "ms_p99": found["ms_p99"],
        "looked_share": found["looked_share"],
        "rss_mb": found["rss_mb"],
        "startup_s": found["startup_s"],
        **{f"{stage}_ms": ms for stage, ms in found["ms"].items()},
    }
