"""Every family that export takes in, exported and decoded by the runtime, against the library's own post-processing.

Each family runs in a process of its own (`parity_worker.py`) in an environment with its libraries (`parity.txt`): a
small network, random weights that make it find things, the library's own exporter or `export.from_torch`, and what the
library's own post-processing says of pictures of the network's size. Here the file goes through `foveate export` in
float32, the bundle is opened as the device opens it, and the same pictures are decoded. Three networks with
trained weights are there too.

Random networks are a harder test of decoding than trained ones: their masks are noise, their scores crowd. They say
nothing about how well anything is seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.common import ROOT, Options, data_folder
from benchmarks.parity_worker import FAMILIES, LIMIT_S, pictures_in
from benchmarks.peers import interpreter
from edge.boxes import overlaps
from edge.bundle import Bundle, Model, open_bundle, read_engine
from edge.engines import Engine, open_engine
from edge.errors import FoveateError
from edge.see.found import Found, thinned
from edge.see.prototypes import decode_prototypes
from edge.see.semantic import SemanticPass
from edge.types import Frame, Image
from export import apart
from export.build import export_bundle

NEEDED: Final = (
    "ultralytics", "rfdetr", "segmentation_models_pytorch", "transformers", "torchvision", "onnxscript", "onnx",
    "onnxruntime", "msgspec", "cv2",
)  # fmt: skip
HOW: Final = (
    "make an environment for them: python -m venv .venv-parity && .venv-parity/bin/pip install -r "
    "benchmarks/parity.txt, then --peers-python .venv-parity/bin/python"
)
PICTURES, QUICK_PICTURES = 12, 4
SIZE: Final = (160, 128)  # width, height
SIZES: Final = {
    "rf_detr_seg": (144, 144),
    "yolov8_seg_trained": (320, 320),
    "logits_trained": (257, 257),
    "argmax_trained": (513, 513),
}

SAME_IOU = 0.5  # boxes of one class that overlap more are the same object
THREADS = 2

Masks: TypeAlias = npt.NDArray[np.bool_]


def run(options: Options) -> dict[str, Any]:
    """Return how far each family agrees: labels, or boxes, scores and masks."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for family, folder in exported(options, Path(name)):
            agreement = compared(folder)
            figures |= {f"{family}_{key}": value for key, value in agreement.items()}
    return {"families": len(FAMILIES), "pictures": QUICK_PICTURES if options.quick else PICTURES} | figures


def exported(options: Options, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each family and its folder, with `model.onnx`, `own.npz`, a link `pictures`, and the bundle `bundle`."""
    data = data_folder()
    peers = interpreter(options.peers_python, NEEDED, HOW)
    apart.SECONDS = LIMIT_S  # the clock's limit is for hostile files; that of the processor stays
    for family in FAMILIES:
        place = folder / family
        place.mkdir()
        pictures = _pictures(data, folder, SIZES.get(family, SIZE), quick=options.quick)
        (place / "pictures").symlink_to(pictures)
        _ask(peers, [family, str(options.seed), str(pictures), str(place), str(data / "weights")])
        export_bundle(_recipe(place), place / "bundle")
        yield family, place


def _pictures(data: Path, folder: Path, size: tuple[int, int], *, quick: bool) -> Path:
    """Return a folder of pictures of `size`: people in streets, spread over the set."""
    made = folder / "x".join(map(str, size))
    if not made.exists():
        made.mkdir()
        files = sorted((data / "penn-fudan" / "images").glob("*"))
        count = QUICK_PICTURES if quick else PICTURES
        for number, path in enumerate(files[:: max(1, len(files) // count)][:count]):
            image = np.asarray(cv2.imread(str(path)), np.uint8)
            cv2.imwrite(str(made / f"{number:02}.png"), cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return made


def _ask(peers: Path, arguments: list[str]) -> None:
    """Run the worker to its end; raises `FoveateError` with its last words."""
    quiet = {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [str(peers), str(ROOT / "benchmarks" / "parity_worker.py"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env={**os.environ, **quiet}
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise FoveateError(f"parity: {arguments[0]} ended: {said[-1] if said else 'no word why'}")


def _recipe(place: Path) -> Path:
    """Write the shortest recipe that does: what the file says of itself is left out, the head always."""
    with np.load(place / "own.npz") as own:
        role = "semantic" if any(name.startswith("labels") for name in own) else "instance"
    keys = {"model": str(place / "model.onnx"), "precision": ["float32"]}
    keys |= json.loads((place / "keys.json").read_text())
    lines = ['name = "parity"', 'version = "1"', f"[{role}]", *(f"{k} = {json.dumps(v)}" for k, v in keys.items())]
    path = place / "recipe.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def compared(place: Path) -> dict[str, Any]:
    """Return the agreement of the bundle in `place` with what the library said."""
    bundle = open_bundle(place / "bundle")
    images = list(pictures_in(place / "pictures"))
    with np.load(place / "own.npz") as own:
        if "semantic" in bundle.manifest.models:
            return _labels_compared(bundle, images, own)
        return _objects_compared(bundle, images, own)


def _opened(bundle: Bundle, role: Any) -> tuple[Model, Engine]:
    model = bundle.manifest.models[role]
    (file,) = model.engines
    return model, open_engine(read_engine(bundle, file), model, file, THREADS)


def _labels_compared(bundle: Bundle, images: list[Image], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the share of pixels with the same class, in all pictures and in the worst."""
    model, engine = _opened(bundle, "semantic")
    see = SemanticPass(engine, model)
    shares, classes = [], set[int]()
    for number, image in enumerate(images):
        expected = own[f"labels_{number}"]
        labels = see(Frame("parity", number, float(number), image)).classes
        if labels.shape != expected.shape:
            labels = np.asarray(cv2.resize(labels, expected.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        shares.append(float((labels == expected).mean()))
        classes |= set(np.unique(expected).tolist())
    engine.close()
    return {"label_agreement": float(np.mean(shares)), "label_agreement_least": min(shares), "classes": len(classes)}


@dataclass
class Agreement:
    """What came of comparing objects."""

    own: int = 0  # objects of the library that have a mask in their box
    bare: int = 0  # and those without, which the runtime leaves out
    missed: int = 0
    extra: int = 0
    boxes: list[float] = field(default_factory=list)  # IoU of each pair
    scores: list[float] = field(default_factory=list)  # difference
    masks: list[float] = field(default_factory=list)  # IoU

    def add(self, found: Found, boxes: Any, scores: Any, classes: Any, masks: Masks) -> None:
        """Compare one picture: `found` is ours, the others (n, 4), (n,), (n,) and (n, h, w) the library's."""
        there = np.asarray([_cut(mask, box).any() for mask, box in zip(masks, boxes, strict=True)], np.bool_)
        self.bare += int((~there).sum())
        boxes, scores, classes, masks = boxes[there], scores[there], classes[there], masks[there]
        pairs = _pairs(found, boxes, classes)
        self.own += len(boxes)
        self.missed += len(boxes) - len(pairs)
        self.extra += len(found.boxes) - len(pairs)
        for i, j, iou in pairs:
            self.boxes.append(iou)
            self.scores.append(abs(float(found.scores[i] - scores[j])))
            self.masks.append(mask_iou(found.masks[i], thinned(_cut(masks[j], found.boxes[i]))))

    def figures(self) -> dict[str, Any]:
        """Return the figures of all pictures; means over the pairs, and the worst of them."""
        return {
            "objects": self.own,
            "bare": self.bare,
            "missed": self.missed,
            "extra": self.extra,
            "box_iou": float(np.mean(self.boxes)) if self.boxes else 0.0,
            "box_iou_least": min(self.boxes, default=0.0),
            "score_difference_most": max(self.scores, default=0.0),
            "mask_iou": float(np.mean(self.masks)) if self.masks else 0.0,
            "mask_iou_least": min(self.masks, default=0.0),
        }


def _objects_compared(bundle: Bundle, images: list[Image], own: Mapping[str, Any]) -> dict[str, Any]:
    model, engine = _opened(bundle, "instance")
    agreement = Agreement()
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        places = np.asarray([[0, 0, width, height]], np.int32)
        found = decode_prototypes(engine.infer({model.input.name: image}), places, model.head, model.head.score)
        boxes, scores, classes = (own[f"{name}_{number}"] for name in ("boxes", "scores", "classes"))
        masks = np.unpackbits(own[f"masks_{number}"], axis=-1)[..., :width].astype(np.bool_)
        agreement.add(found, boxes, scores, classes, masks)
    engine.close()
    return agreement.figures()


def _pairs(found: Found, boxes: npt.NDArray[np.float32], classes: Any) -> list[tuple[int, int, float]]:
    """Return (ours, theirs, IoU) of boxes of one class, the best first, each in one pair at most."""
    if not len(boxes) or not len(found.boxes):
        return []
    common = overlaps(found.boxes, boxes) * (found.classes[:, None] == classes)
    pairs = []
    for _ in range(min(common.shape)):
        i, j = np.unravel_index(int(common.argmax()), common.shape)
        if common[i, j] <= SAME_IOU:
            break
        pairs.append((int(i), int(j), float(common[i, j])))
        common[i], common[:, j] = 0, 0
    return pairs


def _cut(mask: Masks, box: npt.NDArray[np.float32]) -> Masks:
    """Return the part of a mask (h, w) in a box, of which at least one pixel is taken."""
    x0, y0, x1, y1 = np.round(box).astype(int).tolist()
    return mask[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]


def mask_iou(ours: Masks, theirs: Masks) -> float:
    """Return the IoU of two masks, 1 where both are empty; those of other sizes have nothing in common."""
    if ours.shape != theirs.shape:
        return 0.0
    either = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / either if either else 1.0
