"""INT8 against float on held-out belt frames with exact truth: mIoU, mask AP, milliseconds, interleaved."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Options
from examples.belt.heldout import write_heldout
from export.build import export_bundle

BELT = ROOT / "examples" / "belt"
SEEDS, QUICK_SEEDS = 8, 1
FRAMES = 4  # of each seed


def run(options: Options) -> dict[str, Any]:
    """Return what the export's own report says, with frames of test seeds as the held-out ones."""
    seeds = range(options.seed, options.seed + (QUICK_SEEDS if options.quick else SEEDS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_heldout(folder / "heldout", list(seeds), FRAMES)
        for model in ("semantic.onnx", "instance.onnx"):
            (folder / model).write_bytes((BELT / model).read_bytes())
        recipe = (BELT / "recipe.toml").read_text().split("[heldout]")[0]
        count = len(seeds) * FRAMES
        (folder / "recipe.toml").write_text(f'{recipe}\n[heldout]\nfolder = "heldout"\nframes = {count}\n')
        bundle = export_bundle(folder / "recipe.toml", folder / "bundle")
        report = json.loads((folder / "bundle.report" / "report.json").read_text())
    return {key: report["figures"][key] for key in (*bundle.manifest.quality, *times(report["figures"]))}


def times(figures: dict[str, float]) -> list[str]:
    """Return the names of the figures that are times: bundles do not hold them, reports do."""
    return [key for key in figures if "_ms" in key]
