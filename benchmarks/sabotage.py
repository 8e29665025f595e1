"""Exports that were sabotaged, each in one way, and honest ones: which are refused, and is the cause named?

The belt's networks, held against frames of test seeds; where the folder of real data is there, a DeepLab and a YOLO on
pictures of people too. The limits by which exports are refused were chosen on belt seeds from 2000 on, and on halves of
the sets of real pictures against each other.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import sabotage_models as models
from benchmarks.common import Options, data_folder
from benchmarks.sabotage_sets import VOC, belt_frames, dark_frames, other_frames, people, renumbered
from edge.errors import FoveateError
from examples.belt.belt import KINDS
from examples.belt.heldout import write_heldout
from export.build import export_bundle
from export.errors import SuspicionError

CLASSES = ["belt", *KINDS]
SEEDS, QUICK = 3, 3  # seeds of held-out frames; cases of each kind
FRAMES, CALIBRATED = 2, 8  # held-out frames of a seed; frames to calibrate on
OPEN = ("rows", "columns")  # names of sizes that are left open
WIDE = (272, 960)  # height, width: twice as wide as the belt's frames are

IMAGENET = {"mean": list(models.MEAN), "std": list(models.STD)}

Table = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What goes into a recipe."""

    semantic: Table | None
    instance: Table | None
    calibration: Path
    heldout: Path


class Workshop:
    """A folder with everything that the cases need."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.random = np.random.default_rng(seed)
        write_heldout(folder / "heldout", [seed + i for i in range(SEEDS)], FRAMES)
        belt_frames(folder / "frames", 2000, CALIBRATED)
        self.order = self._derangement()

    def _derangement(self) -> list[int]:
        """Return the classes in another order, the background first, no other one in its place."""
        while True:
            order = [0, *(self.random.permutation(len(KINDS)) + 1).tolist()]
            if not any(i == number for i, number in enumerate(order[1:], 1)):
                return order

    def semantic(self, *edits: models.Edit, **keys: object) -> Table:
        """Return the table of the semantic network, changed by `edits`."""
        file = models.edited("semantic", self.folder / f"semantic-{self._next()}.onnx", *edits)
        own: Table = {"model": str(file), "head": "logits", "classes": CLASSES, "color": "bgr", "fit": "letterbox"}
        return own | keys

    def instance(self, *edits: models.Edit, **keys: object) -> Table:
        """Return the table of the instance network, changed by `edits`."""
        file = models.edited("instance", self.folder / f"instance-{self._next()}.onnx", *edits)
        defects = ["scratch", "chip", "stain", "missing_hole"]
        own: Table = {"model": str(file), "head": "centers", "classes": CLASSES, "defects": defects, "color": "bgr"}
        return own | {"score": 0.3} | keys

    def setup(self, semantic: Table | None = None, instance: Table | None = None, frames: str = "frames") -> Setup:
        """Return a setup with the belt's frames."""
        return Setup(semantic, instance, self.folder / frames, self.folder / "heldout")

    def quantized(self, *edits: models.Edit) -> Table:
        """Return the table of a semantic network that somebody else has quantized."""
        plain = self.semantic()
        inputs = []
        for path in sorted((self.folder / "frames").iterdir()):
            small = np.full((272, 480, 3), 114, np.uint8)
            small[:270] = cv2.resize(np.asarray(cv2.imread(str(path))), (480, 270), interpolation=cv2.INTER_AREA)
            inputs.append((small.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32))
        file = models.quantized(inputs, Path(plain["model"]), self.folder / f"int8-{self._next()}.onnx")
        for edit in edits:
            file = models.changed(file, self.folder / f"int8-{self._next()}.onnx", edit)
        return plain | {"model": str(file), "precision": "as is"}

    def _next(self) -> int:
        return len(list(self.folder.glob("*.onnx")))


def _renumbered(shop: Workshop) -> Setup:
    """Return the belt with its classes in another order everywhere: in the network, the recipe and the truth."""
    names = [CLASSES[i] for i in shop.order]
    renumbered(shop.folder / "heldout", shop.folder / "renumbered", shop.order)
    semantic = shop.semantic(models.reordered(shop.order), classes=names)
    return Setup(semantic, None, shop.folder / "frames", shop.folder / "renumbered")


Make = Callable[[Workshop], Setup]
SABOTAGED: list[tuple[str, str, Make]] = [
    (
        "channels of the semantic model swapped",
        "colour order",
        lambda w: w.setup(w.semantic(color="rgb")),
    ),
    (
        "mean and std of ImageNet for the instance model",
        "normalisation",
        lambda w: w.setup(w.semantic(), w.instance(**IMAGENET)),
    ),
    ("black calibration set", "black calibration", lambda w: w.setup(w.semantic(), frames=_dark(w))),
    (
        "channels of the instance model swapped",
        "colour order",
        lambda w: w.setup(w.semantic(), w.instance(color="rgb")),
    ),
    ("0 to 255 instead of 0 to 1", "normalisation", lambda w: w.setup(w.semantic(scale=1.0))),
    ("calibrated on another place", "foreign calibration", lambda w: w.setup(w.semantic(), frames=_other(w))),
    (
        "classes of the instance model shuffled",
        "class order",
        lambda w: w.setup(w.semantic(), w.instance(classes=[CLASSES[i] for i in w.order])),
    ),
    (
        "classes of the semantic model shuffled",
        "class order",
        lambda w: w.setup(w.semantic(models.reordered(w.order))),
    ),
    (
        "stretched instead of letterboxed",
        "fit",
        lambda w: w.setup(w.semantic(models.sized(*WIDE), fit="stretch")),
    ),
    (
        "width and height of the input exchanged",
        "input size",
        lambda w: w.setup(w.semantic(models.sized(*OPEN), input_size=[272, 480])),
    ),
    ("dead output", "dead output", lambda w: w.setup(w.semantic(models.dead))),
    ("weights mixed up", "weights", lambda w: w.setup(w.semantic(models.shuffled(w.seed)))),
    ("ranges clipped", "clipped ranges", lambda w: w.setup(w.quantized(models.quieter))),
]
HONEST: list[tuple[str, Make]] = [
    ("the belt's two networks", lambda w: w.setup(w.semantic(), w.instance())),
    ("a network that wants RGB", lambda w: w.setup(w.semantic(models.wants_rgb, color="rgb"))),
    (
        "a network that wants the mean and std of ImageNet",
        lambda w: w.setup(w.semantic(), w.instance(models.wants_imagenet, **IMAGENET)),
    ),
    ("the semantic network alone", lambda w: w.setup(w.semantic())),
    ("a coarse input too", lambda w: w.setup(w.semantic(coarse_size=[320, 192]))),
    ("a network that wants 0 to 255", lambda w: w.setup(w.semantic(models.wants_bytes, scale=1.0))),
    ("classes in another order", _renumbered),
    ("a wide input, letterboxed", lambda w: w.setup(w.semantic(models.sized(*WIDE)))),
    (
        "an input of open size",
        lambda w: w.setup(w.semantic(models.sized(*OPEN), input_size=[480, 272])),
    ),
    ("quantized already", lambda w: w.setup(w.quantized())),
]


def run(options: Options) -> dict[str, Any]:
    """Return what became of every export, and how many of each kind were refused."""
    sabotaged, honest = SABOTAGED, [*HONEST, *_real()]
    if options.quick:
        sabotaged, honest = sabotaged[:QUICK], honest[:QUICK]
    figures: dict[str, Any] = {}
    refused = named = bundles = 0
    with tempfile.TemporaryDirectory() as name:
        shop = Workshop(Path(name), options.seed)
        for what, cause, make in sabotaged:
            found, seconds = _export(shop, what, make)
            refused, named = refused + (found != "bundle"), named + (found == cause)
            figures[f"sabotaged: {what}"] = f"{found}, {seconds:.0f} s"
        for what, make in honest:
            found, seconds = _export(shop, what, make)
            bundles += found == "bundle"
            figures[f"honest: {what}"] = f"{found}, {seconds:.0f} s"
    counts = {"sabotaged": len(sabotaged), "refused": refused, "named_by_cause": named}
    return figures | counts | {"honest": len(honest), "bundles": bundles}


def _export(shop: Workshop, what: str, make: Make) -> tuple[str, float]:
    """Export; return "bundle" or why there is none, and the seconds it took."""
    print(f"sabotage: {what}", file=sys.stderr)
    recipe = shop.folder / "recipe.toml"
    recipe.write_text(as_toml(make(shop)))
    start = time.perf_counter()
    try:
        export_bundle(recipe, shop.folder / "out")
    except SuspicionError as error:
        print(f"  {error}", file=sys.stderr)
        return error.cause, time.perf_counter() - start
    except FoveateError as error:
        return str(error), time.perf_counter() - start
    return "bundle", time.perf_counter() - start


def as_toml(setup: Setup) -> str:
    """Return a recipe; values of TOML and JSON are written alike."""
    lines = ['name = "sabotage"', 'version = "1"']
    tables = {"semantic": setup.semantic, "instance": setup.instance}
    for name, table in tables.items():
        if table is not None:
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    lines += ["[regions]", "min_area_px = 500", "pad_px = 24"]
    lines += ["[calibration]", f"frames = {CALIBRATED}", 'method = "minmax"']
    lines += [f"recordings = [{{ source = {json.dumps(str(setup.calibration))} }}]"]
    lines += ["[heldout]", f"frames = {SEEDS * FRAMES}", f"folder = {json.dumps(str(setup.heldout))}"]
    return "\n".join(lines) + "\n"


def _dark(shop: Workshop) -> str:
    dark_frames(shop.folder / "dark", CALIBRATED, shop.seed)
    return "dark"


def _other(shop: Workshop) -> str:
    other_frames(shop.folder / "other", CALIBRATED, shop.seed)
    return "other"


def _real() -> list[tuple[str, Make]]:
    """Return honest exports of real networks, if their files are here."""
    with contextlib.suppress(FoveateError):
        data = data_folder()
        return [("DeepLab v3 VOC on people", partial(_deeplab, data)), ("YOLOv8n-seg on people", partial(_yolo, data))]
    return []


def _deeplab(data: Path, shop: Workshop) -> Setup:
    calibration, heldout = people(data, shop.folder / "people")
    model = str(data / "weights" / "deeplabv3_voc_257.onnx")
    return Setup(
        {"model": model, "head": "logits", "classes": VOC, "mean": 0.5, "std": 0.5}, None, calibration, heldout
    )


def _yolo(data: Path, shop: Workshop) -> Setup:
    calibration, heldout = people(data, shop.folder / "people")
    return Setup(None, {"model": str(data / "weights" / "yolov8n-seg_320.onnx"), "head": "yolo"}, calibration, heldout)
