"""What the belt's ONNX files reach on the validation seeds, decoded and judged as the run time would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime as ort

from edge.bundle import Head
from edge.config import load_config
from edge.see.centers import decode_centers
from edge.see.instances import distinct, to_frame
from edge.see.packing import fill_canvas, pack
from edge.see.select import joined, select
from edge.types import Instances, Looks
from examples.belt.belt import Belt
from examples.belt.networks import CANVAS
from examples.belt.scene import DEFECTS, HEIGHT, KINDS, VALIDATION_SEEDS, WIDTH, PartInfo, Truth, View
from examples.belt.training_data import FILL, LABEL_CELL, Array, semantic_pair
from examples.belt.truth import boxes_of

HEAD: Final = Head(family="centers", label_stride=2, offset_px=1.0, score=0.3)
"""How the outputs are read; ``score`` is the least probability of a centre."""
_GATE: Final = load_config(Path(__file__).with_name("config.toml")).gates[0]
FLAG_PX: Final = np.array([_GATE.defects[name].min_area_px for name in DEFECTS])
"""A look flags a part with a defect when at least this many frame pixels of it vote for the part, by defect class."""
PAD_PX: Final = 16
"""Frame pixels around a cluster of parts."""
_PEAKS: Final = 64
_SAME_IOU: Final = 0.5
_SIZES: Final = {"large": 122, "medium": 95, "small": 0}
"""Least longest side of a part's visible box, px."""
_BURST: Final = (5, 9)
"""Looks at the same stretch of belt, and frames between them."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One part in one look."""

    size: str
    kind: int
    found: int
    """Class that was found, 0 when the part was missed."""
    iou: float
    true: frozenset[int]
    defects_px: Array
    """(4,) frame px of every defect class."""

    @property
    def flags(self) -> frozenset[int]:
        """Defect classes that this look alone sees."""
        return frozenset((np.flatnonzero(self.defects_px >= FLAG_PX) + 1).tolist())


@dataclass(slots=True)
class Score:
    """What was counted so far."""

    confusion: Array = field(default_factory=lambda: np.zeros((len(KINDS) + 1,) * 2, np.int64))
    parts: dict[tuple[int, int], list[Looked]] = field(default_factory=lambda: defaultdict(list))
    """(seed, part id) -> its looks."""
    false: int = 0
    """Objects found where no part is."""


def validate(folder: Path, *, quick: bool = False) -> None:
    """Print what the two ONNX files in a folder reach."""
    semantic, instance = (_session(folder / f"{name}.onnx") for name in ("semantic", "instance"))
    score = Score()
    for seed in VALIDATION_SEEDS[: 3 if quick else 10]:
        for view in _bursts(seed, 2 if quick else 4):
            _judge_semantic(semantic, view, score)
            _judge_instances(instance, view, score, seed)
    report(score)


def _session(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _bursts(seed: int, bursts: int) -> Iterator[View]:
    """Yield several looks at each of several stretches of belt."""
    belt = Belt(seed)
    looks, gap = _BURST
    for _ in range(bursts):
        belt.skip(140)
        for _ in range(looks):
            belt.skip(gap - 1)
            yield belt.step(truth=True)


def network_input(image: Array) -> Array:
    """Turn (h, w, 3) uint8 BGR into (1, 3, h, w) float32 0..1."""
    planes: Array = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
    return planes / 255


def _judge_semantic(session: Any, view: View, score: Score) -> None:
    small, truth = semantic_pair(view)
    padded = cv2.copyMakeBorder(small, 0, 2, 0, 0, cv2.BORDER_CONSTANT, value=(FILL,) * 3)
    said = session.run(None, {"image": network_input(np.asarray(padded))})[0][0].argmax(axis=0)[: truth.shape[0]]
    score.confusion += np.bincount(5 * truth.ravel() + said.ravel(), minlength=25).reshape(5, 5)


def clusters(truth: Truth, boxes: Mapping[int, Array]) -> Array:
    """Return (n, 4) crops: every cluster of touching parts that fits a canvas, else its parts one by one."""
    small = truth.semantic[LABEL_CELL // 2 :: LABEL_CELL, LABEL_CELL // 2 :: LABEL_CELL]
    _, _, stats, _ = cv2.connectedComponentsWithStats((small > 0).view(np.uint8), connectivity=8)
    spots = np.concatenate((stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]), axis=1) * LABEL_CELL
    fits = (spots[:, 2:] - spots[:, :2]).max(axis=1, initial=0) <= CANVAS - 2 * PAD_PX
    whole = spots[fits]
    rest = [box for box in boxes.values() if not _covered(box, whole)]
    every = np.concatenate((whole, np.reshape(rest, (-1, 4)))) + np.array((-PAD_PX, -PAD_PX, PAD_PX, PAD_PX))
    crops: Array = np.clip(every, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT)).astype(np.int32)
    return crops


def _covered(box: Array, crops: Array) -> bool:
    slack = LABEL_CELL
    inside = (box[:2] >= crops[:, :2] - slack).all(axis=1) & (box[2:] <= crops[:, 2:] + slack).all(axis=1)
    return bool(inside.any())


def look(session: Any, image: Array, crops: Array) -> Instances:
    """Return what the network finds whole in crops (n, 4) of a frame."""
    looks, _ = pack(crops, (CANVAS, CANVAS), len(crops))
    canvas = np.empty((CANVAS, CANVAS, 3), np.uint8)
    found = []
    for index in range(int(looks.canvases.max()) + 1 if len(looks) else 0):
        fill_canvas(canvas, [image], looks, index, FILL)
        found.append(_decode(session, canvas, looks, np.flatnonzero(looks.canvases == index)))
    seen = distinct(joined(found, len(DEFECTS)))
    return select(seen, np.flatnonzero(seen.whole))


def _decode(session: Any, canvas: Array, looks: Looks, here: Array) -> Instances:
    heat, offsets, logits, defects = session.run(None, {"image": network_input(canvas)})
    outputs = {
        "peaks": peaks_of(heat[0, 0]),
        "labels": logits[0].argmax(axis=0).astype(np.uint8),
        "offsets": np.clip(np.round(offsets[0]), -127, 127).astype(np.int8),
        "defects": defects[0].argmax(axis=0).astype(np.uint8),
    }
    found = decode_centers(outputs, looks.places[here], HEAD, HEAD.score, len(DEFECTS))
    return to_frame(found, looks, here, (WIDTH, HEIGHT))


def peaks_of(heat: Array) -> Array:
    """Return (k, 3) int16 for a heatmap (h, w): x, y in canvas pixels and score 0..255 of its maxima, best first."""
    chance = 1 / (1 + np.exp(-heat))
    top = cv2.dilate(chance, np.ones((3, 3), np.uint8))
    best = np.where(chance >= top, chance, 0).ravel()
    order = np.argsort(-best, kind="stable")[:_PEAKS]
    rows, columns = np.unravel_index(order, heat.shape)
    return np.stack((4 * columns + 2, 4 * rows + 2, np.round(255 * best[order])), axis=1).astype(np.int16)


def _judge_instances(session: Any, view: View, score: Score, seed: int) -> None:
    truth = view.truth
    if truth is None:
        return
    boxes = boxes_of(truth.instances)
    found = look(session, view.image, clusters(truth, boxes))
    matched: set[int] = set()
    for part in truth.parts:
        box = boxes.get(part.id)
        if box is None or box[0] <= 0 or box[2] >= WIDTH:
            continue
        best, iou = best_match(found, truth.instances == part.id, box)
        looked = _looked(found, best, iou, part, box)
        score.parts[seed, part.id].append(looked)
        if looked.found:
            matched.add(best)
    score.false += sum(_stray(found, index, truth) for index in range(len(found)) if index not in matched)


def _looked(found: Instances, best: int, iou: float, part: PartInfo, box: Array) -> Looked:
    size = next(name for name, least in _SIZES.items() if (box[2:] - box[:2]).max() >= least)
    true = frozenset(DEFECTS.index(name) + 1 for name in part.defects)
    if iou < _SAME_IOU:
        return Looked(size, KINDS.index(part.kind) + 1, 0, iou, true, np.zeros(len(DEFECTS)))
    return Looked(size, KINDS.index(part.kind) + 1, int(found.classes[best]), iou, true, found.defects_px[best])


def best_match(found: Instances, mask: Array, box: Array) -> tuple[int, float]:
    """Return which object overlaps a part's ``mask`` (1080, 1920) with ``box`` best, and the overlap (IoU)."""
    area = int(np.count_nonzero(mask[box[1] : box[3], box[0] : box[2]]))
    near = (found.boxes[:, :2] < box[2:]).all(axis=1) & (found.boxes[:, 2:] > box[:2]).all(axis=1)
    best, most = -1, 0.0
    for index in np.flatnonzero(near).tolist():
        window, own = _mask(found, index)
        common = int(np.count_nonzero(mask[window] & own))
        iou = common / (area + int(np.count_nonzero(own)) - common)
        if iou > most:
            best, most = index, iou
    return best, most


def _mask(found: Instances, index: int) -> tuple[tuple[slice, slice], Array]:
    """Return where in the frame an object lies and its pixels there."""
    x0, y0, x1, y1 = np.round(found.boxes[index]).astype(int).tolist()
    own = cv2.resize(found.masks[index].view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST) > 0
    top, left = max(0, -y0), max(0, -x0)
    own = own[top : HEIGHT - y0, left : WIDTH - x0]
    return (slice(max(0, y0), min(HEIGHT, y1)), slice(max(0, x0), min(WIDTH, x1))), own


def _stray(found: Instances, index: int, truth: Truth) -> bool:
    """Tell whether an unmatched object is none of a part at the frame's own border."""
    window, own = _mask(found, index)
    under = truth.instances[window][own]
    border = np.concatenate((truth.instances[:, 0], truth.instances[:, -1]))
    return not len(under) or not np.isin(np.bincount(under).argmax(), border[border > 0])


def report(score: Score) -> dict[str, float]:
    """Print all figures and return the ones that matter most."""
    confusion = score.confusion
    overlap = np.diag(confusion) / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion), 1)
    print(f"semantic: mIoU {overlap.mean():.4f}, per class {np.round(overlap, 3).tolist()}")
    looks = [look for looks in score.parts.values() for look in looks]
    figures = {"semantic_miou": float(overlap.mean()), **_instance_figures("all", looks)}
    for size in _SIZES:
        _instance_figures(size, [look for look in looks if look.size == size])
    print(f"objects where no part is: {score.false}")
    figures |= _defect_figures("single look", [(look.true, look.flags) for look in looks])
    _defect_figures("vote of the looks", [voted(looks) for looks in score.parts.values() if len(looks) > 1])
    return figures


def _instance_figures(name: str, looks: list[Looked]) -> dict[str, float]:
    found = [look for look in looks if look.found]
    share, right = len(found) / max(1, len(looks)), sum(look.found == look.kind for look in found) / max(1, len(found))
    mean = float(np.mean([look.iou for look in found])) if found else 0.0
    print(f"parts, {name}: {len(looks)} looks, found {share:.4f}, class right {right:.4f}, mask IoU {mean:.3f}")
    return {"parts_found": share, "class_accuracy": right, "mask_iou": mean}


def voted(looks: list[Looked]) -> tuple[frozenset[int], frozenset[int]]:
    """Return a part's true defects and those that at least half of the looks that found it flag."""
    found = [look for look in looks if look.found]
    flags = [look.flags for look in found]
    counts = {kind: sum(kind in own for own in flags) for kind in range(1, len(DEFECTS) + 1)}
    return looks[0].true, frozenset(kind for kind, count in counts.items() if 2 * count >= max(1, len(flags)))


def _defect_figures(name: str, pairs: list[tuple[frozenset[int], frozenset[int]]]) -> dict[str, float]:
    """Print precision and recall per defect class, and of "this part has a defect"."""
    rows = {kind: [(number in true, number in said) for true, said in pairs] for number, kind in enumerate(DEFECTS, 1)}
    rows["any"] = [(bool(true), bool(said)) for true, said in pairs]
    figures: dict[str, float] = {}
    for kind, row in rows.items():
        hits, true, said = sum(a and b for a, b in row), sum(a for a, _ in row), sum(b for _, b in row)
        precision, recall = hits / max(1, said), hits / max(1, true)
        print(f"defects, {name}, {kind}: {true} of {len(row)}, precision {precision:.4f}, recall {recall:.4f}")
        figures |= {f"{kind}_precision": precision, f"{kind}_recall": recall}
    return figures
