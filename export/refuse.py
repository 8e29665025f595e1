"""What a foreign ONNX file may not hold: data elsewhere, more than a device could run, no names, no numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.errors import ModelError

MOST_NODES = 20_000  # with the model's own functions written out; large detectors have 2,000
MOST_AXES = 8  # of one tensor: TensorRT takes no more

MOST_NESTED = 100  # functions in functions: the depth to which onnx writes them out
FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}

Functions = dict[tuple[str, str], onnx.FunctionProto]


def refuse_references(model: onnx.ModelProto, path: Path) -> None:
    """Refuse tensors that name other files: nothing but the given file is ever opened."""
    for tensor in _all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(
                f"model {path}: tensor {tensor.name!r} keeps its data in another file; "
                "save the model as one file (onnx.save with save_as_external_data=False)"
            )


def refuse_excess(model: onnx.ModelProto, path: Path) -> None:
    """Refuse more nodes or axes than any device could use, before the model's functions are written out."""
    functions = {(function.domain, function.name): function for function in model.functions}
    try:
        count = _written_out(model.graph.node, functions, {})
    except RecursionError as error:
        raise ModelError(
            f"model {path}: has functions nested more than {MOST_NESTED} deep; export the model without them"
        ) from error
    if count > MOST_NODES:
        raise ModelError(f"model {path}: has more than {MOST_NODES} nodes; an edge device needs a smaller model")
    for tensor in _all_tensors(model):
        _check_axes(tensor.name, len(tensor.dims), path)
    refuse_axes(model, path)


def refuse_axes(model: onnx.ModelProto, path: Path) -> None:
    """Refuse tensors of too many axes among those whose shape is known."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        _check_axes(value.name, len(value.type.tensor_type.shape.dim), path)


def refuse_names(model: onnx.ModelProto, path: Path) -> None:
    """Refuse names that are no UTF-8, which protobuf gives as bytes."""
    names = [name for node in model.graph.node for name in (node.name, node.op_type, *node.input, *node.output)]
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer)
    for name in (*names, *(value.name for value in values)):
        if isinstance(name, bytes):
            raise ModelError(f"model {path}: the name {name!r} is no UTF-8; export the model again")


def refuse_values(model: onnx.ModelProto, path: Path) -> None:
    """Refuse weights that are no numbers. A single infinite value is a bound, such as `Clip` and `Pad` have."""
    for tensor in _all_tensors(model):
        if tensor.data_type not in FLOATS:
            continue
        try:
            values = np.asarray(numpy_helper.to_array(tensor), np.float64)
        except ValueError as error:
            raise ModelError(
                f"model {path}: tensor {tensor.name!r} does not fit its shape: {error}; export it again"
            ) from error
        if np.isnan(values).any() or (values.size > 1 and not np.isfinite(values).all()):
            raise ModelError(
                f"model {path}: tensor {tensor.name!r} holds NaN or infinite values; export weights that work in float"
            )


def _check_axes(name: str, axes: int, path: Path) -> None:
    if axes > MOST_AXES:
        raise ModelError(
            f"model {path}: tensor {name!r} has {axes} axes, at most {MOST_AXES} are taken; reshape inside the model"
        )


def _written_out(nodes: Iterable[onnx.NodeProto], functions: Functions, known: dict[tuple[str, str], int]) -> int:
    """Return how many nodes there are with all functions inlined, or some number above the limit.

    A function that calls itself counts as too many: `known` holds the limit for it while its own nodes are counted.
    """
    total = 0
    for node in nodes:
        key = node.domain, node.op_type
        if key in functions and key not in known:
            known[key] = MOST_NODES + 1
            known[key] = _written_out(functions[key].node, functions, known)
        total += known.get(key, 1) + sum(_written_out(graph.node, functions, known) for graph in _graphs(node))
        if total > MOST_NODES:
            break
    return total


def _all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _tensors(model.graph)
    for function in model.functions:
        yield from _tensors_of(function.node)
        yield from _tensors_in(function.attribute_proto)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _dense(graph.sparse_initializer)
    yield from _tensors_of(graph.node)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        yield from _tensors_in(node.attribute)
        for graph in _graphs(node):
            yield from _tensors(graph)


def _tensors_in(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors
        yield from _dense([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
        yield from _dense(attribute.sparse_tensors)


def _dense(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for sparse in tensors:
        yield from (sparse.values, sparse.indices)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs
