"""The files for TensorRT: built by a builder here, and their accuracy against float, FP16's rounding included.

The belt's two networks on frames of test seeds with exact truth; DeepLab v3 (VOC, 257 pixels) and YOLOv8n-seg on
pictures of pedestrians (Penn-Fudan), where only people are judged. Ranges come from other frames. With `--peers-python`
also every family of `benchmarks parity`, agreement with float alone. A GPU is not needed: TensorRT-RTX builds without
one, and onnxruntime runs each file with every FP16 value rounded (`export.half.widened`). What only a GPU can say is
in `make gpu`.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import ROOT, Options, data_folder
from benchmarks.tensorrt_families import families
from calibration.canvases import fill_canvases
from edge.bundle import Role
from edge.threads import available_cores
from edge.types import Image, Instances, Looks
from examples.belt.heldout import write_heldout
from export.candidate import Candidate, candidate
from export.cascade import Cascade, opened
from export.half import widened
from export.heldout import held_frames
from export.metrics import confusion, mask_ap, resized
from export.recipe import HeldOut, Instance, Recipe, Semantic, TensorRtPrecision, load_recipe, sources
from export.tensorrt import MAKERS, Material, material_of

CALIBRATION_SEED = 2000  # of the belt; what is judged is of test seeds
METHOD = "mse"  # of the ranges; nothing is chosen on what is judged
CANVASES = 2  # of a calibration frame
DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu")
PRECISIONS: tuple[TensorRtPrecision, ...] = ("int8", "float16")
PERSON = 15  # of VOC
VOC = [*(str(number) for number in range(PERSON)), "person", *(str(number) for number in range(PERSON + 1, 21))]


@dataclass(frozen=True)
class Scene:
    """Two models and the frames they are calibrated and judged on."""

    name: str
    recipe: Recipe
    calibration: Path
    heldout: Path
    judged: tuple[int, ...] | None = None  # semantic classes; None: all
    whole: bool = False  # the instance model sees whole pictures, not what the float semantic model finds


def run(options: Options) -> dict[str, Any]:
    """Return what was built, and what each precision costs in mean IoU and mask AP."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for scene in (_belt(Path(name), options), _street(Path(name), options)):
            figures |= {f"{scene.name}_{key}": value for key, value in _judged(scene).items()}
        figures |= families(options, Path(name))
    there = [device for device in DEVICES if Path(device).exists()]
    return figures | {"gpu": f"{there[0]}: make gpu runs what needs it" if there else "not run: no device"}


def _belt(folder: Path, options: Options) -> Scene:
    frames, seeds = (2, 1) if options.quick else (4, 6)
    write_heldout(folder / "belt_ranges", [CALIBRATION_SEED], 8 if options.quick else 24)
    write_heldout(folder / "belt", list(range(options.seed, options.seed + seeds)), frames)
    recipe = load_recipe(ROOT / "examples" / "belt" / "recipe.toml")
    return Scene("belt", recipe, folder / "belt_ranges", folder / "belt")


def _street(folder: Path, options: Options) -> Scene:
    """Every second picture is for ranges, so that what is judged is of the same places and of other people."""
    weights = data_folder() / "weights"
    names = sorted(path.stem for path in (data_folder() / "penn-fudan" / "images").glob("*.jpg"))
    count = 8 if options.quick else 48
    chosen = {"ranges": names[0 : 2 * count : 2], "people": names[1 : 2 * count : 2]}
    for part, those in chosen.items():
        _write(folder / part, those)
    recipe = Recipe(
        name="street",
        version="1",
        semantic=Semantic(
            model=weights / "deeplabv3_voc_257.onnx", head="logits", classes=VOC, scale=1 / 127.5, mean=1.0
        ),
        instance=Instance(model=weights / "yolov8n-seg_320.onnx", head="yolo"),
    )
    return Scene("street", recipe, folder / "ranges", folder / "people", (0, PERSON), whole=True)


def _write(folder: Path, names: list[str]) -> None:
    """Lay out pictures and truth as `export/heldout.py` reads them."""
    kinds = {}
    for kind in ("images", "semantic", "instances"):
        (folder / kind).mkdir(parents=True)
    for name in names:
        source = data_folder() / "penn-fudan"
        people = np.asarray(cv2.imread(str(source / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED), np.uint8)
        (folder / "images" / f"{name}.jpg").symlink_to(source / "images" / f"{name}.jpg")
        cv2.imwrite(str(folder / "instances" / f"{name}.png"), people)
        cv2.imwrite(str(folder / "semantic" / f"{name}.png"), np.where(people > 0, PERSON, 0).astype(np.uint8))
        kinds[name] = {str(number): "person" for number in np.unique(people[people > 0]).tolist()}
    (folder / "kinds.json").write_text(json.dumps(kinds))


def _judged(scene: Scene) -> dict[str, Any]:
    """Return all figures of one scene."""
    candidates = {role: candidate(role, source) for role, source in sources(scene.recipe).items()}
    with contextlib.ExitStack() as stack:
        floats = _cascade(scene, candidates, {role: one.files["float32"] for role, one in candidates.items()}, stack)
        materials = _materials(scene, candidates, floats)
        cascades, figures = {"float32": floats}, dict[str, Any]()
        for precision in PRECISIONS:
            files, said = _files(candidates, materials, precision)
            rounded = {role: widened(file) for role, file in files.items()}
            cascades[precision] = _cascade(scene, candidates, rounded, stack)
            figures |= said
        return figures | _accuracy(scene, candidates, cascades)


def _cascade(
    scene: Scene, candidates: dict[Role, Candidate], files: dict[Role, bytes], stack: contextlib.ExitStack
) -> Cascade:
    engines = {role: opened(stack, role, file, available_cores()) for role, file in files.items()}
    return Cascade(engines, {role: found.model for role, found in candidates.items()}, scene.recipe.regions)


def _materials(scene: Scene, candidates: dict[Role, Candidate], floats: Cascade) -> dict[Role, Material]:
    """Return what each model is calibrated on, at the looks of the float cascade."""
    pictures: dict[Role, list[Image]] = {"semantic": [], "instance": []}
    for path in sorted((scene.calibration / "images").iterdir()):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        looks = _looks(scene, floats, image)
        if floats.semantic is not None and floats.instance is not None:
            pictures["semantic"].append(floats.semantic.input.copy())
            pictures["instance"] += fill_canvases(image, looks, floats.instance.size, floats.instance_fill)[:CANVASES]
    return {role: material_of(found, pictures[role], METHOD) for role, found in candidates.items()}


def _looks(scene: Scene, floats: Cascade, image: Image) -> Looks:
    """Return where every precision looks: the same places, or a model would be judged by what the other one finds."""
    labels = floats.label(image)  # it fills the input that calibration takes, too
    return floats.looks(image, None if scene.whole else labels)


def _files(
    candidates: dict[Role, Candidate], materials: dict[Role, Material], precision: TensorRtPrecision
) -> tuple[dict[Role, bytes], dict[str, Any]]:
    """Return the files of one precision, and what a builder made of them."""
    files: dict[Role, bytes] = {}
    figures: dict[str, Any] = {}
    for role, found in candidates.items():
        key, begin = f"{role}_{precision}", time.perf_counter()
        made = MAKERS[precision](found, materials[role], f"{key}.onnx")
        files[role] = made.data
        figures[f"{key}_built_by"] = made.tried.builder or "nothing: no builder is installed"
        figures[f"{key}_s"] = time.perf_counter() - begin  # made and built
        figures |= {f"{key}_bytes": len(made.data), f"{key}_plan_bytes": made.tried.plan_bytes}
        figures[f"{key}_not_implemented"] = ", ".join(made.floats) or "none"
    return files, figures


def _accuracy(scene: Scene, candidates: dict[Role, Candidate], cascades: dict[str, Cascade]) -> dict[str, float]:
    """Return mean IoU and mask AP of every precision against the truth, and what is lost against float."""
    models = {role: found.model for role, found in candidates.items()}
    classes = len(models["semantic"].classes)
    count, frames = held_frames(HeldOut(folder=scene.heldout, frames=1000), models)
    pixels = {name: np.zeros((classes, classes), np.int64) for name in cascades}
    objects: dict[str, list[tuple[Instances, Instances]]] = {name: [] for name in cascades}
    sizes: list[tuple[int, int]] = []
    for frame in frames():
        if frame.semantic is None or frame.instances is None:
            continue
        sizes.append((frame.image.shape[1], frame.image.shape[0]))
        looks = _looks(scene, cascades["float32"], frame.image)
        for name, cascade in cascades.items():
            result = cascade(frame.image, looks)
            if result.labels is not None and result.instances is not None:
                found = resized(result.labels.classes, frame.semantic.shape)
                pixels[name] += confusion(frame.semantic, found, classes)
                objects[name].append((frame.instances, result.instances))
    figures: dict[str, float] = {"frames": float(count)}
    for name in cascades:
        figures[f"{name}_miou"] = _miou(pixels[name], scene.judged)
        figures[f"{name}_mask_ap"] = mask_ap(objects[name], sizes, models["instance"].classes)["ap"]
    for name in PRECISIONS:
        for key in ("miou", "mask_ap"):
            figures[f"{name}_{key}_lost"] = figures[f"float32_{key}"] - figures[f"{name}_{key}"]
    return figures


def _miou(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], judged: tuple[int, ...] | None) -> float:
    """Return the mean IoU of the classes `judged`, by default of all that the truth has."""
    both = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    chosen = np.flatnonzero(counts.sum(axis=1)) if judged is None else np.asarray(judged)
    return float((both[chosen] / either[chosen]).mean())
