"""TensorRT 10.3 to 11, or TensorRT-RTX, on an NVIDIA GPU: built on the device that runs it, and the plan is kept.

The build is tested with TensorRT-RTX on the CPU. Nothing here has run on a GPU yet.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import EngineFile, Model, TensorSpec
from edge.engines import plans
from edge.engines.builder import build_plan, heard, import_tensorrt, listen, version_of
from edge.engines.device_memory import DeviceMemory, Twin, open_memory
from edge.errors import EngineError
from edge.types import Array

_log = logging.getLogger(__name__)


def open_tensorrt(data: bytes, model: Model, engine: EngineFile, *, dla: bool = False) -> TensorRtEngine:
    """Return an engine for verified ONNX or plan bytes; raises `ImportError` or `EngineError`."""
    trt = import_tensorrt()
    memory = open_memory()
    try:
        return _opened(trt, memory, data, model, engine, dla=dla)
    except BaseException:
        memory.close()
        raise


def _opened(
    trt: Any, memory: DeviceMemory, data: bytes, model: Model, engine: EngineFile, *, dla: bool
) -> TensorRtEngine:
    """Load the plan; one that was kept and is refused, whatever its key says, is built again."""
    if engine.file.endswith(".plan"):
        _check_plan(trt, memory, engine)
        return TensorRtEngine(trt, memory, engine.file, data, narrowed(model), dla=dla)
    plan, kept = plan_of(trt, memory, engine, data, dla=dla)
    try:
        return TensorRtEngine(trt, memory, engine.file, plan, narrowed(model), dla=dla)
    except EngineError as error:
        if not kept:
            raise
        _log.warning("model=%s has a plan that was kept and cannot be loaded: %s", engine.file, error)
    plan, _ = plan_of(trt, memory, engine, data, dla=dla, again=True)
    return TensorRtEngine(trt, memory, engine.file, plan, narrowed(model), dla=dla)


def narrowed(model: Model) -> frozenset[str]:
    """Return the outputs that the manifest gives 16 bits: TensorRT has no such integers, its graphs give 32."""
    return frozenset(spec.name for spec in model.outputs if spec.dtype == "int16")


def plan_of(
    trt: Any, memory: DeviceMemory, engine: EngineFile, data: bytes, *, dla: bool = False, again: bool = False
) -> tuple[bytes, bool]:
    """Return the plan of the ONNX graph in `data`, and whether it is one that was kept; `again` builds it in any case.

    A plan holds for one GPU, compute capability, TensorRT, CUDA and graph, the timing cache for all graphs of these.
    """
    folder, here = plans.plan_folder(), [version_of(trt), memory.gpu, memory.cuda, f"dla={dla}"]
    name = f"{plans.plan_key(*here, hashlib.sha256(data).hexdigest())}.plan"
    plan = None if again else plans.load(folder, name)
    if plan is not None:
        return plan, True
    _log.info("model=%s is built for %s; this may take minutes", engine.file, ", ".join(here))
    times = f"{plans.plan_key(*here)}.timing"
    with memory.current():
        built = build_plan(trt, engine.file, data, plans.load(folder, times) or b"", dla=dla)
    _keep(folder, {name: built.plan, times: built.timing})
    return built.plan, False


def _keep(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if data:
            plans.store(folder, name, data)


def _check_plan(trt: Any, memory: DeviceMemory, engine: EngineFile) -> None:
    """A plan is never given to a TensorRT or a GPU that it was not built for."""
    here = {"tensorrt": str(trt.__version__), "gpu": memory.gpu}
    for name, value in here.items():
        if engine.requires.get(name) != value:
            raise EngineError(
                f"model {engine.file}: the plan is for {name} {engine.requires.get(name)!r}, here is {value!r}; "
                "export a bundle with ONNX for TensorRT, which is built on the device"
            )


class TensorRtEngine:
    """A plan with its execution context, buffers and stream; belongs to the thread that made it."""

    def __init__(
        self,
        trt: Any,
        memory: DeviceMemory,
        name: str,
        plan: bytes,
        narrow: frozenset[str] = frozenset(),
        *,
        dla: bool = False,
    ) -> None:
        """Load `plan` and bind every tensor to its buffers; raises `EngineError`."""
        self._memory, self._name, self._closed = memory, name, False
        self.inputs: dict[str, TensorSpec] = {}
        self.outputs: dict[str, TensorSpec] = {}
        self._twins: dict[str, Twin] = {}
        self._results: dict[str, Array] = {}
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._launch: Callable[[], None] = self._queue
        with memory.current():
            try:
                self._load(trt, plan, narrow, dla=dla)
            except BaseException:
                self._context = self._engine = self._runtime = None  # freed while the device is current
                raise

    def _load(self, trt: Any, plan: bytes, narrow: frozenset[str], *, dla: bool) -> None:
        self._runtime = trt.Runtime(listen(trt))
        if dla:
            self._runtime.DLA_core = 0
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context() if self._engine is not None else None
        if self._context is None:
            raise EngineError(f"model {self._name}: {version_of(trt)} cannot load the plan: {heard()}")
        for index in range(self._engine.num_io_tensors):
            self._bind(trt, self._engine.get_tensor_name(index), narrow)
        self._launch = self._memory.recorded(self._queue)

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Copy in, run, copy out, wait. The arrays returned are overwritten by the next call."""
        for name, spec in self.inputs.items():
            self._feed(name, spec, feeds)
        with self._memory.current():
            self._launch()
            self._memory.synchronize()
        for name, result in self._results.items():
            if result is not self._twins[name].host:
                np.copyto(result, self._twins[name].host, casting="same_kind")
        return self._results

    def close(self) -> None:
        """Free context and engine while the device is current, then the memory; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._twins.clear()
        self._results.clear()
        with self._memory.current():
            self._context = self._engine = self._runtime = None
        self._memory.close()

    def _queue(self) -> None:
        """Queue the copies in, the run and the copies out."""
        for name in self.inputs:
            self._memory.to_device(self._twins[name])
        if not self._context.execute_async_v3(self._memory.stream):
            raise EngineError(f"model {self._name}: TensorRT failed to run it: {heard()}")
        for name in self.outputs:
            self._memory.to_host(self._twins[name])

    def _bind(self, trt: Any, name: str, narrow: frozenset[str]) -> None:
        shape = tuple(self._engine.get_tensor_shape(name))
        try:
            dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        except TypeError as error:
            raise EngineError(f"model {self._name}: tensor {name!r} has a type that NumPy has not: {error}") from error
        if min(shape, default=1) < 0:
            raise EngineError(f"model {self._name}: tensor {name!r} has no fixed shape: {list(shape)}; export it fixed")
        twin = self._twins[name] = self._memory.twin(shape, dtype)
        if not self._context.set_tensor_address(name, twin.address):
            raise EngineError(f"model {self._name}: TensorRT takes no buffer for {name!r}: {heard()}")
        if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            self.inputs[name] = TensorSpec(name, shape, dtype.name)
            return
        result = twin.host
        if name in narrow and dtype == np.int32:
            result = np.empty(shape, np.int16)
        self._results[name] = result
        self.outputs[name] = TensorSpec(name, shape, result.dtype.name)

    def _feed(self, name: str, spec: TensorSpec, feeds: Mapping[str, Array]) -> None:
        array = feeds.get(name)
        if array is None or array.shape != spec.shape or array.dtype.name != spec.dtype:
            given = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise EngineError(f"model {self._name}: {name!r} takes {spec.dtype} {list(spec.shape)}, given {given}")
        np.copyto(self._twins[name].host, array)
