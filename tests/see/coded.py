"""Pictures that carry their own truth, and two tiny exact models that read it: the cascade without any learning.

A part is a square of blue 200 whose green and red say how far it is to its centre; the centre's blue is 255, and blue
220 is a defect. The semantic model sees blue above 127 as class 1; the instance model reads the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import FORMAT, EngineFile, Head, Manifest, Model, Role, TensorSpec
from edge.types import Array, Image

FRAME = (160, 120)  # width, height
LABELS = (80, 60)  # the semantic input: half of it
COARSE = (40, 30)  # the coarse one
CANVAS = (96, 96)
SIDE = 21  # of a part
PEAKS = 8
NAMES = ["background", "part"]


def picture(centers: list[tuple[int, int]], flawed: tuple[int, ...] = (), size: tuple[int, int] = FRAME) -> Image:
    """Return a frame with a part round each centre; those with an index in `flawed` have a defect of 5 x 5."""
    image: Image = np.zeros((size[1], size[0], 3), np.uint8)
    reach = SIDE // 2
    for i, (x, y) in enumerate(centers):
        xs, ys = np.meshgrid(
            np.arange(max(0, x - reach), min(size[0], x + reach + 1)),
            np.arange(max(0, y - reach), min(size[1], y + reach + 1)),
        )
        image[ys, xs] = np.stack([np.full(xs.shape, 200), 128 + x - xs, 128 + y - ys], axis=-1)
        if i in flawed:
            part = image[max(0, y - 8) : max(0, y - 3), max(0, x - 2) : max(0, x + 3)]
            part[..., 0] = np.where(part[..., 0] > 0, 220, 0)
        if 0 <= x < size[0] and 0 <= y < size[1]:
            image[y, x, 0] = 255
    return image


def belt(frame: int, count: int, step: int = 4, gap: int = 40) -> list[tuple[int, int]]:
    """Return where `count` parts are in a frame of a belt that goes to the right; the first enters first."""
    return [(-12 + step * frame - gap * i, 30 + 60 * (i % 2)) for i in range(count)]


def write_belt(folder: Path, frames: int, count: int, flawed: tuple[int, ...] = ()) -> Path:
    """Write a belt as a folder of pictures and return it."""
    folder.mkdir(parents=True)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i}.png"), picture(belt(i, count), flawed))
    return folder


def semantic_model(file: EngineFile, size: tuple[int, int] = LABELS) -> Model:
    return Model(
        classes=NAMES,
        head=Head("labels"),
        input=TensorSpec("image", (size[1], size[0], 3), "uint8"),
        outputs=[TensorSpec("labels", (size[1], size[0]), "uint8")],
        engines=[file],
    )


def instance_model(file: EngineFile) -> Model:
    width, height = CANVAS
    return Model(
        classes=NAMES,
        head=Head("centers", score=0.3),
        input=TensorSpec("image", (height, width, 3), "uint8"),
        outputs=[
            TensorSpec("peaks", (PEAKS, 3), "int16"),
            TensorSpec("labels", (height, width), "uint8"),
            TensorSpec("offsets", (2, height, width), "int8"),
            TensorSpec("defects", (height, width), "uint8"),
        ],
        engines=[file],
        defects=["scratch"],
    )


def read_labels(image: Image) -> Mapping[str, Array]:
    """Do what the semantic model does."""
    return {"labels": (image[:, :, 0] > 127).astype(np.uint8)}


def read_parts(image: Image) -> Mapping[str, Array]:
    """Do what the instance model does."""
    blue = image[:, :, 0]
    peaks = np.zeros((PEAKS, 3), np.int16)
    found = np.argwhere(blue == 255)[:PEAKS]
    peaks[: len(found)] = [(x, y, 255) for y, x in found] if len(found) else 0
    offsets: npt.NDArray[np.int8] = (image[:, :, 1:].astype(np.int16) - 128).transpose(2, 0, 1).astype(np.int8)
    labels = (blue > 127).astype(np.uint8)
    return {"peaks": peaks, "labels": labels, "offsets": offsets, "defects": (blue == 220).astype(np.uint8)}


def write_bundle(folder: Path, *, coarse: bool = False) -> Path:
    """Write the models as ONNX files, with their manifest, and return the folder."""
    folder.mkdir(parents=True)
    models: dict[Role, Model] = {
        "semantic": semantic_model(_written(folder, "semantic", semantic_graph())),
        "instance": instance_model(_written(folder, "instance", instance_graph())),
    }
    if coarse:
        models["coarse"] = semantic_model(_written(folder, "coarse", semantic_graph(COARSE)), COARSE)
    manifest = Manifest(
        format=FORMAT,
        name="coded",
        version="1",
        created="2026-11-23",
        models=models,
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def _written(folder: Path, name: str, graph: bytes) -> EngineFile:
    (folder / f"{name}.onnx").write_bytes(graph)
    return EngineFile("onnxruntime", "float32", f"{name}.onnx", len(graph), hashlib.sha256(graph).hexdigest())


def semantic_graph(size: tuple[int, int] = LABELS) -> bytes:
    nodes = [*_blue(), _over("blue", 127, "bright"), _cast("bright", "labels", TensorProto.UINT8)]
    return _graph(nodes, size, {"labels": (TensorProto.UINT8, [size[1], size[0]])})


def instance_graph() -> bytes:
    width, height = CANVAS
    nodes = [
        *_blue(),
        _over("blue", 127, "bright"),
        _cast("bright", "labels", TensorProto.UINT8),
        helper.make_node("Equal", ["blue", _constant(220)], ["flaw"]),
        _cast("flaw", "defects", TensorProto.UINT8),
        helper.make_node("Gather", ["wide", "other_channels"], ["ways"], axis=2),
        helper.make_node("Sub", ["ways", _constant(128)], ["way"]),
        helper.make_node("Transpose", ["way"], ["planes"], perm=[2, 0, 1]),
        _cast("planes", "offsets", TensorProto.INT8),
        helper.make_node("Equal", ["blue", _constant(255)], ["middle"]),
        _cast("middle", "middle_32", TensorProto.FLOAT),
        helper.make_node("Reshape", ["middle_32", "flat_shape"], ["flat"]),
        helper.make_node("TopK", ["flat", "most"], ["there", "index"], largest=1, sorted=1),
        _cast("index", "index_32", TensorProto.INT32),
        _cast("there", "there_32", TensorProto.INT32),
        helper.make_node("Div", ["index_32", _constant(width)], ["y"]),
        helper.make_node("Mul", ["y", _constant(width)], ["before"]),
        helper.make_node("Sub", ["index_32", "before"], ["x"]),
        helper.make_node("Mul", ["there_32", _constant(255)], ["score"]),
        *[helper.make_node("Unsqueeze", [name, "second_axis"], [f"{name}_column"]) for name in ("x", "y", "score")],
        helper.make_node("Concat", ["x_column", "y_column", "score_column"], ["rows"], axis=1),
        _cast("rows", "peaks", TensorProto.INT16),
    ]
    outputs = {
        "peaks": (TensorProto.INT16, [PEAKS, 3]),
        "labels": (TensorProto.UINT8, [height, width]),
        "offsets": (TensorProto.INT8, [2, height, width]),
        "defects": (TensorProto.UINT8, [height, width]),
    }
    return _graph(nodes, CANVAS, outputs)


def _blue() -> list[onnx.NodeProto]:
    return [_cast("image", "wide", TensorProto.INT32), helper.make_node("Gather", ["wide", "first"], ["blue"], axis=2)]


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _over(source: str, level: int, target: str) -> onnx.NodeProto:
    return helper.make_node("Greater", [source, _constant(level)], [target])


def _constant(value: int) -> str:
    return f"constant_{value}"


def _graph(nodes: list[onnx.NodeProto], size: tuple[int, int], outputs: dict[str, tuple[int, list[int]]]) -> bytes:
    used = {name for node in nodes for name in node.input}
    values: dict[str, npt.NDArray[np.int64] | npt.NDArray[np.int32]] = {
        "first": np.asarray(0, np.int64),
        "other_channels": np.asarray([1, 2], np.int64),
        "flat_shape": np.asarray([-1], np.int64),
        "most": np.asarray([PEAKS], np.int64),
        "second_axis": np.asarray([1], np.int64),
        **{_constant(value): np.asarray(value, np.int32) for value in (127, 128, 220, 255, CANVAS[0])},
    }
    graph = helper.make_graph(
        nodes,
        "coded",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [size[1], size[0], 3])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in values.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
