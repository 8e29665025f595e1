"""`PycudaMemory` against a fake of PyCUDA's driver: balance of the context stack, errors, freeing."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.engines.device_memory import PycudaMemory
from edge.errors import EngineError


class Driver(ModuleType):
    """What is used of `pycuda.driver`; memory is arrays, and every call needs a current context."""

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.Error = type("Error", (Exception,), {})
        self.depth, self.deepest, self.freed = 0, 0, 0
        self.present = True

    def init(self) -> None:
        if not self.present:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, _: int) -> Any:  # noqa: N802
        return self

    def name(self) -> str:
        return "Fake"

    def compute_capability(self) -> tuple[int, int]:
        return 8, 7

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

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        assert self.depth == 1
        return np.zeros(shape, dtype)

    def mem_alloc(self, size: int) -> Any:
        assert self.depth == 1
        return Allocation(self, size)

    def memcpy_htod_async(self, device: Any, host: Any, _: Any) -> None:
        device.data = host.copy()

    def memcpy_dtoh_async(self, host: Any, device: Any, _: Any) -> None:
        host[...] = device.data


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
    assert (memory.gpu, memory.stream) == ("Fake 8.7", 5)
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


def test_no_gpu(driver: Driver) -> None:
    driver.present = False
    with pytest.raises(EngineError, match="GPU 0: cuInit failed: no CUDA-capable device"):
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
