"""Packing: how full canvases get, and what it takes, with 32 regions of many sizes of which not all can fit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import Options
from edge.see.packing import GUTTER_PX, pack, room_of

CANVAS = 320, 320
REGIONS, TIMES, QUICK_TIMES = 32, 2000, 200
SIDES = {"small": (30, 100), "mixed": (20, 200), "large": (60, 140)}  # least and most, pixels


def run(options: Options) -> dict[str, Any]:
    """Return fill (gutters count as filled: nothing else may lie there) and milliseconds, for several mixtures."""
    figures: dict[str, Any] = {"regions": REGIONS}
    for name, (least, most) in SIDES.items():
        random = np.random.default_rng(options.seed)
        fills, times_ms = [], []
        for _ in range(QUICK_TIMES if options.quick else TIMES):
            sources = _regions(random, least, most)
            canvases = _canvases(sources)
            started = time.perf_counter()
            looks, _ = pack(sources, CANVAS, canvases)
            times_ms.append((time.perf_counter() - started) * 1000)
            fills.append(_room(looks.places) / (canvases * _room(np.asarray([[0, 0, *CANVAS]]))))
        figures |= {
            f"{name}_fill_median": float(np.median(fills)),
            f"{name}_fill_p5": float(np.percentile(fills, 5)),
            f"{name}_ms_median": float(np.median(times_ms)),
            f"{name}_ms_p90": float(np.percentile(times_ms, 90)),
        }
    return figures | {"gutter_px": GUTTER_PX}


def _regions(random: np.random.Generator, least: int, most: int) -> npt.NDArray[np.int32]:
    sides = random.integers(least, most + 1, (REGIONS, 2))
    return np.concatenate([np.zeros_like(sides), sides], axis=1).astype(np.int32)


def _canvases(sources: npt.NDArray[np.int32]) -> int:
    """Return how many canvases the regions would more than fill."""
    return max(1, int(_room(sources) / _room(np.asarray([[0, 0, *CANVAS]]))))


def _room(boxes: npt.NDArray[Any]) -> float:
    return float(room_of(boxes[:, 2:] - boxes[:, :2]).sum())
