"""Is every screw there? Twenty real pictures of a block with four places, turned and moved; 80 places, OK or NOK.

By cross-validation: each picture is shown to the daemon itself, as a folder of one, with a network that was trained on
pictures of the other folds. The truth is in the names of the files. Places and limits were set before any picture was
judged: the places are those that the data names, moved and turned as far as it says, and half a screw's head must be
seen.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.common import Options, data_folder
from benchmarks.screw_lessons import RADII, SCREW, read_labelled, there
from edge.bundle import Bundle
from edge.config import Attention, Camera, Config, Presence, RegionRules, corners_of
from edge.daemon import Options as RunOptions
from edge.daemon import serve
from edge.errors import FoveateError
from edge.events import PresenceEvent
from edge.rigid import motion_of
from edge.see.cameras.folder import natural
from edge.types import Image, Moment
from examples.belt.demo import cache_folder
from export.build import cached_bundle

FOLDS: Final = 5
STEPS, QUICK_STEPS = 400, 60
INPUT: Final = (320, 416)  # of the semantic network, width and height
CANVAS: Final = 320
BOXES: Final = {
    "top-left": [(5.0, 69.0), (261.0, 326.0)],
    "top-right": [(305.0, 69.0), (561.0, 326.0)],
    "bottom-left": [(5.0, 429.0), (261.0, 686.0)],
    "bottom-right": [(305.0, 429.0), (561.0, 686.0)],
}
MOVE_PX, TURN_DEG = 100.0, 15.0
LEAST_SHARE: Final = 0.5 * math.pi * RADII[SCREW] ** 2 / (256 * 257)
BY: Final = ("labels", "instances")  # what shows a screw; a rule of this name each
COLUMNS: Final = 5  # of the picture that is drawn
COLORS: Final = {True: (90, 200, 60), False: (60, 60, 235)}
RECIPE: Final = """name = "screws"
version = "1"

[semantic]
model = "{semantic}"
head = "logits"
classes = ["surface", "screw", "hole"]
color = "bgr"
fit = "letterbox"
precision = ["float32"]

[instance]
model = "{instance}"
head = "centers"
classes = ["surface", "screw", "hole"]
color = "bgr"
precision = ["float32"]
score = 0.3
"""
HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture: what is true of its places, and what was told."""

    path: Path
    told: Mapping[str, PresenceEvent]  # by rule

    def errors(self, rule: str) -> list[str]:
        """Return the places that were judged wrongly, each with what was said."""
        said = [name not in self.told[rule].missing for name in BOXES]
        pairs = zip(BOXES, there(self.path), said, strict=True)
        return [
            f"{self.path.stem} {name}: {'OK, is missing' if seen else 'NOK, is there'} "
            f"(share {self.told[rule].shares[name]:.3f})"
            for name, true, seen in pairs
            if true != seen
        ]


def run(options: Options) -> dict[str, Any]:
    """Return how many of 80 places were judged rightly, by either model, and which were not."""
    data = data_folder() / "screw-presence"
    if not data.is_dir():
        raise FoveateError(f"screws: there is no folder {data}; this benchmark needs its pictures")
    started = time.monotonic()
    pictures = sorted(data.glob("*.jpg"), key=natural)
    bundles = [_bundle(pictures, fold, quick=options.quick) for fold in range(FOLDS)]
    made_s = time.monotonic() - started
    judged = [_judged(bundles[i % FOLDS], path) for i, path in enumerate(pictures)]
    if options.plot is not None:
        cv2.imwrite(str(options.plot), sheet(judged))
    figures: dict[str, Any] = {"screws_made_s": made_s, "screws_pictures": len(judged)}
    for rule in BY:
        figures |= _table(judged, rule)
    return figures


def _table(judged: list[Judged], rule: str) -> dict[str, Any]:
    """Return the table of truth against verdict, of places and of whole blocks, and the errors."""
    pairs = [
        (true, name not in each.told[rule].missing)
        for each in judged
        for name, true in zip(BOXES, there(each.path), strict=True)
    ]
    blocks = [(all(there(each.path)), each.told[rule].verdict == "OK") for each in judged]
    figures: dict[str, Any] = {}
    for what, rows in (("place", pairs), ("block", blocks)):
        for true, name in ((True, "there"), (False, "missing")):
            figures |= {
                f"screws_{rule}_{what}_{name}_{'ok' if said else 'nok'}": rows.count((true, said))
                for said in (True, False)
            }
    figures[f"screws_{rule}_errors"] = [error for each in judged for error in each.errors(rule)]
    return figures


def _bundle(pictures: list[Path], fold: int, *, quick: bool) -> Bundle:
    """Return the bundle of the network that has not seen the pictures of `fold`."""
    folder = _trained([path for i, path in enumerate(pictures) if i % FOLDS != fold], quick=quick)
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(RECIPE.format(semantic=folder / "semantic.onnx", instance=folder / "instance.onnx"))
        return cached_bundle(recipe, cache_folder())


def _trained(taught: list[Path], *, quick: bool) -> Path:
    """Return the folder with both ONNX files."""
    code = b"".join((HERE / f"{name}.py").read_bytes() for name in ("screw_net", "screw_lessons"))
    code += f"{[path.name for path in taught]} {INPUT} {CANVAS} {QUICK_STEPS if quick else STEPS}".encode()
    done = cache_folder().parent / "screws" / hashlib.sha256(code).hexdigest()[:16]
    if done.exists():
        return done
    if importlib.util.find_spec("torch") is None:
        raise FoveateError("screws: torch is missing; in the checkout: pip install -e '.[train,bench]'")
    from benchmarks import screw_net  # noqa: PLC0415  needs torch

    net = screw_net.train([read_labelled(path) for path in taught], QUICK_STEPS if quick else STEPS)
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=done.parent) as folder:
        out = Path(folder) / "networks"
        out.mkdir()
        screw_net.write(net, out / "semantic.onnx", INPUT, out / "instance.onnx", CANVAS)
        out.rename(done)
    return done


def _judged(bundle: Bundle, path: Path) -> Judged:
    """Show the daemon one picture."""
    told: dict[str, PresenceEvent] = {}

    def look(moment: Moment) -> None:
        told.update({event.rule: event for event in moment.events if isinstance(event, PresenceEvent)})

    with tempfile.TemporaryDirectory() as name:
        shown = Path(name) / "pictures"
        shown.mkdir()
        (shown / path.name).symlink_to(path)
        serve(site(bundle, Path(name), shown), RunOptions(), watchers=[look])
    return Judged(path, told)


def site(bundle: Bundle, folder: Path, shown: Path) -> Config:
    """Return the site: one camera, and the same places for the semantic and for the instance model."""
    rules = [
        Presence(
            name=by,
            camera="block",
            places=BOXES,
            classes=["screw"],
            empty=["hole"],
            by=by,
            least_share=LEAST_SHARE,
            move_px=MOVE_PX,
            turn_deg=TURN_DEG,
            trigger="frame",
        )
        for by in BY
    ]
    return Config(
        bundle=bundle.path,
        state=folder / "state",
        cameras={"block": Camera(source=str(shown), fps=1.0)},
        regions=RegionRules(pad_px=32),
        attention=Attention(canvases=6),
        presence=rules,
    )


def sheet(judged: list[Judged]) -> Image:
    """Return all pictures with their places and verdicts by labels, half as large."""
    shown = [_drawn(each) for each in judged]
    shown += [np.zeros_like(shown[0])] * (-len(shown) % COLUMNS)
    rows = [np.hstack(shown[i : i + COLUMNS]) for i in range(0, len(shown), COLUMNS)]
    return np.asarray(np.vstack(rows), np.uint8)


def _drawn(each: Judged) -> Image:
    picture, event = read_labelled(each.path).image, each.told["labels"]
    places = [np.asarray(corners_of(box)) for box in BOXES.values()]
    motion = motion_of(places, event.moved)
    for name, box, true in zip(BOXES, places, there(each.path), strict=True):
        corners = np.rint(motion(box)).astype(np.int32)
        said = name not in event.missing
        cv2.polylines(picture, [corners], isClosed=True, color=COLORS[said], thickness=4)
        text = ("OK" if said else "NOK") + ("" if said == true else " WRONG")
        cv2.putText(picture, text, corners[0] + (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.2, COLORS[said], 3)
    cv2.putText(
        picture, f"{each.path.stem}: {event.verdict}", (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3
    )
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
