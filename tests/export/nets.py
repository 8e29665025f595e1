"""Small networks made on the spot, and other things that several test files need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.ort import OrtEngine
from edge.types import Array, Image
from export.candidate import Candidate, candidate
from export.recipe import Instance, Semantic

SIZE = 32  # height and width of the pictures these networks take
OPSET = 17


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    outputs: Mapping[str, tuple[int | str, ...]],
    *,
    shape: tuple[int | str, ...] = (1, 3, SIZE, SIZE),
    opset: int = OPSET,
    dtype: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
) -> Path:
    """Write a network with the one input ``x``."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, output_type, size) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))
    return path


def constant_net(path: Path, raw: dict[str, Array], shape: tuple[int, ...] = (1, 3, SIZE, SIZE)) -> Path:
    """Write a network that gives `raw` whatever it sees."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{name}_value", "nothing"], [name]) for name in raw),
    ]
    weights = {"zero": np.float32(0).reshape(()), **{f"{name}_value": value for name, value in raw.items()}}
    return save(path, nodes, weights, {name: value.shape for name, value in raw.items()}, shape=shape)


def identity_net(path: Path, *, channels_first: bool = True) -> Path:
    """Write a network whose "logits" are its input: one class per colour."""
    shape = (1, 3, SIZE, SIZE) if channels_first else (1, SIZE, SIZE, 3)
    return save(path, [helper.make_node("Identity", ["x"], ["logits"])], {}, {"logits": shape}, shape=shape)


def semantic_net(path: Path, classes: int = 3, opset: int = OPSET) -> Path:
    """Write two convolutions with a ReLU between, logits at half resolution; reacts to brightness and colour."""
    random = np.random.default_rng(1)
    first = random.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32)
    last = random.normal(0, 0.6, (classes, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], name="stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], name="body", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu_body"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["logits"], name="head"),
    ]
    weights = {
        "w0": first,
        "b0": np.zeros(8, np.float32),
        "w2": last,
        "b2": np.zeros(classes, np.float32),
        "w1": random.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "b1": np.zeros(8, np.float32),
    }
    return save(path, nodes, weights, {"logits": (1, classes, SIZE // 2, SIZE // 2)}, opset=opset)


def bright_net(path: Path) -> Path:
    """Write a network that calls bright pixels class 1 and never sees class 2, at half resolution."""
    nodes = [
        helper.make_node("Conv", ["x", "mean"], ["grey"], name="grey", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["grey"], ["light"], name="light"),
        helper.make_node("Conv", ["light", "smooth"], ["soft"], name="soft", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["soft", "sides", "level"], ["logits"], name="sides"),
    ]
    weights = {
        "mean": np.full((1, 3, 3, 3), 1 / 27, np.float32),
        "smooth": np.full((1, 1, 3, 3), 1 / 9, np.float32),
        "sides": np.asarray([-8, 8, 0], np.float32).reshape(3, 1, 1, 1),
        "level": np.asarray([4, -4, -8], np.float32),
    }
    return save(path, nodes, weights, {"logits": (1, 3, SIZE // 2, SIZE // 2)})


def centers_net(path: Path) -> Path:
    """Write a network that sees bright squares: a peak where one is centred, offsets of zero, class 1 where bright."""
    blur = np.full((1, 3, 9, 9), 1 / 243, np.float32)
    bright = np.stack([np.full((3, 1, 1), -1 / 3), np.full((3, 1, 1), 1 / 3)]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "blur"], ["soft"], name="blur", pads=[4] * 4),
        helper.make_node("AveragePool", ["soft"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Mul", ["cells", "gain"], ["steep"]),
        helper.make_node("Add", ["steep", "bias"], ["heatmap"]),
        helper.make_node("Conv", ["x", "bright", "level"], ["fine"], name="bright"),
        helper.make_node("AveragePool", ["fine"], ["logits"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["logits", "none"], ["offsets"], name="still"),
        helper.make_node("Conv", ["x", "clean", "never"], ["defects"], name="clean"),
    ]
    weights = {
        "blur": blur,
        "gain": np.float32(16).reshape(()),
        "bias": np.float32(-8).reshape(()),
        "clean": np.zeros((2, 3, 1, 1), np.float32),
        "never": np.asarray([1, -1], np.float32),
        "bright": bright,
        "level": np.asarray([0.5, -0.5], np.float32),
        "none": np.zeros((2, 2, 1, 1), np.float32),
    }
    half, quarter = SIZE // 2, SIZE // 4
    shapes = {
        "heatmap": (1, 1, quarter, quarter),
        "offsets": (1, 2, half, half),
        "logits": (1, 2, half, half),
        "defects": (1, 2, SIZE, SIZE),
    }
    return save(path, nodes, weights, shapes)


def engine_of(found: Candidate, key: str = "float32") -> OrtEngine:
    """Return an engine of one of a candidate's files."""
    return OrtEngine(key, found.files[key], 1)


def semantic(path: Path, **keys: object) -> Candidate:
    """Return a semantic candidate with defaults for what a test does not care about."""
    return candidate("semantic", Semantic(**{"model": path, "head": "logits", "color": "bgr", **keys}))  # type: ignore[arg-type]


def instance(path: Path, **keys: object) -> Candidate:
    """Return an instance candidate with defaults for what a test does not care about."""
    return candidate("instance", Instance(**{"model": path, "head": "centers", "color": "bgr", **keys}))  # type: ignore[arg-type]


def pictures(count: int, size: int = SIZE) -> list[Image]:
    """Return smooth random pictures (size, size, 3)."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 4, 4, 3), np.uint8)
    return [cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC) for picture in coarse]


def squares(folder: Path, count: int, size: int = 64) -> Path:
    """Write `count` pictures with a bright square each into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = np.full((size, size, 3), 20, np.uint8)
        x, y = 8 + 5 * i % 32, 8 + 9 * i % 32
        picture[y : y + 16, x : x + 16] = 230
        cv2.imwrite(str(folder / f"{i:03}.png"), picture)
    return folder


def rewritten(recipe: Path, *changes: tuple[str, str]) -> Path:
    """Replace text in a recipe."""
    text = recipe.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return recipe


def data(name: str) -> Path:
    """Return a file of the shared test data, or skip."""
    folder = Path(os.environ.get("FOVEATE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / name).exists():
        pytest.skip(f"no {name} in {folder}; set FOVEATE_DATA to the folder of test data")
    return folder / name


def box_masks_net(path: Path, boxes: Array, scores: Array, labels: Array, masks: Array, size: int = SIZE) -> Path:
    """Write a network that gives these four, labels as int64, whatever it sees in pictures of `size` x `size`."""
    raw = {"boxes": boxes, "scores": scores, "labels": labels.astype(np.float32), "masks": masks}
    model = onnx.load(str(constant_net(path, raw, (1, 3, size, size))))
    (last,) = [node for node in model.graph.node if node.output[0] == "labels"]
    last.output[0] = "numbers"
    model.graph.node.append(helper.make_node("Cast", ["numbers"], ["labels"], to=TensorProto.INT64))
    (value,) = [value for value in model.graph.output if value.name == "labels"]
    value.type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, str(path))
    return path
