"""Single layers in eight bits: what they shift, and what noise of theirs reaches the outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from calibration.ranges import session_showing
from edge.types import Array
from export.candidate import Candidate, measure, quantized
from export.eight_bits import mean_errors, rounded, sensitivities, with_biases
from export.quantize import plan, quantize
from tests.export.nets import SIZE, engine_of, pictures, save, semantic, semantic_net


def chain(path: Path, outlier: float = 1.0) -> Path:
    """Write three convolutions; the second one's input has a channel `outlier` times as large as the others."""
    random = np.random.default_rng(3)
    first = random.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32)
    first[0] *= outlier
    second = random.normal(0, 0.3, (6, 6, 3, 3)).astype(np.float32)
    second[:, 0] /= outlier
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], name="second", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["logits"], name="third"),
    ]
    weights: dict[str, Array] = {
        "w0": first,
        "w1": second,
        "b1": np.full(6, 0.1, np.float32),
        "w2": random.normal(0, 0.5, (3, 6, 1, 1)).astype(np.float32),
    }
    return save(path, nodes, weights, {"logits": (1, 3, SIZE, SIZE)})


def ranked(found: Candidate) -> dict[str, float]:
    measured = measure(found, pictures(8), "cpu")
    ranges, shares = measured.ranges("minmax"), list[float]()
    noise = sensitivities(measured.graph, list(measured.plan.layers), ranges, pictures(2), shares.append)
    assert shares[-1] == 1.0
    assert sorted(shares) == shares
    return noise


def test_the_layer_with_an_outlier_is_the_noisiest(tmp_path: Path) -> None:
    even = ranked(semantic(chain(tmp_path / "even.onnx"), classes=list("abc")))
    odd = ranked(semantic(chain(tmp_path / "odd.onnx", 60.0), classes=list("abc")))
    assert set(even) == set(odd) == {"net/first", "net/second", "net/third"}
    assert odd["net/second"] > 20 * even["net/second"]
    assert odd["net/third"] == pytest.approx(even["net/third"], rel=0.5)
    assert max(odd, key=lambda name: odd[name]) in {"net/first", "net/second"}


def test_noise_is_what_a_file_with_that_one_layer_in_bytes_has(tmp_path: Path) -> None:
    """Against an INT8 file with uncorrected biases: only one layer of it quantized, the noise at its logits."""
    found = semantic(chain(tmp_path / "net.onnx", 20.0), classes=list("abc"))
    measured = measure(found, pictures(8), "cpu")
    layers = list(measured.plan.layers)
    noise = sensitivities(measured.graph, layers, measured.ranges("minmax"), pictures(2), lambda _share: None)
    for layer in ("net/first", "net/second"):  # of the last one the file shows its logits before they are bytes
        alone = plan(measured.graph, [], (), "cpu", [name for name in layers if name != layer])
        model = quantize(measured.graph, alone, measured.ranges("minmax"))
        powers = [_noise(found, model, picture) for picture in pictures(2)]
        assert noise[layer] == pytest.approx(np.mean(powers), rel=0.5)


def _noise(found: Candidate, model: onnx.ModelProto, picture: Array) -> float:
    clean = _logits(found.graph, picture)
    return float(((_logits(model, picture) - clean) ** 2).sum() / (clean**2).sum())


def test_weights_are_rounded_per_channel() -> None:
    weights = np.asarray([[[1.0, 0.5]], [[100.0, -0.2]], [[0.0, 0.0]]], np.float32)
    found = rounded(weights)
    assert found[0, 0].tolist() == pytest.approx([1.0, 64 / 127])
    assert found[1, 0].tolist() == pytest.approx([100.0, 0.0])
    assert not found[2].any()


def test_corrected_biases_bring_the_means_back(tmp_path: Path) -> None:
    """A range that clips hard shifts the means behind it; a corrected bias takes much of that back."""
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    measured = measure(found, pictures(8), "cpu")
    ranges = measured.ranges("minmax")
    (clipped,) = [node.input[0] for node in measured.graph.graph.node if node.name == "net/head"]
    inside = [name for name, found in ranges.items() if found == ranges[clipped]]  # the same values, moved
    ranges = ranges | dict.fromkeys(inside, (0.0, ranges[clipped][1] * 0.5))
    errors = mean_errors(measured.graph, measured.plan.layers, ranges, pictures(8), symmetric=False)
    assert set(errors) == set(measured.plan.layers)

    def shift(graph: onnx.ModelProto) -> float:
        model = quantize(graph, measured.plan, ranges)
        means = [_logits(model, picture) - _logits(measured.graph, picture) for picture in pictures(8)]
        return float(np.abs(np.mean(means, axis=(0, 1, 3, 4))).max())

    plain, fixed = shift(measured.graph), shift(with_biases(measured.graph, errors))
    assert fixed < 0.2 * plain


def _logits(model: onnx.ModelProto, picture: Array) -> Array:
    return np.asarray(session_showing(model, ["net/logits"]).run(["net/logits"], {"image": picture})[0])


def test_layers_that_stay_float_keep_their_bias(tmp_path: Path) -> None:
    found = semantic(semantic_net(tmp_path / "net.onnx"), classes=list("abc"))
    measured = measure(found, pictures(8), "cpu")
    data = quantized(found, measured, "entropy", list(measured.plan.layers))
    found.files["none"] = data
    for picture in pictures(3):
        first, second = (engine_of(found, key).infer({"image": picture}) for key in ("float32", "none"))
        assert np.array_equal(first["labels"], second["labels"])
        assert np.array_equal(first["confidence"], second["confidence"])
