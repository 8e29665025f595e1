"""Other ways to read the input of a network than the recipe's: channel order, normalisation, fit.

A canonical graph is not made again for that: an affine step behind its own normalisation turns one into the other, and
another channel order is the same picture with its channels reversed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edge.bundle import Fit
from export.errors import Cause
from export.graph import INPUT, PRE, normalization
from export.recipe import ONE_255TH, Channels, Instance, Semantic

_STEP: Final = "reread/"
# What networks are commonly trained with; mean and std are in the model's own channel order (the last: Caffe's, BGR).
NORMALISATIONS: Final[tuple[tuple[float, Channels, Channels], ...]] = (
    (ONE_255TH, 0.0, 1.0),
    (1.0, 0.0, 1.0),
    (ONE_255TH, 0.5, 0.5),
    (ONE_255TH, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    (1.0, [104.0, 117.0, 123.0], 1.0),
)


@dataclass(frozen=True)
class Reading:
    """One way to read the input, as the recipe would say it."""

    source: Semantic | Instance
    causes: tuple[Cause, ...] = ()  # in what it is another than the recipe's

    @property
    def text(self) -> str:
        """Return the keys of the recipe that say so."""
        told = {
            "colour order": f'color = "{self.source.color}"',
            "normalisation": f"scale = {self.source.scale:.6g}, mean = {self.source.mean}, std = {self.source.std}",
            "fit": f'fit = "{self.source.fit}"',
            "input size": f"input_size = {_turned(self.source.input_size)}",
        }
        return ", ".join(told[cause] for cause in self.causes) or "as the recipe says"


def _turned(size: tuple[int, int] | None) -> list[int]:
    return list(size[::-1]) if size is not None else []


def other_readings(source: Semantic | Instance, *, floats: bool) -> list[Reading]:
    """Return the readings that differ from the recipe's in one thing; only with `floats` in the normalisation."""
    found = [_colors(Reading(source))]
    found += _normalisations(Reading(source)) if floats else []
    if isinstance(source, Semantic):
        fit: Fit = "stretch" if source.fit == "letterbox" else "letterbox"
        found.append(Reading(msgspec.structs.replace(source, fit=fit), ("fit",)))
    return found


def mixed_readings(source: Semantic | Instance, *, floats: bool) -> list[Reading]:
    """Return the readings that differ from the recipe's in channel order and normalisation at once."""
    return [_colors(reading) for reading in _normalisations(Reading(source))] if floats else []


def _colors(reading: Reading) -> Reading:
    other = "bgr" if reading.source.color == "rgb" else "rgb"
    return Reading(msgspec.structs.replace(reading.source, color=other), (*reading.causes, "colour order"))


def _normalisations(reading: Reading) -> list[Reading]:
    """Return the common normalisations but the reading's own."""
    found = []
    own = np.stack(normalization(reading.source))
    for scale, mean, std in NORMALISATIONS:
        source = msgspec.structs.replace(reading.source, scale=scale, mean=mean, std=std)
        if not np.allclose(np.stack(normalization(source)), own, rtol=1e-3, atol=1e-4):
            found.append(Reading(source, (*reading.causes, "normalisation")))
    return found


def takes_floats(graph: onnx.ModelProto) -> bool:
    """Return whether another normalisation can be put into a canonical graph: bytes have none, pixels go one way."""
    return _boundary(graph) is not None


def reread(graph: onnx.ModelProto, old: Semantic | Instance, new: Semantic | Instance) -> onnx.ModelProto:
    """Return a copy of a canonical graph whose pixels, normalised as `old` says, are normalised as `new` does.

    The channel order stays: whoever wants another one reverses the channels of the pictures.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    before, after = normalization(old), normalization(new)
    found = _boundary(graph)
    if found is None or np.array_equal(np.stack(before), np.stack(after)):
        return copy
    tensor, shape = found
    gain = after[0] / before[0]
    _put_behind(copy.graph, tensor, gain.reshape(shape), (after[1] - before[1] * gain).reshape(shape))
    return copy


def _boundary(graph: onnx.ModelProto) -> tuple[str, tuple[int, ...]] | None:
    """Return the one float tensor that goes from the pre-processing into the network, and the shape of a channel."""
    made = {name for node in graph.graph.node if node.name.startswith(PRE) for name in node.output} | {INPUT}
    used = {name for node in graph.graph.node if not node.name.startswith(PRE) for name in node.input}
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in graph.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    crossing = made & used
    if len(crossing) != 1 or not crossing <= shapes.keys():
        return None
    (tensor,) = crossing
    return tensor, (1, 3, 1, 1) if shapes[tensor][1] == 3 else (1, 1, 1, 3)


def _put_behind(
    graph: onnx.GraphProto, tensor: str, gain: npt.NDArray[np.float32], offset: npt.NDArray[np.float32]
) -> None:
    """Let the network read `tensor` * `gain` + `offset`."""
    first = next(i for i, node in enumerate(graph.node) if tensor in node.input and not node.name.startswith(PRE))
    for node in graph.node[first:]:
        for i, name in enumerate(node.input):
            if name == tensor and not node.name.startswith(PRE):
                node.input[i] = f"{_STEP}add"
    graph.initializer.append(numpy_helper.from_array(gain.astype(np.float32), f"{_STEP}gain"))
    graph.initializer.append(numpy_helper.from_array(offset.astype(np.float32), f"{_STEP}offset"))
    steps = [
        helper.make_node("Mul", [tensor, f"{_STEP}gain"], [f"{_STEP}mul"], name=f"{_STEP}mul"),
        helper.make_node("Add", [f"{_STEP}mul", f"{_STEP}offset"], [f"{_STEP}add"], name=f"{_STEP}add"),
    ]
    nodes = [*graph.node[:first], *steps, *graph.node[first:]]
    del graph.node[:]
    graph.node.extend(nodes)
