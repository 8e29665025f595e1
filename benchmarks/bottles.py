"""Bottles on a table: how many stand there, against counts by eye."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Options, data_folder
from benchmarks.people import people_config, present
from edge.daemon import Options as RunOptions
from edge.daemon import serve

QUICK_FRAMES = 200


def run(options: Options) -> dict[str, Any]:
    """Return the share of labelled frames, and of labelled intervals by their median, with the right number."""
    data = data_folder()
    with tempfile.TemporaryDirectory() as folder:
        config = people_config(Path(folder), "bottles.toml", data)
        standing: list[int] = []
        frames = QUICK_FRAMES if options.quick else None
        summary = serve(config, RunOptions(frames=frames), watchers=[lambda m: standing.append(len(present(m)))])
    clip = json.loads((data / "clips" / "labels.json").read_text())["clips"]["bottle-detection.mp4"]
    spans = [(standing[a : b + 1], count) for a, b, count in clip["count_intervals"] if b < len(standing)]
    right = sum(number == count for span, count in spans for number in span)
    return {
        "frames": summary["frames"],
        "labelled_frames_right": right / max(1, sum(len(span) for span, _ in spans)),
        "intervals": len(spans),
        "intervals_right": sum(int(np.median(span)) == count for span, count in spans),
        "looked_share": summary["looked_share"],
        "canvases_per_frame": summary["canvases"] / summary["frames"],
        "fps": summary["fps"],
    }
