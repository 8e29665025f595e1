"""The belt's networks as others might have trained or broken them: what is changed here is changed in the ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from benchmarks.common import ROOT
from edge.types import Array

BELT = ROOT / "examples" / "belt"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
QUIETER = 0.25  # times the step of a quantizer whose range is too small
SHUFFLED = 3  # convolutions whose weights are mixed up

Edit = Callable[[onnx.ModelProto], None]


def edited(name: str, out: Path, *edits: Edit) -> Path:
    """Write the belt's network `name` to `out`, changed by `edits`."""
    model = onnx.load(str(BELT / f"{name}.onnx"))
    for edit in edits:
        edit(model)
    onnx.save(model, str(out))
    return out


def wants_rgb(model: onnx.ModelProto) -> None:
    """Let a network that wants BGR want RGB."""
    _change(model, _convolutions(model)[0].input[1], lambda weight: weight[:, ::-1])


def wants_bytes(model: onnx.ModelProto) -> None:
    """Let a network that wants 0 to 1 want 0 to 255."""
    _change(model, _convolutions(model)[0].input[1], lambda weight: weight / 255)


def wants_imagenet(model: onnx.ModelProto) -> None:
    """Let a network that wants 0 to 1 want pixels less the mean of ImageNet, by its deviation."""
    first = _convolutions(model)[0]
    weight = numpy_helper.to_array(_tensor(model, first.input[1]))
    shift = (weight * np.asarray(MEAN, np.float32).reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3))
    _change(model, first.input[1], lambda array: array * np.asarray(STD, np.float32).reshape(1, 3, 1, 1))
    _change(model, first.input[2], lambda bias: bias + shift)


def sized(height: int | str, width: int | str) -> Edit:
    """Return what gives a network of stride 2 another input size, or leaves it open where these are names."""

    def edit(model: onnx.ModelProto) -> None:
        del model.graph.value_info[:]
        for value, stride in ((model.graph.input[0], 1), (model.graph.output[0], 2)):
            for dim, size in zip(value.type.tensor_type.shape.dim[2:], (height, width), strict=True):
                if isinstance(size, int):
                    dim.dim_value = size // stride
                else:
                    dim.dim_param = f"{size}{stride}"

    return edit


def reordered(order: Sequence[int]) -> Edit:
    """Return what gives a semantic network its classes in another order: number i is what was `order[i]`."""

    def edit(model: onnx.ModelProto) -> None:
        for name in _convolutions(model)[-1].input[1:]:
            _change(model, name, lambda array: array[list(order)])

    return edit


def dead(model: onnx.ModelProto) -> None:
    """Let a semantic network say the same whatever it sees."""
    _change(model, _convolutions(model)[-1].input[1], np.zeros_like)


def shuffled(seed: int) -> Edit:
    """Return what mixes up the weights of some convolutions: every number is a sensible one, in the wrong place."""

    def edit(model: onnx.ModelProto) -> None:
        random = np.random.default_rng(seed)
        inner = _convolutions(model)[1:-1]
        for i in random.choice(len(inner), SHUFFLED, replace=False).tolist():
            _change(model, inner[i].input[1], lambda array: random.permutation(array.reshape(-1)).reshape(array.shape))

    return edit


def quieter(model: onnx.ModelProto) -> None:
    """Make the ranges of all activations of a quantized network too small."""
    weights = {tensor.name for tensor in model.graph.initializer}
    steps = {
        node.input[1]
        for node in model.graph.node
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"} and node.input[0] not in weights
    }
    for name in sorted(steps):
        _change(model, name, lambda step: step * QUIETER)


def quantized(pictures: Sequence[Array], source: Path, out: Path) -> Path:
    """Write a network quantized by onnxruntime's own tool; `pictures` are inputs (1, 3, h, w) float32."""
    quantize_static(str(source), str(out), _Reader(pictures), weight_type=QuantType.QInt8, per_channel=True)
    return out


class _Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]  # onnxruntime has no types
    def __init__(self, pictures: Sequence[Array]) -> None:
        self._left: Iterator[Array] = iter(pictures)

    def get_next(self) -> dict[str, Array] | None:
        picture = next(self._left, None)
        return None if picture is None else {"image": picture}


def changed(path: Path, out: Path, edit: Edit) -> Path:
    """Write the network in `path` to `out`, changed."""
    model = onnx.load(str(path))
    edit(model)
    onnx.save(model, str(out))
    return out


def _convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _change(model: onnx.ModelProto, name: str, change: Callable[[Any], npt.NDArray[Any]]) -> None:
    tensor = _tensor(model, name)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(array), array.dtype), name))
