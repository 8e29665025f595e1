"""Canonical graphs: uint8 picture in, small integer maps or object lists out, everything between in one ONNX file.

Names: the network's own nodes and tensors get the prefix ``net/``, what is put before it ``pre/`` and what is put
after it ``post/``; inputs and outputs have the names of `docs/bundle.md`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edge.engines.ort import ERRORS
from edge.types import Array
from export.errors import ModelError
from export.load import IR_VERSION, Net
from export.recipe import Channels, Source

NET, PRE, POST = "net/", "pre/", "post/"
INPUT = "image"

Outputs = dict[str, str]  # canonical output -> tensor that holds it
Head = Callable[["Builder"], Outputs]  # puts nodes after the network's raw outputs


class Builder:
    """Collects nodes and constants; every method that adds a node returns the name of its output."""

    def __init__(self, prefix: str, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._opset = opset
        self._counts: Counter[str] = Counter()

    def op(self, kind: str, *inputs: str | Array, outputs: int = 1, **attributes: Any) -> str:
        """Add one node; arrays among `inputs` become constants. Of several outputs the first is returned."""
        name = self._name(kind.lower())
        names = [self.constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        results = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, results, name=name, **attributes))
        return name

    def constant(self, value: Array) -> str:
        """Add a constant."""
        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def cast(self, tensor: str, dtype: type[np.generic]) -> str:
        """Convert to another NumPy type; floats lose their fraction."""
        return self.op("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, tensor: str, *shape: int) -> str:
        """Give a tensor another shape."""
        return self.op("Reshape", tensor, integers(*shape))

    def highest(self, tensor: str, axis: int, keepdims: bool) -> str:
        """Return the maximum along `axis`; ONNX moved the axes from attribute to input in opset 18."""
        if self._opset < 18:
            return self.op("ReduceMax", tensor, axes=[axis], keepdims=int(keepdims))
        return self.op("ReduceMax", tensor, integers(axis), keepdims=int(keepdims))

    def resized(self, tensor: str, *shape: int) -> str:
        """Return (n, c, h, w) of another height and width, bilinear between the centres of pixels."""
        way = "half_pixel"
        return self.op("Resize", tensor, "", "", integers(*shape), mode="linear", coordinate_transformation_mode=way)

    def part(self, tensor: str, axis: int, start: int, end: int) -> str:
        """Return the slice `start`:`end` along `axis`."""
        return self.op("Slice", tensor, integers(start), integers(end), integers(axis))

    def name(self, tensor: str, name: str) -> None:
        """Give a tensor another name."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=self._name("name")))

    def _name(self, stem: str) -> str:
        self._counts[stem] += 1
        return f"{self._prefix}{stem}_{self._counts[stem]}"


def integers(*values: int) -> Array:
    """Return a constant of axes, sizes or indices, int64."""
    return np.asarray(values, np.int64)


def real(value: float | npt.NDArray[np.float64]) -> Array:
    """Return a float32 constant."""
    return np.asarray(value, np.float32)


def canonical(net: Net, source: Source, head: Head) -> onnx.ModelProto:
    """Return the canonical graph around `net`: colours, normalisation and layout before, `head` after it."""
    core = onnx.compose.add_prefix(_named(net.model), NET)
    before, after = Builder(PRE, net.opset), Builder(POST, net.opset)
    picture = _preprocess(before, net, source)
    before.name(picture, NET + net.input)
    results = head(after)
    for name, tensor in results.items():
        after.name(tensor, name)
    nodes = [*before.nodes, *core.graph.node, *after.nodes]
    del core.graph.node[:]
    core.graph.node.extend(nodes)
    core.graph.initializer.extend([*before.constants, *after.constants])
    del core.graph.input[:], core.graph.output[:], core.graph.value_info[:]
    core.graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [*net.size, 3]))
    core.graph.output.extend(onnx.ValueInfoProto(name=name) for name in results)
    core.graph.name = "foveate"
    return finished(core)


def _preprocess(graph: Builder, net: Net, source: Source) -> str:
    """Turn ``image`` (h, w, 3) uint8 BGR into what the network was trained on.

    Bytes become floats at once, for TensorRT does nothing else with bytes; `export.quantize` takes the conversion out
    again where the network's first layer takes bytes. Colours are flipped plane by plane: 0.1 ms at 480x272 on the
    CPU against 3 ms in channels-last order.
    """
    x = INPUT if net.dtype == "uint8" else graph.cast(INPUT, np.float32)
    if net.channels_first or source.color == "rgb":
        x = graph.op("Transpose", x, perm=[2, 0, 1])
        x = graph.op("Gather", x, integers(2, 1, 0), axis=0) if source.color == "rgb" else x
        # the batch axis comes first: a Reshape behind the Transpose ends TensorRT-RTX 1.4 to 1.7 with an internal error
        x = graph.reshape(x, 1, 3, *net.size)
        x = x if net.channels_first else graph.op("Transpose", x, perm=[0, 2, 3, 1])
    else:
        x = graph.reshape(x, *net.shape)
    if net.dtype == "uint8":
        return x
    gain, offset = (value.reshape(-1, *([1, 1] if net.channels_first else [])) for value in normalization(source))
    x = graph.op("Mul", x, _shared(gain)) if (gain != 1).any() else x
    return graph.op("Add", x, _shared(offset)) if offset.any() else x


def normalization(source: Source) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return gain and offset (3,), in the model's channel order: pixel = value * gain + offset."""
    mean, std = _per_channel(source.mean), _per_channel(source.std)
    return (source.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def _per_channel(value: Channels) -> npt.NDArray[np.float64]:
    return np.broadcast_to(np.asarray(value, np.float64), (3,))


def _shared(values: npt.NDArray[np.float32]) -> Array:
    """Return one number where all channels have the same: a scalar folds into the quantizer behind it."""
    return values.reshape(-1)[:1].reshape(()) if (values == values.flat[0]).all() else values


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every node has a name of its own, the same in every export."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    seen: Counter[str] = Counter()
    for node in copy.graph.node:
        stem = node.name or node.op_type.lower()
        seen[stem] += 1
        node.name = stem if node.name and seen[stem] == 1 else f"{stem}_{seen[stem]}"
        node.doc_string = ""
    return copy


def finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring a graph into the form bundles hold: passed-through names removed, one domain, shapes inferred, checked."""
    _drop_identities(model.graph)
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    default = next(entry.version for entry in model.opset_import if entry.domain == "")
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.append(helper.make_opsetid("", default))
    model.ir_version, model.producer_name, model.producer_version, model.doc_string = IR_VERSION, "foveate", "", ""
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the composed graph is not valid: {str(error).splitlines()[0]}; check the recipe") from error
    return model


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Remove Identity nodes, except those that give a constant or the input an output's name."""
    outputs = {value.name for value in graph.output}
    made = {name: node for node in graph.node for name in node.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        (source,), (target,) = node.input, node.output
        if target not in outputs:
            rename_inputs(graph, target, source)
        elif source in made and source not in outputs:
            producer = made[source]
            producer.output[list(producer.output).index(source)] = target
            made[target] = producer
            rename_inputs(graph, source, target)
        else:
            continue
        graph.node.remove(node)


def rename_inputs(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node that reads tensor `old` read `new`."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with constants folded and batch normalisation merged into convolutions.

    Raises `ModelError` where onnxruntime cannot run the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = f"{folder}/model.onnx"
        options.log_severity_level = 4
        try:
            # moving transposes about is left to the runtime: here it would only blur what came from where
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["TransposeOptimizer"],
            )
        except ERRORS as error:
            raise ModelError(f"onnxruntime cannot run the graph: {str(error).splitlines()[0]}") from error
        return finished(onnx.load(options.optimized_model_filepath))
