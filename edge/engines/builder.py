"""TensorRT 10.3 to 11, or TensorRT-RTX: the module, its log, and an ONNX graph built into a plan.

Only names that all of these versions have are used; precision is in the graph (strongly typed, explicit Q/DQ).
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections import deque
from typing import Any, NamedTuple

from edge.errors import EngineError

_log = logging.getLogger(__name__)
_said: deque[str] = deque(maxlen=8)  # TensorRT's latest errors: it logs them and returns None or False
_doubts: deque[str] = deque(maxlen=8)  # warnings behind which results are wrong

RTX = "tensorrt_rtx"
NOT_IMPLEMENTED = "Could not find any implementation for node "  # in TensorRT's own words
# a graph whose activations are unsigned is read as if they were signed: codes from 128 on are cut off
SILENTLY_WRONG = ("Defaulting to INT8 instead",)


class Built(NamedTuple):
    """What a builder gives."""

    plan: bytes
    timing: bytes  # what was measured of single layers; the next build of a similar graph need not measure it again


class UnbuildableError(EngineError):
    """The builder has read the graph and has no way to run it; `said` is what it said."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def import_tensorrt() -> Any:
    """Return the module of TensorRT, or of TensorRT-RTX, which has the same names."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError:
        try:
            return importlib.import_module(RTX)
        except ImportError:
            pass  # what is missing is TensorRT itself
        raise


def build_plan(trt: Any, name: str, data: bytes, timing: bytes = b"", *, dla: bool = False) -> Built:
    """Return the plan of the ONNX graph in `data`, built with the timing cache of an earlier build.

    `dla` puts what it can on the first deep learning accelerator, and the rest on the GPU. Raises `EngineError` with
    what TensorRT said, `UnbuildableError` where it has read the graph and cannot build it.
    """
    log = listen(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"model {name}: {version_of(trt)} cannot read the graph: {_line(errors) or heard()}")
    config = builder.create_builder_config()
    if dla:
        _use_dla(trt, builder, config, name)
    cache = _timing_cache(trt, config, timing)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _unbuildable(trt, name)
    if _doubts:
        raise EngineError(
            f"model {name}: {version_of(trt)} would run it wrongly: {_doubts[-1]}; its activations are unsigned: "
            "export it with tensorrt = true"
        )
    return Built(bytes(plan), bytes(cache.serialize()) if cache is not None else b"")


def _timing_cache(trt: Any, config: Any, timing: bytes) -> Any:
    """Give `config` a timing cache: the earlier one, or an empty one where TensorRT does not want that.

    TensorRT-RTX times nothing when it builds; its functions for this do nothing but warn.
    """
    if trt.__name__ == RTX:
        return None
    for data in (timing, b"") if timing else (b"",):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):  # noqa: FBT003  another device's is refused
            return cache
    return None


def _use_dla(trt: Any, builder: Any, config: Any, name: str) -> None:
    if builder.num_DLA_cores < 1:
        raise EngineError(
            f"model {name}: models.dla is true and {version_of(trt)} sees no deep learning accelerator here; remove it "
            "(Thor has none, and JetPack 7.0 to 7.2.1 uses none)"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = 0
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _unbuildable(trt: Any, name: str) -> UnbuildableError:
    said = heard()
    advice = ""
    if NOT_IMPLEMENTED in said:
        node = said.partition(NOT_IMPLEMENTED)[2].split(" / ")[0].strip(" .)")
        advice = f'; export it with {node!r} in exclude, or set models.precision = "float16" if the bundle has that'
    return UnbuildableError(f"model {name}: {version_of(trt)} cannot build it: {said}{advice}", said)


@functools.cache
def _logger(trt: Any) -> Any:
    """Return the one logger of the process: TensorRT ignores every other after the first."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # what is imported by name has no types
        """Keeps errors for our exceptions; warnings go to the log."""

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                _said.append(_line(message))
            elif int(severity) == int(trt.ILogger.WARNING):
                _log.debug("tensorrt: %s", message)
                if any(words in message for words in SILENTLY_WRONG):
                    _doubts.append(_line(message))

    return Logger()


def listen(trt: Any) -> Any:
    """Return the logger, with nothing heard yet."""
    _said.clear()
    _doubts.clear()
    return _logger(trt)


def heard() -> str:
    """Return TensorRT's errors since it was last asked, in one line."""
    said = " / ".join(_said) or "it gave no reason"
    _said.clear()
    return said


def version_of(trt: Any) -> str:
    """Return name and version, such as ``TensorRT 10.3.0``."""
    return f"{'TensorRT-RTX' if trt.__name__ == RTX else 'TensorRT'} {trt.__version__}"


def _line(message: str) -> str:
    return " ".join(message.split())
