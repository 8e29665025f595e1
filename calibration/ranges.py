"""Activation ranges: one pass of the float model over calibration pictures, then any of four ways to choose.

Why not onnxruntime's calibrators: each method would be a pass of its own, the histograms of all frames are built in
memory at once and grow without bound with outliers, and they write to standard output. Here every tensor keeps its
exact extremes and a fixed number of sampled values, and all methods choose from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from edge.types import Array, Image

SAMPLES = 1 << 16  # values kept per tensor, over all pictures
PERCENTILE = 99.99  # share of values that keep their range, per side
LEVELS = 255  # steps of an 8-bit quantizer
CANDIDATES = 64  # clipping thresholds that are tried per side
SMALLEST = 0.25  # share of the full range below which no threshold is tried
BINS, COARSE = 1024, 128  # histogram of `entropy_range`, and the levels it is compared at

Range = tuple[float, float]
Values = npt.NDArray[np.float32]


@dataclass
class Sample:
    """What is known of one tensor: its extremes, NaN where it ever was, and some of its values."""

    low: float = np.inf
    high: float = -np.inf
    values: list[Values] = field(default_factory=list)

    def add(self, array: Array, count: int, random: np.random.Generator) -> None:
        """Take note of one array; `count` of its values are kept."""
        flat = array.reshape(-1)
        self.low, self.high = float(np.minimum(self.low, flat.min())), float(np.maximum(self.high, flat.max()))
        self.values.append(flat if flat.size <= count else flat[random.integers(0, flat.size, count)])


def sample_activations(model: onnx.ModelProto, tensors: list[str], pictures: Iterable[Image]) -> dict[str, Sample]:
    """Run `model` on `pictures` (each as its one input) and return a sample of every one of `tensors`."""
    session, (feed, *_) = session_showing(model, tensors), [value.name for value in model.graph.input]
    samples = {name: Sample() for name in tensors}
    random = np.random.default_rng(0)
    all_pictures = list(pictures)
    each = max(1, SAMPLES // len(all_pictures))
    for picture in all_pictures:
        for name, array in zip(tensors, session.run(tensors, {feed: picture}), strict=True):
            samples[name].add(array, each, random)
    return samples


def session_showing(model: onnx.ModelProto, tensors: Iterable[str]) -> ort.InferenceSession:
    """Return a session of `model` that gives `tensors` beside its outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    shown = {value.name for value in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in shown)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])


def find_ranges(samples: dict[str, Sample], method: str) -> dict[str, Range]:
    """Return the range of every tensor by `method` ("minmax", "percentile", "entropy" or "mse"); 0 is always inside."""
    return {name: _with_zero(METHODS[method](sample)) for name, sample in samples.items()}


def _with_zero(found: Range) -> Range:
    # convolutions pad with zeros: a range without zero would turn them into something else
    return min(found[0], 0.0), max(found[1], 0.0)


def minmax_range(sample: Sample) -> Range:
    """Return the whole range."""
    return sample.low, sample.high


def percentile_range(sample: Sample) -> Range:
    """Return the range that all but a few outliers on either side keep to."""
    low, high = np.percentile(np.concatenate(sample.values), [100 - PERCENTILE, PERCENTILE])
    return float(low), float(high)


def mse_range(sample: Sample) -> Range:
    """Return the range with the least mean squared error of rounding and clipping together."""
    values = np.sort(np.concatenate(sample.values).astype(np.float64))
    low, high = min(sample.low, 0.0), max(sample.high, 0.0)
    shares = np.linspace(SMALLEST, 1.0, CANDIDATES)
    lows, highs = (low * shares if low < 0 else np.zeros(1)), (high * shares if high > 0 else np.zeros(1))
    above, below = _clipped(values, highs), _clipped(-values[::-1], -lows)
    step = (highs[None, :] - lows[:, None]) / LEVELS
    errors = below[:, None] + above[None, :] + len(values) * step**2 / 12
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    return float(lows[i]), float(highs[j])


def _clipped(ascending: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the squared error of clipping at each limit: the sum of (v - limit)^2 over the values v above it."""
    sums = np.concatenate([[0.0], np.cumsum(ascending)])
    squares = np.concatenate([[0.0], np.cumsum(ascending**2)])
    first = np.searchsorted(ascending, limits, side="right")
    count = len(ascending) - first
    error = (squares[-1] - squares[first]) - 2 * limits * (sums[-1] - sums[first]) + limits**2 * count
    return np.asarray(error)


def entropy_range(sample: Sample) -> Range:
    """Return the range that loses the least information in the sense of Kullback and Leibler.

    The threshold is on magnitudes (Migacz, 8-bit inference with TensorRT, GTC 2017): values beyond it count as the
    last bin, and what is left is compared with itself at `COARSE` levels.
    """
    magnitudes = np.abs(np.concatenate(sample.values))
    top = max(abs(sample.low), abs(sample.high))
    if top == 0:
        return 0.0, 0.0
    counts = np.histogram(magnitudes[magnitudes > 0], bins=BINS, range=(0, top))[0].astype(np.float64)
    ends = np.arange(COARSE, BINS + 1, BINS // COARSE)
    best = ends[int(np.argmin([_divergence(counts, end) for end in ends.tolist()]))]
    threshold = top * float(best) / BINS
    return max(sample.low, -threshold), min(sample.high, threshold)


def _divergence(counts: npt.NDArray[np.float64], end: int) -> float:
    """Return KL(p || q) of the first `end` bins, clipped, against the same bins at `COARSE` levels."""
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    groups = np.arange(end) * COARSE // end
    filled = p > 0
    share = np.bincount(groups, counts[:end], COARSE) / np.maximum(np.bincount(groups, filled, COARSE), 1)
    q = np.where(filled, share[groups], 0.0)
    # a bin that holds nothing but clipped values has q = 0: a small floor makes that costly instead of infinite
    p, q = p / p.sum(), np.maximum(q / max(q.sum(), 1e-12), 1e-9)
    return float((p[filled] * np.log(p[filled] / q[filled])).sum())


METHODS: dict[str, Callable[[Sample], Range]] = {
    "mse": mse_range,
    "minmax": minmax_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
}
