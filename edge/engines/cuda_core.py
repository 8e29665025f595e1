"""`DeviceMemory` on NVIDIA's cuda-core: no compiler is needed to install it, and it has CUDA graphs.

Tested with a fake of cuda-core, and with cuda-core itself up to the first driver call. Has not run on a GPU yet.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge.engines.device_memory import NO_GPU, Twin
from edge.errors import EngineError

_log = logging.getLogger(__name__)


class CudaCoreMemory:
    """`DeviceMemory` on cuda-core and the primary context; use it in the thread that opened it."""

    def __init__(self, number: int = 0) -> None:
        """Take GPU `number`; raises `ImportError` without cuda-core, `EngineError` without a driver or a GPU."""
        import cuda.core as cuda  # noqa: PLC0415  an extra: where it is missing PyCUDA serves
        from cuda.core import system  # noqa: PLC0415  likewise

        self._kept: list[Any] = []  # buffers of both kinds: their addresses are in use
        self._graphs: list[Any] = []
        self.gpu = f"GPU {number}"  # until it has told its name
        with self.current(NO_GPU):
            self._device = cuda.Device(number)
            self._device.set_current()
            self.gpu = "{} {}.{}".format(self._device.name, *self._device.compute_capability)
            self.cuda = "CUDA {}.{}".format(*system.get_user_mode_driver_version()[:2])
            self._shared = bool(self._device.properties.integrated)
            self._pinned = cuda.LegacyPinnedMemoryResource()
            self._stream: Any = self._device.create_stream()
            self.stream = int(self._stream.handle)

    @contextmanager
    def current(self, advice: str = "") -> Iterator[None]:
        """Make the primary context current; it may stay so, for there is no stack to balance."""
        try:
            if hasattr(self, "_device"):
                self._device.set_current()
            yield
        except (EngineError, ImportError, MemoryError):
            raise
        except Exception as error:  # CUDAError has no public name, and other errors of cuda-core no common base
            raise EngineError(f"{self.gpu}: {error}" + (f"; {advice}" if advice else "")) from error

    def twin(self, shape: tuple[int, ...], dtype: Any) -> Twin:
        """Allocate both halves, or the one that GPU and CPU share."""
        size = max(math.prod(shape) * np.dtype(dtype).itemsize, 1)
        pinned = self._pinned.allocate(size, stream=self._stream)
        self._kept.append(pinned)
        raw = (ctypes.c_uint8 * size).from_address(int(pinned.handle))
        host = np.frombuffer(raw, dtype, math.prod(shape)).reshape(shape)
        if self._shared:
            return Twin(host, int(pinned.handle), None)  # unified addressing: one address for both
        device = self._device.allocate(size, stream=self._stream)
        self._kept.append(device)
        return Twin(host, int(device.handle), (pinned, device))

    def to_device(self, twin: Twin) -> None:
        """Queue the copy to the device."""
        if twin.device is not None:
            pinned, device = twin.device
            pinned.copy_to(device, stream=self._stream)

    def to_host(self, twin: Twin) -> None:
        """Queue the copy to the host."""
        if twin.device is not None:
            pinned, device = twin.device
            device.copy_to(pinned, stream=self._stream)

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the launch of a CUDA graph of `work`, or `work` itself where that cannot be captured.

        It runs once before: TensorRT wants that, for what it does at the first run only may not be in a graph.
        """
        work()
        self.synchronize()
        builder = self._stream.create_graph_builder()
        try:
            builder.begin_building("thread_local")
            work()
            graph = builder.end_building().complete()
        except Exception as error:  # noqa: BLE001  as above; whatever it is, it runs without a graph
            _log.warning("%s: no CUDA graph: %s", self.gpu, error)
            with contextlib.suppress(Exception):
                builder.close()
            return work
        self._graphs.append(graph)
        return lambda: graph.launch(self._stream)

    def synchronize(self) -> None:
        """Wait for the stream; errors of queued work surface here."""
        self._stream.sync()

    def close(self) -> None:
        """Free graphs, buffers and the stream; may be called twice."""
        if self._stream is None:
            return
        with self.current():
            for owned in (*self._graphs, *self._kept):
                owned.close()
            self._graphs.clear()
            self._kept.clear()
            self._stream.close()
            self._stream = None
