"""The belt's networks: the files that are delivered, and what they are trained towards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import examples.belt
from examples.belt.scene import PartInfo, Truth
from examples.belt.truth import boxes_of

FOLDER = Path(examples.belt.__file__).parent
OUTPUTS = {
    "semantic": {"logits": (1, 5, 136, 240)},
    "instance": {
        "heatmap": (1, 1, 80, 80),
        "offsets": (1, 2, 160, 160),
        "logits": (1, 5, 160, 160),
        "defects": (1, 5, 320, 320),
    },
}
INPUTS = {"semantic": (1, 3, 272, 480), "instance": (1, 3, 320, 320)}


def shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


@pytest.mark.parametrize("name", ["semantic", "instance"])
def test_delivered_file_keeps_its_contract(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size <= 2_000_000
    assert model.ir_version <= 10
    assert [opset.version for opset in model.opset_import] == [17]
    assert [(value.name, shape(value)) for value in model.graph.input] == [("image", INPUTS[name])]
    assert {value.name: shape(value) for value in model.graph.output} == OUTPUTS[name]
    assert all(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in model.graph.output)


@pytest.mark.parametrize("name", ["semantic", "instance"])
def test_delivered_file_quantizes_well(name: str) -> None:
    model = onnx.load(str(FOLDER / f"{name}.onnx"))
    used = {node.op_type for node in model.graph.node}
    assert used <= {"Conv", "Relu", "Add", "Resize", "Constant", "DepthToSpace"}


def test_folding_changes_nothing_but_the_unit_of_the_offsets() -> None:
    torch = pytest.importorskip("torch")
    from examples.belt.networks import OFFSET_PX, InstanceNet, folded  # noqa: PLC0415 - needs torch

    torch.manual_seed(0)
    net = InstanceNet().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        heatmap, offsets, logits, defects = net(image)
        plain = folded(net)(image)
    assert defects.shape == (1, 5, 64, 96)
    for before, after in zip((heatmap, offsets * OFFSET_PX, logits, defects), plain, strict=True):
        torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)


def test_targets_point_to_the_centre_of_what_is_visible() -> None:
    pytest.importorskip("torch")
    from examples.belt.train import instance_targets  # noqa: PLC0415 - needs torch
    from examples.belt.training_data import Canvas  # noqa: PLC0415 - needs torch

    codes, defects = np.zeros((320, 320), np.uint16), np.zeros((320, 320), np.uint8)
    codes[40:80, 100:140] = 1 + 4 * 2 + 3
    defects[40:80, 120:140] = 2
    codes[200:204, 200:204] = 1
    targets = instance_targets(Canvas(np.zeros((320, 320, 3), np.uint8), codes, defects))
    assert (targets["labels"][20:40, 50:60] == 4).all()
    assert (targets["labels"][20:40, 60:70] == 0).all()
    assert np.unravel_index(targets["heatmap"][0].argmax(), (80, 80)) == (15, 27)
    cell = (np.asarray((69, 20)) + 0.5) * 2
    np.testing.assert_allclose(targets["offsets"][:, 20, 69] * 32, np.asarray((110, 60)) - cell, atol=1e-5)
    assert targets["voters"][20, 69] == 1
    assert targets["voters"][100, 100] == 0


def test_a_chip_belongs_to_the_part_that_misses_it() -> None:
    pytest.importorskip("torch")
    from examples.belt.training_data import owners  # noqa: PLC0415 - needs torch

    ids = np.zeros((1080, 1920), np.uint16)
    ids[100:150, 100:150] = 7
    ids[100:150, 158:200] = 9
    defects = np.zeros((1080, 1920), np.uint8)
    defects[110:130, 150:158] = 2
    semantic = (ids > 0).astype(np.uint8)
    parts = (PartInfo(7, "washer", 125, 125, {"chip": 160.0}), PartInfo(9, "washer", 179, 125, {}))
    given = owners(Truth(semantic, ids, defects, parts))
    assert (given[110:130, 150:158] == 7).all()
    assert boxes_of(given)[7].tolist() == [100, 100, 158, 150]


def test_peaks_are_the_best_maxima_first() -> None:
    pytest.importorskip("torch")
    from examples.belt.validation import peaks_of  # noqa: PLC0415 - needs torch

    heat = np.full((80, 80), -9, np.float32)
    heat[10, 20], heat[10, 21], heat[50, 60] = 0, -1, 3
    peaks = peaks_of(heat)
    assert peaks[0].tolist() == [242, 202, 243]
    assert peaks[1].tolist() == [82, 42, 128]
    assert peaks[2, 2] == 0
