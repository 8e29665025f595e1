"""onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edge.bundle import TensorSpec
from edge.errors import EngineError
from edge.types import Array

# Every exception type of onnxruntime; they have no common base but Exception.
ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)
_ERROR = 3  # onnxruntime's severity

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class OrtEngine:
    """A session on the CPU, made from bytes: no path is opened, no external data can be read."""

    def __init__(self, name: str, data: bytes, threads: int) -> None:
        """Load the ONNX graph in `data`; raises `EngineError` where onnxruntime refuses it."""
        self._name = name
        try:
            self._session = onnxruntime.InferenceSession(data, _options(threads), providers=["CPUExecutionProvider"])
        except ERRORS as error:
            raise EngineError(
                f"model {name}: onnxruntime {onnxruntime.__version__} refuses it: {_line(error)}"
            ) from error
        self.inputs = {spec.name: spec for spec in map(_spec, self._session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, self._session.get_outputs())}
        self._names = list(self.outputs)

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; raises `EngineError` where the feeds do not fit or the run fails."""
        try:
            return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))
        except ERRORS as error:
            raise EngineError(f"model {self._name}: onnxruntime failed to run it: {_line(error)}") from error

    def close(self) -> None:
        """Free the session; may be called twice."""
        if hasattr(self, "_session"):
            del self._session


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False  # shapes are fixed; keeping the arena alone takes the least memory
    options.log_severity_level = _ERROR
    # Two sessions whose pools spin steal each other's cores: 2.0 times slower here. One global pool for both cannot be
    # told not to spin (onnxruntime 1.23 to 1.32): 8 % slower than two that do not, and busy for 50 ms after each run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    """Return what the graph says of one input or output; a size that is not fixed becomes -1."""
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(node.type, node.type))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
