"""The instance pass: looks -> canvases -> instances in frame coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge.boxes import CORNERS, areas_of, common_of
from edge.bundle import MOST_CLASSES, Model
from edge.engines import Engine
from edge.errors import EngineError
from edge.see.centers import decode_centers
from edge.see.flaws import laid_on_parts
from edge.see.found import Found
from edge.see.packing import fill_canvas
from edge.see.prototypes import decode_prototypes
from edge.see.select import joined, select
from edge.see.stitching import stitch
from edge.types import Boxes, Image, Instances, Looks
from edge.workers import Workers, results

SURELY_SAME_IOU = 0.7  # two instances of one frame that overlap more are one object, whatever their classes
SAME_IOU = 0.5  # two instances of one frame that overlap more are one object seen in two looks
CONTAINED = 0.8  # or when one lies in the other by this share of its own box
NEAR = 0.25  # and their centres are nearer than this, in sides of a square like the smaller one
MOST_INSTANCES = 1000  # of one frame, the surest: bounded state, and what compares all with all takes bounded time
CUT_PX = 2.0  # canvas pixels from the edge of its crop within which an object counts as cut


class InstancePass:
    """Runs the instance model on canvases, each in a buffer that lives as long as the process."""

    def __init__(
        self,
        engine: Engine,
        model: Model,
        score: float | None = None,
        workers: Workers[Engine] | None = None,
        *,
        sized: bool = False,
        counted: bool = False,
    ) -> None:
        """`workers` run canvases side by side, `engine` one that comes alone; `score` stands in for the head's.

        `sized` says that lengths and widths of defects are wanted, which a head of family `centers` has; `counted`
        that the number of their spots is.
        """
        self._engine = engine
        self._workers = workers
        self._model = model
        self._score = model.head.score if score is None else score
        self.size = model.input.shape[1], model.input.shape[0]  # width, height of a canvas
        self.shown: list[Image] = []  # the canvases of the last frames, (h, w, 3) uint8 BGR
        self.runs = 0  # inferences so far
        self._sized, self._counted = sized, counted
        self._canvases: list[Image] = []

    def reserve(self, canvases: int) -> None:
        """Make the buffers of so many canvases, the most that there will be at a time."""
        while len(self._canvases) < canvases:
            self._canvases.append(np.full(self._model.input.shape, self._model.fill, np.uint8))

    def __call__(self, images: Sequence[Image], looks: Looks) -> list[Instances]:
        """Return what the instance model sees in `looks`, for each of the frames `images` (h, w, 3), each object once.

        Several frames may share a canvas.
        """
        used = int(looks.canvases.max(initial=-1)) + 1
        self.reserve(used)
        self.shown = self._canvases[:used]
        self.runs += used
        parts: list[list[Instances]] = [[] for _ in images]
        crops: list[list[Boxes]] = [[] for _ in images]  # in which they were found
        rows = [np.flatnonzero(looks.canvases == index) for index in range(used)]

        def job(index: int) -> Callable[[Engine], Found]:
            return lambda engine: self._look(engine, images, looks, index, looks.places[rows[index]])

        for here, get in zip(
            rows, results([job(index) for index in range(used)], self._engine, self._workers), strict=True
        ):
            found, owners = get(), looks.frames[here]
            for frame in np.unique(owners).tolist():
                mine = found if (owners == frame).all() else found.of(owners[found.places] == frame)
                parts[frame].append(to_frame(mine, looks, here, _size(images[frame])))
                crops[frame].append(looks.sources[here[mine.places]].astype(np.float32))
        return [self._objects(*each) for each in zip(parts, crops, map(_size, images), strict=True)]

    def _objects(self, parts: list[Instances], crops: list[Boxes], size: tuple[int, int]) -> Instances:
        """Return the objects of one frame: those that several crops show parts of joined, each once."""
        seen = joined(parts, len(self._model.defects))
        if not len(seen):
            return seen
        kept, parts_end = surest(seen), len(self._model.classes)
        once = distinct(stitch(select(seen, kept), np.concatenate(crops)[kept], size), parts_end)
        counted = self._counted and self._model.head.family == "prototypes"
        return laid_on_parts(once, parts_end, counted=counted)

    def _look(
        self, engine: Engine, images: Sequence[Image], looks: Looks, index: int, places: npt.NDArray[np.int32]
    ) -> Found:
        """Fill canvas `index`, and return what is found in its `places` (n, 4); other threads do others meanwhile."""
        canvas, head = self._canvases[index], self._model.head
        fill_canvas(canvas, images, looks, index, self._model.fill)
        outputs = engine.infer({self._model.input.name: canvas})
        if head.family == "centers":
            asked = {"sized": self._sized, "counted": self._counted}
            found = decode_centers(outputs, places, head, self._score, len(self._model.defects), **asked)
        else:
            found = decode_prototypes(outputs, places, head, self._score, len(self._model.defects))
        named = len(self._model.classes) + len(self._model.defects) * (head.family == "prototypes")
        if found.classes.max(initial=0) >= named:
            raise EngineError(
                f"instance model: gives class {found.classes.max()}, the manifest names {named} "
                "with the background; export the bundle again"
            )
        return found


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def to_frame(found: Found, looks: Looks, here: npt.NDArray[np.int64], size: tuple[int, int]) -> Instances:
    """Map objects of one canvas to a frame of `size` (width, height), and tell which of them their crop cuts.

    `here` (m,) are the looks on that canvas, in the order of `found.places`. An edge of a crop that is the frame's own
    border cuts nothing more than the frame does (AutoFocus' border rule; Najibi et al. 2019, section 3.3).
    """
    look = here[found.places] if len(here) else found.places.astype(np.int64)
    places, sources = looks.places[look].astype(np.float32), looks.sources[look].astype(np.float32)
    unit = 1.0 / looks.scales[look][:, None]
    corner, source = places[:, CORNERS], sources[:, CORNERS]
    return Instances(
        ((found.boxes - corner) * unit + source).astype(np.float32),
        found.scores,
        found.classes,
        ((found.centers - places[:, :2]) * unit + sources[:, :2]).astype(np.float32),
        (found.areas * unit[:, 0] ** 2).astype(np.float32),
        (found.defects * unit**2).astype(np.float32),
        found.masks,
        looks.scales[look],
        ~_cut_by_crop(found.boxes, places, sources, size),
        None if found.flaws is None else (found.flaws * unit[:, None]).astype(np.float32),
        found.flaw_counts,
    )


def _cut_by_crop(
    boxes: npt.NDArray[np.float32],
    places: npt.NDArray[np.float32],
    sources: npt.NDArray[np.float32],
    size: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """Return (n,) whether a box touches an edge of its place that is not the frame's border."""
    low = (boxes[:, :2] <= places[:, :2] + CUT_PX) & (sources[:, :2] > 0)
    high = (boxes[:, 2:] >= places[:, 2:] - CUT_PX) & (sources[:, 2:] < np.asarray(size, np.float32))
    return np.asarray((low | high).any(axis=1))


def surest(instances: Instances) -> npt.NDArray[np.int64]:
    """Return the rows of the `MOST_INSTANCES` with the highest scores, of all where there are no more, in order."""
    if len(instances) <= MOST_INSTANCES:
        return np.arange(len(instances))
    return np.sort(np.argsort(-instances.scores, kind="stable")[:MOST_INSTANCES])


def distinct(instances: Instances, parts: int = MOST_CLASSES) -> Instances:
    """Keep one of several instances of the same object: a whole one, then the sharpest, the largest, the surest.

    Classes from `parts` on are defects; a defect is never the same as the part that it covers.
    """
    if len(instances) < 2:
        return instances
    common = common_of(instances.boxes, instances.boxes)
    if np.count_nonzero(common) <= len(instances):  # each only with itself
        return instances
    rank = np.lexsort((-instances.scores, -instances.areas_px, -np.round(instances.scales, 1), ~instances.whole))
    same = _same_object(instances, common, parts)
    kept: list[int] = []
    for i in rank:
        if not same[i, kept].any():
            kept.append(int(i))
    return select(instances, np.asarray(sorted(kept), np.int64))


def _same_object(instances: Instances, common: npt.NDArray[np.float32], parts: int) -> npt.NDArray[np.bool_]:
    """Return (n, n) whether two instances, whose boxes share `common` (n, n), must be one object."""
    areas, centers = areas_of(instances.boxes), instances.centers
    smaller = np.minimum(areas[:, None], areas)
    iou = common / np.maximum(areas[:, None] + areas - common, 1e-6)
    contained = common / np.maximum(smaller, 1e-6)
    apart_x, apart_y = centers[:, None, 0] - centers[:, 0], centers[:, None, 1] - centers[:, 1]
    nearby = apart_x**2 + apart_y**2 < NEAR**2 * smaller
    same_class = instances.classes[:, None] == instances.classes
    alike = same_class & ((iou > SAME_IOU) | ((contained > CONTAINED) & nearby))
    flawed = instances.classes >= parts
    return np.asarray(((iou > SURELY_SAME_IOU) & (flawed[:, None] == flawed)) | alike)
