"""Quantizers whose range is too small for what really comes: the share of values that they clip."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from edge.types import Image

CLIPPED = 0.02  # share of a tensor's values above its range from which on the range is too small


def clipped_shares(quantized: bytes, graph: bytes, pictures: Iterable[Image]) -> dict[str, float]:
    """Return for each quantized activation which share of its values, on `pictures`, lies above its range.

    `graph` gives the values: the float graph, or where there is none the quantized one itself. Values below the range
    are left out, for a quantizer whose range begins at zero may stand for a ReLU.
    """
    tops = _tops(onnx.load_from_string(quantized))
    watched = onnx.load_from_string(graph)
    made = {name for node in watched.graph.node for name in node.output}
    names = [name for name in tops if name in made]
    if not names:
        return {}
    shown = {value.name for value in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in shown)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # else what is watched is merged
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = watched.graph.input[0].name
    above, count = np.zeros(len(names)), 0
    for picture in pictures:
        values = session.run(names, {feed: picture})
        above += [float((value > tops[name]).mean()) for name, value in zip(names, values, strict=True)]
        count += 1
    return dict(zip(names, (above / max(count, 1)).tolist(), strict=True))


def _tops(model: onnx.ModelProto) -> dict[str, float]:
    """Return the highest value, half a step above the last level, of every quantizer of an activation."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    tops = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in weights or node.input[1] not in weights:
            continue
        step = numpy_helper.to_array(weights[node.input[1]])
        zero = numpy_helper.to_array(weights[node.input[2]]) if len(node.input) > 2 else np.zeros((), np.uint8)
        if step.size == zero.size == 1:
            tops[node.input[0]] = float(step.item()) * (np.iinfo(zero.dtype).max + 0.5 - int(zero.item()))
    return tops
