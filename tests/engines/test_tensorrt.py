"""The TensorRT path up to the driver: a fake GPU, a fake TensorRT, and real builds by TensorRT-RTX where it is."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.bundle import EngineFile, Head, Model, TensorSpec
from edge.engines import plans, trt
from edge.engines.builder import Built, build_plan, import_tensorrt
from edge.engines.device_memory import Twin
from edge.engines.trt import TensorRtEngine, plan_of
from edge.errors import EngineError

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed (pip install tensorrt-rtx)"
)


class FakeMemory:
    """`DeviceMemory` in host arrays; every call outside of `current` is an error."""

    stream = 77

    def __init__(self, gpu: str = "Fake GPU 8.7") -> None:
        self.gpu, self.cuda, self.depth, self.closed = gpu, "CUDA 12.6", 0, 0
        self.devices: dict[int, Any] = {}
        self.queued: list[tuple[str, int]] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def twin(self, shape: tuple[int, ...], dtype: Any) -> Twin:
        assert self.depth == 1
        address = 4096 * (1 + len(self.devices))
        self.devices[address] = np.zeros(shape, dtype)
        return Twin(np.zeros(shape, dtype), address, self.devices[address])

    def to_device(self, twin: Twin) -> None:
        assert self.depth == 1
        self.queued.append(("in", twin.address))
        twin.device[...] = twin.host

    def to_host(self, twin: Twin) -> None:
        assert self.depth == 1
        self.queued.append(("out", twin.address))
        twin.host[...] = twin.device

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        return work

    def synchronize(self) -> None:
        assert self.depth == 1
        self.queued.append(("wait", 0))

    def close(self) -> None:
        assert self.depth == 0
        self.closed += 1


class FakeTensorRt:
    """The names of TensorRT that are used at run time; its plan adds 1 to `image` and finds one peak."""

    __name__, __version__ = "tensorrt", "10.3.0"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    class ILogger:
        """Severities as in TensorRT."""

        ERROR, WARNING = 1, 2

    def __init__(self, memory: FakeMemory) -> None:
        self.memory, self.addresses = memory, dict[str, int]()
        self.tensors: dict[str, tuple[str, tuple[int, ...], Any]] = {
            "image": ("in", (2, 3, 3), np.uint8),
            "labels": ("out", (2, 3, 3), np.uint8),
            "peaks": ("out", (1, 3), np.int32),
        }
        self.good = True
        self.nptype = lambda dtype: dtype

    def Runtime(self, log: Any) -> Any:  # noqa: N802
        self.log = log
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if plan == b"plan":
            return self
        self.log.log(1, "not a plan\n")
        return None

    def create_execution_context(self) -> Any:
        return self

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][1]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.tensors[name][2]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert (stream, self.memory.depth) == (77, 1)
        if not self.good:
            self.log.log(0, "Error Code 1: Cuda Runtime")
            return False
        devices = self.memory.devices
        devices[self.addresses["labels"]][...] = devices[self.addresses["image"]] + 1
        devices[self.addresses["peaks"]][...] = [[640, 480, 255]]
        return True


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def fake(memory: FakeMemory) -> FakeTensorRt:
    return FakeTensorRt(memory)


def test_runs_and_narrows(fake: FakeTensorRt, memory: FakeMemory) -> None:
    engine = TensorRtEngine(fake, memory, "m.onnx", b"plan", frozenset({"peaks"}))
    assert engine.inputs == {"image": TensorSpec("image", (2, 3, 3), "uint8")}
    assert engine.outputs["peaks"] == TensorSpec("peaks", (1, 3), "int16")
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    found = engine.infer({"image": image})
    np.testing.assert_array_equal(found["labels"], image + 1)
    np.testing.assert_array_equal(found["peaks"], np.array([[640, 480, 255]], np.int16))
    assert [what for what, _ in memory.queued] == ["in", "out", "out", "wait"]
    assert engine.infer({"image": image})["labels"] is found["labels"]
    engine.close()
    engine.close()
    assert memory.closed == 1


def test_int32_stays_where_nobody_asked(fake: FakeTensorRt, memory: FakeMemory) -> None:
    engine = TensorRtEngine(fake, memory, "m.onnx", b"plan")
    assert engine.outputs["peaks"].dtype == "int32"


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({}, r"'image' takes uint8 \[2, 3, 3\], given nothing"),
        ({"image": np.zeros((2, 3, 3), np.float32)}, r"given float32 \[2, 3, 3\]"),
        ({"image": np.zeros((2, 3), np.uint8)}, r"given uint8 \[2, 3\]"),
    ],
)
def test_feed_that_does_not_fit(fake: FakeTensorRt, memory: FakeMemory, feeds: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        TensorRtEngine(fake, memory, "m.onnx", b"plan").infer(feeds)


def test_what_tensorrt_logs_is_in_the_error(fake: FakeTensorRt, memory: FakeMemory) -> None:
    with pytest.raises(EngineError, match=r"m\.onnx: TensorRT 10\.3\.0 cannot load the plan: not a plan"):
        TensorRtEngine(fake, memory, "m.onnx", b"junk")
    engine = TensorRtEngine(fake, memory, "m.onnx", b"plan")
    fake.good = False
    with pytest.raises(EngineError, match="failed to run it: Error Code 1: Cuda Runtime"):
        engine.infer({"image": np.zeros((2, 3, 3), np.uint8)})
    assert memory.depth == 0


def test_shape_that_is_not_fixed(fake: FakeTensorRt, memory: FakeMemory) -> None:
    fake.tensors["image"] = ("in", (-1, 3, 3), np.uint8)
    with pytest.raises(EngineError, match=r"'image' has no fixed shape: \[-1, 3, 3\]"):
        TensorRtEngine(fake, memory, "m.onnx", b"plan")


def file_of(name: str, **requires: str) -> EngineFile:
    return EngineFile("tensorrt", "int8", name, 4, "", requires)


def model_of() -> Model:
    outputs = [TensorSpec("labels", (2, 3, 3), "uint8"), TensorSpec("peaks", (1, 3), "int16")]
    return Model(["a", "b"], Head("centers"), TensorSpec("image", (2, 3, 3), "uint8"), outputs, [])


def opened(fake: FakeTensorRt, memory: FakeMemory, file: EngineFile, data: bytes = b"graph") -> TensorRtEngine:
    return trt._opened(fake, memory, data, model_of(), file, dla=False)


def test_plan_for_another_machine(fake: FakeTensorRt, memory: FakeMemory) -> None:
    good = file_of("m.plan", tensorrt="10.3.0", gpu="Fake GPU 8.7")
    assert opened(fake, memory, good, b"plan").outputs["peaks"].dtype == "int16"
    for bad in (file_of("m.plan"), file_of("m.plan", tensorrt="10.3.0", gpu="Fake GPU 8.6")):
        with pytest.raises(EngineError, match="the plan is for"):
            opened(fake, memory, bad, b"plan")


class Builds:
    """Stands for `build_plan`; notes what it was given."""

    def __init__(self, memory: FakeMemory, plan: bytes = b"plan") -> None:
        self.memory, self.plan, self.given = memory, plan, list[tuple[bytes, bytes, bool]]()

    def __call__(self, _: Any, __: str, data: bytes, timing: bytes, *, dla: bool) -> Built:
        assert self.memory.depth == 1
        self.given.append((data, timing, dla))
        return Built(self.plan, b"times of " + data)


@pytest.fixture
def builds(memory: FakeMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    found = Builds(memory)
    monkeypatch.setattr(trt, "build_plan", found)
    return found


def test_plan_is_built_once_per_machine(fake: FakeTensorRt, memory: FakeMemory, builds: Builds) -> None:
    assert plan_of(fake, memory, file_of("m.onnx"), b"graph") == (b"plan", False)
    assert plan_of(fake, memory, file_of("m.onnx"), b"graph") == (b"plan", True)
    plan_of(fake, memory, file_of("m.onnx"), b"other graph")
    assert builds.given == [(b"graph", b"", False), (b"other graph", b"times of graph", False)]


@pytest.mark.parametrize("other", ["gpu", "cuda", "tensorrt", "rtx", "dla"])
def test_plan_is_built_again_where_the_key_differs(
    fake: FakeTensorRt, memory: FakeMemory, builds: Builds, other: str
) -> None:
    plan_of(fake, memory, file_of("m.onnx"), b"graph")
    memory.gpu = "Fake GPU 8.9" if other == "gpu" else memory.gpu
    memory.cuda = "CUDA 13.0" if other == "cuda" else memory.cuda
    fake.__version__ = "10.4.0" if other == "tensorrt" else fake.__version__
    fake.__name__ = "tensorrt_rtx" if other == "rtx" else fake.__name__
    assert plan_of(fake, memory, file_of("m.onnx"), b"graph", dla=other == "dla") == (b"plan", False)
    assert builds.given[1] == (b"graph", b"", other == "dla")  # another machine's times are not used either


def test_kept_plan_that_does_not_load_is_built_again(
    fake: FakeTensorRt, memory: FakeMemory, builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    builds.plan = b"stale"
    plan_of(fake, memory, file_of("m.onnx"), b"graph")
    builds.plan = b"plan"
    opened(fake, memory, file_of("m.onnx")).close()
    assert "cannot be loaded: model m.onnx: TensorRT 10.3.0 cannot load the plan: not a plan" in caplog.text
    assert len(builds.given) == 2
    builds.plan = b"never good"
    with pytest.raises(EngineError, match="not a plan"):
        opened(fake, memory, file_of("m.onnx"), b"bad graph")
    assert len(builds.given) == 3


def test_plan_that_cannot_be_trusted(tmp_path: Path) -> None:
    key = plans.plan_key("a", "b")
    plans.store(tmp_path / "plans", f"{key}.plan", b"plan")
    path = tmp_path / "plans" / f"{key}.plan"
    assert plans.load(tmp_path / "plans", f"{key}.plan") == b"plan"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o620)
    assert plans.load(tmp_path / "plans", f"{key}.plan") is None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert plans.load(tmp_path / "plans", f"{key}.plan") is None
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    assert plans.load(tmp_path / "plans", f"{key}.plan") is None


def test_plan_that_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plans").write_text("a file where the folder should be")
    plans.store(tmp_path / "plans", "key.plan", b"plan")
    assert "cannot be kept" in caplog.text


def test_kept_files_are_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("not ours to remove")
    for number in range(plans.MOST + 3):
        plans.store(tmp_path, f"{number}.plan", b"plan")
        os.utime(tmp_path / f"{number}.plan", (number, number))
        assert plans.load(tmp_path, "0.plan") == b"plan"  # in use: it stays
    kept = sorted(int(path.stem) for path in tmp_path.glob("*.plan"))
    assert kept == [0, *range(4, plans.MOST + 3)]
    assert (tmp_path / "mine.txt").exists()


def test_plan_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert plans.plan_folder() == Path("/somewhere/foveate/plans")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/foveate")
    assert plans.plan_folder() == Path("/var/cache/foveate/plans")


def test_keys_differ_wherever_a_part_does() -> None:
    assert len({plans.plan_key(*parts) for parts in (("a", "b"), ("ab", ""), ("a", "c"), ("b", "a"))}) == 4


def test_narrowed_outputs() -> None:
    outputs = [TensorSpec("peaks", (9, 3), "int16"), TensorSpec("labels", (4, 4), "uint8")]
    model = Model(["background"], Head("centers"), TensorSpec("image", (8, 8, 3), "uint8"), outputs, [])
    assert trt.narrowed(model) == {"peaks"}


def graph(cast: int = 6) -> bytes:
    """Return a graph with an output of ONNX type `cast`: 6 is int32, 5 is int16."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=1),
        helper.make_node("Relu", ["float"], ["relu"]),
        helper.make_node("Cast", ["relu"], ["peaks"], to=cast),
    ]
    inputs = [helper.make_tensor_value_info("image", 2, [8, 8, 3])]
    outputs = [helper.make_tensor_value_info("peaks", cast, [8, 8, 3])]
    built = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())


@rtx
def test_rtx_builds_without_a_gpu() -> None:
    built = build_plan(import_tensorrt(), "m.onnx", graph())
    assert len(built.plan) > 1000
    again = build_plan(import_tensorrt(), "m.onnx", graph(), built.timing)
    assert len(again.plan) > 1000
    assert build_plan(import_tensorrt(), "m.onnx", graph(), b"no timing cache").plan


@rtx
def test_rtx_has_no_accelerator() -> None:
    with pytest.raises(EngineError, match=r"models\.dla is true and TensorRT-RTX .* sees no deep learning accelerator"):
        build_plan(import_tensorrt(), "m.onnx", graph(), dla=True)


@rtx
def test_rtx_refuses_16_bit_integers() -> None:
    """Why `narrowed` exists: the day this fails, it can go."""
    with pytest.raises(EngineError, match=r"m\.onnx: TensorRT-RTX .* cannot read the graph: .*[Uu]nsupported"):
        build_plan(import_tensorrt(), "m.onnx", graph(cast=5))


@rtx
def test_rtx_refuses_what_is_no_graph() -> None:
    with pytest.raises(EngineError, match="cannot read the graph"):
        build_plan(import_tensorrt(), "m.onnx", b"not a graph")


def unsigned() -> bytes:
    """Return a graph with unsigned activations whose zero points are all 0."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=1),
        helper.make_node("QuantizeLinear", ["float", "step", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "zero"], ["again"]),
        helper.make_node("Relu", ["again"], ["relu"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.float32(1), "step"),
        onnx.numpy_helper.from_array(np.uint8(0), "zero"),
    ]
    inputs = [helper.make_tensor_value_info("image", 2, [8, 8, 3])]
    outputs = [helper.make_tensor_value_info("relu", 1, [8, 8, 3])]
    built = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())


@rtx
def test_what_would_silently_be_wrong_is_refused() -> None:
    """Codes from 128 on would be cut off, with a warning and no error."""
    with pytest.raises(EngineError, match=r"would run it wrongly: .*Defaulting to INT8 instead"):
        build_plan(import_tensorrt(), "m.onnx", unsigned())


@rtx
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a GPU: the plan would load")  # noqa: PTH110
def test_rtx_says_why_it_cannot_load(memory: FakeMemory) -> None:
    module = import_tensorrt()
    plan = build_plan(module, "m.onnx", graph()).plan
    with pytest.raises(EngineError, match=r"cannot load the plan: .*[Cc]uda"):
        TensorRtEngine(module, memory, "m.onnx", plan)
