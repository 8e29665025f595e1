"""Models are read in a process of their own: whatever becomes of it, there is one line that says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ConfigError, FoveateError
from export import apart
from export.apart import take_in
from export.candidate import candidate
from export.errors import ModelError
from export.recipe import Instance, Semantic
from tests.export.nets import bright_net, centers_net


def source(path: Path, **keys: object) -> Semantic:
    return Semantic(**{"model": path, "head": "logits", "color": "bgr", "classes": ["no", "a", "b"], **keys})  # type: ignore[arg-type]


def child(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Let the child run `code` instead of ours."""
    script = folder / "child.sh"
    script.write_text(f"#!/bin/sh\ncat > /dev/null\n{code}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_what_comes_back_is_what_would_have_been_made_here(tmp_path: Path) -> None:
    net = source(bright_net(tmp_path / "net.onnx"), coarse_size=(16, 20))
    full, coarse = take_in("semantic", net)
    here = candidate("semantic", net)
    assert (full.role, full.model, full.sensitive) == ("semantic", here.model, here.sensitive)
    assert full.graph == here.files["float32"]
    assert (coarse.role, coarse.model.input.shape) == ("coarse", (20, 16, 3))
    centers = Instance(model=centers_net(tmp_path / "c.onnx"), head="centers", classes=["no", "a"], defects=["scratch"])
    (only,) = take_in("instance", centers)
    assert only.model.defects == ["scratch"]


def test_how_the_model_was_read_comes_back_too(tmp_path: Path) -> None:
    net = Semantic(model=bright_net(tmp_path / "net.onnx"), classes=["no", "a", "b"], coarse_size=(16, 16))
    full, coarse = take_in("semantic", net)
    assert full.source == msgspec.structs.replace(net, head="logits", output="logits")
    assert (coarse.source.head, coarse.source.input_size) == ("logits", (16, 16))


def test_errors_keep_their_kind_and_words(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"net\.onnx: is not an ONNX"):
        take_in("semantic", source(tmp_path / "net.onnx"))
    with pytest.raises(ConfigError, match=r"semantic\.coarse_size: is \[999, 32\]"):
        take_in("semantic", source(bright_net(tmp_path / "net.onnx"), coarse_size=(999, 32)))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("kill -SEGV $$", "the process that read it ended with SIGSEGV; the file is damaged"),
        ("kill -ABRT $$", "ended with SIGABRT"),
        ("kill -XCPU $$", "is not understood within 30 s"),
        ("echo 'terminate called: std::bad_alloc' >&2; exit 1", "needs more than 2 GiB"),
        ("echo Traceback >&2; echo 'KeyError: 7' >&2; exit 1", "ended with KeyError: 7"),
        ("exit 9", "ended with code 9"),
    ],
)
def test_a_child_that_ends_badly_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, said: str
) -> None:
    child(monkeypatch, tmp_path, code)
    with pytest.raises(ModelError, match=said):
        take_in("semantic", source(tmp_path / "net.onnx"))


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.3)
    child(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid\nexec sleep 60")
    with pytest.raises(ModelError, match="is not understood within 30 s"):
        take_in("semantic", source(tmp_path / "net.onnx"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_graph_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A constant that a few bytes describe and 16 GB hold: some tool or other always unfolds it."""
    path = bright_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    shape = numpy_helper.from_array(np.asarray([1, 1000, 2000, 2000], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"], name="huge"))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["huge"], ["most"], name="most", keepdims=0))
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[list(last.output).index(output)] = "small"
    model.graph.node.append(helper.make_node("Add", ["small", "most"], [output], name="sum"))
    onnx.save(model, path)
    with pytest.raises(FoveateError, match=r"needs more than 2 GiB|onnxruntime"):
        take_in("semantic", source(path))


def test_data_in_another_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = bright_net(tmp_path / "net.onnx")
    os.mkfifo(tmp_path / "weights")  # who opens it waits forever
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="weights")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="keeps its data in another file"):
        take_in("semantic", source(path))
