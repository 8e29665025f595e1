"""The memory of one GPU behind a small protocol, so that what runs the model names neither PyCUDA nor cuda-core.

Every engine has a memory, and with it a stream, of its own. Where GPU and CPU share their memory (Jetson), both halves
of an array are one, and nothing is copied. Has not run on a GPU yet: everything up to the first driver call is tested,
nothing beyond.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from edge.errors import EngineError
from edge.types import Array


@dataclass(frozen=True, slots=True)
class Twin:
    """An array that exists twice: page-locked on the host, and on the device; None there where both are one."""

    host: Array
    address: int  # on the device
    device: Any  # owns the device's half


class DeviceMemory(Protocol):
    """One GPU and one stream on it. Everything but `current` is called while the device is current."""

    @property
    def gpu(self) -> str:
        """Name and compute capability, such as ``NVIDIA Orin 8.7``."""
        ...

    @property
    def cuda(self) -> str:
        """CUDA version of the driver, such as ``CUDA 12.6``."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the stream that copies and inference are queued on."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the device current in this thread; an error of the driver inside becomes `EngineError`."""
        ...

    def twin(self, shape: tuple[int, ...], dtype: Any) -> Twin:
        """Allocate both halves; they live until `close`."""
        ...

    def to_device(self, twin: Twin) -> None:
        """Queue the copy from the host's half."""
        ...

    def to_host(self, twin: Twin) -> None:
        """Queue the copy from the device's half."""
        ...

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what queues the same as `work` does: itself, or a CUDA graph of it, where there are such graphs."""
        ...

    def synchronize(self) -> None:
        """Wait for all that is queued."""
        ...

    def close(self) -> None:
        """Free everything; called while the device is not current."""
        ...


def open_memory(number: int = 0) -> DeviceMemory:
    """Take GPU `number` with PyCUDA or, where that is not installed, cuda-core; raises `ImportError`, `EngineError`."""
    if importlib.util.find_spec("pycuda") is None and importlib.util.find_spec("cuda") is not None:
        from edge.engines.cuda_core import CudaCoreMemory  # noqa: PLC0415  it needs names of this module

        return CudaCoreMemory(number)
    return PycudaMemory(number)


def cuda_version(number: int) -> str:
    """Return the driver's number, such as 12060, as people write it."""
    return f"CUDA {number // 1000}.{number % 1000 // 10}"


NO_GPU = 'is the NVIDIA driver loaded? nvidia-smi tells; models.runtime = "onnxruntime" runs on the CPU'


class PycudaMemory:
    """`DeviceMemory` on PyCUDA and the primary context, the one that TensorRT works in.

    A context belongs to the thread it is current in, and PyCUDA frees nothing elsewhere: open, use and close it in
    one thread. The stack of contexts is balanced by `current`; an unbalanced one aborts the process at its end.
    """

    def __init__(self, number: int = 0) -> None:
        """Take GPU `number`; raises `ImportError` without PyCUDA or driver, `EngineError` without a GPU."""
        import pycuda.driver as cuda  # noqa: PLC0415  importing it needs the driver's library

        self._cuda = cuda
        self._device_halves: list[Any] = []
        try:
            cuda.init()
            device = cuda.Device(number)
            self.gpu = "{} {}.{}".format(device.name(), *device.compute_capability())
            self.cuda = cuda_version(cuda.get_driver_version())
            self._shared = bool(device.get_attribute(cuda.device_attribute.INTEGRATED))
            self._context = device.retain_primary_context()
        except cuda.Error as error:
            raise EngineError(f"GPU {number}: {error}; {NO_GPU}") from error
        with self.current():
            self._stream = cuda.Stream()
            self.stream = int(self._stream.handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Push the primary context and pop it again, whatever happens."""
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self._cuda.Error as error:
            raise EngineError(f"GPU {self.gpu}: {error}") from error

    def twin(self, shape: tuple[int, ...], dtype: Any) -> Twin:
        """Allocate both halves, or the one that GPU and CPU share."""
        if self._shared:
            host = self._cuda.pagelocked_empty(shape, dtype, mem_flags=self._cuda.host_alloc_flags.DEVICEMAP)
            return Twin(host, int(host.base.get_device_pointer()), None)
        host = self._cuda.pagelocked_empty(shape, dtype)
        device = self._cuda.mem_alloc(max(host.nbytes, 1))
        self._device_halves.append(device)
        return Twin(host, int(device), device)

    def to_device(self, twin: Twin) -> None:
        """Queue the copy to the device."""
        if twin.device is not None:
            self._cuda.memcpy_htod_async(twin.device, twin.host, self._stream)

    def to_host(self, twin: Twin) -> None:
        """Queue the copy to the host."""
        if twin.device is not None:
            self._cuda.memcpy_dtoh_async(twin.host, twin.device, self._stream)

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return `work`: PyCUDA has no CUDA graphs."""
        return work

    def synchronize(self) -> None:
        """Wait for the stream; errors of queued work surface here."""
        self._stream.synchronize()

    def close(self) -> None:
        """Free the device's halves and the stream, in the thread and the context they were made in."""
        if self._stream is None:
            return
        with self.current():
            for device in self._device_halves:
                device.free()
            self._device_halves.clear()
            self._stream = None
