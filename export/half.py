"""Float graph -> FP16 graph for TensorRT, and what such a graph gives, for a CPU.

TensorRT takes the types of a graph as they stand (strongly typed), so FP16 is made here: every node of the network that
may computes in FP16, constants with it, and Casts stand where FP16 meets float32. What lies before and after the
network, its inputs and its outputs stay as they are. Callers name what lies between Q/DQ pairs to be left alone: a
Cast there would end INT8.

onnxruntime has next to no FP16 kernels for CPUs: it runs such a graph in float32, so what FP16 rounds away or cannot
hold never shows. `widened` rounds every value that is FP16, and keeps infinities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from edge.types import Array
from export.graph import NET, finished

LARGEST = 65504.0  # of FP16
ROOM = 4.0  # how far below it what was seen on calibration pictures has to stay
# sums of many values, for which 11 bits are few; and Q/DQ, whose scales are often smaller than what FP16 holds well
FLOAT_ONLY = {
    *("CumSum", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
    *("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "ReduceSumSquare"),
    *("GridSample", "Pow"),  # inputs of two types, which TensorRT wants to be one; coordinates need more than 11 bits
    *("DequantizeLinear", "QuantizeLinear"),
}
FLOATS = {"tensor(float)", "tensor(float16)"}


def half(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """Return a copy of a canonical graph with its network in FP16, but for the nodes named in `kept`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _Halving(copy, frozenset(kept)).run()
    del copy.graph.value_info[:]
    return finished(copy)


def too_large(model: onnx.ModelProto, largest: Mapping[str, float]) -> list[str]:
    """Return the nodes that take or give a value that is too near to what FP16 cannot hold.

    `largest` has the largest magnitude of each float tensor on calibration pictures.
    """
    high = {name for name, value in largest.items() if not value < LARGEST / ROOM}
    return [node.name for node in model.graph.node if not high.isdisjoint([*node.input, *node.output])]


class _Halving:
    """One graph on its way to FP16."""

    def __init__(self, model: onnx.ModelProto, kept: frozenset[str]) -> None:
        self._graph = model.graph
        self._opset = next(entry.version for entry in model.opset_import if not entry.domain)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
        kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        kinds |= {name: tensor.data_type for name, tensor in self._weights.items()}
        self._floats = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
        self._kept, self._halves, self._nodes = kept, set[str](), list[onnx.NodeProto]()
        self._cast = dict[tuple[str, int], str]()

    def run(self) -> None:
        """Change the graph; its value_info is not right any more."""
        for node in self._graph.node:
            places = self._places(node)
            for i, name in enumerate(node.input):
                if name in self._floats:
                    node.input[i] = self._as_half(name) if i in places else self._as_float(name)
            self._nodes.append(node)
            if places:
                self._halves |= {name for name in node.output if name in self._floats}
        for value in self._graph.output:  # callers know the names: they go to a Cast
            if value.name in self._halves:
                self._give_back(value.name)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _places(self, node: onnx.NodeProto) -> set[int]:
        """Return which inputs of a node become FP16, with its outputs: those of its outputs' type; none if it stays."""
        if not node.name.startswith(NET) or node.name in self._kept or node.op_type in FLOAT_ONLY:
            return set()
        schema = defs.get_schema(node.op_type, self._opset, node.domain)
        able = {rule.type_param_str for rule in schema.type_constraints if set(rule.allowed_type_strs) >= FLOATS}
        shared = able & {output.type_str for output in schema.outputs}
        inputs = schema.inputs
        found = {
            i
            for i, name in enumerate(node.input)
            if name in self._floats and inputs[min(i, len(inputs) - 1)].type_str in shared
        }
        return set() if any(not self._fits(node.input[i]) for i in found) else found

    def _fits(self, name: str) -> bool:
        """Return whether a constant survives: what is a number of its own must not become 0 or infinite."""
        if name not in self._weights:
            return True
        values = numpy_helper.to_array(self._weights[name])
        small = values.size == 1 and values.any() and not _rounded(values).any()
        return not small and bool((np.abs(values) <= LARGEST).all())

    def _as_half(self, name: str) -> str:
        return name if name in self._halves else self._other(name, TensorProto.FLOAT16)

    def _as_float(self, name: str) -> str:
        return self._other(name, TensorProto.FLOAT) if name in self._halves else name

    def _other(self, name: str, kind: int) -> str:
        if (name, kind) not in self._cast:
            made = f"{name}/{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            self._cast[name, kind] = made
            if name in self._weights:
                values = _rounded(numpy_helper.to_array(self._weights[name]))
                self._graph.initializer.append(numpy_helper.from_array(values, made))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [made], name=made, to=kind))
        return self._cast[name, kind]

    def _give_back(self, name: str) -> None:
        inner = f"{name}/inner"
        for node in self._nodes:
            for names in (node.input, node.output):
                for i, known in enumerate(names):
                    if known == name:
                        names[i] = inner
        self._nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}/out", to=TensorProto.FLOAT))


def _rounded(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def widened(data: bytes) -> bytes:
    """Return a graph in float32 that gives what the FP16 graph in `data` gives, value by value rounded.

    What it cannot show is the order in which a GPU adds, and products that it sums up in FP16.
    """
    model = onnx.load_model_from_string(data)
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*model.graph.value_info, *model.graph.output]}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        rounds = [i for i, name in enumerate(node.output) if kinds.get(name) == TensorProto.FLOAT16]
        for attribute in node.attribute:
            if rounds and node.op_type == "Cast" and attribute.name == "to":
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        for i in rounds:
            nodes += _rounding(node, i)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return bytes(finished(model).SerializeToString(deterministic=True))


def _rounding(node: onnx.NodeProto, index: int) -> list[onnx.NodeProto]:
    """Return the Casts that round output `index` of `node`; onnxruntime does not drop a pair that loses something."""
    name = node.output[index]
    node.output[index] = raw = f"{name}/raw"
    short = f"{name}/short"
    return [
        helper.make_node("Cast", [raw], [short], name=short, to=TensorProto.FLOAT16),
        helper.make_node("Cast", [short], [name], name=f"{name}/round", to=TensorProto.FLOAT),
    ]
