"""TensorRT 10.3 to 11: an ONNX graph is built into a plan on the device that runs it, and the plan is kept.

Only names that all of these versions have are used; precision is in the graph (strongly typed, explicit Q/DQ). The
build is tested with TensorRT-RTX on the CPU. Nothing here has run on a GPU yet.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.bundle import EngineFile, Model, TensorSpec
from edge.engines.device_memory import DeviceMemory, PycudaMemory, Twin
from edge.engines.plans import load_plan, plan_folder, plan_key, store_plan
from edge.errors import EngineError
from edge.types import Array

_log = logging.getLogger(__name__)
_said: deque[str] = deque(maxlen=8)  # TensorRT's latest errors: it logs them and returns None or False


def open_tensorrt(data: bytes, model: Model, engine: EngineFile) -> TensorRtEngine:
    """Return an engine for verified ONNX or plan bytes; raises `ImportError` or `EngineError`."""
    trt = import_tensorrt()
    memory = PycudaMemory()
    try:
        plan = plan_of(trt, memory, engine, data)
        return TensorRtEngine(trt, memory, engine.file, plan, narrowed(model))
    except BaseException:
        memory.close()
        raise


def import_tensorrt() -> Any:
    """Return the module of TensorRT, or of TensorRT-RTX, which has the same names."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError:
        try:
            return importlib.import_module("tensorrt_rtx")
        except ImportError:
            pass  # what is missing is TensorRT itself
        raise


def narrowed(model: Model) -> frozenset[str]:
    """Return the outputs that the manifest gives 16 bits: TensorRT has no such integers, its graphs give 32."""
    return frozenset(spec.name for spec in model.outputs if spec.dtype == "int16")


def plan_of(trt: Any, memory: DeviceMemory, engine: EngineFile, data: bytes) -> bytes:
    """Return the plan for `data`: itself, or built from it, or kept from the last time it was built here."""
    if engine.file.endswith(".plan"):
        _check_plan(trt, memory, engine)
        return data
    version = f"{trt.__name__} {trt.__version__}"
    folder, key = plan_folder(), plan_key(version, memory.gpu, hashlib.sha256(data).hexdigest())
    plan = load_plan(folder, key)
    if plan is None:
        _log.info("model=%s is built for %s by %s; this may take minutes", engine.file, memory.gpu, version)
        with memory.current():
            plan = build_plan(trt, engine.file, data)
        store_plan(folder, key, plan)
    return plan


def _check_plan(trt: Any, memory: DeviceMemory, engine: EngineFile) -> None:
    """A plan is never given to a TensorRT or a GPU that it was not built for."""
    here = {"tensorrt": str(trt.__version__), "gpu": memory.gpu}
    for name, value in here.items():
        if engine.requires.get(name) != value:
            raise EngineError(
                f"model {engine.file}: the plan is for {name} {engine.requires.get(name)!r}, here is {value!r}; "
                "export a bundle with ONNX for TensorRT, which is built on the device"
            )


def build_plan(trt: Any, name: str, data: bytes) -> bytes:
    """Return the plan of the ONNX graph in `data`; raises `EngineError` with what TensorRT said."""
    log = _logger(trt)
    _said.clear()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"model {name}: TensorRT {trt.__version__} cannot read the graph: {errors or _heard()}")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise EngineError(f"model {name}: TensorRT {trt.__version__} cannot build it: {_heard()}")
    return bytes(plan)


class TensorRtEngine:
    """A plan with its execution context and buffers; belongs to the thread that made it."""

    def __init__(
        self, trt: Any, memory: DeviceMemory, name: str, plan: bytes, narrow: frozenset[str] = frozenset()
    ) -> None:
        """Load `plan` and bind every tensor to its buffers; raises `EngineError`."""
        self._memory, self._name, self._closed = memory, name, False
        self.inputs: dict[str, TensorSpec] = {}
        self.outputs: dict[str, TensorSpec] = {}
        self._twins: dict[str, Twin] = {}
        self._results: dict[str, Array] = {}  # what `infer` returns; its arrays are reused
        _said.clear()
        with memory.current():
            self._runtime = trt.Runtime(_logger(trt))
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            self._context = self._engine and self._engine.create_execution_context()
            if self._context is None:
                raise EngineError(f"model {name}: TensorRT {trt.__version__} cannot load the plan: {_heard()}")
            for index in range(self._engine.num_io_tensors):
                self._bind(trt, self._engine.get_tensor_name(index), narrow)

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Copy in, run, copy out, wait. The arrays returned are overwritten by the next call."""
        with self._memory.current():
            for name, spec in self.inputs.items():
                self._feed(name, spec, feeds)
            _said.clear()
            if not self._context.execute_async_v3(self._memory.stream):
                raise EngineError(f"model {self._name}: TensorRT failed to run it: {_heard()}")
            for name in self.outputs:
                self._memory.to_host(self._twins[name])
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
            raise EngineError(f"model {self._name}: TensorRT takes no buffer for {name!r}: {_heard()}")
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
        self._memory.to_device(self._twins[name])


@functools.cache
def _logger(trt: Any) -> Any:
    """Return the one logger of the process: TensorRT ignores every other after the first."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps errors for our exceptions; warnings go to the log."""

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                _said.append(message)
            elif severity == trt.ILogger.WARNING:
                _log.debug("tensorrt: %s", message)

    return Logger()


def _heard() -> str:
    return " / ".join(" ".join(message.split()) for message in _said) or "it gave no reason"
