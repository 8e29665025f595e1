"""The frames that calibration looks at: chosen from the recordings, named, and hashed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import msgspec

from calibration.likeness import FAR_LEVELS, Looks, foreign_share, is_flat, look
from calibration.recordings import Place, Progress, choose_frames, read_frames
from calibration.strata import Described, described, in_turn, strata
from edge.bundle import Role
from edge.config import Camera
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError
from edge.threads import available_cores
from edge.types import Image
from export.candidate import Candidate
from export.cascade import Cascade
from export.errors import SuspicionError
from export.recipe import Calibration, Recipe

PER_CHOSEN = 2  # frames that are described for each one that is chosen
MOST_BAD = 0.5  # share of frames, flat ones or foreign ones, above which a set is a mistake
FILE = "calibration.json"
WIDTH, QUALITY = 240, 80  # of a frame in the report: pixels, JPEG


class Chosen(msgspec.Struct, frozen=True):
    """One frame that calibration looks at, as it is listed."""

    recording: str
    frame: int
    sha256: str  # of its pixels: h x w x 3 bytes, BGR
    light: float  # mean grey level
    product: str  # class that most of what is in it is of
    occupancy: float  # share of its pixels that are of a class


@dataclass(frozen=True)
class Looked:
    """One frame that was looked at for choosing."""

    place: Place
    entry: Chosen
    shown: Described
    look: Looks
    flat: bool  # black or constant
    picture: bytes  # a small JPEG

    @property
    def caption(self) -> str:
        """Return what people want to know of it; recordings are counted from 1."""
        one = self.entry
        shown = f", {one.occupancy:.1%} covered, mostly {one.product}" if one.product else ""
        return f"{self.place[0] + 1}/{one.frame}: light {one.light:.0f}{shown}"


@dataclass(frozen=True)
class Frames:
    """All frames that calibration looks at, by recording and number."""

    chosen: list[Looked]

    @property
    def places(self) -> list[Place]:
        """Return where they are, in order."""
        return [one.place for one in self.chosen]

    @property
    def sha256(self) -> str:
        """Return the hash of the list, which names all frames and their hashes."""
        return hashlib.sha256(self.document()).hexdigest()

    def document(self) -> bytes:
        """Return the list as JSON."""
        return bytes(msgspec.json.format(msgspec.json.encode([one.entry for one in self.chosen])))


def chosen_frames(
    recipe: Recipe, calibration: Calibration, candidates: Mapping[Role, Candidate], progress: Progress
) -> Frames:
    """Return the frames to calibrate on; a semantic model says what each shows, without one only light counts.

    Raises `ConfigError` where the recordings give nothing when they are read again.
    """
    count, half = calibration.frames, 0.5
    order = choose_frames(
        calibration.recordings, count * PER_CHOSEN, calibration.limit, lambda share: progress(share * half)
    )
    looked: dict[Place, Looked] = {}
    with contextlib.ExitStack() as stack:
        model = _semantic(recipe, candidates, stack)
        for one in _looked(calibration.recordings, sorted(order), model, candidates):
            looked[one.place] = one
            progress(half + half * len(looked) / len(order))
    if not looked:
        raise ConfigError("calibration.recordings: gave no frame when read again; use recordings that stay the same")
    ranked = [looked[place] for place in order if place in looked]  # a recording may be shorter the second time
    taken = in_turn(strata([one.shown for one in ranked]), count)
    return Frames(sorted((ranked[i] for i in taken), key=lambda one: one.place))


def _semantic(recipe: Recipe, candidates: Mapping[Role, Candidate], stack: contextlib.ExitStack) -> Cascade | None:
    found = candidates.get("semantic")
    if found is None:
        return None
    engine = OrtEngine("semantic", found.files[found.native], available_cores())
    stack.callback(engine.close)
    return Cascade({"semantic": engine}, {"semantic": found.model}, recipe.regions)


def _looked(
    recordings: list[Camera], places: list[Place], model: Cascade | None, candidates: Mapping[Role, Candidate]
) -> Iterator[Looked]:
    """Yield what the frames at `places` show."""
    names = candidates["semantic"].model.classes if model is not None else [""]
    for place, image in zip(places, read_frames(recordings, places), strict=False):
        labels = model.label(image) if model is not None else None
        shown = described(image, None if labels is None else labels.classes)
        camera = recordings[place[0]]
        entry = Chosen(
            camera.source or " ".join(camera.command),
            place[1],
            hashlib.sha256(image.tobytes()).hexdigest(),
            round(shown.light, 2),
            names[shown.product] if shown.product else "",
            round(shown.occupancy, 4),
        )
        yield Looked(place, entry, shown, look(image), is_flat(image), _small(image))


def _small(image: Image) -> bytes:
    """Return a small picture of a frame as a JPEG."""
    height = max(1, round(image.shape[0] * WIDTH / image.shape[1]))
    small = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def check_frames(calibration: Calibration, frames: Frames, held: list[Image]) -> None:
    """Raise `SuspicionError` where most of the frames are black or constant, or unlike the `held`-out ones."""
    flat = sum(one.flat for one in frames.chosen)
    if flat > MOST_BAD * len(frames.chosen) and not (held and all(is_flat(image) for image in held)):
        raise SuspicionError(
            "calibration.recordings",
            "black calibration",
            f"{flat} of the {len(frames.chosen)} frames that differ are black or of one grey: the ranges of "
            "activations would be too small; use recordings of what the camera will see",
        )
    if not held or not calibration.like_heldout:
        return
    share, distance = foreign_share([one.look for one in frames.chosen], [look(image) for image in held])
    if share > MOST_BAD:
        raise SuspicionError(
            "calibration.recordings",
            "foreign calibration",
            f"{share:.0%} of the held-out frames are like none of the {len(frames.chosen)} that are calibrated on "
            f"(light, colour and edges are {distance:.0f} levels off in the median, {FAR_LEVELS:g} are usual at the "
            "most); calibrate on recordings of the same place and light, or set calibration.like_heldout = false",
        )
