"""What is asked of TensorRT when it builds, with a fake of it, and names that 10.3 to 11 all have."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.engines import builder, trt
from edge.engines.builder import UnbuildableError, build_plan
from edge.errors import EngineError


class FakeTensorRt:
    """The names of TensorRT that are used to build; every object is this one."""

    __name__, __version__ = "tensorrt", "10.3.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    BuilderFlag = SimpleNamespace(GPU_FALLBACK="fallback")
    DeviceType = SimpleNamespace(DLA="dla", GPU="gpu")

    class ILogger:
        """Severities as in TensorRT."""

        ERROR, WARNING = 1, 2

    def __init__(self, dla_cores: int = 0, errors: tuple[str, ...] = ()) -> None:
        self.num_DLA_cores, self.errors = dla_cores, errors
        self.default_device_type, self.DLA_core = "gpu", -1
        self.flags: list[str] = []
        self.offered: list[bytes] = []
        self.refused: tuple[bytes, ...] = ()

    def Builder(self, log: Any) -> Any:  # noqa: N802
        self.log = log
        return self

    def create_network(self, flags: int) -> Any:
        assert flags == 2
        return self

    def OnnxParser(self, *_: Any) -> Any:  # noqa: N802
        return self

    def parse(self, data: bytes) -> bool:
        self.data = data
        return True

    def create_builder_config(self) -> Any:
        return self

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data, serialize=lambda: data + b"+")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.offered.append(cache.data)
        return cache.data not in self.refused

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def build_serialized_network(self, *_: Any) -> bytes | None:
        for error in self.errors:
            self.log.log(1, error)
        return None if self.errors else b"plan of " + self.data


def test_timing_cache_goes_in_and_comes_out() -> None:
    fake = FakeTensorRt()
    assert build_plan(fake, "m.onnx", b"graph") == (b"plan of graph", b"+")
    assert build_plan(fake, "m.onnx", b"graph", b"times").timing == b"times+"
    assert fake.offered == [b"", b"times"]


def test_timing_cache_of_another_device_is_left() -> None:
    fake = FakeTensorRt()
    fake.refused = (b"times",)
    assert build_plan(fake, "m.onnx", b"graph", b"times").timing == b"+"
    fake.refused = (b"times", b"")
    assert build_plan(fake, "m.onnx", b"graph", b"times") == (b"plan of graph", b"")


def test_accelerator_only_where_it_is_asked_for_and_there() -> None:
    fake = FakeTensorRt(dla_cores=2)
    build_plan(fake, "m.onnx", b"graph")
    assert (fake.default_device_type, fake.DLA_core, fake.flags) == ("gpu", -1, [])
    build_plan(fake, "m.onnx", b"graph", dla=True)
    assert (fake.default_device_type, fake.DLA_core, fake.flags) == ("dla", 0, ["fallback"])
    with pytest.raises(EngineError, match=r"m\.onnx: models\.dla is true and TensorRT 10\.3\.0 sees no deep learning"):
        build_plan(FakeTensorRt(), "m.onnx", b"graph", dla=True)


def test_node_without_an_implementation_is_named_with_what_to_do() -> None:
    said = (
        "[optimizer.cpp::computeCosts::3869] Error Code 10: Internal Error (Could not find any implementation for node "
        "net/stem + net/relu.)\n"
    )
    with pytest.raises(UnbuildableError, match=r"export it with 'net/stem \+ net/relu' in exclude") as caught:
        build_plan(FakeTensorRt(errors=("first", said)), "m.onnx", b"graph")
    assert caught.value.said == f"first / {said.strip()}"
    with pytest.raises(UnbuildableError, match=r"cannot build it: out of memory$"):
        build_plan(FakeTensorRt(errors=("out of\n memory",)), "m.onnx", b"graph")


OBJECTS = {  # variables and attributes of our code that hold an object of TensorRT, and its class
    "trt": "module",
    "builder": "Builder",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "cache": "ITimingCache",
    "_runtime": "Runtime",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
}


def used() -> list[tuple[str, str]]:
    """Return class and name of everything of TensorRT's that our code takes by name."""
    found = set()
    for module in (builder, trt):
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
                continue
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in OBJECTS:
                found.add((OBJECTS[name], node.attr))
            elif isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "trt":
                found.add((owner.attr, node.attr))
    return sorted(found)


def test_only_names_that_all_versions_have() -> None:
    """`tensorrt_names.json` holds the names that the Python bindings of 10.3.0 (JetPack 6) and 11.4.0 have both."""
    names = json.loads((Path(__file__).parent / "tensorrt_names.json").read_text(encoding="utf-8"))
    found = used()
    assert ("IExecutionContext", "execute_async_v3") in found
    assert ("BuilderFlag", "GPU_FALLBACK") in found
    assert [pair for pair in found if pair[1] not in names[pair[0]]] == []
