"""Networks for canvases at other input sizes: what depends on the size is patched, and nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.full_frame import STRIDES, anchors, letterbox, resized
from edge.types import Array

OLD = 64


def yolo_like(side: int) -> onnx.ModelProto:
    """Return a network that gives each anchor its point and stride, both as shares of the input, plus a zero."""
    nodes, tables, flat = [], [], []
    for stride in STRIDES:
        cells = side // stride
        weights = numpy_helper.from_array(np.zeros((2, 3, stride, stride), np.float32), f"w{stride}")
        shape = numpy_helper.from_array(np.asarray([1, 2, cells * cells]), f"shape{stride}")
        tables += [weights, shape]
        nodes.append(helper.make_node("Conv", ["image", f"w{stride}"], [f"c{stride}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", f"shape{stride}"], [f"f{stride}"]))
        flat.append(f"f{stride}")
    points, strides = tables_of(side, side)
    tables += [numpy_helper.from_array(points / side, "points"), numpy_helper.from_array(strides / side, "strides")]
    nodes.append(helper.make_node("Concat", flat, ["flat"], axis=2))
    nodes.append(helper.make_node("Add", ["flat", "points"], ["found"]))
    nodes.append(helper.make_node("Add", ["flat", "strides"], ["sizes"]))
    count = anchors(side, side)[-1]
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, count]) for name in ("found", "sizes")],
        tables,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def tables_of(width: int, height: int) -> tuple[Array, Array]:
    """Return anchor points and strides in pixels, counted by hand."""
    points = [(x * s + s / 2, y * s + s / 2) for s in STRIDES for y in range(height // s) for x in range(width // s)]
    strides = [s for s in STRIDES for _ in range((height // s) * (width // s))]
    return np.asarray(points, np.float32).T[None], np.asarray([strides, strides], np.float32)[None]


@pytest.mark.parametrize("size", [(OLD, OLD), (128, 96), (32, 64)])
def test_anchors_are_where_they_belong_at_another_size(size: tuple[int, int]) -> None:
    session = ort.InferenceSession(resized(yolo_like(OLD), *size).SerializeToString())
    found, sizes = session.run(None, {"image": np.zeros((1, 3, size[1], size[0]), np.float32)})
    points, strides = tables_of(*size)
    np.testing.assert_allclose(np.asarray(found) * OLD, points, rtol=1e-6)
    if size[0] * size[1] >= OLD * OLD:  # two rows of one table look like points, which is what they then are
        assert np.asarray(sizes).shape == strides.shape


def test_the_given_network_stays_as_it_was() -> None:
    given = yolo_like(OLD)
    before = given.SerializeToString()
    resized(given, 128, 128)
    assert given.SerializeToString() == before


def test_a_frame_fits_its_letterbox() -> None:
    assert letterbox((1920, 1080), 640) == (640, 384)
    assert letterbox((1920, 1080), 1920) == (1920, 1088)
    assert letterbox((768, 576), 768) == (768, 576)
