"""One way of seeing people in a video, in a process of its own: what `benchmarks.peers` starts and asks.

Runs in the peers' environment and imports nothing of ours. Each of the peers is set up as its own documentation says.
Requests come as lines on the standard input, "FIRST LAST": see these frames, in order. Each is answered by one line of
JSON: milliseconds per frame, boxes of people per frame, counts so far, and the most memory so far.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

LINES = {"x=384": ((384, 0), (384, 576)), "y=200": ((0, 200), (768, 200))}
IN_OUT = {"x=384": ("right", "left"), "y=200": ("down", "up")}  # what Ultralytics calls in and out
ZONE_IN_OUT = {"x=384": ("right", "left"), "y=200": ("up", "down")}  # and supervision, for lines drawn like these
PERSON = 0  # class number in COCO
SIDE = 320  # of a slice, and of the model's input
SCORE = 0.25  # every peer's own default


class Seer(Protocol):
    """What sees."""

    def see(self, image: Any) -> list[list[float]]:
        """Return the boxes of the people in one frame (h, w, 3) BGR."""

    def counts(self) -> dict[str, int] | None:
        """Return how many crossed each line in each direction so far; None for one that does not count."""


class Ultralytics:
    """https://docs.ultralytics.com/guides/object-counting: `solutions.ObjectCounter`, which tracks and counts.

    It has one region: a second line is a second counter, which sees every frame again; `ULTRALYTICS_LINE` says which.
    """

    def __init__(self, model: str) -> None:
        self._line = os.environ.get("ULTRALYTICS_LINE", "x=384")
        solutions = importlib.import_module("ultralytics.solutions")
        region = [tuple(point) for point in LINES[self._line]]
        self._counter = solutions.ObjectCounter(
            show=False, verbose=False, model=model, region=region, classes=[PERSON], imgsz=SIDE
        )

    def see(self, image: Any) -> list[list[float]]:
        """Track and count."""
        self._counter(image)
        boxes: list[list[float]] = [box.tolist() for box in self._counter.boxes]
        return boxes

    def counts(self) -> dict[str, int] | None:
        """Return the counts of its one line."""
        into, out = IN_OUT[self._line]
        return {f"{self._line}/{into}": self._counter.in_count, f"{self._line}/{out}": self._counter.out_count}


class Sahi:
    """https://obss.github.io/sahi/predict: `get_sliced_prediction`, which finds, and neither tracks nor counts."""

    def __init__(self, model: str) -> None:
        sahi, predict = importlib.import_module("sahi"), importlib.import_module("sahi.predict")
        network = importlib.import_module("ultralytics").YOLO(model, task="segment")
        self._model = sahi.AutoDetectionModel.from_pretrained(
            model_type="ultralytics", model=network, confidence_threshold=SCORE, device="cpu", image_size=SIDE
        )
        self._predict = predict.get_sliced_prediction

    def see(self, image: Any) -> list[list[float]]:
        """Slice, find and merge, and look at the whole frame too, as is its default."""
        found = self._predict(image[:, :, ::-1], self._model, slice_height=SIDE, slice_width=SIDE, verbose=0)
        people = [o for o in found.object_prediction_list if o.category.id == PERSON]
        return [[float(side) for side in person.bbox.to_xyxy()] for person in people]

    def counts(self) -> dict[str, int] | None:
        """Return nothing."""
        return None


class Supervision:
    """https://supervision.roboflow.com: `InferenceSlicer` over an Ultralytics model, ByteTrack, `LineZone`."""

    def __init__(self, model: str) -> None:
        self._sv = sv = importlib.import_module("supervision")
        self._model = importlib.import_module("ultralytics").YOLO(model, task="segment")
        self._slicer = sv.InferenceSlicer(callback=self._slice, slice_wh=SIDE, overlap_wh=SIDE // 5)
        self._tracker = importlib.import_module("trackers").ByteTrackTracker()
        self._zones = {
            line: sv.LineZone(sv.Point(*start), sv.Point(*end), triggering_anchors=[sv.Position.BOTTOM_CENTER])
            for line, (start, end) in LINES.items()
        }

    def _slice(self, image: Any) -> Any:
        found = self._model(image, imgsz=SIDE, classes=[PERSON], verbose=False)[0]
        return self._sv.Detections.from_ultralytics(found)

    def see(self, image: Any) -> list[list[float]]:
        """Slice, find, track and count."""
        found = self._tracker.update(self._slicer(image))
        for zone in self._zones.values():
            zone.trigger(found)
        boxes: list[list[float]] = found.xyxy.tolist()
        return boxes

    def counts(self) -> dict[str, int] | None:
        """Return the counts of both lines."""
        told: dict[str, int] = {}
        for line, zone in self._zones.items():
            into, out = ZONE_IN_OUT[line]
            told |= {f"{line}/{into}": zone.in_count, f"{line}/{out}": zone.out_count}
        return told


PEERS: dict[str, Callable[[str], Seer]] = {"ultralytics": Ultralytics, "sahi": Sahi, "supervision": Supervision}


def answer(seer: Seer, video: str, answers: TextIO) -> None:
    """Write the answer to each request into `answers` until there are no more."""
    import cv2  # noqa: PLC0415

    frames, at = cv2.VideoCapture(video), 0
    for request in sys.stdin:
        first, last = (int(number) for number in request.split())
        while at < first:
            frames.grab()
            at += 1
        spent, boxes = [], []
        for _ in range(first, last):
            image = frames.read()[1]
            start = time.perf_counter()
            boxes.append(seer.see(image))
            spent.append((time.perf_counter() - start) * 1e3)
        at = last
        said = {"ms": spent, "boxes": boxes, "counts": seer.counts(), "rss_mb": most_memory_mb()}
        print(json.dumps(said), file=answers, flush=True)


def most_memory_mb() -> float:
    """Return the most memory that this process has held at once, MiB; that of its parent does not count."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def main() -> int:
    """Run one of the peers; what it prints itself goes to the standard error."""
    name, model, video = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr
    answer(PEERS[name](model), video, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
