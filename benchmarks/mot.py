"""The tracker on the detections of others: HOTA, IDF1 and MOTA beside other trackers, and what it takes per frame.

Public detections of MOT Challenge 2015 as instances that fill their boxes, no labels, everything moves by itself. All
trackers get the same: every box, and for its confidence the share of boxes with such a score that are right, by a
logistic curve through the first half of `vtest` (Platt, 1999). Each runs as it is by default, and with the threshold
and the number of looks that were best on other sequences than those that are judged: the first half of `vtest`, and
the truth of two sequences of KITTI that a stated noise made into detections. Judged are the second half of `vtest`,
TUD-Campus and KITTI-17. The package `trackers` runs in an interpreter of its own (`benchmarks/peers.txt`); without
`--peers-python` only ours runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count, product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from benchmarks import mot_peers
from benchmarks.common import Options, data_folder
from benchmarks.mot_data import Curve, Sequence, fitted, read_sequences
from benchmarks.mot_scenes import frame_ms, instances_in, looks_at
from benchmarks.peers import interpreter
from benchmarks.tracked import Tracked, scores, trackeval
from edge.config import TrackRules
from edge.decide.tracks import Tracker

THRESHOLDS, LOOKS = (0.3, 0.4, 0.5, 0.6, 0.7), (1, 2, 3)  # what is tried, for ours and for the peers
TUNING: Final = ("vtest_first", "kitti_0006", "kitti_0010")
JUDGED: Final = ("vtest_second", "tud_campus", "kitti_17")
TOLD: Final = ("hota", "idf1", "mota", "switches")
OBJECTS, FRAMES, QUICK_FRAMES = (20, 100), 600, 60
EVERY: Final = {"all_looked_at": 1, "a_third_looked_at": 3}
MOTIONS: Final[tuple[Literal["belt", "free"], ...]] = ("belt", "free")


def run(options: Options) -> dict[str, Any]:
    """Return HOTA, IDF1, MOTA of all trackers on all sequences, and the milliseconds of ours."""
    trackeval()  # where it is not there, that is said now
    figures: dict[str, Any] = dict(_clocked(QUICK_FRAMES if options.quick else FRAMES))
    sequences = read_sequences(data_folder(), options.seed)
    curve = fitted(sequences["vtest_first"])
    tuning = {name: sequences[name] for name in TUNING}
    rules = _chosen(tuning, curve)
    figures["ours_options"] = f"min_score {rules.min_score}, confirm_looks {rules.confirm_looks}"
    told = {
        name: {key: followed(one, curve, kept) for key, one in sequences.items()}
        for name, kept in (("ours_default", TrackRules()), ("ours", rules))
    }
    if options.peers_python is not None:
        peers = interpreter(options.peers_python, ("trackers", "supervision"))
        runs = mot_peers.defaults() | ({} if options.quick else _chosen_peers(peers, tuning, curve))
        for name, (tracked, ms) in mot_peers.ask(peers, runs, sequences, curve).items():
            told[name] = tracked
            figures |= {f"{name}_options": json.dumps(runs[name][1]), f"{name}_vtest_ms": ms["vtest"]}
    return figures | _judged(told, sequences)


def followed(sequence: Sequence, curve: Curve, rules: TrackRules) -> Tracked:
    """Return what our tracker makes of a sequence: who is confirmed and has a box in a frame."""
    ids, blank, (width, height) = count(1), np.zeros((8, 8), np.uint8), sequence.size
    tracker = Tracker(rules, [1], 2, sequence.size, lambda: next(ids))
    everywhere = looks_at(np.asarray([[0, 0, width, height]], np.float32))
    told = Tracked([], [])
    for boxes, marks in zip(sequence.boxes, sequence.marks, strict=True):
        tracker.predict(blank, (width / 8, height / 8), 1)
        tracks, _ = tracker.update(instances_in(boxes, curve(marks)), everywhere)
        seen = (tracks.ids > 0) & (tracks.since_look == 0)
        told.ids.append(tracks.ids[seen])
        told.boxes.append(tracks.boxes[seen])
    return told


def _chosen(tuning: Mapping[str, Sequence], curve: Curve) -> TrackRules:
    """Return the rules of those that are tried with the best mean HOTA."""
    tried = [TrackRules(min_score=least, confirm_looks=looks) for least, looks in product(THRESHOLDS, LOOKS)]
    return max(tried, key=lambda rules: _hota({n: followed(s, curve, rules) for n, s in tuning.items()}, tuning))


def _chosen_peers(peers: Path, tuning: Mapping[str, Sequence], curve: Curve) -> dict[str, mot_peers.Run]:
    """Return each peer with the options of those that are tried with the best mean HOTA."""
    chosen = {}
    for name in mot_peers.PEERS:
        tried = mot_peers.variants(name, THRESHOLDS, LOOKS)
        told = mot_peers.ask(peers, tried, tuning, curve)
        chosen[name] = tried[max(tried, key=lambda run: _hota(told[run][0], tuning))]
    return chosen


def _hota(told: Mapping[str, Tracked], sequences: Mapping[str, Sequence]) -> float:
    return float(np.mean([scores(one.truth, told[name])["hota"] for name, one in sequences.items()]))


def _judged(told: Mapping[str, Mapping[str, Tracked]], sequences: Mapping[str, Sequence]) -> dict[str, Any]:
    """Return all figures by tracker and sequence, the mean HOTA over those that are judged, and the best peer's."""
    figures: dict[str, Any] = {}
    means: dict[str, float] = {}
    for name, tracked in told.items():
        found = {key: scores(one.truth, tracked[key]) for key, one in sequences.items()}
        figures |= {f"{key}_{name}_{what}": found[key][what] for key in found for what in TOLD}
        means[name] = figures[f"judged_{name}_hota"] = float(np.mean([found[key]["hota"] for key in JUDGED]))
    rivals = {name: mean for name, mean in means.items() if not name.startswith("ours")}
    if rivals:
        best = max(rivals, key=lambda name: rivals[name])
        figures |= {"best_peer": best, "judged_hota_ahead_of_best_peer": means["ours"] - means[best]}
        for key in JUDGED:
            most = max(figures[f"{key}_{name}_hota"] for name in rivals)
            figures[f"{key}_hota_ahead_of_best_there"] = figures[f"{key}_ours_hota"] - most
    return figures


def _clocked(frames: int) -> Iterator[tuple[str, float]]:
    """Yield least, median and p90 of the milliseconds that `predict` and `update` take together."""
    for motion, objects, (share, every) in product(MOTIONS, OBJECTS, EVERY.items()):
        spent = frame_ms(motion, objects, frames, every)
        name = f"{motion}_{objects}_objects_{share}_ms"
        yield f"{name}_least", min(spent)
        yield f"{name}_median", float(np.median(spent))
        yield f"{name}_p90", float(np.percentile(spent, 90))
