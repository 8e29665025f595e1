"""Back ends that run a model file, behind one protocol of four members."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Protocol

from edge.bundle import Bundle, EngineFile, Model, Role, TensorSpec
from edge.config import Config, Models
from edge.errors import ConfigError, EngineError
from edge.types import Array

# What a runtime needs: one package of each group, and a library of the driver's.
_PACKAGES = {"onnxruntime": (("onnxruntime",),), "tensorrt": (("tensorrt", "tensorrt_rtx"), ("pycuda", "cuda.core"))}
_LIBRARIES: dict[str, tuple[str, ...]] = {"onnxruntime": (), "tensorrt": ("libcuda.so.1",)}


class Engine(Protocol):
    """A loaded model. Use it only from the thread that opened it."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `infer` wants, by name."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What `infer` gives, by name."""
        ...

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once. The arrays returned may be reused by the next call: copy what you keep."""
        ...

    def close(self) -> None:
        """Free everything; a closed engine must not be used."""
        ...


def open_engine(data: bytes, model: Model, engine: EngineFile, threads: int, *, dla: bool = False) -> Engine:
    """Load the verified bytes of `engine`, a file of `model`, with the back end it names.

    A CPU engine uses `threads` threads, the calling one included, while it runs; engines that run in turn can each
    have all the cores. TensorRT puts what it can on a deep learning accelerator where `dla` is true. Raises
    `EngineError` where the back end is missing or refuses the model, or where an input or output is not what the
    manifest says.
    """
    try:
        opened = _open(data, model, engine, threads, dla=dla)
    except ImportError as error:
        raise EngineError(
            f"model {engine.file}: cannot import {engine.runtime}: {error}; {_HOW_TO_GET[engine.runtime]}"
        ) from error
    try:
        _check_specs(engine.file, "input", [model.input], opened.inputs)
        _check_specs(engine.file, "output", model.outputs, opened.outputs)
    except EngineError:
        opened.close()
        raise
    return opened


def models_for(config: Config, bundle: Bundle) -> dict[Role, Model]:
    """Return the models of `bundle` that `config` runs: the coarse one is for the governor alone.

    The one of appearances is for re-identification alone, where that is to use it.
    """
    again = config.tracks.reidentify
    wanted = {"coarse": config.governor.limits, "appearance": again is not None and again.appearance == "model"}
    return {role: model for role, model in bundle.manifest.models.items() if wanted.get(role, True)}


def choose_engine(model: Model, models: Models) -> EngineFile:
    """Return the first engine of `model` that can run here and that `models` allows.

    Raises `ConfigError` where the bundle has none of the precision and runtime asked for, `EngineError` where it has
    but their back end is not installed.
    """
    wanted = [e for e in model.engines if models.precision in {"auto", e.precision}]
    wanted = [e for e in wanted if models.runtime in {"auto", e.runtime}]
    if not wanted:
        raise ConfigError(
            f"models: precision {models.precision!r} with runtime {models.runtime!r} is not in the bundle; "
            f"it has {_listed(model.engines)}"
        )
    for engine in wanted:
        if runnable(engine.runtime):
            return engine
    raise EngineError(f"models: no back end is installed for {_listed(wanted)}; {_HOW_TO_GET[wanted[0].runtime]}")


def runnable(runtime: str) -> bool:
    """Tell whether `runtime` can be there: its packages, which are not imported, and the driver's library."""
    packages = all(any(installed(name) for name in group) for group in _PACKAGES[runtime])
    return packages and all(_loads(name) for name in _LIBRARIES[runtime])


def installed(name: str) -> bool:
    """Tell whether there is a module of this dotted name; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what the name lies in is not there
        return False


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _open(data: bytes, model: Model, engine: EngineFile, threads: int, *, dla: bool) -> Engine:
    if engine.runtime == "tensorrt":
        from edge.engines.trt import open_tensorrt  # noqa: PLC0415  a back end is imported only where it is used

        return open_tensorrt(data, model, engine, dla=dla)
    from edge.engines.ort import OrtEngine  # noqa: PLC0415

    return OrtEngine(engine.file, data, threads)


def _check_specs(file: str, kind: str, expected: Iterable[TensorSpec], found: Mapping[str, TensorSpec]) -> None:
    """Raise `EngineError` unless names, shapes and dtypes are the manifest's."""
    known = {spec.name: spec for spec in expected}
    for name in sorted(known.keys() | found.keys()):
        if known.get(name) != found.get(name):
            raise EngineError(
                f"model {file}: {kind} {name!r} is {_described(found.get(name))}, the manifest says "
                f"{_described(known.get(name))}; export the bundle again"
            )


def _described(spec: TensorSpec | None) -> str:
    return "absent" if spec is None else f"{spec.dtype} {list(spec.shape)}"


def _listed(engines: Iterable[EngineFile]) -> str:
    return ", ".join(f"{engine.precision} for {engine.runtime}" for engine in engines)


_HOW_TO_GET = {
    "onnxruntime": "pip install onnxruntime",
    "tensorrt": "install NVIDIA's driver and TensorRT for this machine, and pip install -e '.[tensorrt]'",
}
