"""Rewritten graphs give the same results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.export.nets import SIZE, engine_of, pictures, save, semantic


def shuffled_net(path: Path, mode: str, classes: int = 3, block: int = 2) -> Path:
    """Write a network whose logits come out of DepthToSpace."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(0, 1, (classes * block**2, 3, block, block)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["coarse"], name="body", strides=[block, block]),
        helper.make_node("DepthToSpace", ["coarse"], ["logits"], name="shuffle", blocksize=block, mode=mode),
    ]
    return save(path, nodes, weights, {"logits": (1, classes, SIZE, SIZE)})


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_map_is_shuffled_instead_of_logits(tmp_path: Path, mode: str) -> None:
    path = shuffled_net(tmp_path / "net.onnx", mode)
    # confidence reads the logits too, so only a head without it lets the shuffle go
    model = onnx.load(str(path))
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, (1, SIZE, SIZE)))
    onnx.save(model, str(tmp_path / "best.onnx"))
    expected = semantic(path, classes=list("abc"))
    found = semantic(tmp_path / "best.onnx", classes=list("abc"), head="argmax")
    kinds = [node.op_type for node in onnx.load_model_from_string(found.files["float32"]).graph.node]
    assert "DepthToSpace" not in kinds
    assert "DepthToSpace" in [node.op_type for node in expected.graph.graph.node]
    axes = {v.name: len(v.type.tensor_type.shape.dim) for v in found.graph.graph.value_info}
    assert [axes[node.input[0]] for node in found.graph.graph.node if node.op_type == "ArgMax"] == [4]  # TensorRT 10
    for picture in pictures(3):
        labels = engine_of(expected).infer({"image": picture})["labels"]
        assert np.array_equal(engine_of(found).infer({"image": picture})["labels"], labels)
