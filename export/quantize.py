"""Float graph -> INT8 graph: which nodes are worth it, and the Q/DQ pairs of two flavours.

``cpu``: uint8 activations with a zero point, int8 weights per channel, what onnxruntime and OpenVINO run fastest.
``tensorrt``: int8 symmetric activations, float biases, the only kind that TensorRT takes without changing its meaning.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from calibration.ranges import Range
from export.errors import ModelError
from export.graph import NET, finished, rename_inputs

Flavour = Literal["cpu", "tensorrt"]

COMPUTE = {"Conv", "Gemm", "MatMul"}  # where the time goes
COMPUTE_TENSORRT = COMPUTE | {"ConvTranspose"}  # onnxruntime has no INT8 kernel for it: Q/DQ would only cost accuracy
FOLLOW = {  # worth it where they feed or follow computing nodes, so that activations stay bytes in between
    *("Add", "AveragePool", "Clip", "Concat", "DepthToSpace", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul"),
    *("Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}
ACTIVATIONS = {"Relu", "Clip", "LeakyRelu"}  # that onnxruntime merges with the layer before them
MOVES = {"Gather", "Reshape", "Tile", "Transpose", "Unsqueeze"}  # what only moves values
CHEAP_OUTPUT = 0.02  # share of all multiplications below which the last layer of a sensitive output stays float


@dataclass(frozen=True)
class Plan:
    """What will be quantized in a graph."""

    nodes: list[str]
    tensors: list[str]  # float activations whose ranges are needed
    layers: dict[str, float]  # those of `nodes` that compute, with their share of all multiplications
    ends: list[str]  # those of `tensors` behind the last layer: what is decoded, and must not be clipped


def is_quantized(model: onnx.ModelProto) -> bool:
    """Return whether a graph carries Q/DQ pairs or integer operators already."""
    return any("Linear" in node.op_type or node.op_type.endswith("Integer") for node in model.graph.node)


def plan(
    model: onnx.ModelProto,
    exclude: list[str],
    sensitive: tuple[str, ...],
    flavour: Flavour = "cpu",
    float_layers: Collection[str] = (),
) -> Plan:
    """Choose the nodes of a canonical float graph that are quantized.

    `exclude` are names of nodes that stay float, as in the model given to export; `sensitive` are raw outputs whose
    last layers stay float where that is cheap; `float_layers` are names in `model` that stay float too. Raises
    `ModelError` on an excluded name that no node has.
    """
    graph = _Graph(model)
    excluded = {NET + name for name in exclude}
    _check_names(excluded - set(graph.nodes), graph)
    computing = COMPUTE if flavour == "cpu" else COMPUTE_TENSORRT
    core = [node for node in graph.nodes.values() if node.op_type in computing and not graph.is_expectation(node)]
    kept_float = excluded | set(float_layers)
    kept_float |= {name for output in sensitive for name in graph.cheap_last(NET + output, core)}
    chosen = {node.name for node in core} - kept_float
    layers = [node for node in core if node.name in chosen]
    chosen |= {name for name in graph.between(chosen) if name not in excluded}
    nodes = [node for node in graph.nodes.values() if node.name in chosen]
    total = max(sum(graph.multiplications(node) for node in core), 1)
    shares = {node.name: graph.multiplications(node) / total for node in layers}
    tensors, inner = graph.activations(nodes), graph.before(core)
    return Plan([node.name for node in nodes], tensors, shares, [name for name in tensors if name not in inner])


def _check_names(unknown: set[str], graph: _Graph) -> None:
    for name in sorted(unknown):
        near = difflib.get_close_matches(name, graph.nodes, n=1)
        hint = f"did you mean {near[0].removeprefix(NET)!r}?" if near else "names are those of the float model"
        raise ModelError(f"exclude: no node {name.removeprefix(NET)!r} in the model; {hint}")


class _Graph:
    """A float graph with its edges at hand."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = {node.name: node for node in graph.node}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.producer = {name: node for node in graph.node for name in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        values = [*graph.value_info, *graph.output]
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}

    def is_expectation(self, node: onnx.NodeProto) -> bool:
        """Return whether a convolution only takes the mean of a distribution (YOLO's DFL: weights 0, 1, 2, ...).

        Its input is a softmax and its output are distances; eight bits would blur every box by a step of the output.
        """
        weights = self.weights.get(node.input[1])
        if weights is None or math.prod(weights.dims) > 256 or math.prod(weights.dims) < 4:
            return False
        return bool(np.allclose(numpy_helper.to_array(weights).reshape(-1), np.arange(math.prod(weights.dims))))

    def multiplications(self, node: onnx.NodeProto) -> int:
        """Return how many multiplications a computing node takes, per picture."""
        weights = self.weights.get(node.input[1])
        per_output = math.prod(weights.dims[1:]) if weights is not None else 1
        return int(math.prod(self.shapes.get(node.output[0], [0])) * per_output)

    def cheap_last(self, tensor: str, core: list[onnx.NodeProto]) -> set[str]:
        """Return the computing nodes that are first met on the way up from `tensor` and cost next to nothing."""
        by_name = {node.name: node for node in core}
        total = sum(self.multiplications(node) for node in core)
        found, todo = set(), [tensor]
        while todo:
            node = self.producer.get(todo.pop())
            if node is not None and node.name in by_name:
                found.add(node.name)
            elif node is not None:
                todo.extend(node.input)
        return {name for name in found if self.multiplications(by_name[name]) < CHEAP_OUTPUT * total}

    def between(self, chosen: set[str]) -> set[str]:
        """Return the nodes that lie between `chosen` ones, and the activations right behind them."""
        before, after = self._reach(chosen, forward=False), self._reach(chosen, forward=True)
        behind = {
            n.name
            for name in chosen
            for out in self.nodes[name].output
            for n in self.consumers.get(out, [])
            if n.op_type in ACTIVATIONS
        }
        return (before & after) | behind

    def _reach(self, chosen: set[str], *, forward: bool) -> set[str]:
        """Return the nodes that lead to (or come from) one of `chosen` through nodes worth quantizing only."""
        found: set[str] = set()
        for node in self.nodes.values() if forward else reversed(list(self.nodes.values())):
            if node.op_type not in FOLLOW or not node.name.startswith(NET):
                continue
            if forward:
                near = [self.producer[name] for name in node.input if name in self.producer]
            else:
                near = [n for name in node.output for n in self.consumers.get(name, [])]
            if any(n.name in chosen or n.name in found for n in near):
                found.add(node.name)
        return found

    def before(self, layers: list[onnx.NodeProto]) -> set[str]:
        """Return the tensors from which one of `layers` can be reached."""
        names = {node.name for node in layers}
        found: set[str] = set()
        for node in reversed(list(self.nodes.values())):
            if node.name in names or not found.isdisjoint(node.output):
                found.update(node.input)
        return found

    def activations(self, nodes: list[onnx.NodeProto]) -> list[str]:
        """Return the float tensors that go in and out of `nodes`, in order."""
        names = [name for node in nodes for name in (*node.input, *node.output)]
        return [name for name in dict.fromkeys(names) if name in self.floats and name not in self.weights]


def quantize(
    model: onnx.ModelProto, chosen: Plan, ranges: dict[str, Range], flavour: Flavour = "cpu"
) -> onnx.ModelProto:
    """Return a copy of a canonical float graph with Q/DQ pairs round the nodes of `chosen`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {name: (np.asarray(low, np.float32), np.asarray(high, np.float32)) for name, (low, high) in ranges.items()}
    symmetric = flavour == "tensorrt"
    quantizer = QDQQuantizer(
        copy,
        True,  # noqa: FBT003  per channel
        False,  # noqa: FBT003  full range
        QuantType.QInt8,
        QuantType.QInt8 if symmetric else QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, known),
        chosen.nodes,
        [],
        sorted({node.op_type for node in model.graph.node if node.name in set(chosen.nodes)}),
        {"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result = quantizer.model.model
    if symmetric:
        widen_outputs(result)
    else:
        _feed_bytes(result)
    del result.graph.value_info[:]
    return finished(result)


def carried(model: onnx.ModelProto, ranges: dict[str, Range]) -> dict[str, Range]:
    """Return `ranges` with what is only moved keeping the range it had, so that its bytes stay the bytes they are."""
    found = dict(ranges)
    for node in model.graph.node:
        if node.op_type in MOVES and node.input[0] in found and node.output[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def pixel_range(model: onnx.ModelProto) -> dict[str, Range]:
    """Return the exact range of the network's input, where all channels share one gain and there is no offset.

    With it the input's quantizer has the step of the pixels themselves, and `_feed_bytes` can leave it out.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Mul" and node.name.startswith("pre/") and not weights[node.input[1]].dims:
            behind = [n for n in model.graph.node if node.output[0] in n.input]
            if all(n.name.startswith(NET) for n in behind):
                return {node.output[0]: (0.0, 255.0 * float(numpy_helper.to_array(weights[node.input[1]])))}
    return {}


def _feed_bytes(model: onnx.ModelProto) -> None:
    """Where bytes become floats only to be quantized to the same bytes, take them as they are."""
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        gain = producer.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if gain is None or gain.op_type != "Mul" or gain.input[1] not in weights:
            continue
        cast = producer.get(gain.input[0])
        while cast is not None and cast.op_type in MOVES:
            cast = producer.get(cast.input[0])
        step, zero, factor = weights[node.input[1]], weights[node.input[2]], weights[gain.input[1]]
        if cast is None or cast.op_type != "Cast" or not factor.size == step.size == 1 or zero.item() != 0:
            continue
        if math.isclose(step.item(), factor.item(), rel_tol=1e-5):
            rename_inputs(graph, node.output[0], gain.input[0])
            rename_inputs(graph, cast.output[0], cast.input[0])
    _drop_dead(graph)


def widen_outputs(model: onnx.ModelProto) -> None:
    """Give int32 where TensorRT has no such type: for int16, and for bytes that are no outputs.

    The device narrows outputs again.
    """
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type != "Cast" or attribute.name != "to":
                continue
            inner = attribute.i == onnx.TensorProto.UINT8 and node.output[0] not in outputs
            if inner or attribute.i == onnx.TensorProto.INT16:
                attribute.i = onnx.TensorProto.INT32
    for value in model.graph.output:
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.INT32


def _drop_dead(graph: onnx.GraphProto) -> None:
    """Remove nodes whose outputs nobody reads."""
    used = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if used.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            used.update(node.input)
