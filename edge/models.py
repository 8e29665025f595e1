"""The models of a bundle, loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.see.appearance import Embedder
from edge.see.instances import InstancePass
from edge.types import Frame, Labels
from edge.workers import Workers

Semantic = Callable[[Frame], Labels]


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a bundle, loaded."""

    semantic: Semantic
    instances: InstancePass
    semantic_classes: list[str]
    instance_classes: list[str]
    defects: list[str]
    semantics: Workers[Semantic] | None = None  # for the frames of several cameras at once
    coarse: Semantic | None = None  # `semantic` with a smaller input, for the governor
    coarses: Workers[Semantic] | None = None  # the same for several cameras
    embedder: Embedder | None = None  # what objects look like, where the configuration asks for it
