"""YOLOv8n-seg, trained on the belt: parts and defects are classes, as users of such networks label them.

The canvases are those the belt's own instance network learns from; the training itself is done by Ultralytics in the
peers' environment, once for each state of this code, and goes on from weights that were trained on COCO.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import belt_yolo_data, belt_yolo_worker
from benchmarks.belt_yolo_worker import onnx_name
from benchmarks.cascade_belt import CALIBRATION, WIDTHS, Network
from benchmarks.common import ROOT, data_folder
from benchmarks.full_frame import letterbox
from edge.bundle import Bundle
from edge.errors import FoveateError
from examples.belt.demo import HERE, cache_folder
from examples.belt.networks import CANVAS
from examples.belt.scene import DEFECTS, HEIGHT, WIDTH
from examples.belt.training_data import renderer_digest
from export.build import cached_bundle

HEADER: Final = 'name = "belt-yolo"\nversion = "1"\n\n'
SEMANTIC_RECIPE: Final = """[semantic]
model = "{semantic}"
head = "logits"
classes = ["belt", "washer", "nut", "gear", "bracket"]
color = "bgr"
fit = "letterbox"

[regions]
min_area_px = 500
pad_px = 24

"""
FULL_RECIPE: Final = """[instance]
model = "{model}"
head = "yolo"
defects = [{defects}]
score = 0.25
fit = "letterbox"

[calibration]
frames = 24
limit = 60
method = "mse"

"""
EPOCHS: Final = 8


def network(python: Path) -> Network:
    """Return the network, trained with interpreter `python` where that was not done yet."""
    folder = _trained(python)
    names = ", ".join(f'"{name}"' for name in DEFECTS)
    full = FULL_RECIPE.replace("{defects}", names) + CALIBRATION

    def cascade() -> Bundle:
        semantic = SEMANTIC_RECIPE.replace("{semantic}", str(HERE / "semantic.onnx"))
        return _bundle(folder / onnx_name(CANVAS, CANVAS), HEADER + semantic + full)

    return Network(
        cascade, lambda width: _bundle(folder / onnx_name(*letterbox((WIDTH, HEIGHT), width)), HEADER + full)
    )


def _bundle(model: Path, recipe: str) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(recipe.replace("{model}", str(model)))
        return cached_bundle(path, cache_folder())


def _trained(python: Path) -> Path:
    """Return the folder with an ONNX file for every input size."""
    known = data_folder() / "weights" / "yolov8n-seg_320.onnx"
    sizes = [(CANVAS, CANVAS), *(letterbox((WIDTH, HEIGHT), width) for width in WIDTHS)]
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (belt_yolo_data, belt_yolo_worker))
    code += f"{renderer_digest()} {EPOCHS} {sizes}".encode()
    done = cache_folder().parent / "belt-yolo" / hashlib.sha256(code + known.read_bytes()).hexdigest()[:16]
    if done.exists():
        return done
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=done.parent) as folder:
        data, out = belt_yolo_data.write_canvases(Path(folder)), Path(folder) / "networks"
        out.mkdir()
        command = [str(python), "-m", "benchmarks.belt_yolo_worker", str(data), str(EPOCHS), str(known), str(out)]
        command += [f"{width}x{height}" for width, height in sizes]
        ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if ended.returncode:
            said = (ended.stderr or ended.stdout).strip().splitlines()
            raise FoveateError(
                f"belt_yolo: training ended with exit code {ended.returncode}: {said[-1] if said else 'no word why'}"
            )
        out.rename(done)
    return done
