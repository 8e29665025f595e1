"""What eight bits do to a float graph, layer by layer: the error of a mean, and the noise that reaches the outputs.

Both come from float graphs in which single tensors are rounded as their quantizers would round them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.ranges import Range, session_showing
from edge.types import Array, Image
from export.graph import INPUT, NET, POST, Builder
from export.quantize import ACTIVATIONS

LAYER = "layer"  # input of the graph that `sensitivities` runs: number of the layer that has bytes, -1 for none
Ranges = Mapping[str, Range]


def mean_errors(
    model: onnx.ModelProto, layers: Collection[str], ranges: Ranges, pictures: Sequence[Image], *, symmetric: bool
) -> dict[str, Array]:
    """Return for each convolution of `layers` by how much bytes shift the mean of each channel (n,) over `pictures`.

    Rounding and clipping make such a shift of 15 % (YOLOv8n-seg) to 33 % (DeepLab v3) of a layer's noise in the median.
    """
    opset = int(model.opset_import[0].version)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "Conv" and n.name in layers and n.input[1] in weights]
    watched, errors = onnx.ModelProto(), []
    watched.CopyFrom(model)
    for node in nodes:
        beside = Builder(f"{node.name}/bytes/", opset)
        again = onnx.NodeProto()
        again.CopyFrom(node)
        again.name = again.output[0] = f"{node.name}/bytes/again"
        again.input[0] = _rounded(beside, node.input[0], ranges[node.input[0]], symmetric=symmetric)
        again.input[1] = beside.constant(rounded(numpy_helper.to_array(weights[node.input[1]])))
        beside.nodes.append(again)
        errors.append(beside.op("GlobalAveragePool", beside.op("Sub", again.name, node.output[0])))
        watched.graph.node.extend(beside.nodes)
        watched.graph.initializer.extend(beside.constants)
    return dict(zip((node.name for node in nodes), _means(watched, errors, pictures), strict=True))


def with_biases(model: onnx.ModelProto, errors: Mapping[str, Array]) -> onnx.ModelProto:
    """Return a copy of `model` with `errors` (n,) taken from the biases of the convolutions that they are of.

    In bytes these then give the mean that the others give in float: Nagel et al. 2019, "Data-free quantization through
    weight equalization and bias correction", section 4.2, with the expectation over pictures.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        known = len(node.input) < 3 or node.input[2] in constants
        if node.name not in errors or not known:
            continue
        shift = errors[node.name]
        bias = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.zeros(len(shift))
        name = f"{node.name}/bias"  # its own: another layer may share the old one
        copy.graph.initializer.append(numpy_helper.from_array((bias - shift).astype(np.float32), name))
        del node.input[2:]
        node.input.append(name)
    return copy


def rounded(weights: Array) -> Array:
    """Return weights (n, ...) as eight bits with a scale for each of the n hold them: symmetric, 127 steps a side."""
    most = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    step = np.where(most > 0, most / 127, 1).astype(np.float32).reshape(-1, *[1] * (weights.ndim - 1))
    return np.asarray(np.round(weights / step) * step, np.float32)


def _means(model: onnx.ModelProto, tensors: list[str], pictures: Sequence[Image]) -> list[Array]:
    """Return the mean of each of `tensors` over `pictures`, flat."""
    if not tensors:
        return []
    session, sums = session_showing(model, tensors), [np.zeros(1)] * len(tensors)
    for picture in pictures:
        found = session.run(tensors, {INPUT: picture})
        sums = [total + array.reshape(-1).astype(np.float64) for total, array in zip(sums, found, strict=True)]
    return [total / len(pictures) for total in sums]


def sensitivities(
    model: onnx.ModelProto,
    layers: Sequence[str],
    ranges: Ranges,
    pictures: Sequence[Image],
    progress: Callable[[float], None],
) -> dict[str, float]:
    """Return for each of `layers` the power of the noise at the network's outputs when it alone has bytes.

    Relative to the outputs' own power, summed over them: the inverse of the signal-to-quantization-noise ratio. What a
    layer reads and what it gives is rounded; its weights, per channel, make some 6 to 8 % of its noise, and are not.
    All comes from one session and one pass over `pictures`, each of which is run once for every layer. Few will do: one
    picture ranks the layers nearly as another does (rank correlation 0.96 for YOLOv8n-seg, 0.89 for DeepLab v3).
    """
    gated, outputs = _gated(model, layers, ranges, _borders(model))
    session, noise = session_showing(gated, outputs), np.zeros(len(layers))
    for number, picture in enumerate(pictures):
        clean = session.run(outputs, {INPUT: picture, LAYER: np.asarray([-1])})
        power = [max(float((array**2).sum()), 1e-12) for array in clean]
        for layer in range(len(layers)):
            noisy = session.run(outputs, {INPUT: picture, LAYER: np.asarray([layer])})
            parts = zip(noisy, clean, power, strict=True)
            noise[layer] += sum(float(((a - b) ** 2).sum()) / total for a, b, total in parts)
            progress((number + (layer + 1) / len(layers)) / len(pictures))
    return dict(zip(layers, (noise / len(pictures)).tolist(), strict=True))


def _borders(model: onnx.ModelProto) -> list[str]:
    """Return the float tensors in which the network ends: what is decoded, or given as it is."""
    graph = model.graph
    read = {name for node in graph.node if node.name.startswith(POST) for name in node.input}
    ends = read | {value.name for value in graph.output}
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    made = [name for node in graph.node if node.name.startswith(NET) for name in node.output]
    found = [name for name in made if name in ends and kinds.get(name) == TensorProto.FLOAT]
    return found or [name for name in made if kinds.get(name) == TensorProto.FLOAT][-1:]


def _gated(
    model: onnx.ModelProto, layers: Sequence[str], ranges: Ranges, outputs: list[str]
) -> tuple[onnx.ModelProto, list[str]]:
    """Return a graph in which the bytes of one layer can be switched on, and the names that `outputs` have in it."""
    opset = int(model.opset_import[0].version)
    numbers = {name: number for number, name in enumerate(layers)}
    ends = _ends(model, numbers)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    now: dict[str, str] = {}  # tensor -> what takes its place for those who read it
    for given in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(given)
        for i, name in enumerate(node.input):
            node.input[i] = now.get(name, name)
        parts: list[onnx.NodeProto] = []
        if given.name in numbers and given.input[0] in ranges:
            gate = Builder(f"{given.name}/in/", opset)
            node.input[0] = _gate(gate, node.input[0], ranges[given.input[0]], numbers[given.name])
            parts = [*gate.nodes, node]
            result.graph.initializer.extend(gate.constants)
        else:
            parts = [node]
        for name in given.output:
            if name in ends and name in ranges:
                gate = Builder(f"{given.name}/out/", opset)
                now[name] = _gate(gate, name, ranges[name], ends[name])
                parts += gate.nodes
                result.graph.initializer.extend(gate.constants)
        result.graph.node.extend(parts)
    result.graph.input.append(helper.make_tensor_value_info(LAYER, TensorProto.INT64, [1]))
    del result.graph.output[:], result.graph.value_info[:]
    return result, [now.get(name, name) for name in outputs]


def _ends(model: onnx.ModelProto, numbers: Mapping[str, int]) -> dict[str, int]:
    """Return the tensors in which layers end, by name: their own output, or that of the activation behind it."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for node in model.graph.node:
        if node.name in numbers:
            behind = readers.get(node.output[0], [])
            merged = len(behind) == 1 and behind[0].op_type in ACTIVATIONS
            found[behind[0].output[0] if merged else node.output[0]] = numbers[node.name]
    return found


def _gate(graph: Builder, tensor: str, found: Range, number: int) -> str:
    """Return `tensor` as it is, or rounded where layer `number` is switched on."""
    chosen = graph.op("Equal", LAYER, np.asarray([number]))
    return graph.op("Where", chosen, _rounded(graph, tensor, found, symmetric=False), tensor)


def _rounded(graph: Builder, tensor: str, found: Range, *, symmetric: bool) -> str:
    """Return `tensor` as its quantizer rounds it: 255 steps with a zero point, or 127 a side."""
    low, high = found
    if symmetric:
        step, zero = np.float32(max(-low, high) / 127 or 1.0), np.int8(0)
        scale, point = np.asarray(step), np.asarray(zero)
    else:
        scale = np.asarray((high - low) / 255 or 1.0, np.float32)
        point = np.asarray(np.clip(np.round(-low / scale), 0, 255), np.uint8)
    names = graph.constant(scale), graph.constant(point)
    return graph.op("DequantizeLinear", graph.op("QuantizeLinear", tensor, *names), *names)
