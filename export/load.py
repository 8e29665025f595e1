"""Take a foreign ONNX file in: everything it could do besides computing is refused before it is loaded."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

from export.errors import ModelError
from export.refuse import refuse_axes, refuse_excess, refuse_names, refuse_references, refuse_values

FILE_LIMIT_BYTES = 512 << 20
OLDEST_OPSET, LOWEST_OPSET, HIGHEST_OPSET = 7, 17, 21  # what is taken in, and what bundles hold
IR_VERSION = 10
_INVALID = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError)
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x80\x05")  # how files of torch.save begin, and plain ones
DEFAULT_DOMAINS = {"", "ai.onnx"}
ELEMENT_TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}


@dataclass(frozen=True)
class Net:
    """A checked network with one picture in: every shape is fixed, the operators are standard ones."""

    model: onnx.ModelProto
    input: str
    shape: tuple[int, ...]  # (1, 3, h, w) or (1, h, w, 3)
    dtype: str  # "float32" or "uint8"
    outputs: dict[str, tuple[int, ...]]
    kinds: dict[str, str]  # of the outputs: "FLOAT", "INT64", ... as ONNX names them
    path: Path  # for messages

    @property
    def channels_first(self) -> bool:
        """Return whether the input is (1, 3, h, w)."""
        return self.shape[1] == 3

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the input."""
        return (self.shape[2], self.shape[3]) if self.channels_first else (self.shape[1], self.shape[2])

    @property
    def opset(self) -> int:
        """Return the version of the standard operators."""
        return int(self.model.opset_import[0].version)


def load_net(path: Path, input_size: tuple[int, int] | None = None, *, resize: bool = False) -> Net:
    """Return the network in file `path`; `input_size` is (width, height) where the file leaves it open.

    With `resize` it also replaces the size that the file has.

    Raises `ModelError` where the file is missing, too large, no ONNX model, keeps weights elsewhere, has operators of
    its own, too many nodes, sizes that are not fixed, weights that are no numbers, or more than one input.
    """
    model = _parse(_read(path), path)
    refuse_references(model, path)
    refuse_excess(model, path)
    model = _standard(model, path)
    refuse_references(model, path)  # nothing that was in a function gets past
    refuse_names(model, path)
    refuse_values(model, path)
    model = _at_opset(model, path)
    name, shape = _picture(model, path, input_size, resize=resize)
    model = _inferred(model, name, shape, path)
    refuse_axes(model, path)
    dtype = ELEMENT_TYPES.get(_input_type(model, name).elem_type)
    if dtype is None:
        kind = onnx.TensorProto.DataType.Name(_input_type(model, name).elem_type)
        raise ModelError(f"model {path}: input {name!r} is {kind}; export the model with a float32 or uint8 input")
    outputs = {value.name: _fixed_shape(value, path) for value in model.graph.output}
    if not outputs:
        raise ModelError(f"model {path}: has no output; export the model again")
    kinds = {v.name: onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in model.graph.output}
    return Net(model, name, shape, dtype, outputs, kinds, path)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read: {error.strerror}; name an ONNX file") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelError(f"model {path}: is not a file; name an ONNX file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > FILE_LIMIT_BYTES:
            raise ModelError(
                f"model {path}: has {status.st_size >> 20} MiB, at most {FILE_LIMIT_BYTES >> 20} are taken; "
                "an edge device needs a smaller model"
            )
        return file.read(FILE_LIMIT_BYTES + 1)


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    if data.startswith(PICKLES):
        raise ModelError(
            f"model {path}: is a PyTorch checkpoint; it may run anything when it is loaded, so it never is here: "
            "export the model to ONNX, or give the module to export.from_torch"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"model {path}: is not an ONNX file; export the model to ONNX first") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"model {path}: is not an ONNX model, it has no nodes; export the model to ONNX first")
    return model


def _standard(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Inline the model's own functions; refuse operators of any other domain than ONNX's."""
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"model {path}: its functions cannot be written out: {_first_line(error)}; "
                "export the model without them"
            ) from error
    del model.training_info[:]  # initial values and steps of a training: no device needs them
    for node in model.graph.node:
        if node.domain not in DEFAULT_DOMAINS:
            raise ModelError(
                f"model {path}: node {node.name!r} is {node.domain}::{node.op_type}; bundles hold standard ONNX "
                "operators only, export the model without custom operators"
            )
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ModelError(
                f"model {path}: node {node.name!r} ({node.op_type}) branches or loops; "
                "export the model with fixed shapes and without control flow (a torchvision Mask R-CNN with "
                "export.from_torch, which leaves them out)"
            )
    return model


def _at_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Bring the model to an opset that bundles may hold."""
    version = next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), 0)
    if version < OLDEST_OPSET:
        raise ModelError(f"model {path}: opset {version} is too old; export it again with opset {LOWEST_OPSET}")
    target = min(max(version, LOWEST_OPSET), HIGHEST_OPSET)
    if target != version:
        try:
            model = onnx.version_converter.convert_version(model, target)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"model {path}: opset {version} cannot be converted to {target}: {_first_line(error)}; "
                f"export the model with opset {target}"
            ) from error
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", target))
    model.ir_version = IR_VERSION
    return model


def _picture(
    model: onnx.ModelProto, path: Path, input_size: tuple[int, int] | None, *, resize: bool
) -> tuple[str, tuple[int, ...]]:
    """Return name and shape of the one input; what the file leaves open comes from `input_size` (width, height)."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"model {path}: needs one input, the picture; it has {names}")
    value = inputs[0]
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
    if len(sizes) == 4 and sizes[1] == 0 and sizes[3] != 3:
        sizes[1] = 3  # an exporter that leaves every axis open puts channels first
    if len(sizes) != 4 or 3 not in (sizes[1], sizes[3]) or sizes[0] not in (0, 1):
        text = _shape_text(value)
        raise ModelError(f"model {path}: input {value.name!r} is {text}; needs [1, 3, h, w] or [1, h, w, 3]")
    rows, columns = (2, 3) if sizes[1] == 3 else (1, 2)
    if input_size is not None:
        fixed = zip((sizes[columns], sizes[rows]), input_size, strict=True)
        if not resize and any(given not in (0, size) for given, size in fixed):
            raise ModelError(
                f"model {path}: input_size {list(input_size)} differs from {_shape_text(value)}; remove input_size"
            )
        sizes[columns], sizes[rows] = input_size
    if 0 in sizes[1:]:
        text = _shape_text(value)
        raise ModelError(
            f"model {path}: input {value.name!r} is {text}; set input_size = [width, height] in the recipe"
        )
    sizes[0] = 1
    return value.name, tuple(sizes)


def _inferred(model: onnx.ModelProto, name: str, shape: tuple[int, ...], path: Path) -> onnx.ModelProto:
    """Return a copy of `model` with the input's shape fixed and every other shape inferred and checked."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dims = _input_type(fixed, name).shape.dim
    open_sizes = [dim.dim_value for dim in dims] != list(shape)
    for dim, size in zip(dims, shape, strict=True):
        dim.dim_value = size
    if open_sizes:  # shapes that were inferred for other sizes would contradict
        del fixed.graph.value_info[:]
        for value in fixed.graph.output:
            value.type.tensor_type.ClearField("shape")
    try:
        fixed = onnx.shape_inference.infer_shapes(fixed, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(fixed, full_check=True)
    except _INVALID as error:
        raise ModelError(f"model {path}: is not a valid ONNX model: {_first_line(error)}; export it again") from error
    return fixed


def _fixed_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    if not shape or 0 in shape:
        raise ModelError(
            f"model {path}: output {value.name!r} is {_shape_text(value)}; export the model with fixed sizes"
        )
    return shape


def _input_type(model: onnx.ModelProto, name: str) -> onnx.TypeProto.Tensor:
    return next(value for value in model.graph.input if value.name == name).type.tensor_type


def _shape_text(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "[" + ", ".join(str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in dims) + "]"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
