"""Both memories against fakes of PyCUDA's driver and of cuda-core: context, errors, freeing, one memory for both."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.engines.cuda_core import CudaCoreMemory
from edge.engines.device_memory import PycudaMemory, open_memory
from edge.errors import EngineError


class Driver(ModuleType):
    """What is used of `pycuda.driver`; memory is arrays, and every call needs a current context."""

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.Error = type("Error", (Exception,), {})
        self.depth, self.deepest, self.freed = 0, 0, 0
        self.present, self.integrated, self.copies = True, 0, 0
        self.device_attribute = SimpleNamespace(INTEGRATED="integrated")
        self.host_alloc_flags = SimpleNamespace(DEVICEMAP=2)

    def init(self) -> None:
        if not self.present:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, _: int) -> Any:  # noqa: N802
        return self

    def name(self) -> str:
        return "Fake"

    def compute_capability(self) -> tuple[int, int]:
        return 8, 7

    def get_driver_version(self) -> int:
        return 12060

    def get_attribute(self, attribute: str) -> int:
        return int(getattr(self, attribute))

    def retain_primary_context(self) -> Any:
        return self

    def push(self) -> None:
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)

    def pop(self) -> None:
        self.depth -= 1

    def Stream(self) -> Any:  # noqa: N802
        assert self.depth == 1
        return self

    handle = 5

    def synchronize(self) -> None:
        assert self.depth == 1

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any, mem_flags: int = 0) -> Any:
        assert self.depth == 1
        assert mem_flags == (2 if self.integrated else 0)
        return Mapped(np.zeros(shape, dtype)) if mem_flags else np.zeros(shape, dtype)

    def mem_alloc(self, size: int) -> Any:
        assert self.depth == 1
        return Allocation(self, size)

    def memcpy_htod_async(self, device: Any, host: Any, _: Any) -> None:
        self.copies += 1
        device.data = host.copy()

    def memcpy_dtoh_async(self, host: Any, device: Any, _: Any) -> None:
        self.copies += 1
        host[...] = device.data


class Mapped(np.ndarray[Any, Any]):
    """Page-locked memory that the device sees; its `base` knows where."""

    def __new__(cls, array: Any) -> Mapped:  # noqa: PYI034  Self is for Python 3.11
        return array.view(cls)  # type: ignore[no-any-return]

    @property
    def base(self) -> Any:
        return SimpleNamespace(get_device_pointer=lambda: 8192)


class Allocation:
    """Memory on the fake device."""

    def __init__(self, driver: Driver, size: int) -> None:
        self.driver, self.size, self.data = driver, size, np.zeros(0)

    def __int__(self) -> int:
        return 4096

    def free(self) -> None:
        assert self.driver.depth == 1
        self.driver.freed += 1


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    fake, package = Driver(), ModuleType("pycuda")
    package.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    return fake


def test_there_and_back(driver: Driver) -> None:
    memory = PycudaMemory()
    assert (memory.gpu, memory.cuda, memory.stream) == ("Fake 8.7", "CUDA 12.6", 5)
    with memory.current():
        twin = memory.twin((2, 3), np.uint8)
        twin.host[...] = 7
        memory.to_device(twin)
        twin.host[...] = 0
        memory.to_host(twin)
        memory.synchronize()
    assert (twin.host == 7).all()
    assert twin.address == 4096
    memory.close()
    memory.close()
    assert (driver.depth, driver.deepest, driver.freed) == (0, 1, 1)


def test_nothing_is_copied_where_gpu_and_cpu_share_their_memory(driver: Driver) -> None:
    driver.integrated = 1
    memory = PycudaMemory()
    with memory.current():
        twin = memory.twin((2, 3), np.uint8)
        memory.to_device(twin)
        memory.to_host(twin)
    assert (twin.address, twin.device, driver.copies) == (8192, None, 0)
    memory.close()
    assert driver.freed == 0


def test_no_gpu(driver: Driver) -> None:
    driver.present = False
    with pytest.raises(EngineError, match=r"GPU 0: cuInit failed: no CUDA-capable device.* nvidia-smi tells"):
        PycudaMemory()


def test_error_of_the_driver_leaves_the_stack_balanced(driver: Driver) -> None:
    memory = PycudaMemory()
    with pytest.raises(EngineError, match=r"GPU Fake 8\.7: out of memory"), memory.current():
        raise driver.Error("out of memory")
    assert driver.depth == 0


def test_no_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(ImportError):
        PycudaMemory()


class Core(ModuleType):
    """What is used of `cuda.core`: device, stream, buffers in host memory, graphs that replay what was captured."""

    def __init__(self) -> None:
        super().__init__("cuda.core")
        self.integrated, self.present, self.capturable = False, True, True
        self.copies, self.runs, self.launches, self.current = 0, 0, 0, 0
        self.buffers: list[CoreBuffer] = []
        self.captured: list[Callable[[], None]] | None = None
        self.closed: list[str] = []
        self.name, self.compute_capability = "Fake", (8, 7)
        self.system = SimpleNamespace(get_user_mode_driver_version=lambda: (13, 0))

    def Device(self, _: int) -> Any:  # noqa: N802
        if not self.present:
            raise RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search')
        return self

    @property
    def properties(self) -> Any:
        return self

    def set_current(self) -> None:
        self.current += 1

    def create_stream(self) -> Any:
        return CoreStream(self)

    def LegacyPinnedMemoryResource(self) -> Any:  # noqa: N802
        return self

    def allocate(self, size: int, *, stream: Any) -> Any:
        assert isinstance(stream, CoreStream)
        self.buffers.append(CoreBuffer(self, size))
        return self.buffers[-1]


class CoreStream:
    """A stream that does everything at once, or notes it while a graph is captured."""

    handle = 5

    def __init__(self, core: Core) -> None:
        self.core = core

    def sync(self) -> None:
        assert self.core.captured is None

    def create_graph_builder(self) -> Any:
        return self

    def begin_building(self, mode: str) -> None:
        assert mode == "thread_local"
        self.core.captured = []

    def end_building(self) -> Any:
        if not self.core.capturable:
            raise ValueError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
        return self

    def complete(self) -> Any:
        captured, self.core.captured = self.core.captured or [], None
        return CoreGraph(self.core, captured)

    def close(self) -> None:
        self.core.captured = None
        self.core.closed.append("stream")


class CoreGraph:
    """Replays what was captured."""

    def __init__(self, core: Core, captured: list[Callable[[], None]]) -> None:
        self.core, self.captured = core, captured

    def launch(self, stream: Any) -> None:
        assert stream.handle == 5
        self.core.launches += 1
        for step in self.captured:
            step()

    def close(self) -> None:
        self.core.closed.append("graph")


class CoreBuffer:
    """Memory of either kind."""

    def __init__(self, core: Core, size: int) -> None:
        self.core, self.data = core, np.zeros(size, np.uint8)

    @property
    def handle(self) -> int:
        return self.data.ctypes.data

    def copy_to(self, other: CoreBuffer, *, stream: Any) -> None:
        assert stream.handle == 5

        def step() -> None:
            self.core.copies += 1
            other.data[...] = self.data

        step() if self.core.captured is None else self.core.captured.append(step)

    def close(self) -> None:
        self.core.closed.append("buffer")


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Core:
    fake, package = Core(), ModuleType("cuda")
    package.core = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.core", fake)
    return fake


def test_cuda_core_there_and_back_by_a_graph(core: Core) -> None:
    memory = CudaCoreMemory()
    assert (memory.gpu, memory.cuda, memory.stream) == ("Fake 8.7", "CUDA 13.0", 5)
    with memory.current():
        twin = memory.twin((2, 3), np.int16)
        assert twin.address == core.buffers[1].handle

        def work() -> None:
            core.runs += 1
            memory.to_device(twin)
            memory.to_host(twin)

        launch = memory.recorded(work)
        assert (core.runs, core.copies, core.launches) == (2, 2, 0)
        twin.host[...] = 7
        launch()
        memory.synchronize()
    assert (core.runs, core.copies, core.launches) == (2, 4, 1)
    assert (core.buffers[1].data.view(np.int16) == 7).all()
    memory.close()
    memory.close()
    assert core.closed == ["graph", "buffer", "buffer", "stream"]


def test_cuda_core_runs_on_where_nothing_can_be_captured(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    core.capturable = False
    memory = CudaCoreMemory()
    steps: list[int] = []
    launch = memory.recorded(lambda: steps.append(1))
    launch()
    assert len(steps) == 3
    assert "no CUDA graph: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in caplog.text


def test_cuda_core_copies_nothing_where_gpu_and_cpu_share_their_memory(core: Core) -> None:
    core.integrated = True
    memory = CudaCoreMemory()
    with memory.current():
        twin = memory.twin((2, 3), np.uint8)
        memory.to_device(twin)
        memory.to_host(twin)
    assert (len(core.buffers), twin.address, core.copies) == (1, core.buffers[0].handle, 0)


def test_cuda_core_errors_are_ours(core: Core) -> None:
    memory = CudaCoreMemory()
    with pytest.raises(EngineError, match=r"^Fake 8\.7: CUDA_ERROR_ILLEGAL_ADDRESS$"), memory.current():
        raise ValueError("CUDA_ERROR_ILLEGAL_ADDRESS")
    core.present = False
    with pytest.raises(EngineError, match=r"GPU 0: .*only be found via system search.*nvidia-smi"):
        CudaCoreMemory()


def test_cuda_core_where_there_is_no_pycuda(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"cuda": core}.get)
    assert isinstance(open_memory(), CudaCoreMemory)


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a GPU: it would open")  # noqa: PTH110
def test_cuda_core_itself_up_to_the_driver() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is not installed (pip install cuda-core)")
    with pytest.raises(EngineError, match=r"GPU 0: .*driver"):
        CudaCoreMemory()
