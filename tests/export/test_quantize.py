"""INT8 graphs: close to float, bytes where bytes will do, float where that was asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.types import Array
from export.candidate import Candidate, measure, quantized
from export.errors import ModelError
from export.quantize import Flavour, plan
from tests.export.nets import SIZE, engine_of, instance, pictures, save, semantic, semantic_net


def made(found: Candidate, flavour: Flavour = "cpu", method: str = "minmax") -> onnx.ModelProto:
    """Quantize and keep the file under "int8"; return the graph."""
    found.files["int8"] = quantized(found, measure(found, pictures(12), flavour), method)
    return onnx.load_model_from_string(found.files["int8"])


@pytest.mark.parametrize("flavour", ["cpu", "tensorrt"])
@pytest.mark.parametrize(("method", "most"), [("minmax", 0.08), ("mse", 0.08), ("percentile", 0.08), ("entropy", 0.25)])
def test_labels_stay_close_to_float(tmp_path: Path, flavour: Flavour, method: str, most: float) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    made(found, flavour, method)
    both = engine_of(found), engine_of(found, "int8")
    differ = []
    for picture in pictures(16)[12:]:
        first, second = (engine.infer({"image": picture})["labels"].copy() for engine in both)
        differ.append((first != second).mean())
    assert np.mean(differ) < most


def test_bytes_go_into_the_first_layer_as_they_are(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"), color="rgb")
    kinds = Counter(node.op_type for node in made(found).graph.node if node.name.startswith("pre/"))
    assert kinds == {"Transpose": 1, "Reshape": 1, "DequantizeLinear": 1}
    narrow = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"), color="rgb", input_size=[SIZE, SIZE])
    kinds = Counter(node.op_type for node in made(narrow, "tensorrt").graph.node if node.name.startswith("pre/"))
    assert kinds["Cast"] == kinds["Gather"] == 1  # TensorRT does nothing with bytes but convert them


def test_shifted_pixels_are_quantized(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"), mean=[0.4, 0.5, 0.6], std=0.25)
    kinds = Counter(node.op_type for node in made(found).graph.node if node.name.startswith("pre/"))
    assert kinds["Cast"] == kinds["Mul"] == kinds["Add"] == 1


def test_cpu_flavour_has_bytes_with_zero_points_and_weights_per_channel(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in made(found).graph.initializer}
    layers = {k.removesuffix("_quantized"): v for k, v in weights.items() if v.ndim == 4}
    assert all(v.dtype == np.int8 for v in layers.values())
    assert sorted(len(v) for v in layers.values()) == [3, 8, 16]  # the first one gives two columns at a time
    assert all(weights[f"{k}_scale"].shape == (len(v),) for k, v in layers.items())
    zeros = [v.dtype for k, v in weights.items() if k.endswith("r0/wide_zero_point")]
    assert zeros == [np.uint8]


def test_tensorrt_flavour_is_symmetric_with_float_biases(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in made(found, "tensorrt").graph.initializer}
    zeros = [v for k, v in weights.items() if k.endswith("_zero_point")]
    assert zeros
    assert all(v.dtype == np.int8 and not v.any() for v in zeros)
    assert not any(v.dtype == np.int32 for v in weights.values())


def test_tensorrt_takes_its_flavour(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed (pip install tensorrt-rtx)")
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    made(found, "tensorrt")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(found.files["int8"]), [parser.get_error(i).desc() for i in range(parser.num_errors)]


def test_excluded_nodes_stay_float(tmp_path: Path) -> None:
    path = semantic_net(tmp_path / "net.onnx")
    assert {"net/stem", "net/body"} <= set(plan(semantic(path, classes=list("abc")).graph, [], ()).nodes)
    found = semantic(path, classes=list("abc"), exclude=["body"])
    assert "net/body" not in plan(found.graph, found.source.exclude, ()).nodes
    made(found)


def test_unknown_excluded_node_gets_a_hint(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    with pytest.raises(ModelError, match="no node 'bodie' in the model; did you mean 'body'"):
        plan(found.graph, ["bodie"], ())


def test_what_decides_stays_float(tmp_path: Path) -> None:
    """A last layer that costs next to nothing keeps its precision; one that costs much does not."""
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    assert "net/head" in plan(found.graph, [], found.sensitive).nodes  # 3 % of all multiplications
    slim = semantic(semantic_net(tmp_path / "slim.onnx", classes=2), classes=list("ab"))
    assert "net/head" not in plan(slim.graph, [], slim.sensitive).nodes


def dfl_net(path: Path) -> Path:
    """Write a YOLO whose boxes are means of distributions, as from YOLOv8 on."""
    bins, cells, rest = 8, 16, 3 + 4  # classes and coefficients
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["features"], name="stem", strides=[8, 8]),
        helper.make_node("Conv", ["features", "box"], ["bins"], name="box"),
        helper.make_node("Reshape", ["bins", "split"], ["apart"]),
        helper.make_node("Transpose", ["apart"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Softmax", ["turned"], ["shares"], axis=1),
        helper.make_node("Conv", ["shares", "steps"], ["mean"], name="dfl"),
        helper.make_node("Reshape", ["mean", "four"], ["boxes"]),
        helper.make_node("Conv", ["features", "class"], ["scored"], name="class"),
        helper.make_node("Reshape", ["scored", "flat"], ["others"]),
        helper.make_node("Sigmoid", ["others"], ["sure"]),
        helper.make_node("Concat", ["boxes", "sure"], ["output0"], axis=1),
        helper.make_node("Conv", ["features", "proto"], ["small"], name="proto"),
        helper.make_node("Resize", ["small", "", "factors"], ["output1"]),
    ]

    def weights(*shape: int) -> Array:
        return random.normal(0, 0.3, shape).astype(np.float32)

    constants = {
        "stem": weights(8, 3, 8, 8),
        "box": weights(4 * bins, 8, 1, 1),
        "class": weights(rest, 8, 1, 1),
        "proto": weights(4, 8, 1, 1),
        "steps": np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1),
        "split": np.asarray([1, 4, bins, cells]),
        "four": np.asarray([1, 4, cells]),
        "flat": np.asarray([1, rest, cells]),
        "factors": np.asarray([1, 1, 2, 2], np.float32),
    }
    return save(path, nodes, constants, {"output0": (1, 4 + rest, cells), "output1": (1, 4, SIZE // 4, SIZE // 4)})


def test_decoding_of_boxes_stays_float(tmp_path: Path) -> None:
    found = instance(dfl_net(tmp_path / "net.onnx"), head="yolo", classes=list("abc"))
    graph = {node.name: node.op_type for node in found.graph.graph.node}
    chosen = plan(found.graph, [], found.sensitive).nodes
    assert {"net/stem", "net/box", "net/class", "net/proto"} == set(chosen), [graph[name] for name in chosen]
    made(found)


def test_quantized_model_is_kept_as_it_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["logits"]),
    ]
    weights: dict[str, Array] = {"step": np.asarray(1 / 255, np.float32), "zero": np.asarray(0, np.uint8)}
    path = save(tmp_path / "net.onnx", nodes, weights, {"logits": (1, 3, SIZE, SIZE)})
    with pytest.raises(ModelError, match="is quantized already; set semantic"):
        semantic(path, classes=list("abc"))
    found = semantic(path, classes=list("abc"), precision="as is")
    (engine,) = found.described().engines
    assert (engine.precision, engine.file) == ("int8", "semantic.int8.onnx")
    picture = pictures(1)[0]
    assert np.array_equal(engine_of(found, "int8").infer({"image": picture})["labels"], picture.argmax(axis=-1))
