"""Activation ranges from samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from calibration.ranges import METHODS, Sample, find_ranges, sample_activations


def sample(values: npt.NDArray[np.floating]) -> Sample:
    found = Sample()
    found.add(values.astype(np.float32), 1 << 16, np.random.default_rng(0))
    return found


def mean_squared_error(values: npt.NDArray[np.floating], low: float, high: float) -> float:
    step = (high - low) / 255
    zero = np.round(-low / step)
    coded = np.clip(np.round(values / step) + zero, 0, 255)
    return float(((coded - zero) * step - values).astype(np.float64).__pow__(2).mean())


@pytest.mark.parametrize("method", sorted(METHODS))
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-5, 5), scale=st.floats(0.01, 100))
def test_ranges_lie_inside_the_extremes_and_hold_zero(method: str, seed: int, shift: float, scale: float) -> None:
    values = (np.random.default_rng(seed).normal(size=3000) + shift) * scale
    low, high = find_ranges({"t": sample(values)}, method)["t"]
    assert low <= 0 <= high
    assert low >= min(values.min(), 0) - 1e-3 * scale
    assert high <= max(values.max(), 0) + 1e-3 * scale
    assert high > low


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), outlier=st.floats(1, 300))
def test_mse_is_at_least_as_good_as_the_extremes(seed: int, outlier: float) -> None:
    values = np.random.default_rng(seed).laplace(size=4000)
    values[0] = outlier
    ranges = {method: METHODS[method](sample(values)) for method in ("mse", "minmax")}
    errors = {method: mean_squared_error(values, *found) for method, found in ranges.items()}
    assert errors["mse"] <= errors["minmax"] * 1.05


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_one_outlier_does_not_set_the_range(method: str) -> None:
    values = np.abs(np.random.default_rng(0).normal(size=60000))
    values[0] = 500.0
    assert METHODS[method](sample(values))[1] < 300


@pytest.mark.parametrize("method", sorted(METHODS))
def test_silent_tensor_has_an_empty_range(method: str) -> None:
    assert find_ranges({"t": sample(np.zeros(100))}, method) == {"t": (0.0, 0.0)}


def test_activations_are_sampled_over_all_pictures() -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["float"], ["negative"]),
        helper.make_node("Cast", ["negative"], ["out"], to=TensorProto.INT16),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [4, 4, 3])],
        [helper.make_tensor_value_info("out", TensorProto.INT16, [4, 4, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    pictures = [np.full((4, 4, 3), level, np.uint8) for level in (3, 200, 90)]
    found = sample_activations(model, ["float", "negative"], pictures)
    assert (found["float"].low, found["float"].high) == (3, 200)
    assert (found["negative"].low, found["negative"].high) == (-200, -3)
    assert len(np.concatenate(found["float"].values)) == 3 * 48
    assert isinstance(model, onnx.ModelProto)


def test_large_tensors_are_sampled() -> None:
    found = Sample()
    found.add(np.arange(10**6, dtype=np.float32), 1000, np.random.default_rng(0))
    assert found.high == 10**6 - 1
    assert len(found.values[0]) == 1000
