"""One model alone on the held-out frames: how much an INT8 file loses against the float one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.bundle import Role
from edge.threads import available_cores
from edge.types import Image, Looks
from export.bounds import AP, LABELS, MIOU, OBJECTS, Bounds, Loss
from export.candidate import Candidate
from export.cascade import Cascade, Result, opened
from export.heldout import HeldFrame
from export.metrics import DEFECT_PX, Panoptic, confusion, has_coco, mask_ap, mean_iou, resized
from export.recipe import Recipe


@dataclass
class Validation:
    """Judges files of one model on `frames`: every call is one full validation."""

    found: Candidate
    frames: Sequence[HeldFrame]
    looks: Sequence[Looks | None]  # where the float models look; instance models: the same for every file
    recipe: Recipe
    _float: list[Result] | None = None
    _truth: dict[str, float] | None = None  # figures of the float file

    def __call__(self, data: bytes) -> list[Loss]:
        """Return what the file `data` loses; nothing where there are no frames to judge it on."""
        if not self.frames:
            return []
        if self._float is None:
            self._float = self._results(self.found.files[self.found.native])
            self._truth = self._against_truth(self._float)
        results, bounds = self._results(data), self.recipe.bounds
        truth = self._against_truth(results)
        names = [("miou", "miou_lost", MIOU, bounds.miou_lost), ("ap", "ap_lost", AP, bounds.ap_lost)]
        expected = self._truth or {}
        losses = [
            Loss(bound, what, expected[key], truth[key], most) for key, bound, what, most in names if key in truth
        ]
        return losses or [self._agreement(self._float, results, bounds)]

    def _results(self, data: bytes) -> list[Result]:
        return results_of(self.found, data, [frame.image for frame in self.frames], self.looks, self.recipe)

    def _against_truth(self, results: list[Result]) -> dict[str, float]:
        """Return mean IoU or mask AP, where the frames have what that needs."""
        classes = self.found.model.classes
        pairs = list(zip(self.frames, results, strict=True))
        seen = [(frame.instances, result.instances) for frame, result in pairs]
        objects = [(true, given) for true, given in seen if true is not None and given is not None]
        if objects and has_coco():
            sizes = [(f.image.shape[1], f.image.shape[0]) for f, _ in pairs if f.instances is not None]
            return {"ap": mask_ap(objects, sizes, classes)["ap"]}
        counts = np.zeros((len(classes), len(classes)), np.int64)
        for frame, result in pairs:
            if frame.semantic is not None and result.labels is not None and result.instances is None:
                labels = resized(result.labels.classes, frame.semantic.shape)
                counts += confusion(frame.semantic, labels, len(classes))
        return {"miou": mean_iou(counts)} if counts.any() else {}

    def _agreement(self, expected: list[Result], results: list[Result], bounds: Bounds) -> Loss:
        value = agreement(expected, results, len(self.found.model.classes))
        if self.found.role == "instance":
            return Loss("objects_differ", OBJECTS, 1.0, value, bounds.objects_differ)
        return Loss("labels_differ", LABELS, 1.0, value, bounds.labels_differ)


def results_of(
    found: Candidate, data: bytes, images: Sequence[Image], looks: Sequence[Looks | None], recipe: Recipe
) -> list[Result]:
    """Run one file of a model alone on frames, at the same looks whatever its precision."""
    with contextlib.ExitStack() as stack:
        engine = opened(stack, found.role, data, available_cores())
        role: Role = "instance" if found.role == "instance" else "semantic"
        cascade = Cascade({role: engine}, {role: found.model}, recipe.regions)
        return [cascade(image, look) for image, look in zip(images, looks, strict=True)]


def agreement(expected: Sequence[Result], results: Sequence[Result], classes: int) -> float:
    """Return mean IoU of the label maps, or panoptic quality of the objects."""
    counts, panoptic = np.zeros((classes, classes), np.int64), Panoptic()
    for first, second in zip(expected, results, strict=True):
        if first.instances is not None and second.instances is not None:
            panoptic.add(first.instances, second.instances, DEFECT_PX)
        elif first.labels is not None and second.labels is not None:
            counts += confusion(first.labels.classes, second.labels.classes, classes)
    return panoptic.quality if expected[0].instances is not None else mean_iou(counts)
