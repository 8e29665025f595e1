"""Full-frame passes of a network that was made for canvases: the same weights at other input sizes.

Convolutions take any size; what does not is patched: the input's shape, the numbers of anchors in reshapes, and the
tables of anchor points and strides that YOLO exports hold as constants.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from edge.bundle import Bundle, Model, read_engine
from edge.config import Config, RegionRules
from edge.decide.rules import Rules
from edge.decide.tracks import Tracker
from edge.engines.ort import OrtEngine
from edge.errors import FoveateError
from edge.events import Event
from edge.see.regions import Painter
from edge.threads import available_cores
from edge.types import Array, Frame, Image, Instances, Looks, Seen, Tracks
from examples.belt.demo import cache_folder
from export.build import cached_bundle
from export.cascade import Cascade

STRIDES: Final = (8, 16, 32)  # of YOLO's three grids
MULTIPLE: Final = 32  # input sides are multiples of it
LABEL_PX: Final = 8.0  # frame pixels per cell of the label map that a tracker gets of a full-frame pass

Looker = Callable[[Image], Looks]


def letterbox(frame: tuple[int, int], width: int) -> tuple[int, int]:
    """Return the smallest input (width, height) that takes a `frame` (width, height) reduced to `width`."""
    height = frame[1] * width / frame[0]
    return -(-width // MULTIPLE) * MULTIPLE, -(-int(np.ceil(height)) // MULTIPLE) * MULTIPLE


def resized(model: onnx.ModelProto, width: int, height: int) -> onnx.ModelProto:
    """Return a network with one picture (1, 3, h, w) in, at another input size; its weights stay as they are."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = {tensor.name for tensor in changed.graph.initializer}
    picture = next(value for value in changed.graph.input if value.name not in weights)
    dims = picture.type.tensor_type.shape.dim
    old = dims[3].dim_value, dims[2].dim_value
    if old == (width, height):
        return changed
    dims[3].dim_value, dims[2].dim_value = width, height
    del changed.graph.value_info[:]
    for value in changed.graph.output:
        value.type.tensor_type.ClearField("shape")
    before, after = anchors(*old), anchors(width, height)
    shapes = {node.input[1] for node in changed.graph.node if node.op_type == "Reshape"}
    for tensor in changed.graph.initializer:
        value = numpy_helper.to_array(tensor)
        fresh = _reshape(value, before, after) if tensor.name in shapes else _table(value, old, (width, height))
        if fresh is not value:
            tensor.CopyFrom(numpy_helper.from_array(fresh, tensor.name))
    return changed


def anchors(width: int, height: int) -> list[int]:
    """Return how many anchors YOLO has on each of its grids, and on all together."""
    counts = [(width // stride) * (height // stride) for stride in STRIDES]
    return [*counts, sum(counts)]


def _reshape(value: Array, before: list[int], after: list[int]) -> Array:
    """Return the target of a reshape with the new number of anchors, where its last size is an old one."""
    if not value.size or int(value[-1]) not in before:
        return value
    return np.append(value[:-1], after[before.index(int(value[-1]))]).astype(value.dtype)


def _table(value: Array, old: tuple[int, int], new: tuple[int, int]) -> Array:
    """Return a table of anchor points (1, 2, n) or strides (1, m, n) for the new size; anything else as it is."""
    if value.ndim != 3 or value.shape[0] != 1 or value.shape[2] != anchors(*old)[-1] or value.dtype.kind != "f":
        return value
    steps = np.concatenate([np.full((new[0] // s) * (new[1] // s), s, np.float64) for s in STRIDES])
    unit = 1.0 / old[0]  # such exports hold both as shares of their own input, and multiply by it in the end
    if value.shape[1] == 2:
        points = [np.mgrid[: new[1] // s, : new[0] // s][::-1].reshape(2, -1) + 0.5 for s in STRIDES]
        return np.asarray((np.concatenate(points, axis=1) * steps * unit)[None], value.dtype)
    return np.tile(steps * unit, (1, value.shape[1], 1)).astype(value.dtype)


def full_frame_bundle(source: Path, size: tuple[int, int], recipe: str) -> Bundle:
    """Return the bundle of `source` at input `size` (width, height), made by `recipe`, in which {model} is the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / f"{source.stem}_{size[0]}x{size[1]}.onnx"
        onnx.save(resized(onnx.load(source), *size), model)
        (folder / "recipe.toml").write_text(recipe.replace("{model}", model.name))
        return cached_bundle(folder / "recipe.toml", cache_folder())


class ClockedEngine(OrtEngine):
    """An engine that knows how long its last runs took."""

    ms = 0.0

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once, and add the time to `ms`."""
        start = time.perf_counter()
        outputs = super().infer(feeds)
        self.ms += (time.perf_counter() - start) * 1e3
        return outputs


@dataclass
class Times:
    """Milliseconds per frame: everything, and the network alone."""

    all_ms: list[float]
    network_ms: list[float]


class FullFrame:
    """One network on whole frames: resize, network, decode."""

    def __init__(
        self, name: str, bundle: Bundle, precision: str, stack: contextlib.ExitStack, looks: Looks | None = None
    ) -> None:
        """`looks` are tiles that cover the frame; without them the frame is fitted into the input."""
        self.name = name
        self.precision = precision
        self.model: Model = bundle.manifest.models["instance"]
        entries = [engine for engine in self.model.engines if engine.precision == precision]
        if not entries:
            raise FoveateError(f"full frame {name}: the bundle has no {precision}")
        self._engine = ClockedEngine(name, read_engine(bundle, entries[0]), available_cores())
        stack.callback(self._engine.close)
        self._cascade = Cascade({"instance": self._engine}, {"instance": self.model}, RegionRules())
        self._looks = looks
        self.times = Times([], [])

    def __call__(self, image: Image) -> Instances:
        """Return what is found in one frame (h, w, 3), and note the time."""
        self._engine.ms = 0.0
        start = time.perf_counter()
        found = self._cascade(image, self._looks).instances
        self.times.all_ms.append((time.perf_counter() - start) * 1e3)
        self.times.network_ms.append(self._engine.ms)
        if found is None:
            raise FoveateError(f"full frame {self.name}: no instance model")
        return found


class FullFrameTracks:
    """Tracks and counts of a full-frame pass: every frame is seen whole, its masks are its labels."""

    def __init__(self, camera: str, size: tuple[int, int], config: Config, classes: list[str]) -> None:
        """`classes` are the instance model's, the background first; `size` is the frame's (width, height)."""
        self._size = size
        names = config.tracks.classes or classes[1:]
        followed = [classes.index(name) for name in names]
        self._followed = np.isin(np.arange(len(classes)), followed)
        numbers = iter(range(1, 1 << 30))
        self._tracker = Tracker(config.tracks, followed, len(classes), size, lambda: next(numbers))
        self._rules = Rules(msgspec.structs.replace(config, gates=[]), camera, classes, [])

    def __call__(self, frame: Frame, found: Instances) -> tuple[Tracks, list[Event]]:
        """Return the tracks of `frame` and what crossed a line in it."""
        scale = LABEL_PX, LABEL_PX
        shape = int(self._size[1] / LABEL_PX), int(self._size[0] / LABEL_PX)
        rows = np.flatnonzero(self._followed[found.classes])
        labels = Painter()([found.masks[i] for i in rows], found.boxes[rows], shape, scale)
        self._tracker.predict(labels, scale, 1)
        tracks, ended = self._tracker.update(found, whole_frame(self._size))
        return tracks, self._rules.decide(Seen(frame, labels, scale, found, tracks, ended))


def whole_frame(size: tuple[int, int]) -> Looks:
    """Return the one look that is the frame of `size` (width, height)."""
    box = np.asarray([[0, 0, *size]], np.int32)
    return Looks.at_one(box, np.zeros(1, np.int32), box, np.ones(1, np.float32))


def spread(values: Iterable[float]) -> tuple[float, float, float, float]:
    """Return median, 10th and 90th percentile, and mean."""
    rows = np.asarray(list(values), np.float64)
    low, middle, high = np.percentile(rows, (10, 50, 90))
    return float(middle), float(low), float(high), float(rows.mean())


def time_figures(name: str, times: Times) -> dict[str, Any]:
    """Return the figures of a pass."""
    median, low, high, mean = spread(times.all_ms)
    return {
        f"{name}_ms": median,
        f"{name}_ms_p10_p90": f"{low:.1f} {high:.1f}",
        f"{name}_ms_mean": mean,
        f"{name}_network_ms": spread(times.network_ms)[0],
    }
