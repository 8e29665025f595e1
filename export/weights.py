"""Weights as no training leaves them: all zero, or with one number that is far beyond all others."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

LEAST = 64  # numbers below which a tensor tells nothing
FAR = 1e4  # times the 99th percentile of a tensor's magnitudes: a flipped bit of an exponent gives 2 ** 64 or so
COMPUTE = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def odd_weights(graph: onnx.ModelProto) -> str:
    """Return what is odd about the first such tensor of weights, or nothing."""
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        tensor = weights.get(node.input[1]) if node.op_type in COMPUTE else None
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        sizes = np.abs(numpy_helper.to_array(tensor).reshape(-1))
        if sizes.size < LEAST:
            continue
        if not sizes.any():
            return f"all {sizes.size} weights of {node.name!r} are zero"
        if sizes.max() > FAR * max(float(np.percentile(sizes, 99)), 1e-12):
            return f"a weight of {node.name!r} is {sizes.max():.3g}, most are below {np.percentile(sizes, 99):.3g}"
    return ""
