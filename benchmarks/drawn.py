"""A belt that is drawn in microseconds, and exact models that read it: a million objects in minutes.

A part is a rectangle of random size whose green and red say how far its centre is; the centre has a colour of its own,
and so has a flaw. Beside the parts goes dirt, of random size too: foreground that is no object. From frame to frame the
belt moves by `STEP_PX` and new columns of parts come in, so it is known without looking how many have crossed a line.
Every second frame is dropped, as a live camera does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import config
from edge.bundle import EngineFile, Head, Model, TensorSpec
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models
from edge.types import Array, Frame, Gap, Image

SIZE = (640, 360)  # width, height of a frame
COLUMN_PX, COLUMNS = 64, 2  # width of a column of parts, and how many come in at a time
STEP_PX = COLUMN_PX * COLUMNS  # that the belt moves between two frames that are seen
DROPPED = 1  # frames between these
ROWS, ROW_PX, FIRST_ROW_PX = 9, 32, 66
SIDES = (10, 24)  # shortest and longest side of a part
FLAWED = 0.1  # share of parts
DIRT = 0.3  # chance of a patch in a column
LINE_STEPS, GATE_STEPS = 2, 4  # steps after which a column has crossed
SOLID, FLAW, CENTRE, DIRTY = 200, 220, 255, 120  # blue
LABELS, CANVAS, STRIDE, PEAKS = (160, 90), (256, 256), 2, 64
NAMES, DEFECTS = ["belt", "part"], ["flaw"]
FPS = 100.0
_FILE = EngineFile("onnxruntime", "float32", "drawn.onnx", 0, "")


def _template() -> Image:
    """Return a part without end, (49, 49, 3): every pixel says how far it is from the middle."""
    reach = SIDES[1]
    ys, xs = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    image = np.stack([np.full(xs.shape, SOLID), 128 - xs, 128 - ys], axis=-1).astype(np.uint8)
    image[reach, reach, 0] = CENTRE
    return image


class Belt:
    """A recording of the belt, as long as wanted."""

    size = SIZE
    fps: float | None = FPS
    live = False

    def __init__(self, name: str, frames: int, seed: int) -> None:
        self.flawed: list[int] = [0] * (GATE_STEPS + 1)  # parts in the newest columns
        self.judged_flawed = 0  # flawed parts that have crossed the gate
        self._name, self._frames, self._index = name, frames, 0
        self._rng = np.random.default_rng(seed)
        self._template = _template()
        self._image: Image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)

    @property
    def ended(self) -> bool:
        """Whether the last frame has been given."""
        return self._index >= self._frames

    @property
    def counted(self) -> int:
        """How many parts have crossed the line."""
        return COLUMNS * ROWS * max(0, self._index - LINE_STEPS)

    @property
    def judged(self) -> int:
        """How many parts have crossed the gate."""
        return COLUMNS * ROWS * max(0, self._index - GATE_STEPS)

    def read(self, timeout_s: float) -> Frame | Gap | None:  # noqa: ARG002  a recording waits for nobody
        """Move the belt by a step and return the frame."""
        if self.ended:
            return None
        self._image[:, STEP_PX:] = self._image[:, :-STEP_PX].copy()
        starts = range(0, STEP_PX, COLUMN_PX)
        self.flawed.append(sum(self._column(self._image[:, start : start + COLUMN_PX]) for start in starts))
        self.judged_flawed += self.flawed.pop(0)
        self._index += 1
        number = (self._index - 1) * (1 + DROPPED)
        return Frame(self._name, number, number / FPS, self._image, DROPPED)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Belt:  # noqa: PYI034  typing has no Self in Python 3.10
        return self

    def __exit__(self, *_: object) -> None: ...

    def _column(self, strip: Image) -> int:
        """Draw a column of parts into `strip` (h, w, 3); return how many are flawed."""
        strip[:] = 0
        sides = self._rng.integers(SIDES[0], SIDES[1] + 1, (ROWS, 2)).tolist()
        shares, flaws = self._rng.random(ROWS).tolist(), (self._rng.random(ROWS) < FLAWED).tolist()
        reach = SIDES[1]
        for row, ((width, height), share, flaw) in enumerate(zip(sides, shares, flaws, strict=True)):
            x0 = 4 + int(share * (COLUMN_PX - 8 - width))
            y0 = FIRST_ROW_PX + row * ROW_PX + (ROW_PX - height) // 2
            left, top = reach - width // 2, reach - height // 2
            part = strip[y0 : y0 + height, x0 : x0 + width]
            part[:] = self._template[top : top + height, left : left + width]
            if flaw:
                part[1:5, 1:5, 0] = FLAW
        if self._rng.random() < DIRT:
            width, height = (int(self._rng.integers(8, most)) for most in (COLUMN_PX, FIRST_ROW_PX - 14))
            strip[4 : 4 + height, :width, 0] = DIRTY
        return sum(flaws)


class DrawnEngine:
    """The four members of an engine round a function."""

    def __init__(self, model: Model, answer: Callable[[Image], Mapping[str, Array]]) -> None:
        self.inputs = {model.input.name: model.input}
        self.outputs = {spec.name: spec for spec in model.outputs}
        self._name, self._answer = model.input.name, answer

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Read the picture."""
        return self._answer(feeds[self._name])

    def close(self) -> None:
        """Nothing is held."""


def models() -> Models:
    """Return both models, exact and without any network."""
    semantic, instance = semantic_model(), instance_model()
    return Models(
        SemanticPass(DrawnEngine(semantic, _read_labels), semantic),
        InstancePass(DrawnEngine(instance, _read_parts), instance),
        NAMES,
        NAMES,
        DEFECTS,
    )


def semantic_model() -> Model:
    """Return what a manifest would say of the semantic model."""
    shape = LABELS[1], LABELS[0]
    spec = TensorSpec("image", (*shape, 3), "uint8")
    return Model(NAMES, Head("labels"), spec, [TensorSpec("labels", shape, "uint8")], [_FILE])


def instance_model() -> Model:
    """Return what a manifest would say of the instance model."""
    width, height = CANVAS
    cells = height // STRIDE, width // STRIDE
    outputs = [
        TensorSpec("peaks", (PEAKS, 3), "int16"),
        TensorSpec("labels", cells, "uint8"),
        TensorSpec("offsets", (2, *cells), "int8"),
        TensorSpec("defects", (height, width), "uint8"),
    ]
    head = Head("centers", label_stride=STRIDE, score=0.3)
    return Model(NAMES, head, TensorSpec("image", (height, width, 3), "uint8"), outputs, [_FILE], DEFECTS, fill=0)


def _read_labels(image: Image) -> Mapping[str, Array]:
    return {"labels": (image[:, :, 0] > DIRTY // 3).astype(np.uint8)}


def _read_parts(image: Image) -> Mapping[str, Array]:
    blue = np.ascontiguousarray(image[:, :, 0])
    peaks = np.zeros((PEAKS, 3), np.int16)
    middles = np.argwhere(blue == CENTRE)[:PEAKS]
    peaks[: len(middles), 0], peaks[: len(middles), 1], peaks[: len(middles), 2] = middles[:, 1], middles[:, 0], 255
    cells = image[::STRIDE, ::STRIDE]
    offsets: npt.NDArray[np.int8] = (cells[:, :, 1:] - np.uint8(128)).view(np.int8).transpose(2, 0, 1)
    labels = (cells[:, :, 0] >= SOLID).astype(np.uint8)
    return {"peaks": peaks, "labels": labels, "offsets": offsets, "defects": (blue == FLAW).astype(np.uint8)}


def settings(state: Path, cameras: list[str], **changes: Any) -> config.Config:
    """Return the configuration of such belts, each with a line and a gate."""
    line: dict[str, Any] = {**_across(LINE_STEPS), "hysteresis_px": 0, "settle_looks": 1, "once": True}
    gate: dict[str, Any] = {**_across(GATE_STEPS), "min_looks": 1}
    limit = {"flaw": config.DefectLimit(min_area_px=8)}
    fields: dict[str, Any] = {
        "bundle": state / "no-bundle",
        "state": state,
        "cameras": {name: config.Camera(command=["drawn"], size=SIZE, fps=FPS) for name in cameras},
        "simulated": True,
        "regions": config.RegionRules(min_area_px=40, pad_px=4),
        "attention": config.Attention(canvases=2, pad_px=4, inspect_looks=2),
        "tracks": config.TrackRules(motion="belt", at_border="wait", confirm_looks=1),
        "lines": [config.Line(name=f"line-{name}", camera=name, **line) for name in cameras],
        "gates": [config.Gate(name=f"gate-{name}", camera=name, defects=limit, **gate) for name in cameras],
        **changes,
    }
    return config.Config(**fields)


def _across(steps: int) -> dict[str, Any]:
    """Return the keys of a line or gate across the belt, so many steps after its beginning."""
    x = float(steps * STEP_PX)
    return {"start": (x, 0.0), "end": (x, float(SIZE[1])), "direction": "right"}
