"""The cascade in a process of its own: what `benchmarks.peers` starts beside the peers, asked in the same way.

Its libraries are kept to one thread by the environment, which `benchmarks.peers` hands on as it has it itself.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import cv2

from benchmarks.peers_worker import answer
from benchmarks.street_rules import SIZE, present, street_config
from edge.bundle import open_bundle
from edge.daemon import open_models
from edge.events import Count
from edge.health import Stopwatch
from edge.station import Station
from edge.types import Frame


class Cascade:
    """Semantic pass, regions, canvases, tracks and counts: the daemon's stations without ledger and broker."""

    def __init__(self, bundle: Path, data: Path, precision: str, stack: contextlib.ExitStack) -> None:
        cv2.setNumThreads(1)
        config = street_config(bundle, data, precision=precision)
        self._refresh = config.attention.refresh_frames
        ids = count(1)
        models = open_models(config, open_bundle(bundle), stack)
        self._station = Station("street", SIZE, config, models, lambda: next(ids))
        self._index = 0
        self._counts: Counter[str] = Counter()

    def see(self, image: Any) -> list[list[float]]:
        """See, track and count."""
        moment = self._station.see(Frame("street", self._index, self._index / 10.0, image), Stopwatch())
        self._index += 1
        told = (event.counter for event in moment.events if isinstance(event, Count))
        self._counts.update(counter.replace("/person/", "/") for counter in told)
        boxes: list[list[float]] = present(moment.tracks, self._refresh).tolist()
        return boxes

    def counts(self) -> dict[str, int] | None:
        """Return the counts of both lines."""
        return dict(self._counts)


def main() -> int:
    """Run the cascade."""
    bundle, data, precision, video = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        answer(Cascade(Path(bundle), Path(data), precision, stack), video, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
