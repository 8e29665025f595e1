"""Training pictures: frames rendered once, cut to compact windows, and put together anew for every step.

A window is (h, w, 5) uint8: BGR, owner code, defect class. The owner code is 0 where no part is, else
1 + 4 * number + (kind - 1) with the part's number in its window; the pixels of a chip have their part's code.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from examples.belt import scene
from examples.belt.belt import Belt
from examples.belt.defects import CHIP
from examples.belt.networks import CANVAS
from examples.belt.scene import DEFECTS, HEIGHT, KINDS, MIN_DEFECT_PX, WIDTH, Ids, Image, Labels, Truth, View
from examples.belt.truth import boxes_of

Array: TypeAlias = NDArray[Any]

FILL: Final = 114
"""Grey of what is no frame: canvas gutters, padding."""
MARGIN: Final = 32
"""Frame pixels that a window has around its parts."""
REDUCTION: Final = 4
"""Frame pixels per pixel of the semantic input."""
LABEL_CELL: Final = 8
"""Frame pixels per label of the semantic output."""
GAP_FRAMES: Final = 150
"""Frames between two training frames of a seed: most parts are new."""
_PADDING: Final = (6, 27)
"""Frame pixels kept around a part's box, at random per side."""
_GUTTER: Final = (8, 14)
_LARGEST: Final = 300
"""Longest side of a group of parts, frame px."""
_SMALLEST: Final = 24
"""Shortest side of a crop, frame px."""
_DEFECTIVE_SHARE: Final = 0.5
_CROWDED: Final = 4
"""Good parts of a frame that are kept for having the most neighbours."""
_OTHERS: Final = 4
"""Good parts of a frame that are kept beside those, at random."""
_OWN_MODULES: Final = frozenset(
    f"{name}.py"
    for name in (
        "train",
        "losses",
        "networks",
        "validation",
        "demo",
        "live",
        "score",
        "heldout",
        "stream",
        "picture",
        "golden",
        "truth",
    )
)


@dataclass(frozen=True, slots=True)
class Stock:
    """What is drawn from: windows of parts for the instance net, whole small frames for the semantic net."""

    plain: list[Array]
    flawed: tuple[list[Array], ...]
    """Windows with a defective part, by defect class; those with two defects are in two lists."""
    frames: Image
    """(n, 270, 480, 3)."""
    labels: Labels
    """(n, 135, 240)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """One training canvas."""

    image: Image
    """(320, 320, 3)."""
    codes: Ids
    """(320, 320) owner codes, numbers unique on the canvas."""
    defects: Labels
    """(320, 320)."""


def stock(seeds: Sequence[int], frames: int, workers: int = 2) -> Stock:
    """Return the windows of the seeds, rendered now or found in the system's temporary folder."""
    folder = Path(tempfile.gettempdir()) / f"foveate-belt-{renderer_digest()}-{frames}"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(partial(_render_file, folder=folder, frames=frames), seeds))
    plain: list[Array] = []
    flawed: tuple[list[Array], ...] = tuple([] for _ in DEFECTS)
    pictures, labels = [], []
    for file in files:
        with np.load(file) as kept:
            pictures.append(kept["pictures"])
            labels.append(kept["labels"])
            plain += [kept[name] for name in kept.files if name.startswith("plain")]
            for window in (kept[name] for name in kept.files if name.startswith("flawed")):
                for kind in range(1, len(DEFECTS) + 1):
                    if np.count_nonzero(window[..., 4] == kind) >= MIN_DEFECT_PX:
                        flawed[kind - 1].append(window)
    return Stock(plain, flawed, np.concatenate(pictures), np.concatenate(labels))


def renderer_digest() -> str:
    """Return what changes when the pictures may have changed."""
    modules = sorted(path for path in Path(scene.__file__).parent.glob("*.py") if path.name not in _OWN_MODULES)
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()[:12]


def _render_file(seed: int, folder: Path, frames: int) -> Path:
    path = folder / f"{seed}.npz"
    if path.exists():
        return path
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, frames))
    belt = Belt(seed)
    belt.skip(int(rng.integers(60, 60 + GAP_FRAMES)))
    arrays: dict[str, Array] = {}
    pairs = []
    for index in range(frames):
        view = belt.step(truth=True)
        belt.skip(GAP_FRAMES + int(rng.integers(-20, 20)))
        pairs.append(semantic_pair(view))
        for number, (flawed, window) in enumerate(_windows(view, rng)):
            arrays[f"{'flawed' if flawed else 'plain'}{index}_{number}"] = window
    arrays["pictures"], arrays["labels"] = (np.stack(part) for part in zip(*pairs, strict=True))
    scratch = path.with_suffix(".part.npz")
    np.savez(scratch, **arrays)  # type: ignore[arg-type]
    scratch.replace(path)
    return path


def _known(view: View) -> Truth:
    if view.truth is None:
        raise ValueError("the view has no truth; call step(truth=True)")
    return view.truth


def semantic_pair(view: View) -> tuple[Image, Labels]:
    """Return the frame at quarter scale (270, 480, 3) and the most frequent class of every 8x8 pixels (135, 240)."""
    small = cv2.resize(view.image, (WIDTH // REDUCTION, HEIGHT // REDUCTION), interpolation=cv2.INTER_AREA)
    semantic = _known(view).semantic
    size = (WIDTH // LABEL_CELL, HEIGHT // LABEL_CELL)
    shares = [
        cv2.resize((semantic == kind).view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
        for kind in range(len(KINDS) + 1)
    ]
    return np.asarray(small, np.uint8), np.argmax(np.stack(shares), axis=0).astype(np.uint8)


def owners(truth: Truth) -> Ids:
    """Return the instance map with the pixels of every chip given to the part that misses them."""
    ids: Ids = truth.instances.copy()
    chipped = [part.id for part in truth.parts if "chip" in part.defects]
    count, spots, stats, _ = cv2.connectedComponentsWithStats((truth.defects == CHIP).view(np.uint8), connectivity=8)
    for spot in range(1, count):
        x, y, width, height = (int(value) for value in stats[spot, :4])
        window = (slice(max(0, y - 2), y + height + 2), slice(max(0, x - 2), x + width + 2))
        mine = (spots[window] == spot).view(np.uint8)
        around = truth.instances[window][cv2.dilate(mine, np.ones((5, 5), np.uint8)) > 0]
        near = around[np.isin(around, chipped)]
        if len(near):
            ids[window][mine > 0] = np.bincount(near).argmax()
    return ids


def _windows(view: View, rng: Generator) -> list[tuple[bool, Array]]:
    """Cut a frame: every defective part, good ones (those in a crowd first), groups, tiles and bare belt."""
    truth = _known(view)
    ids = owners(truth)
    boxes = boxes_of(ids)
    flawed = [boxes[part.id] for part in truth.parts if part.defects and part.id in boxes]
    others = [boxes[part.id] for part in truth.parts if not part.defects and part.id in boxes]
    every = flawed + others
    chosen = [(True, _alone_or_paired(rng, box, every)) for box in flawed]
    others.sort(key=lambda box: -_neighbours(box, every))
    rest = rng.permutation(others[_CROWDED:])[:_OTHERS]
    chosen += [(False, box) for box in (*others[:_CROWDED], *rest)]
    groups, tiles = rng.permutation(len(every))[:3], rng.permutation(len(every))[:2]
    chosen += [(False, _group(every[index], every, int(rng.integers(1, 3)))) for index in groups]
    chosen += [(False, _tile(rng, every[index])) for index in tiles]
    corner = rng.integers((0, 0), (WIDTH - 240, HEIGHT - 240))
    chosen.append((False, np.concatenate((corner, corner + rng.integers(40, 200, 2)))))
    kinds = np.zeros(int(ids.max()) + 1, np.uint8)
    kinds[truth.instances] = truth.semantic
    return [(bad, _cut(view.image, ids, kinds, truth.defects, box)) for bad, box in chosen]


def _neighbours(box: Array, every: list[Array]) -> int:
    """Return how many boxes overlap one, itself among them."""
    boxes = np.stack(every)
    return int(np.count_nonzero(((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1)))


def _alone_or_paired(rng: Generator, box: Array, every: list[Array]) -> Array:
    return _group(box, every, 1) if rng.random() < 0.3 else box


def _group(box: Array, every: list[Array], neighbours: int) -> Array:
    """Return the box around a part and its nearest neighbours, as many as fit a canvas."""
    centres = np.array([(other[:2] + other[2:]) / 2 for other in every])
    distance = np.hypot(*(centres - (box[:2] + box[2:]) / 2).T)
    for index in np.argsort(distance, kind="stable")[1 : 1 + neighbours]:
        joined = np.concatenate((np.minimum(box[:2], every[index][:2]), np.maximum(box[2:], every[index][2:])))
        if (joined[2:] - joined[:2]).max() <= _LARGEST:
            box = joined
    return box


def _tile(rng: Generator, box: Array) -> Array:
    """Return an arbitrary piece of the frame near a part; it cuts whatever lies there."""
    size = rng.integers(120, CANVAS - 2 * _PADDING[0], 2)
    corner = (box[:2] + box[2:]) // 2 - rng.integers(0, size)
    return np.concatenate((corner, corner + size))


def _cut(image: Image, ids: Ids, kinds: Labels, defects: Labels, box: Array) -> Array:
    left, top = (max(0, int(value) - MARGIN) for value in box[:2])
    window = (slice(top, int(box[3]) + MARGIN), slice(left, int(box[2]) + MARGIN))
    here = ids[window]
    present, numbers = np.unique(here, return_inverse=True)
    codes = np.where(present > 0, 1 + 4 * (np.arange(len(present)) - (present[0] == 0)) + kinds[present] - 1, 0)
    if codes.max() > 255:
        raise ValueError(f"{len(present)} parts in one window do not fit the owner code; cut smaller windows")
    coded = codes[numbers].reshape(here.shape).astype(np.uint8)
    return np.dstack((image[window], coded, defects[window]))


def compose(kept: Stock, rng: Generator) -> Canvas:
    """Return a canvas of randomly chosen, turned and lit crops, packed on shelves by height as at run time."""
    picture: Array = np.zeros((CANVAS, CANVAS, 5), np.uint8)
    picture[..., :3] = FILL
    codes: Ids = np.zeros((CANVAS, CANVAS), np.uint16)
    crops = sorted((_crop(kept, rng) for _ in range(int(rng.integers(5, 12)))), key=len, reverse=True)
    gutter = int(rng.integers(*_GUTTER))
    x, y, shelf, highest = 0, 0, 0, 0
    for crop in crops:
        height, width = crop.shape[:2]
        if x + width > CANVAS and y + shelf + gutter + height <= CANVAS:
            x, y, shelf = 0, y + shelf + gutter, 0
        if x + width > CANVAS or y + height > CANVAS:
            continue
        place = (slice(y, y + height), slice(x, x + width))
        picture[place] = np.dstack((_exposed(crop[..., :3], rng), crop[..., 3:]))
        codes[place] = np.where(crop[..., 3] > 0, crop[..., 3] + np.uint16(4 * highest), 0)
        highest = max(highest, (int(codes[place].max()) + 3) // 4)
        x, shelf = x + width + gutter, max(shelf, height)
    return Canvas(picture[..., :3], codes, picture[..., 4])


def _crop(kept: Stock, rng: Generator) -> Array:
    """Return one window as a region of the run time would cut it: padded loosely, sometimes scaled down."""
    source = kept.flawed[int(rng.integers(len(DEFECTS)))] if rng.random() < _DEFECTIVE_SHARE else kept.plain
    window = source[int(rng.integers(len(source)))]
    most = np.maximum(0, (np.tile(window.shape[1::-1], 2) - _SMALLEST) // 2)
    left, top, right, bottom = np.minimum(MARGIN - rng.integers(*_PADDING, 4), most).tolist()
    window = window[top : window.shape[0] - bottom, left : window.shape[1] - right]
    scale = float(rng.uniform(0.6, 1.0)) if rng.random() < 0.12 else 1.0
    scale = min(scale, CANVAS / max(window.shape[:2]))
    if scale < 1:
        window = _scaled(window, scale)
    window = np.rot90(window, int(rng.integers(4)))
    return window[:, ::-1] if rng.random() < 0.5 else window


def _scaled(window: Array, scale: float) -> Array:
    size = (max(2, int(window.shape[1] * scale)), max(2, int(window.shape[0] * scale)))
    image = cv2.resize(np.ascontiguousarray(window[..., :3]), size, interpolation=cv2.INTER_AREA)
    truth = [
        cv2.resize(np.ascontiguousarray(window[..., channel]), size, interpolation=cv2.INTER_NEAREST_EXACT)
        for channel in (3, 4)
    ]
    return np.dstack((image, *truth))


def _exposed(image: Image, rng: Generator) -> Image:
    """Vary light, colour cast, focus and noise of a crop a little."""
    if rng.random() < 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.4, 0.8))), np.uint8)
    gain = rng.uniform(0.85, 1.18) * rng.uniform(0.97, 1.03, 3)
    lit = image * gain.astype(np.float32) + np.float32(rng.uniform(-8, 8))
    if rng.random() < 0.4:
        lit += rng.standard_normal(lit.shape, np.float32) * np.float32(rng.uniform(0.5, 3))
    exposed: Image = np.clip(np.round(lit), 0, 255).astype(np.uint8)
    return exposed
