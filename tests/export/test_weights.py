"""Weights that no training leaves, and ranges that are too small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.candidate import Candidate, measure, quantized
from export.clipping import CLIPPED, clipped_shares
from export.weights import odd_weights
from tests.export.nets import pictures, semantic, semantic_net


@pytest.fixture
def found(tmp_path: Path) -> Candidate:
    return semantic(semantic_net(tmp_path / "net.onnx"), classes=["background", "a", "b"])


def weights_of(graph: onnx.ModelProto) -> onnx.TensorProto:
    """Return the largest tensor of weights."""
    return max(graph.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))


def test_weights_of_a_training_are_not_odd(found: Candidate) -> None:
    assert odd_weights(found.graph) == ""


def test_a_layer_of_zeros_is_odd(found: Candidate) -> None:
    tensor = weights_of(found.graph)
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    assert "weights of 'net/body' are zero" in odd_weights(found.graph)


def test_a_flipped_bit_of_an_exponent_is_odd(found: Candidate) -> None:
    tensor = weights_of(found.graph)
    bits = numpy_helper.to_array(tensor).copy().view(np.uint32)
    bits.reshape(-1)[7] |= 1 << 30
    tensor.CopyFrom(numpy_helper.from_array(bits.view(np.float32), tensor.name))
    assert "a weight of 'net/body' is" in odd_weights(found.graph)


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_no_method_clips_what_it_was_measured_on(found: Candidate, method: str) -> None:
    shown = pictures(6)
    data = quantized(found, measure(found, shown, "cpu"), method)
    shares = clipped_shares(data, found.files["float32"], shown)
    assert len(shares) >= 3
    assert max(shares.values()) < CLIPPED


def test_brighter_pictures_are_clipped(found: Candidate) -> None:
    shown = pictures(6)
    data = quantized(found, measure(found, [picture // 4 for picture in shown], "cpu"), "minmax")
    assert max(clipped_shares(data, found.files["float32"], shown).values()) > CLIPPED
    assert max(clipped_shares(data, data, shown).values()) > CLIPPED
