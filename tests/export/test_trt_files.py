"""The files for TensorRT: what stays out of INT8, what a builder's refusal leads to, and that a builder takes them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge.bundle import Role
from edge.errors import ConfigError
from export import buildable, tensorrt
from export.buildable import Tried, try_build
from export.candidate import Candidate, candidate
from export.errors import ModelError
from export.half import widened
from export.recipe import Instance, Semantic, load_recipe
from export.tensorrt import first_layers, half_file, int8_file, material_of, nodes_named
from tests.export.nets import identity_net, pictures, save, semantic, semantic_net
from tests.export.test_half import run

ROOT = Path(__file__).parents[2]
rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed (pip install tensorrt-rtx)"
)


@pytest.fixture
def found(tmp_path: Path) -> Candidate:
    return semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))


class Builder:
    """Stands for a builder: refuses what it is told to, and keeps what it was given."""

    def __init__(self, *refusals: str) -> None:
        self.refusals, self.given = list(refusals), list[onnx.ModelProto]()

    def __call__(self, name: str, data: bytes) -> Tried:
        self.given.append(onnx.load_model_from_string(data))
        said = self.refusals.pop(0) if self.refusals else ""
        return Tried("Fake 1", f"model {name}: cannot build it: {said}" if said else "", said)


def quantized(model: onnx.ModelProto) -> set[str]:
    """Return the convolutions that take what comes out of DequantizeLinear."""
    made = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return {node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] in made}


def refusal(names: str) -> str:
    return (
        f"Error Code 10: Internal Error (Could not find any implementation for node {names}.) / something else net/head"
    )


def test_first_layer_stays_out_of_int8_and_is_fp16(found: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_layers(found.graph) == ["stem"]
    builder = Builder()
    monkeypatch.setattr(tensorrt, "try_build", builder)
    made = int8_file(found, material_of(found, pictures(8), "minmax"), "m.onnx")
    assert (made.floats, made.tried.builder) == ([], "Fake 1")
    model = builder.given[0]
    assert quantized(model) == {"net/body", "net/head"}
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    (stem,) = (node for node in model.graph.node if node.name == "net/stem")
    assert kinds[stem.output[0]] == TensorProto.FLOAT16
    expected = [run(found.files["float32"], picture) for picture in pictures(3)]
    assert np.mean([run(widened(made.data), p) == e for p, e in zip(pictures(3), expected, strict=True)]) > 0.9


def test_network_of_one_layer_is_quantized_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"w": np.ones((2, 3, 1, 1), np.float32) / 3}
    node = onnx.helper.make_node("Conv", ["x", "w"], ["logits"], name="only")
    one = semantic(save(tmp_path / "net.onnx", [node], weights, {"logits": (1, 2, 32, 32)}), classes=list("ab"))
    builder = Builder()
    monkeypatch.setattr(tensorrt, "try_build", builder)
    int8_file(one, material_of(one, pictures(4), "minmax"), "m.onnx")
    assert quantized(builder.given[0]) == {"net/only"}


def test_node_without_int8_implementation_is_taken_out(found: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(refusal("net/w1_QuantizeLinear + net/body + PWN(net/relu_body)"))
    monkeypatch.setattr(tensorrt, "try_build", builder)
    made = int8_file(found, material_of(found, pictures(8), "minmax"), "m.onnx")
    assert made.floats == ["body", "relu_body"]
    assert not made.tried.error
    assert [quantized(model) for model in builder.given] == [{"net/body", "net/head"}, {"net/head"}]


def test_it_is_given_up_where_nothing_more_can_be_taken_out(found: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    material = material_of(found, pictures(8), "minmax")
    for said in ("out of memory", refusal("no/such/node")):
        builder = Builder(said)
        monkeypatch.setattr(tensorrt, "try_build", builder)
        with pytest.raises(ModelError, match=r"m\.onnx: cannot build it: .*; leave tensorrt out of the recipe"):
            int8_file(found, material, "m.onnx")
        assert len(builder.given) == 1
    builder = Builder(*[refusal("net/body")] * 9)
    monkeypatch.setattr(tensorrt, "try_build", builder)
    with pytest.raises(ModelError, match="cannot build it"):
        int8_file(found, material, "m.onnx")
    assert len(builder.given) == 2  # the same node again: it is FP16 already


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("net/stem", ["stem"]),
        ("net/stem + PWN(net/relu)", ["stem", "relu"]),
        ("{ForeignNode[net/stem...net/body]}", ["stem", "body"]),
        ("net/w2 + net/w2_QuantizeLinear + net/head", ["head"]),
        ("{ForeignNode[net/w1[Constant].../else]}", ["body"]),
        ("net/stemming", []),
        ("net/c0", ["stem"]),  # a tensor's name, which is not the name of what reads it
    ],
)
def test_names_in_what_tensorrt_says(found: Candidate, said: str, names: list[str]) -> None:
    assert nodes_named(found.graph, refusal(said)) == names
    assert nodes_named(found.graph, f"something else happened to node {said}") == []


def test_without_a_builder_nothing_is_tried(found: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildable, "installed", lambda _: False)
    made = half_file(found, material_of(found, pictures(4), "minmax"), "m.onnx")
    assert made.tried == Tried("")


def test_builder_that_ends_its_process_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildable, "installed", lambda _: True)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "the builder ended with code 1" in try_build("m.onnx", b"graph").error


@rtx
def test_builder_says_what_is_wrong(found: Candidate) -> None:
    assert "m.onnx: TensorRT-RTX" in try_build("m.onnx", b"not a graph").error


def test_recipe_needs_pictures_and_a_float_model(recipe: Path) -> None:
    text = recipe.read_text().replace('head = "logits"', 'head = "logits"\ntensorrt = ["float16"]')
    recipe.write_text(text)
    semantic_source = load_recipe(recipe).semantic
    assert semantic_source is not None
    assert semantic_source.tensorrt == ("float16",)
    recipe.write_text(text.replace('head = "logits"', 'head = "logits"\nprecision = "as is"'))
    with pytest.raises(ConfigError, match=r"semantic\.tensorrt: needs a float model and \[calibration\]"):
        load_recipe(recipe)


BELT = ROOT / "examples" / "belt"
PARTS = ["belt", "washer", "nut", "gear", "bracket"]
MODELS: dict[Role, Semantic | Instance] = {
    "semantic": Semantic(model=BELT / "semantic.onnx", head="logits", classes=PARTS, color="bgr"),
    "instance": Instance(
        model=BELT / "instance.onnx",
        head="centers",
        classes=PARTS,
        defects=["scratch", "chip", "stain", "missing_hole"],
        color="bgr",
    ),
}


@rtx
@pytest.mark.parametrize("role", ["semantic", "instance"])
def test_builder_takes_both_files_of_the_belt(role: Role) -> None:
    one = candidate(role, MODELS[role])
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, one.model.input.shape, dtype=np.uint8) for _ in range(2)]
    material = material_of(one, noise, "minmax")
    for make in (int8_file, half_file):
        made = make(one, material, f"{role}.onnx")
        assert made.floats == []
        assert made.tried.builder.startswith("TensorRT-RTX")
        assert made.tried.plan_bytes > 100_000
        assert len(made.data) < len(one.files["float32"]) * 0.6


@rtx
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_builder_takes_pictures_with_channels_last(tmp_path: Path, color: str) -> None:
    """With the Reshape behind the Transpose, TensorRT-RTX ended with an internal error."""
    path = identity_net(tmp_path / "net.onnx", channels_first=False)
    one = candidate("semantic", Semantic(model=path, head="logits", classes=list("abc"), color=color))  # type: ignore[arg-type]
    assert not half_file(one, material_of(one, pictures(2), "minmax"), "m.onnx").tried.error


@rtx
def test_builder_takes_a_model_that_gives_bytes_itself(tmp_path: Path) -> None:
    """TensorRT has no bytes but as inputs and outputs."""
    nodes = [
        onnx.helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        onnx.helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    path = save(tmp_path / "net.onnx", nodes, {}, {"labels": (1, 32, 32)}, output_type=TensorProto.UINT8)
    one = semantic(path, classes=list("abc"), head="argmax")
    made = half_file(one, material_of(one, pictures(2), "minmax"), "m.onnx")
    assert not made.tried.error
    picture = pictures(1)[0]
    np.testing.assert_array_equal(run(made.data, picture), run(one.files["float32"], picture))
