"""The files of a bundle that TensorRT takes: INT8 with FP16 round it, and FP16; a builder tries each, if there is one.

Precision is in the graph, for TensorRT 11 knows no other way. What stays out of INT8: what the recipe excludes, the
cheap last layers of heads, the first convolution (of three channels, for which TensorRT has few INT8 kernels and
little to gain), and nodes that a builder says it has no INT8 implementation for. All of that is FP16, except where
values are too large for it on calibration pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx

from calibration.ranges import Sample, find_ranges, sample_activations
from edge.engines.builder import NOT_IMPLEMENTED
from edge.types import Image
from export.candidate import Candidate
from export.errors import ModelError
from export.graph import NET
from export.half import half, too_large, widened
from export.quantize import COMPUTE_TENSORRT, pixel_range, plan, quantize, widen_outputs
from export.trial import Tried, try_build

TRIES = 8  # how often nodes are taken out of INT8 before it is given up
RANGE_PICTURES = 16  # how many of the calibration pictures show what FP16 has to hold
_MADE = re.compile(r"(_(Quantize|Dequantize)Linear(_Input|_Output)?|_quantized|_scale|_zero_point|/half|/float)$")


@dataclass
class Measured:
    """What calibration pictures say of a model."""

    samples: dict[str, Sample]  # float tensors of the network
    method: str  # of the ranges

    def largest(self) -> dict[str, float]:
        """Return the largest magnitude of every tensor."""
        return {name: max(abs(sample.low), abs(sample.high)) for name, sample in self.samples.items()}


def add_tensorrt(
    found: Candidate, pictures: list[Image], method: str, score: Callable[[bytes], float]
) -> dict[str, str | int | float]:
    """Add the TensorRT files of `found`; return what the manifest says of them.

    `score` tells how well a file that onnxruntime can run agrees with the float model. Raises `ModelError` where a
    builder is installed and cannot build a file.
    """
    measured = measure_all(found, pictures, method)
    said: dict[str, str | int | float] = {}
    for precision in found.tensorrt:
        name = found.file_name(f"trt.{precision}")
        data, floats, tried = (
            int8_file(found, measured, name) if precision == "int8" else half_file(found, measured, name)
        )
        found.files[f"trt.{precision}"] = data
        key = f"{found.role}_trt_{precision}"
        said[f"{key}_agreement"] = round(score(widened(data)), 6)
        said["tensorrt_builder"] = tried.builder or "none: nothing was tried"
        if floats:
            said[f"{key}_not_implemented"] = ", ".join(floats)[:200]
    return said


def measure_all(found: Candidate, pictures: list[Image], method: str) -> Measured:
    """Run the float graph on `pictures` and sample what is quantized on all, and what becomes FP16 on some of them."""
    chosen = plan(found.graph, found.source.exclude, found.sensitive, "tensorrt")
    samples = sample_activations(found.graph, chosen.tensors, pictures) if chosen.tensors else {}
    others = [name for name in _float_tensors(found.graph) if name not in samples]
    if others:
        samples |= sample_activations(found.graph, others, pictures[:: max(1, len(pictures) // RANGE_PICTURES)])
    return Measured(samples, method)


def half_file(found: Candidate, measured: Measured, name: str) -> tuple[bytes, list[str], Tried]:
    """Return the FP16 file, no names, and what a builder made of it; raises `ModelError`."""
    model = onnx.ModelProto()
    model.CopyFrom(found.graph)
    widen_outputs(model)
    data = _bytes(half(model, too_large(model, measured.largest())))
    return data, [], _accepted(try_build(name, data))


def int8_file(found: Candidate, measured: Measured, name: str) -> tuple[bytes, list[str], Tried]:
    """Return the INT8 file, the nodes that TensorRT has no INT8 implementation for, and what a builder made of it.

    Raises `ModelError` where it cannot be built at all.
    """
    floats: list[str] = []
    for _ in range(TRIES):
        data = int8_graph(found, measured, floats)
        tried = try_build(name, data)
        named = [node for node in nodes_named(found.graph, tried.unbuildable) if node not in floats]
        if not tried.error or not named:
            break
        floats += named
    return data, floats, _accepted(tried)


def int8_graph(found: Candidate, measured: Measured, floats: list[str]) -> bytes:
    """Return the INT8 file with the nodes `floats` (names of the model given to export) out of INT8 too."""
    first = first_layers(found.graph)
    exclude = [*found.source.exclude, *floats]
    chosen = plan(
        found.graph, [*exclude, *(name for name in first if name not in exclude)], found.sensitive, "tensorrt"
    )
    if not any(node.op_type in COMPUTE_TENSORRT for node in found.graph.graph.node if node.name in set(chosen.nodes)):
        chosen = plan(found.graph, exclude, found.sensitive, "tensorrt")
    ranges = find_ranges({name: measured.samples[name] for name in chosen.tensors}, measured.method)
    model = quantize(found.graph, chosen, ranges | pixel_range(found.graph), "tensorrt")
    return _bytes(half(model, [*chosen.nodes, *too_large(model, measured.largest())]))


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
