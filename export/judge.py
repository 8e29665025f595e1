"""Compare what the bundle does with what the float models do, frame by frame, and both with the truth.

Where the bundle has a coarse semantic model, the cascade with it in the place of the other is a third side.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from calibration.recordings import Progress
from edge.bundle import Model, Role, TensorSpec
from edge.engines.ort import OrtEngine
from edge.types import Instances
from export.cascade import Cascade, Result
from export.heldout import HeldFrame
from export.metrics import DEFECT_PX, Panoptic, confusion, has_coco, mask_ap, mean_iou, resized
from export.operate import Frames, Points
from export.pictures import panels
from export.search import Search, in_turns, times_as_fast

EXAMPLES = 6  # frames with pictures: half spread over all, half those that agree least
HASH = 16  # hex digits that are kept of the SHA-256 of a frame


@dataclass(frozen=True)
class Example:
    """One held-out frame in pictures."""

    name: str
    agreement: float
    picture: bytes  # JPEG: frame and difference, float models and bundle


@dataclass
class Verdict:
    """All figures of a comparison, and what could not be had."""

    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    frames: Frames = ()  # true instances and the bundle's, of pictures that have them
    points: Points | None = None
    hashes: list[str] = field(default_factory=list)  # of the held-out frames, the beginning of the SHA-256 of each
    losses: list[str] = field(default_factory=list)  # against the bounds of the recipe, in words
    searches: dict[Role, Search] = field(default_factory=dict)  # how the INT8 files were found
    decisions: list[str] = field(
        default_factory=list
    )  # decisions of [parity] that the bundle makes otherwise, in words


@dataclass
class _Side:
    """What is summed up for one of the cascades against the truth, and against the float one."""

    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    between: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    panoptic: Panoptic = field(default_factory=Panoptic)
    frames: list[tuple[Instances, Instances]] = field(default_factory=list)  # truth, found
    objects: int = 0


class _Sums:
    """Everything that is summed up over the held-out frames."""

    def __init__(self, models: dict[Role, Model], sides: Iterable[str]) -> None:
        self.classes = len(models["semantic"].classes) if "semantic" in models else 1
        empty = np.zeros((self.classes, self.classes), np.int64)
        self.sides = {name: _Side(empty.copy(), empty.copy()) for name in sides}
        self.sizes: list[tuple[int, int]] = []

    def add(self, frame: HeldFrame, results: dict[str, Result]) -> float:
        """Add one frame; return how well the bundle agrees with the float models on it."""
        for name, result in results.items():
            self._against_truth(self.sides[name], frame, result)
        if frame.instances is not None:
            self.sizes.append((frame.image.shape[1], frame.image.shape[0]))
        agreements = {name: self._agreement(self.sides[name], results["float"], results[name]) for name in results}
        return agreements["bundle"]

    def _agreement(self, side: _Side, reference: Result, product: Result) -> float:
        """Add to a side how far its result of one frame is that of the float models; return that."""
        agreement = 1.0
        if reference.labels is not None and product.labels is not None:
            classes = resized(product.labels.classes, reference.labels.classes.shape)
            counts = confusion(reference.labels.classes, classes, self.classes)
            side.between += counts
            agreement = mean_iou(counts)
        if reference.instances is not None and product.instances is not None:
            side.panoptic.add(reference.instances, product.instances, DEFECT_PX)
            here = Panoptic()
            here.add(reference.instances, product.instances, DEFECT_PX)
            agreement = min(agreement, here.quality)
        return agreement

    def _against_truth(self, side: _Side, frame: HeldFrame, result: Result) -> None:
        if result.instances is not None:
            side.objects += len(result.instances)
            if frame.instances is not None:
                side.frames.append((frame.instances, result.instances))
        if result.labels is not None and frame.semantic is not None:
            side.counts += confusion(frame.semantic, resized(result.labels.classes, frame.semantic.shape), self.classes)


def judge(
    frames: Sequence[HeldFrame],
    cascades: dict[str, Cascade],
    models: dict[Role, Model],
    progress: Progress,
) -> Verdict:
    """Run the cascades "float", "bundle" and, if there, "coarse" on the held-out frames; return all figures."""
    count = len(frames)
    sums, verdict = _Sums(models, cascades), Verdict()
    spread = {int(i) for i in np.linspace(0, count - 1, min(count, EXAMPLES - EXAMPLES // 2)).round()}
    worst: list[Example] = []
    for number, frame in enumerate(frames):
        results = {name: cascade(frame.image) for name, cascade in cascades.items()}
        agreement = sums.add(frame, results)
        verdict.hashes.append(hashlib.sha256(frame.image.tobytes()).hexdigest()[:HASH])
        drawn = panels(frame.image, results["float"], results["bundle"])
        example = Example(frame.name, agreement, drawn)
        if number in spread:
            verdict.examples.append(example)
        else:
            worst = sorted([*worst, example], key=lambda e: e.agreement)[: EXAMPLES // 2]
        progress((number + 1) / count)
    verdict.examples += worst
    verdict.figures["heldout_frames"] = float(count)
    verdict.frames = sums.sides["bundle"].frames
    _between(sums, verdict, models)
    _against_truth(sums, verdict, models)
    return verdict


def _between(sums: _Sums, verdict: Verdict, models: dict[Role, Model]) -> None:
    for name, end in (("bundle", ""), ("coarse", "_coarse")):
        if name in sums.sides and "semantic" in models:
            verdict.figures[f"semantic_miou_agreement{end}"] = mean_iou(sums.sides[name].between)
        if name in sums.sides and "instance" in models:
            verdict.figures[f"instance_pq_agreement{end}"] = sums.sides[name].panoptic.quality
    if "instance" in models:
        panoptic = sums.sides["bundle"].panoptic
        for name, side in sums.sides.items():
            verdict.figures[f"instance_objects_{name}"] = float(side.objects)
        verdict.figures["instance_objects_matched"] = float(panoptic.matched)
        if models["instance"].defects:
            verdict.figures["instance_defects_agreement"] = panoptic.defects_equal / max(panoptic.matched, 1)


def _against_truth(sums: _Sums, verdict: Verdict, models: dict[Role, Model]) -> None:
    for name, side in sums.sides.items():
        if side.counts.any():
            verdict.figures[f"semantic_miou_{name}"] = mean_iou(side.counts)
        if side.frames and has_coco():
            found = mask_ap(side.frames, sums.sizes, models["instance"].classes)
            verdict.figures |= {f"instance_{key}_{name}": value for key, value in found.items()}
    if not any(side.counts.any() or side.frames for side in sums.sides.values()):
        verdict.notes.append("The held-out frames have no truth: agreement only, no mIoU against truth and no mask AP.")
    elif any(side.frames for side in sums.sides.values()) and not has_coco():
        verdict.notes.append(
            "Mask AP was left out: pycocotools is not installed (in the checkout: pip install -e '.[bench]')."
        )


def timings(role: Role, engines: dict[str, OrtEngine], picture: TensorSpec) -> dict[str, float]:
    """Return median and 10th to 90th percentile of one inference in ms, all engines in turns so that load hits both.

    `engines` are those of one model by precision, the float one first; of two, also how many times as fast the second.
    """
    figures: dict[str, float] = {}
    rounds = in_turns(engines, picture)
    for key, values in rounds.items():
        name, tenths = f"{role}_{key}", statistics.quantiles(values, n=10)
        figures |= {f"{name}_ms": statistics.median(values), f"{name}_ms_p10": tenths[0], f"{name}_ms_p90": tenths[-1]}
    if len(rounds) == 2:
        figures[f"{role}_speedup"] = times_as_fast(*rounds.values())
    return figures
