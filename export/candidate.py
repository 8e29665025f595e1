"""One model on its way into a bundle: float graph, quantized graphs, and what the manifest says of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import onnx
import onnxruntime as ort

from calibration.ranges import Range, Sample, find_ranges, sample_activations
from edge import bundle
from edge.engines.ort import ERRORS, OrtEngine
from edge.errors import ConfigError
from edge.types import Array, Image
from export.box_masks import box_masks_meaning
from export.centers import centers_meaning
from export.eight_bits import mean_errors, with_biases
from export.embedding import embedding_meaning
from export.errors import ModelError
from export.for_cpu import for_cpu
from export.graph import NET, canonical, optimized
from export.heads import Meaning, semantic_meaning
from export.load import Net, load_net
from export.quantize import Flavour, Plan, carried, is_quantized, pixel_range, plan, quantize
from export.queries import queries_meaning
from export.recipe import ONE_255TH, Appearance, Instance, Semantic, TensorRtPrecision
from export.recognize import understood
from export.rewrite import argmax_before_shuffle
from export.search import Search
from export.yolo import yolo_meaning

AS_IS = "as is"
TRT = "trt."  # before the precision of files for TensorRT
FATAL = 4  # onnxruntime's severity
BIAS_PICTURES = 16  # on which the means of channels are compared: what shifts them is the same in all


@dataclass
class Candidate:
    """A model of the recipe in canonical form."""

    role: bundle.Role
    source: Semantic | Instance | Appearance
    graph: onnx.ModelProto  # float, or as given where it is quantized already
    model: bundle.Model  # without engines
    sensitive: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)  # "float32", "int8", "trt.int8", "trt.float16" -> ONNX file
    refused: dict[str, str] = field(default_factory=dict)  # of those, what the bundle may not hold, and why
    search: Search | None = None  # how the INT8 file was found

    @property
    def native(self) -> bundle.Precision:
        """Return the precision of the graph as it came."""
        return "int8" if is_quantized(self.graph) else "float32"

    @property
    def preferred(self) -> str:
        """Return the key of the file that runs by default on this machine."""
        return next((key for key in self.kept() if not key.startswith(TRT)), self.native)

    @property
    def tensorrt(self) -> list[TensorRtPrecision]:
        """Return the precisions of the files for TensorRT that the recipe asks for, best first."""
        wanted = self.source.tensorrt
        return (["int8", "float16"] if wanted else []) if isinstance(wanted, bool) else list(wanted)

    def wants(self, precision: str) -> bool:
        """Return whether the recipe asks for a precision that export has to make."""
        return self.source.precision != AS_IS and precision in self.source.precision

    def described(self, keys: Sequence[str] | None = None) -> bundle.Model:
        """Return the manifest's entry with every file that the bundle holds, best first, or with those of `keys`."""
        held = self.kept() if keys is None else keys
        return msgspec.structs.replace(self.model, engines=[self._engine(key) for key in held])

    def data(self, engine: bundle.EngineFile) -> bytes:
        """Return the bytes of a file that `described` names."""
        return next(data for key, data in self.files.items() if self.file_name(key) == engine.file)

    def kept(self) -> list[str]:
        """Return the keys of the files that the bundle holds, best first."""
        keys = [self.native] if self.source.precision == AS_IS else list(self.source.precision)
        keys = [*(key for key in self.files if key.startswith(TRT)), *keys]
        return [key for key in keys if key not in self.refused]

    def refusals(self) -> dict[str, str]:
        """Return what was made and is not in the bundle, with the reason."""
        return {key: reason for key, reason in self.refused.items() if key in self.files}

    def _engine(self, key: str) -> bundle.EngineFile:
        data = self.files[key]
        return bundle.EngineFile(
            runtime="tensorrt" if key.startswith(TRT) else "onnxruntime",
            precision=msgspec.convert(key.removeprefix(TRT), bundle.Precision),
            file=self.file_name(key),
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def file_name(self, key: str) -> str:
        """Return the name of a file in the bundle."""
        return f"{self.role}.{key}.onnx"


def candidate(role: bundle.Role, source: Semantic | Instance | Appearance) -> Candidate:
    """Load a model and bring it into canonical form; raises `ModelError` where it does not fit its recipe."""
    net = load_net(source.model, source.input_size, resize=role == "coarse")
    source = understood(net, source)
    meaning = _meaning(net, source)
    if is_quantized(net.model) != (source.precision == AS_IS) and is_quantized(net.model):
        raise ModelError(f'model {source.model}: is quantized already; set {role}.precision = "as is"')
    _check_pixels(role, source, net.dtype)
    graph = canonical(net, source, meaning.attach)
    if not is_quantized(graph):
        graph = argmax_before_shuffle(optimized(graph))
    found = Candidate(role, source, graph, _model(role, source, meaning, graph), meaning.sensitive)
    found.files[found.native] = graph.SerializeToString(deterministic=True)
    return found


def _meaning(net: Net, source: Semantic | Instance | Appearance) -> Meaning:
    if isinstance(source, Semantic):
        return semantic_meaning(net, source)
    if isinstance(source, Appearance):
        return embedding_meaning(net)
    read = {"centers": centers_meaning, "queries": queries_meaning, "box-masks": box_masks_meaning}
    return read.get(source.head or "", yolo_meaning)(net, source)


def _check_pixels(role: str, source: Semantic | Instance | Appearance, dtype: str) -> None:
    if dtype == "uint8" and (source.scale, source.mean, source.std) != (ONE_255TH, 0.0, 1.0):
        raise ConfigError(f"{role}.scale: the model takes bytes and normalises itself; remove scale, mean and std")


def _model(
    role: bundle.Role, source: Semantic | Instance | Appearance, meaning: Meaning, graph: onnx.ModelProto
) -> bundle.Model:
    engine = OrtEngine(str(source.model), graph.SerializeToString(), 1)
    (picture,) = engine.inputs.values()
    outputs = list(engine.outputs.values())
    engine.close()
    defects = source.defects if isinstance(source, Instance) else []
    model = bundle.Model(
        meaning.classes, meaning.head, picture, outputs, [], defects=defects, fit=source.fit, fill=source.fill
    )
    wrong = bundle.what_is_wrong(role, model)
    if wrong:
        raise ModelError(f"model {source.model}: {wrong}; export another one")
    return model


def run_once(found: Candidate) -> None:
    """Run the network once: shapes that contradict each other may show only then. Raises `ModelError`."""
    options, run = ort.SessionOptions(), ort.RunOptions()
    options.log_severity_level = run.log_severity_level = FATAL  # what it has to say is in the exception
    try:
        session = ort.InferenceSession(found.files[found.native], options, providers=["CPUExecutionProvider"])
        session.run(None, {found.model.input.name: np.zeros(found.model.input.shape, np.uint8)}, run)
    except ERRORS as error:
        raise ModelError(f"onnxruntime cannot run it: {str(error).splitlines()[0]}") from error


@dataclass
class Calibrated:
    """What was measured of a model on calibration pictures, for one flavour."""

    graph: onnx.ModelProto  # float, as it is quantized
    plan: Plan
    samples: dict[str, Sample]
    flavour: Flavour
    pictures: list[Image]
    _ranges: dict[str, dict[str, Range]] = field(default_factory=dict)  # by method
    _errors: dict[str, dict[str, Array]] = field(default_factory=dict)  # by method of the ranges

    def ranges(self, method: str) -> dict[str, Range]:
        """Return the ranges of all activations by `method`; what is decoded has its whole range.

        Scores that are clipped are all alike, and nobody can say which of two objects is the surer one.
        """
        if method not in self._ranges:
            ends = {name: self.samples[name] for name in self.plan.ends}
            found = find_ranges(self.samples, method) | find_ranges(ends, "minmax")
            self._ranges[method] = carried(self.graph, found | pixel_range(self.graph))
        return self._ranges[method]

    def errors(self, method: str) -> dict[str, Array]:
        """Return by how much bytes shift the means of each layer's channels, with ranges by `method`."""
        if method not in self._errors:
            pictures, symmetric = self.pictures[:BIAS_PICTURES], self.flavour == "tensorrt"
            ranges = self.ranges(method)
            self._errors[method] = mean_errors(self.graph, self.plan.layers, ranges, pictures, symmetric=symmetric)
        return self._errors[method]


def measure(found: Candidate, pictures: list[Image], flavour: Flavour) -> Calibrated:
    """Run the float graph on `pictures`, each of the model's input size, and sample its activations."""
    given = found.source.exclude, found.sensitive, flavour
    graph = found.graph if flavour == "tensorrt" else for_cpu(found.graph, plan(found.graph, *given).nodes)
    chosen = plan(graph, *given)
    samples = sample_activations(graph, chosen.tensors, pictures)
    for name, sample in samples.items():
        if not math.isfinite(sample.low) or not math.isfinite(sample.high):
            raise ModelError(
                f"model {found.source.model}: tensor {name.removeprefix(NET)!r} becomes NaN or infinite on calibration "
                "pictures; check scale, mean and std, and the weights"
            )
    return Calibrated(graph, chosen, samples, flavour, pictures)


def quantized(found: Candidate, measured: Calibrated, method: str, float_layers: Collection[str] = ()) -> bytes:
    """Return an INT8 file with ranges chosen by `method`; `float_layers` are those of the plan that stay float."""
    chosen = plan(measured.graph, found.source.exclude, found.sensitive, measured.flavour, float_layers)
    errors = {name: error for name, error in measured.errors(method).items() if name in chosen.layers}
    graph = quantize(with_biases(measured.graph, errors), chosen, measured.ranges(method), measured.flavour)
    return bytes(graph.SerializeToString(deterministic=True))
