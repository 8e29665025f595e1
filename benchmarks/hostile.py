"""Files that are meant to break who reads them: mutated ONNX models, taken in as `foveate export` takes them.

Honest models of this repository are changed at random, in their bytes or in their fields. Each is then refused with a
reason, or taken; anything else, a crash, a hang, a child that ends without a reason, is a failure of ours. References
to other files name a pipe that nobody writes to: whoever opens it hangs, and is seen.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.common import ROOT, Options
from edge.bundle import Role
from edge.errors import FoveateError
from export.apart import take_in
from export.recipe import Appearance, Instance, Semantic, load_recipe, sources

FILES, QUICK_FILES = 500, 20
HUGE: Final = (0, -1, 1 << 20, 1 << 31, 1 << 40, (1 << 62) + 1)
TOLD: Final = ("ended with", "is not understood within", "needs more than")  # not the child's own words

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]


def run(options: Options) -> dict[str, Any]:
    """Return what became of the files, by mutation, and what it took."""
    rng = np.random.default_rng(options.seed)
    models = sources(load_recipe(ROOT / "examples" / "belt" / "recipe.toml"))
    outcomes, times_s = Counter[str](), list[float]()
    told = Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        os.mkfifo(Path(name) / "pipe")
        for number in range(QUICK_FILES if options.quick else FILES):
            role = list(models)[number % len(models)]
            kind = list(MUTATIONS)[number // len(models) % len(MUTATIONS)]
            path = Path(name) / "model.onnx"
            path.write_bytes(MUTATIONS[kind](models[role].model.read_bytes(), rng))
            started = time.perf_counter()
            said = _said(role, msgspec.structs.replace(models[role], model=path))
            times_s.append(time.perf_counter() - started)
            outcomes[f"{kind}_{'taken' if said is None else 'refused'}"] += 1
            told.update(reason for reason in TOLD if said is not None and reason in said)
    return {
        "files": len(times_s),
        "taken": sum(count for kind, count in outcomes.items() if kind.endswith("_taken")),
        "refused": sum(count for kind, count in outcomes.items() if kind.endswith("_refused")),
        "child_crashed": told["ended with"],
        "child_out_of_time": told["is not understood within"],
        "child_out_of_memory": told["needs more than"],
        "seconds_median": float(np.median(times_s)),
        "seconds_most": max(times_s),
        "child_rss_mib_most": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        **dict(sorted(outcomes.items())),
    }


def _said(role: Role, source: Semantic | Instance | Appearance) -> str | None:
    """Return why the model was refused, or None where it was taken; any other exception ends the benchmark."""
    try:
        take_in(role, source)
    except FoveateError as error:
        return str(error)
    return None


def _flipped(data: bytes, rng: Rng) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    at = rng.integers(0, len(changed), int(rng.integers(1, 65)))
    changed[at] = rng.integers(0, 256, len(at))
    return bytes(changed)


def _head_flipped(data: bytes, rng: Rng) -> bytes:
    """Change bytes where the structure is rather than the weights."""
    at = min(4096, len(data))
    return _flipped(data[:at], rng) + data[at:]


def _truncated(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _spliced(data: bytes, rng: Rng) -> bytes:
    start, end, to = sorted(int(i) for i in rng.integers(0, len(data), 3))
    return data[:start] + data[end:to] + data[start:]


def _fields(change: Callable[[onnx.ModelProto, Rng], None]) -> Mutation:
    def mutated(data: bytes, rng: Rng) -> bytes:
        model = onnx.load_from_string(data)
        for _ in range(int(rng.integers(1, 4))):
            change(model, rng)
        return bytes(model.SerializeToString())

    return mutated


def _some(items: Any, rng: Rng) -> Any:
    return items[int(rng.integers(0, len(items)))]


def _sizes(model: onnx.ModelProto, rng: Rng) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    dims = _some(values, rng).type.tensor_type.shape.dim
    if dims:
        _some(dims, rng).dim_value = int(_some(HUGE, rng))


def _weights(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = _some(model.graph.initializer, rng)
    if len(tensor.dims):
        tensor.dims[int(rng.integers(0, len(tensor.dims)))] = int(_some(HUGE, rng))


def _types(model: onnx.ModelProto, rng: Rng) -> None:
    _some(model.graph.initializer, rng).data_type = int(rng.integers(0, 30))


def _attributes(model: onnx.ModelProto, rng: Rng) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    attribute = _some(attributes, rng)
    if attribute.ints:
        attribute.ints[int(rng.integers(0, len(attribute.ints)))] = int(_some(HUGE, rng))
    else:
        attribute.i = int(_some(HUGE, rng))


def _cycles(model: onnx.ModelProto, rng: Rng) -> None:
    node, other = _some(model.graph.node, rng), _some(model.graph.node, rng)
    if node.input:
        node.input[0] = other.output[0]


def _operators(model: onnx.ModelProto, rng: Rng) -> None:
    node = _some(model.graph.node, rng)
    node.op_type = str(_some(("Loop", "If", "Scan", "Einsum", "Tile", "Expand", "NonZero", "Nonsense", ""), rng))
    node.domain = str(_some(("", "", "com.microsoft", "evil"), rng))


def _elsewhere(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = _some(model.graph.initializer, rng)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    where = _some(("pipe", "../pipe", "./pipe", "/dev/stdin", "/etc/passwd", ""), rng)
    tensor.external_data.add(key="location", value=str(where))
    tensor.external_data.add(key="length", value=str(_some(HUGE, rng)))


def _grown(model: onnx.ModelProto, rng: Rng) -> None:
    """Double a tensor again and again, or make a large one out of nothing."""
    output = model.graph.output[0].name
    node = next(node for node in model.graph.node if output in node.output)
    node.output[list(node.output).index(output)] = name = f"grown{rng.integers(1 << 30)}"
    for step in range(int(rng.integers(4, 40))):
        model.graph.node.append(helper.make_node("Concat", [name, name], [f"{name}_{step}"], axis=1))
        name = f"{name}_{step}"
    model.graph.node.append(helper.make_node("Identity", [name], [output]))


def _nested(model: onnx.ModelProto, rng: Rng) -> None:
    """Put functions into functions, each called twice."""
    depth = int(rng.integers(5, 200))
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(depth):
        calls = [helper.make_node(f"f{level + 1}", ["x"], [f"y{i}"], domain="own") for i in range(2)]
        body = [*calls, helper.make_node("Add", ["y0", "y1"], ["y"])]
        model.functions.append(helper.make_function("own", f"f{level}", ["x"], ["y"], body, opset))
    model.functions.append(
        helper.make_function("own", f"f{depth}", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], opset)
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    node = _some(model.graph.node, rng)
    node.op_type, node.domain = "f0", "own"


MUTATIONS: Final[dict[str, Mutation]] = {
    "bytes": _flipped,
    "structure": _head_flipped,
    "truncated": _truncated,
    "spliced": _spliced,
    "sizes": _fields(_sizes),
    "weights": _fields(_weights),
    "types": _fields(_types),
    "attributes": _fields(_attributes),
    "cycles": _fields(_cycles),
    "operators": _fields(_operators),
    "elsewhere": _fields(_elsewhere),
    "grown": _fields(_grown),
    "nested": _fields(_nested),
}
