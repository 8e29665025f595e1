"""Held-out frames, with truth where a folder has it.

A folder with truth::

    images/NAME.png       the frame; png or jpg
    semantic/NAME.png     uint8 (h, w): class number as in the manifest (0 = background), 255 = not judged
    instances/NAME.png    uint8 or uint16 (h, w): number of the object, 0 = none
    kinds.json            {"NAME": {"1": "bolt", "2": "nut"}}: class of every object; not needed for one class
    defects/NAME.png      uint8 (h, w): defect class, counted from 1 as in the manifest, 0 = none

Every folder but ``images`` may be absent; a picture in it is then missing for all frames or for none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

from calibration.recordings import Place, read_frames, spread_frames
from edge.bundle import Model, Role
from edge.errors import ConfigError
from edge.types import Array, Image, Instances
from export.metrics import IGNORED
from export.recipe import HeldOut

SUFFIXES = (".png", ".jpg", ".jpeg")
SETTING = "heldout.folder"


@dataclass(frozen=True)
class HeldFrame:
    """One frame and what is known of it."""

    name: str
    image: Image
    semantic: Image | None = None  # (h, w) uint8
    instances: Instances | None = None  # scores are 1


def held_frames(heldout: HeldOut, models: Mapping[Role, Model]) -> tuple[int, Callable[[], Iterator[HeldFrame]]]:
    """Return how many held-out frames there are, and a function that reads them one by one.

    Raises `ConfigError` where the folder is not laid out as described above.
    """
    if heldout.folder is None:
        places = spread_frames(heldout.recordings, heldout.frames, heldout.limit)
        return len(places), lambda: _recorded(heldout, places)
    folder = heldout.folder
    pictures = sorted(path for path in _listed(folder / "images") if path.suffix.lower() in SUFFIXES)
    if not pictures:
        raise ConfigError(f"{SETTING}: no png or jpg in {folder / 'images'}; put the held-out frames there")
    chosen = np.linspace(0, len(pictures) - 1, min(heldout.frames, len(pictures))).round().astype(int)
    kinds = _kinds(folder)
    return len(chosen), lambda: (_with_truth(pictures[i], folder, kinds, models) for i in chosen.tolist())


def _recorded(heldout: HeldOut, places: list[Place]) -> Iterator[HeldFrame]:
    count = 0
    for (n, i), image in zip(places, read_frames(heldout.recordings, places), strict=False):
        yield HeldFrame(f"{n}-{i:05}", image)
        count += 1
    if count < len(places):
        raise ConfigError(
            f"heldout.recordings: gave {count} frames of the {len(places)} chosen when read again; "
            "use recordings that are the same each time"
        )


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"{SETTING}: {folder} cannot be listed: {error.strerror}; it holds the frames") from error


def _kinds(folder: Path) -> dict[str, dict[int, str]]:
    path = folder / "kinds.json"
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[int, str]])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f'{SETTING}: {path}: {error}; it is {{"NAME": {{"1": "class"}}}}') from error


def _with_truth(
    picture: Path, folder: Path, kinds: dict[str, dict[int, str]], models: Mapping[Role, Model]
) -> HeldFrame:
    image = _read(picture, cv2.IMREAD_COLOR)
    files = {kind: folder / kind / f"{picture.stem}.png" for kind in ("semantic", "instances", "defects")}
    semantic = truth = None
    if "semantic" in models:
        semantic = _numbers(files["semantic"], image, len(models["semantic"].classes), IGNORED)
    model = models.get("instance")
    ids = _map(files["instances"], image) if model is not None else None
    if model is not None and ids is not None:
        defects = _numbers(files["defects"], image, len(model.defects) + 1)
        truth = true_instances(ids, defects, kinds.get(picture.stem, {}), model)
    return HeldFrame(picture.stem, image, semantic, truth)


def _numbers(path: Path, image: Image, classes: int, ignored: int | None = None) -> Image | None:
    """Return a map of class numbers; raises `ConfigError` where it holds one that is no class and not `ignored`."""
    found = _map(path, image)
    if found is None:
        return None
    unknown = found[(found >= classes) & (found != ignored)]
    if unknown.size:
        other = f", or {ignored} where it is not to be judged" if ignored is not None else ""
        raise ConfigError(f"{SETTING}: {path} holds {unknown[0]}; give class numbers, 0 to {classes - 1}{other}")
    return found.astype(np.uint8)


def _map(path: Path, image: Image) -> Array | None:
    if not path.parent.is_dir():
        return None
    found = _read(path, cv2.IMREAD_UNCHANGED)
    if found.ndim != 2 or found.shape != image.shape[:2]:
        raise ConfigError(
            f"{SETTING}: {path} has shape {found.shape}, its frame {image.shape[:2]}; use one grey channel"
        )
    return found


def _read(path: Path, mode: int) -> Array:
    found = cv2.imread(str(path), mode)
    if found is None:
        raise ConfigError(f"{SETTING}: {path} is missing or no picture; every frame needs it")
    return np.asarray(found)


def true_instances(numbers: Array, defects: Array | None, kinds: dict[int, str], model: Model) -> Instances:
    """Return the objects of an id map (h, w) as `Instances`; masks are cut to their boxes."""
    ids = [int(i) for i in np.unique(numbers) if i]
    places = [(rows, columns) for i in ids for rows, columns in [np.nonzero(numbers == i)]]
    boxes = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places]
    counts = np.zeros((len(ids), len(model.defects)), np.float32)
    if defects is not None:
        for row, (y, x) in zip(counts, places, strict=True):
            row[:] = np.bincount(defects[y, x], minlength=len(row) + 1)[1 : len(row) + 1]
    return Instances(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.ones(len(ids), np.float32),
        np.asarray([_class_number(i, kinds, model) for i in ids], np.uint8),
        np.asarray([(x.mean() + 0.5, y.mean() + 0.5) for y, x in places], np.float32).reshape(-1, 2),
        np.asarray([len(y) for y, _ in places], np.float32),
        counts,
        [numbers[y0:y1, x0:x1] == i for i, (x0, y0, x1, y1) in zip(ids, boxes, strict=True)],
        np.ones(len(ids), np.float32),
        np.ones(len(ids), np.bool_),
    )


def _class_number(number: int, kinds: dict[int, str], model: Model) -> int:
    kind = kinds.get(number)
    if kind is None and not kinds and len(model.classes) == 2:
        return 1
    if kind not in model.classes:
        known = ", ".join(model.classes[1:])
        raise ConfigError(f"{SETTING}: kinds.json gives object {number} class {kind!r}; the model has {known}")
    return model.classes.index(kind)
