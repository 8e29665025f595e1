"""The files of a bundle that TensorRT takes: INT8 with FP16 round it, and FP16; a builder tries each, if there is one.

Precision is in the graph, for TensorRT 11 knows no other way. What stays out of INT8: what the recipe excludes, the
cheap last layers of heads, the first convolution (of three channels, for which TensorRT has few INT8 kernels and
little to gain), and nodes that a builder says it has no INT8 implementation for. All of that is FP16, except where
values are too large for it on calibration pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec
import onnx

from calibration.ranges import sample_activations
from edge.engines.builder import NOT_IMPLEMENTED
from edge.types import Image
from export.buildable import Tried, try_build
from export.candidate import TRT, Candidate, measure, quantized
from export.errors import ModelError
from export.graph import NET
from export.half import half, too_large, widened
from export.quantize import COMPUTE_TENSORRT, plan, widen_outputs

TRIES = 8  # how often nodes are taken out of INT8 before it is given up
RANGE_PICTURES = 16  # how many of the calibration pictures show what FP16 has to hold
_MADE = re.compile(r"(_(Quantize|Dequantize)Linear(_Input|_Output)?|_quantized|_scale|_zero_point|/half|/float)$")


@dataclass(frozen=True)
class Material:
    """What the files of one model are made from."""

    pictures: list[Image]  # for calibration, of the model's input size
    method: str  # of the ranges
    largest: dict[str, float]  # magnitude of every float tensor of the network


@dataclass(frozen=True)
class Made:
    """One file, and what became of it."""

    data: bytes
    floats: list[str]  # nodes that TensorRT has no INT8 implementation for
    tried: Tried


def add_tensorrt(
    found: Candidate, pictures: list[Image], method: str, score: Callable[[bytes], float]
) -> dict[str, str | int | float]:
    """Add the TensorRT files of `found`; return what the manifest says of them.

    `score` tells how well a file that onnxruntime can run agrees with the float model. Raises `ModelError` where a
    builder is installed and cannot build a file.
    """
    material = material_of(found, pictures, method)
    said: dict[str, str | int | float] = {}
    for precision in found.tensorrt:
        name, key = f"{TRT}{precision}", f"{found.role}_trt_{precision}"
        made = MAKERS[precision](found, material, found.file_name(name))
        found.files[name] = made.data
        said[f"{key}_agreement"] = round(score(widened(made.data)), 6)
        said["tensorrt_builder"] = made.tried.builder or "none: nothing was tried"
        if made.floats:
            said[f"{key}_not_implemented"] = ", ".join(made.floats)[:200]
    return said


def material_of(found: Candidate, pictures: list[Image], method: str) -> Material:
    """Run the float graph on some of `pictures` to see what FP16 has to hold."""
    names = _float_tensors(found.graph)
    some = pictures[:: max(1, len(pictures) // RANGE_PICTURES)]
    samples = sample_activations(found.graph, names, some) if names else {}
    largest = {name: max(abs(sample.low), abs(sample.high)) for name, sample in samples.items()}
    return Material(pictures, method, largest)


def half_file(found: Candidate, material: Material, name: str) -> Made:
    """Return the FP16 file, called `name` in errors; raises `ModelError` where a builder cannot build it."""
    model = onnx.ModelProto()
    model.CopyFrom(found.graph)
    widen_outputs(model)
    data = _bytes(half(model, too_large(model, material.largest)))
    return Made(data, [], _accepted(try_build(name, data)))


def int8_file(found: Candidate, material: Material, name: str) -> Made:
    """Return the INT8 file, called `name` in errors; raises `ModelError` where a builder cannot build it.

    Nodes that it has no INT8 implementation for are taken out of INT8, as long as it names new ones.
    """
    floats: list[str] = []
    for _ in range(TRIES):
        data = _int8(found, material, floats)
        tried = try_build(name, data)
        named = [node for node in nodes_named(found.graph, tried.unbuildable) if node not in floats]
        if not tried.error or not named:
            break
        floats += named
    return Made(data, floats, _accepted(tried))


def _int8(found: Candidate, material: Material, floats: list[str]) -> bytes:
    """Return the INT8 file with the nodes `floats` (names of the model given to export) out of INT8 too."""
    exclude = [*found.source.exclude, *floats]
    without_first = [*exclude, *first_layers(found.graph)]
    if plan(found.graph, without_first, found.sensitive, "tensorrt").nodes:  # not a network of one layer
        exclude = without_first
    one = replace(found, source=msgspec.structs.replace(found.source, exclude=exclude))
    model = onnx.load_model_from_string(quantized(one, measure(one, material.pictures, "tensorrt"), material.method))
    kept = plan(one.graph, exclude, one.sensitive, "tensorrt").nodes
    return _bytes(half(model, [*kept, *too_large(model, material.largest)]))


MAKERS: dict[str, Callable[[Candidate, Material, str], Made]] = {"int8": int8_file, "float16": half_file}


def first_layers(model: onnx.ModelProto) -> list[str]:
    """Return the computing nodes that see the picture itself, by their names in the model given to export."""
    seen, found = {value.name for value in model.graph.input}, []
    for node in model.graph.node:
        if not seen.isdisjoint(node.input):
            if node.op_type in COMPUTE_TENSORRT:
                found.append(node.name.removeprefix(NET))
            else:
                seen.update(node.output)
    return found


def nodes_named(model: onnx.ModelProto, said: str) -> list[str]:
    """Return the nodes of a float graph that TensorRT names where it has no implementation.

    It joins the names of what it has fused with " + ", names the ends of a region ``{ForeignNode[a...b]}``, and names
    weights and Q/DQ nodes too; those stand for the nodes that take them.
    """
    words = {_MADE.sub("", word) for word in _words(said)}
    weights = words.intersection(tensor.name for tensor in model.graph.initializer)
    return [
        node.name.removeprefix(NET)
        for node in model.graph.node
        if node.name.startswith(NET)
        and (words.intersection([node.name, *node.output]) or weights.intersection(node.input))
    ]


def _words(said: str) -> Iterator[str]:
    for part in said.split(NOT_IMPLEMENTED)[1:]:
        for word in re.split(r"\.\.\.|[\s+,{}\[\]()]+", part.split(" / ")[0]):
            yield word.strip(".")


def _accepted(tried: Tried) -> Tried:
    if tried.error:
        raise ModelError(f"{tried.error}; leave tensorrt out of the recipe to export it for the CPU alone")
    return tried


def _float_tensors(model: onnx.ModelProto) -> list[str]:
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    names = [name for node in model.graph.node if node.name.startswith(NET) for name in node.output]
    return [name for name in names if kinds.get(name) == onnx.TensorProto.FLOAT]


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))
