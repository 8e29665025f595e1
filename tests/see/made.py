"""Small records made by hand: tracks, instances, looks, and an engine that answers with what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edge.bundle import EngineFile, Head, Model, TensorSpec
from edge.types import Array, Frame, Image, Instances, Looks, Seen, Tracks

Box = Sequence[float]


class FakeEngine:
    """The four members of an engine round a function."""

    def __init__(self, model: Model, answer: Callable[[Image], Mapping[str, Array]]) -> None:
        self.inputs = {model.input.name: model.input}
        self.outputs = {spec.name: spec for spec in model.outputs}
        self.seen: list[Image] = []
        self._name = model.input.name
        self._answer = answer

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        image = feeds[self._name]
        self.seen.append(image.copy())
        return self._answer(image)

    def close(self) -> None:
        """Nothing is held."""


def model_of(
    size: tuple[int, int], head: Head, *, fit: str = "stretch", fill: int = 114, defects: Sequence[str] = ()
) -> Model:
    """Return a model whose input is `size` (width, height)."""
    return Model(
        classes=["background", "part", "other"],
        head=head,
        input=TensorSpec("image", (size[1], size[0], 3), "uint8"),
        outputs=[],
        engines=[EngineFile("onnxruntime", "float32", "m.onnx", 0, "")],
        defects=list(defects),
        fit=fit,  # type: ignore[arg-type]
        fill=fill,
    )


def boxes_of(boxes: Sequence[Box]) -> npt.NDArray[np.float32]:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def tracks_of(boxes: Sequence[Box], **fields: Sequence[object]) -> Tracks:
    """Return confirmed tracks that were measured in this frame; `fields` replaces any array."""
    n, corners = len(boxes), boxes_of(boxes)
    arrays: dict[str, Array] = {
        "keys": np.arange(1, n + 1, dtype=np.int64),
        "ids": np.arange(1, n + 1, dtype=np.int64),
        "classes": np.ones(n, np.uint8),
        "centers": (corners[:, :2] + corners[:, 2:]) / 2,
        "velocities": np.zeros((n, 2), np.float32),
        "looks": np.full(n, 3, np.int32),
        "since_look": np.zeros(n, np.int32),
        "supported": np.ones(n, np.bool_),
        "instances": np.full(n, -1, np.int32),
        "located": np.ones(n, np.bool_),
    }
    for name, values in fields.items():
        arrays[name] = np.asarray(values, arrays[name].dtype).reshape(arrays[name].shape)
    return Tracks(boxes=corners, masks=[np.ones((4, 4), np.bool_) for _ in range(n)], **arrays)


def instances_of(boxes: Sequence[Box], *, defects: int = 0, **fields: Sequence[object]) -> Instances:
    """Return whole instances of class 1 seen at native resolution; `fields` replaces any array."""
    n, corners = len(boxes), boxes_of(boxes)
    arrays: dict[str, Array] = {
        "scores": np.full(n, 0.9, np.float32),
        "classes": np.ones(n, np.uint8),
        "centers": (corners[:, :2] + corners[:, 2:]) / 2,
        "areas_px": (corners[:, 2:] - corners[:, :2]).prod(axis=1),
        "defects_px": np.zeros((n, defects), np.float32),
        "scales": np.ones(n, np.float32),
        "whole": np.ones(n, np.bool_),
    }
    for name, values in fields.items():
        arrays[name] = np.asarray(values, arrays[name].dtype).reshape(arrays[name].shape)
    return Instances(boxes=corners, masks=[np.ones((4, 4), np.bool_) for _ in range(n)], **arrays)


def looks_of(sources: Sequence[Box], places: Sequence[Box], scales: Sequence[float] = ()) -> Looks:
    """Return looks on canvas 0."""
    n = len(sources)
    return Looks.at_one(
        np.asarray(sources, np.int32).reshape(-1, 4),
        np.zeros(n, np.int32),
        np.asarray(places, np.int32).reshape(-1, 4),
        np.asarray(scales or [1.0] * n, np.float32),
    )


def seen_of(
    frame: Frame,
    tracks: Tracks,
    instances: Instances | None = None,
    ended: Sequence[int] = (),
    found: Image | None = None,
    scale: tuple[float, float] = (20.0, 20.0),
) -> Seen:
    """Return what was made of `frame`; without `instances` nothing was looked at, without `found` there is none."""
    labels = np.zeros((4, 4), np.uint8) if found is None else found
    nothing = instances_of([]) if instances is None else instances
    return Seen(frame, labels, scale, nothing, tracks, list(ended))
