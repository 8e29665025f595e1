"""How good tracks are: HOTA, CLEAR MOT and identity metrics against ground truth, all by TrackEval.

HOTA: Luiten et al., IJCV 2021, mean over IoU thresholds of 0.05 to 0.95. MOTA and identity switches: Bernardin and
Stiefelhagen, 2008; IDF1: Ristani et al., 2016; both at IoU 0.5. As in MOT Challenge 2015, rows of the truth with flag 0
(hidden) are left out, and nothing else is.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.boxes import overlaps
from edge.errors import FoveateError
from edge.types import Boxes

Ids: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tracked:
    """Who is where, frame by frame."""

    ids: list[Ids]  # of each frame (n,)
    boxes: list[Boxes]  # of each frame (n, 4)

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, first: int, last: int | None = None) -> Tracked:
        """Return the frames from `first` to before `last`."""
        return Tracked(self.ids[first:last], self.boxes[first:last])


def read_rows(path: Path) -> npt.NDArray[np.float64]:
    """Return the rows of a MOT file: frame (from 1), id, left, top, width, height, flag or score, and others."""
    return np.loadtxt(path, delimiter=",", ndmin=2)


def read_tracked(path: Path, frames: int | None = None) -> Tracked:
    """Return what a MOT file says of so many `frames`, or of all up to its last, without the rows whose flag is 0."""
    rows = read_rows(path)
    count = frames or int(rows[:, 0].max())
    rows = rows[rows[:, 6] != 0]
    each = [rows[rows[:, 0] == number] for number in range(1, count + 1)]
    return Tracked([one[:, 1].astype(np.int64) for one in each], [corners_of(one) for one in each])


def corners_of(rows: npt.NDArray[np.float64]) -> Boxes:
    """Return the boxes (n, 4) of rows (n, 6 or more) of a MOT file."""
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)


def scores(truth: Tracked, found: Tracked) -> dict[str, float]:
    """Return HOTA, its parts DetA and AssA, IDF1 and MOTA in percent, and identity switches, of `found`."""
    metrics = trackeval().metrics
    data = _data(truth, found)
    quiet = {"PRINT_CONFIG": False}
    hota = metrics.HOTA().eval_sequence(data)
    clear = metrics.CLEAR(quiet).eval_sequence(data)
    identity = metrics.Identity(quiet).eval_sequence(data)
    percent = {name.lower(): 100 * float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA")}
    percent |= {"idf1": 100 * float(identity["IDF1"]), "mota": 100 * float(clear["MOTA"])}
    return {**percent, "switches": float(clear["IDSW"])}


def _data(truth: Tracked, found: Tracked) -> dict[str, Any]:
    """Return both as TrackEval's metrics take them: ids counted from 0, and the IoU of all pairs of each frame."""
    known, told = numbered(truth.ids), numbered(found.ids)
    return {
        "gt_ids": known,
        "tracker_ids": told,
        "similarity_scores": [overlaps(a, b).astype(np.float64) for a, b in zip(truth.boxes, found.boxes, strict=True)],
        "num_timesteps": len(truth),
        "num_gt_ids": len(_all(truth.ids)),
        "num_tracker_ids": len(_all(found.ids)),
        "num_gt_dets": sum(len(one) for one in known),
        "num_tracker_dets": sum(len(one) for one in told),
    }


def numbered(ids: Sequence[Ids]) -> list[Ids]:
    """Return `ids` with each replaced by its place among all that there are."""
    names = _all(ids)
    return [np.searchsorted(names, one) for one in ids]


def _all(ids: Sequence[Ids]) -> Ids:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *ids]))


def has_trackeval() -> bool:
    """Return whether TrackEval is installed."""
    return importlib.util.find_spec("trackeval") is not None


def trackeval() -> Any:
    """Return TrackEval; raises `FoveateError` where it is not installed."""
    try:
        return importlib.import_module("trackeval")
    except ModuleNotFoundError as error:
        raise FoveateError(
            f"TrackEval: {error.name} is not installed; pip install --no-deps trackeval==1.3.0 scipy tabulate "
            "(what it depends on otherwise would put another OpenCV in the place of ours)"
        ) from error
