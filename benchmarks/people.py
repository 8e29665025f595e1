"""People in a real street: line crossings and detections against the truth, with foreign pretrained models.

Only canvases are seen by the instance model. A person counts as detected where a confirmed track was seen in the
frame, or was seen within the last few frames and still has the support of the semantic labels.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.common import PEOPLE, Options, data_folder
from benchmarks.tracked import Tracked, has_trackeval, read_tracked, scores
from edge.boxes import overlaps
from edge.config import Config, load_config
from edge.daemon import Options as RunOptions
from edge.daemon import serve
from edge.types import Boxes, Moment, Tracks
from export.build import export_bundle

IOU = 0.5
CARRIED_FRAMES = 4  # without sight, with support
QUICK_FRAMES = 120


def run(options: Options) -> dict[str, Any]:
    """Return the figures of `vtest`: counts, detections, share of pixels looked at, ms per stage.

    HOTA, IDF1 and MOTA too, where TrackEval is installed.
    """
    data = data_folder()
    with tempfile.TemporaryDirectory() as folder:
        config = people_config(Path(folder), "config.toml", data)
        tracked = Tracked([], [])
        frames = QUICK_FRAMES if options.quick else None
        summary = serve(config, RunOptions(frames=frames), watchers=[lambda moment: _note(tracked, moment)])
    truth = json.loads((data / "vtest" / "counts.json").read_text())["lines"]
    path = data / "vtest" / "gt.txt"
    found, extra, missed = compare(tracked.boxes, boxes_of(path))
    return {
        "frames": summary["frames"],
        **dict(_counts(summary["counted"], truth)),
        "recall": found / max(1, found + missed),
        "precision": found / max(1, found + extra),
        **(scores(read_tracked(path).part(0, len(tracked)), tracked) if has_trackeval() else {}),
        "looked_share": summary["looked_share"],
        "canvases_per_frame": summary["canvases"] / summary["frames"],
        "fps": summary["fps"],
        **{f"{stage}_ms": ms for stage, ms in summary["ms"].items()},
        "rss_mb": summary["rss_mb"],
    }


def people_config(folder: Path, name: str, data: Path) -> Config:
    """Return configuration `name` of `examples/people` with its bundle exported and `data` put where it looks."""
    here = folder / "people"
    here.mkdir(parents=True)
    for path in PEOPLE.glob("*.toml"):
        (here / path.name).write_bytes(path.read_bytes())
    (here / "data").symlink_to(data)
    bundle = export_bundle(here / "recipe.toml", folder / "bundle")
    return msgspec.structs.replace(load_config(here / name), bundle=bundle.path, state=folder / "state")


def present(moment: Moment) -> Boxes:
    """Return the boxes (n, 4) of who is there in this frame."""
    boxes: Boxes = moment.tracks.boxes[_there(moment.tracks)]
    return boxes


def _there(tracks: Tracks) -> npt.NDArray[np.bool_]:
    carried = tracks.supported & (tracks.since_look <= CARRIED_FRAMES)
    return np.asarray((tracks.ids > 0) & ((tracks.since_look == 0) | carried))


def _note(tracked: Tracked, moment: Moment) -> None:
    """Add who is there in this frame."""
    tracked.ids.append(moment.tracks.ids[_there(moment.tracks)])
    tracked.boxes.append(present(moment))


def boxes_of(path: Path) -> dict[int, Boxes]:
    """Return the boxes (n, 4) of each frame index in MOT file `path`, whose frames count from 1."""
    rows = np.loadtxt(path, delimiter=",")
    corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
    return {int(number) - 1: corners[rows[:, 0] == number] for number in np.unique(rows[:, 0])}


def compare(detections: list[Boxes], truth: dict[int, Boxes]) -> tuple[int, int, int]:
    """Return how many boxes were found, extra and missed at IoU 0.5, best overlaps first."""
    found = extra = missed = 0
    for index, boxes in enumerate(detections):
        real = truth.get(index, np.zeros((0, 4), np.float32))
        pairs = len(list(_pairs(overlaps(boxes, real))))
        found, extra, missed = found + pairs, extra + len(boxes) - pairs, missed + len(real) - pairs
    return found, extra, missed


def _pairs(iou: npt.NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    iou = iou.copy()
    while iou.size and float(iou.max()) >= IOU:
        row, column = np.unravel_index(int(iou.argmax()), iou.shape)
        iou[row, :] = iou[:, column] = 0.0
        yield int(row), int(column)


def _counts(counted: dict[str, int], truth: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for line, what in truth.items():
        for direction, total in what["totals"].items():
            yield f"{line}_{direction}", counted.get(f"{line}/person/{direction}", 0)
            yield f"{line}_{direction}_true", total
