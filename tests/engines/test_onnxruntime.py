"""Opening and choosing engines; onnxruntime on small graphs."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge import engines
from edge.bundle import EngineFile, Head, Model, TensorSpec
from edge.config import Models
from edge.engines import choose_engine, open_engine
from edge.errors import ConfigError, EngineError


def invert(height: int = 4, width: int = 6) -> bytes:
    """Return a graph whose `labels` are 255 - the first channel of `image`."""
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Gather", ["wide", "first"], ["channel"], axis=2),
        helper.make_node("Sub", ["top", "channel"], ["inverse"]),
        helper.make_node("Cast", ["inverse"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "invert",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [height, width, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, [height, width])],
        [
            numpy_helper.from_array(np.array(0, np.int64), "first"),
            numpy_helper.from_array(np.array(255, np.int32), "top"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def engine_file(data: bytes = b"", runtime: str = "onnxruntime", precision: str = "int8") -> EngineFile:
    digest = hashlib.sha256(data).hexdigest()
    return EngineFile(runtime, precision, f"{precision}.onnx", len(data), digest)  # type: ignore[arg-type]


def model_of(*engines: EngineFile, shape: tuple[int, ...] = (4, 6, 3), output: TensorSpec | None = None) -> Model:
    return Model(
        classes=["background", "part"],
        head=Head("labels"),
        input=TensorSpec("image", shape, "uint8"),
        outputs=[output or TensorSpec("labels", (4, 6), "uint8")],
        engines=list(engines),
    )


@pytest.fixture(scope="module")
def graph() -> bytes:
    return invert()


def test_infer_from_bytes(graph: bytes) -> None:
    file = engine_file(graph)
    engine = open_engine(graph, model_of(file), file, threads=1)
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    found = engine.infer({"image": image})["labels"]
    engine.close()
    engine.close()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, 255 - image[:, :, 0])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (model_of(shape=(4, 8, 3)), r"input 'image' is uint8 \[4, 6, 3\], the manifest says uint8 \[4, 8, 3\]"),
        (model_of(output=TensorSpec("labels", (4, 6), "int16")), "output 'labels' is uint8 .* says int16"),
        (
            model_of(output=TensorSpec("classes", (4, 6), "uint8")),
            "output 'classes' is absent, the manifest says uint8",
        ),
    ],
)
def test_differs_from_manifest(graph: bytes, model: Model, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        open_engine(graph, model, engine_file(graph), threads=1)


@pytest.mark.parametrize("data", [b"", b"not a graph", invert()[:-40]])
def test_refused_bytes(data: bytes) -> None:
    with pytest.raises(EngineError, match=r"int8\.onnx: onnxruntime .* refuses it"):
        open_engine(data, model_of(), engine_file(data), threads=1)


def test_feed_that_does_not_fit(graph: bytes) -> None:
    engine = open_engine(graph, model_of(), engine_file(graph), threads=1)
    with pytest.raises(EngineError, match="failed to run"):
        engine.infer({"image": np.zeros((4, 5, 3), np.uint8)})
    with pytest.raises(EngineError, match="failed to run"):
        engine.infer({})
    engine.close()


def test_external_data_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load_from_string(invert())
    (tmp_path / "weights").write_bytes(bytes(8))
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "weights", 0, 8)
    tensor.ClearField("raw_data")
    monkeypatch.chdir(tmp_path)
    data = model.SerializeToString()
    try:
        engine = open_engine(data, model_of(), engine_file(data), threads=1)
    except EngineError:
        return
    engine.close()
    pytest.fail("a graph with external data was loaded from bytes")


def test_missing_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edge.engines.trt", None)  # its import fails
    with pytest.raises(EngineError, match=r"cannot import tensorrt.*'\.\[tensorrt\]'"):
        open_engine(b"", model_of(), engine_file(runtime="tensorrt"), threads=1)


FLOAT = engine_file(precision="float32")
INT8 = engine_file(precision="int8")
RT = engine_file(runtime="tensorrt", precision="int8")


def test_choose_first_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "runnable", {"tensorrt": False, "onnxruntime": True}.__getitem__)
    assert choose_engine(model_of(RT, INT8, FLOAT), Models()) is INT8
    assert choose_engine(model_of(RT, INT8, FLOAT), Models(precision="float32")) is FLOAT
    monkeypatch.setattr(engines, "runnable", {"tensorrt": True, "onnxruntime": True}.__getitem__)
    assert choose_engine(model_of(RT, INT8, FLOAT), Models()) is RT
    assert choose_engine(model_of(RT, INT8, FLOAT), Models(runtime="onnxruntime")) is INT8


def test_choose_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"precision 'float16' .* it has int8 for onnxruntime, float32 for onnxr"):
        choose_engine(model_of(INT8, FLOAT), Models(precision="float16"))


def test_choose_what_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "runnable", {"tensorrt": False, "onnxruntime": False}.__getitem__)
    with pytest.raises(EngineError, match="no back end is installed for int8 for tensorrt"):
        choose_engine(model_of(RT), Models())


@pytest.mark.parametrize("there", [set[str](), {"tensorrt"}, {"pycuda"}, {"tensorrt_rtx", "cuda.core"}])
def test_tensorrt_needs_a_package_of_each_kind_and_a_driver(there: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "installed", there.__contains__)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: name)
    assert engines.runnable("tensorrt") == (len(there) == 2)

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not engines.runnable("tensorrt")


def test_part_of_a_package_that_is_not_there() -> None:
    assert not engines.installed("no_such_package.part")
    assert engines.installed("edge.engines")
