"""A pit that grows on a ball screw, found in real pictures over days; and a place that wears without one.

The figures of `screws`, screws that are there or missing, come with it.

The spindle was photographed 69 times at two places. The network (`pit_net`) has seen ten pictures of another machine
and the first 20 pictures of either place, none of which shows a pit; all later ones are scored, but the last, which has
no labels. They go through the daemon itself as a folder of pictures at the size of the first: the camera's resolution
changes on the way.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks import screws
from benchmarks.common import Options, data_folder
from benchmarks.pit_lessons import read_labelled, stock
from edge.blobs import blobs_of
from edge.bundle import Bundle
from edge.config import Attention, Camera, Config, Growth
from edge.daemon import Options as RunOptions
from edge.daemon import serve
from edge.errors import FoveateError
from edge.events import GrowthEvent
from edge.types import Array, Image, Moment
from examples.belt.demo import cache_folder
from export.build import cached_bundle

TAUGHT: Final = 20  # first pictures of either place, none with a pit, that the network has seen
LAST: Final = 68  # picture without labels, left out
SIZE: Final = (1130, 460)  # of the first pictures, width and height
INPUT: Final = (1152, 480)  # of the semantic network
CANVAS: Final = 320
STEPS, QUICK_STEPS = 1500, 150
LATE: Final = 10  # last labelled pictures, in which the pit is large
NEAR: Final = 0.02  # of the frame's sides: how far from a labelled pit an alarm may be
RECIPE: Final = """name = "pits"
version = "1"

[semantic]
model = "{semantic}"
head = "logits"
classes = ["surface", "pit"]
color = "bgr"
precision = ["float32"]

[instance]
model = "{instance}"
head = "centers"
classes = ["surface", "pit"]
color = "bgr"
precision = ["float32"]
score = 0.5
"""
HERE: Final = Path(__file__).parent
Box = tuple[float, float, float, float]


@dataclass
class Place:
    """One place of the spindle: what is known of each picture that is scored, and what was seen."""

    indices: list[int]
    truths: list[Image]  # (h, w) 0 and 1, as labelled
    labels: list[Image] = field(default_factory=list)  # maps of the semantic model, pit or not
    events: list[GrowthEvent] = field(default_factory=list)

    @property
    def true_shares(self) -> Array:
        """Return (n,) what share of each picture is labelled as pit."""
        return np.asarray([truth.mean() for truth in self.truths])


def run(options: Options) -> dict[str, Any]:
    """Return when the growing pit was found, how its area compares with the labels, and every false alarm."""
    data = data_folder() / "ballscrew-pitting"
    if not data.is_dir():
        raise FoveateError(f"defects: there is no folder {data}; this benchmark needs its pictures")
    started = time.monotonic()
    bundle = pit_bundle(data, quick=options.quick)
    figures: dict[str, Any] = {"made_s": time.monotonic() - started}
    grown, worn = (_watched(bundle, data / name) for name in ("wear-A", "wear-none"))
    if options.plot is not None:
        from benchmarks import growth_curve  # noqa: PLC0415  needs matplotlib

        right = [event for event in grown.events if _near(event, grown)]
        pit = _curve(grown, _extent(grown))
        others = {"the rest of it": _curve(grown) - pit, "the place without a pit": _curve(worn)}
        growth_curve.draw(options.plot, grown.indices, pit, grown.true_shares, right, others)
    return figures | _grown_figures(grown) | _worn_figures(worn) | screws.run(replace(options, plot=None))


def pit_bundle(data: Path, *, quick: bool) -> Bundle:
    """Return the bundle of the pit network, trained where that was not done yet."""
    folder = _trained(data, quick=quick)
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(RECIPE.format(semantic=folder / "semantic.onnx", instance=folder / "instance.onnx"))
        return cached_bundle(recipe, cache_folder())


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of one place, in order."""
    with (folder / "sequence.csv").open() as file:
        return [folder / row["file"] for row in csv.DictReader(file)]


def _trained(data: Path, *, quick: bool) -> Path:
    """Return the folder with both ONNX files."""
    code = b"".join((HERE / f"{name}.py").read_bytes() for name in ("pit_net", "pit_lessons"))
    code += f"{TAUGHT} {INPUT} {CANVAS} {STEPS} {QUICK_STEPS if quick else ''}".encode()
    done = cache_folder().parent / "pits" / hashlib.sha256(code).hexdigest()[:16]
    if done.exists():
        return done
    if importlib.util.find_spec("torch") is None:
        raise FoveateError("defects: torch is missing; in the checkout: pip install -e '.[train,bench]'")
    from benchmarks import pit_net  # noqa: PLC0415  needs torch

    labelled = sorted((data / "type1").glob("*.jpg"))
    clean = [path for place in ("wear-A", "wear-none") for path in pictures(data / place)[:TAUGHT]]
    net = pit_net.train(stock(labelled, clean), QUICK_STEPS if quick else STEPS)
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=done.parent) as folder:
        out = Path(folder) / "networks"
        out.mkdir()
        pit_net.write(net, out / "semantic.onnx", INPUT, out / "instance.onnx", CANVAS)
        out.rename(done)
    return done


def _watched(bundle: Bundle, folder: Path) -> Place:
    """Show the daemon the pictures of one place that are scored."""
    chosen = list(enumerate(pictures(folder)))[TAUGHT:LAST]
    read = [read_labelled(path) for _, path in chosen]
    place = Place([index for index, _ in chosen], [mask for _, mask in read])

    def look(moment: Moment) -> None:
        place.labels.append((moment.labels.classes > 0).view(np.uint8).copy())
        place.events += [event for event in moment.events if isinstance(event, GrowthEvent)]

    with tempfile.TemporaryDirectory() as name:
        shown = Path(name) / "pictures"
        shown.mkdir()
        for (index, _), (image, _) in zip(chosen, read, strict=True):
            cv2.imwrite(str(shown / f"{index}.png"), cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA))
        serve(_config(bundle, Path(name), shown), RunOptions(), watchers=[look])
    return place


def _config(bundle: Bundle, folder: Path, shown: Path) -> Config:
    """Return the site: one camera, one rule with its defaults."""
    return Config(
        bundle=bundle.path,
        state=folder / "state",
        cameras={"spindle": Camera(source=str(shown), fps=1.0)},
        attention=Attention(canvases=2),
        growth=[Growth(name="pits", camera="spindle")],
    )


def _curve(place: Place, box: Box = (0.0, 0.0, 1.0, 1.0)) -> Array:
    """Return (n,) what share of each picture is seen as pits in `box`, shares of its sides, and a little round it."""
    x0, y0, x1, y1 = np.asarray(box) + np.asarray([-NEAR, -NEAR, NEAR, NEAR])
    rows, columns = place.labels[0].shape
    window = slice(max(0, round(y0 * rows)), round(y1 * rows)), slice(max(0, round(x0 * columns)), round(x1 * columns))
    return np.asarray([labels[window].sum() / labels.size for labels in place.labels])


def _grown_figures(place: Place) -> dict[str, Any]:
    true, seen = place.true_shares, _curve(place, _extent(place))
    pitted = np.flatnonzero(true > 0)
    told = [event for event in place.events if event.stage != "gone"]
    right = [event for event in told if _near(event, place)]
    shown = [_overlaps(place.labels[i], place.truths[i]) for i in pitted]
    figures: dict[str, Any] = {
        "grown_pictures": len(true),
        "grown_first_labelled": place.indices[int(pitted[0])],
        "grown_labelled": len(pitted),
        "grown_found_in": int(np.sum(shown)),
        "grown_iou": float(np.mean([_iou(place.labels[i], place.truths[i]) for i in pitted])),
        "grown_correlation": float(np.corrcoef(seen[pitted], true[pitted])[0, 1]),
        "grown_area_ratio": float(np.median((seen / true.clip(min=1e-9))[pitted[-LATE:]])),
        "grown_false_persists": sum(event.stage == "persists" for event in told if event not in right),
        "grown_false_grows": sum(event.stage == "grows" for event in told if event not in right),
        "grown_spots_before": _spots(place.labels[: int(pitted[0])]),
    }
    for stage in ("persists", "grows"):
        first = [place.indices[event.frame] for event in right if event.stage == stage][:1]
        figures[f"grown_{stage}_at"] = first[0] if first else None
    return figures


def _extent(place: Place) -> Box:
    """Return round all that is labelled in any picture, as shares of its sides."""
    spots = [np.argwhere(truth)[:, ::-1] / truth.shape[::-1] for truth in place.truths if truth.any()]
    low, high = (end(np.concatenate(spots), axis=0).tolist() for end in (np.min, np.max))
    return (low[0], low[1], high[0], high[1])


def _worn_figures(place: Place) -> dict[str, Any]:
    stages = [event.stage for event in place.events]
    return {
        "worn_pictures": len(place.labels),
        "worn_persists": stages.count("persists"),
        "worn_grows": stages.count("grows"),
        "worn_spots": _spots(place.labels),
        "worn_largest_share": float(_curve(place).max()),
    }


def _spots(labels: Sequence[Image]) -> float:
    """Return how many spots there are per picture."""
    return float(np.mean([len(blobs_of(found)[1]) - 1 for found in labels]))


def _enlarged(labels: Image, truth: Image) -> Image:
    return np.asarray(cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _overlaps(labels: Image, truth: Image) -> bool:
    """Tell whether anything is seen where a pit is labelled, give or take three pixels."""
    wide = np.asarray(cv2.dilate(truth, np.ones((7, 7), np.uint8)), np.uint8)
    return bool((wide & _enlarged(labels, truth)).any())


def _iou(labels: Image, truth: Image) -> float:
    large = _enlarged(labels, truth)
    either = int(np.count_nonzero(large | truth))
    return int(np.count_nonzero(large & truth)) / max(1, either)


def _near(event: GrowthEvent, place: Place) -> bool:
    """Tell whether an event is of a place where any picture is labelled."""
    x0, y0, x1, y1 = event.place
    for truth in place.truths:
        ys, xs = np.nonzero(truth)
        shares = np.stack([xs / truth.shape[1], ys / truth.shape[0]], axis=1)
        inside = (shares >= (x0 - NEAR, y0 - NEAR)) & (shares <= (x1 + NEAR, y1 + NEAR))
        if inside.all(axis=1).any():
            return True
    return False
