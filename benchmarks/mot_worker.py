"""Trackers of the package `trackers` on given detections: what `benchmarks.mot` starts in the peers' environment.

Imports nothing of ours. The standard input holds one line of JSON: `runs`, by name a class of the package and its
options, and `sequences`, by name a list of frames, each a list of x0, y0, x1, y1, confidence. The answer is one line:
by run and sequence what is tracked in each frame, lists of id, x0, y0, x1, y1, and the median of its milliseconds.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from typing import Any


def follow(tracker: Any, frames: list[list[list[float]]]) -> dict[str, Any]:
    """Return who is where in each of `frames`, and what a frame takes."""
    np, detections = importlib.import_module("numpy"), importlib.import_module("supervision").Detections
    tracked, spent = [], []
    for frame in frames:
        rows = np.asarray(frame, np.float32).reshape(-1, 5)
        given = detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), int))
        start = time.perf_counter()
        found = tracker.update(given)
        spent.append((time.perf_counter() - start) * 1e3)
        pairs = zip(found.tracker_id.tolist(), found.xyxy.tolist(), strict=True)
        tracked.append([[number, *box] for number, box in pairs if number >= 0])
    return {"tracked": tracked, "ms": statistics.median(spent)}


def main() -> int:
    """Answer one request; what the packages print goes to the standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    asked = json.loads(sys.stdin.readline())
    trackers = importlib.import_module("trackers")
    told = {
        name: {
            sequence: follow(getattr(trackers, kind)(**options), frames)
            for sequence, frames in asked["sequences"].items()
        }
        for name, (kind, options) in asked["runs"].items()
    }
    print(json.dumps(told), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
