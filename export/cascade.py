"""Both models of one precision, run on single frames as at run time: export's touching point with `edge.see`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from calibration.canvases import find_looks
from edge.bundle import Model, Role
from edge.config import RegionRules, class_numbers
from edge.engines.ort import OrtEngine
from edge.see.instances import InstancePass
from edge.see.select import select
from edge.see.semantic import SemanticPass
from edge.types import Frame, Image, Instances, Labels, Looks

_T = TypeVar("_T")


@dataclass(frozen=True)
class Result:
    """What a cascade says of one frame; copies, valid for as long as you like."""

    labels: Labels | None
    looks: Looks | None
    instances: Instances | None


class Cascade:
    """A semantic and an instance model, either of which may be missing."""

    def __init__(self, engines: dict[Role, OrtEngine], models: dict[Role, Model], regions: RegionRules) -> None:
        """Take opened engines by role; `models` are their manifests."""
        semantic, instance = models.get("semantic"), models.get("instance")
        self.semantic = SemanticPass(engines["semantic"], semantic) if semantic else None
        self.instance = InstancePass(engines["instance"], instance) if instance else None
        self._canvas = (instance.input.shape[1], instance.input.shape[0]) if instance else None
        self._regions = regions
        self.instance_fill = instance.fill if instance else 0  # grey of what no look covers
        self._wanted = wanted_classes(semantic, regions) if semantic else []

    def __call__(self, image: Image, looks: Looks | None = None) -> Result:
        """Look at one frame (h, w, 3); `looks` replaces what the semantic model would find."""
        labels = self.label(image)
        if self.instance is None or self._canvas is None:
            return Result(labels, None, None)
        looks = self.looks(image, labels) if looks is None else looks
        found = self.instance([image], looks)[0]
        return Result(labels, looks, select(found, np.flatnonzero(found.whole)))  # what decisions are made from

    def looks(self, image: Image, labels: Labels | None) -> Looks:
        """Return where the instance model has to look; without an instance model, nowhere."""
        canvas = self._canvas or (1, 1)
        return find_looks(image, labels, self._regions, self._wanted, canvas)

    def label(self, image: Image) -> Labels | None:
        """Return the semantic labels of one frame."""
        if self.semantic is None:
            return None
        labels = self.semantic(Frame("heldout", 0, 0.0, image))
        confidence = None if labels.confidence is None else np.array(labels.confidence)
        return Labels(np.array(labels.classes), confidence, labels.scale)


def opened(stack: contextlib.ExitStack, role: Role, data: bytes, threads: int) -> OrtEngine:
    """Return an engine that is closed with `stack`."""
    engine = OrtEngine(role, data, threads)
    stack.callback(engine.close)
    return engine


def with_coarse(by_role: Mapping[Role, _T]) -> dict[Role, _T]:
    """Return what a cascade takes by role, the coarse semantic model in the place of the other one."""
    return {
        role: value for role, value in (dict(by_role) | {"semantic": by_role["coarse"]}).items() if role != "coarse"
    }


def wanted_classes(semantic: Model, regions: RegionRules) -> list[int]:
    """Return the numbers of the semantic classes that deserve attention; all but the background by default."""
    names = regions.classes or semantic.classes[1:]
    return class_numbers(names, semantic.classes, "regions.classes")
