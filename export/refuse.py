"""What a foreign ONNX file may not hold: data in other files, and more than an edge device could ever run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from export.errors import ModelError

MOST_NODES = 20_000  # with the model's own functions written out; large detectors have 2,000
MOST_AXES = 8  # of one tensor: TensorRT takes no more

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
    count = _written_out(model.graph.node, functions, {})
    if count > MOST_NODES:
        raise ModelError(f"model {path}: has more than {MOST_NODES} nodes; an edge device needs a smaller model")
    for tensor in _all_tensors(model):
        _check_axes(tensor.name, len(tensor.dims), path)
    refuse_axes(model, path)


def refuse_axes(model: onnx.ModelProto, path: Path) -> None:
    """Refuse tensors of too many axes among those whose shape is known."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        _check_axes(value.name, len(value.type.tensor_type.shape.dim), path)


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
