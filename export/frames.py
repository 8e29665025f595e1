"""The frames that calibration looks at: chosen from the recordings, named, and hashed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from calibration.likeness import FAR_LEVELS, Looks, foreign_share, is_flat, look
from calibration.recordings import Place, Progress, choose_frames, read_frames
from calibration.strata import described, in_turn, strata
from edge.bundle import Role
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError
from edge.threads import available_cores
from edge.types import Image
from export.candidate import Candidate
from export.cascade import Cascade
from export.errors import SuspicionError
from export.recipe import Calibration, Recipe

PER_CHOSEN = 2  # frames that are described for each one that is chosen
MOST_BAD = 0.5  # share of frames, flat ones or foreign ones, that makes a set a mistake
FILE = "calibration.json"


class Chosen(msgspec.Struct, frozen=True):
    """One frame that calibration looks at."""

    recording: str
    frame: int
    sha256: str  # of its pixels: h x w x 3 bytes, BGR
    light: float  # mean grey level
    product: str  # class that most of what is in it is of
    occupancy: float  # share of its pixels that are of a class


@dataclass(frozen=True)
class Frames:
    """All frames that calibration looks at, by recording and number."""

    places: list[Place]
    chosen: list[Chosen]
    looks: list[Looks]  # what each is like
    flat: int  # how many are black or constant
    considered: int  # frames that were described

    @property
    def sha256(self) -> str:
        """Return the hash of the list, which names all frames and their hashes."""
        return hashlib.sha256(self.document()).hexdigest()

    def document(self) -> bytes:
        """Return the list as JSON."""
        return bytes(msgspec.json.format(msgspec.json.encode(self.chosen)))


def chosen_frames(
    recipe: Recipe, calibration: Calibration, candidates: Mapping[Role, Candidate], progress: Progress
) -> Frames:
    """Return the frames to calibrate on; a semantic model says what each shows, without one only light counts.

    Raises `ConfigError` where a recording gives fewer frames when it is read again.
    """
    recordings = calibration.recordings
    count = calibration.frames
    most = choose_frames(recordings, count * PER_CHOSEN, calibration.limit, lambda share: progress(share / 2))
    shown, chosen, looks, flat = [], {}, {}, set()
    with contextlib.ExitStack() as stack:
        cascade = _semantic(recipe, candidates, stack)
        names = candidates["semantic"].model.classes if cascade is not None else ["none"]
        for place, image in zip(sorted(most), read_frames(recordings, sorted(most)), strict=False):
            labels = cascade.label(image) if cascade is not None else None
            one = described(image, None if labels is None else labels.classes)
            shown.append(one)
            camera = recordings[place[0]]
            chosen[place] = Chosen(
                camera.source or " ".join(camera.command),
                place[1],
                pixels_sha256(image),
                round(one.light, 2),
                names[one.product] if one.product else "",
                round(one.occupancy, 4),
            )
            looks[place] = look(image)
            if is_flat(image):
                flat.add(place)
            progress(0.5 + len(shown) / len(most) / 2)
    if not shown:
        raise ConfigError("calibration.recordings: gave no frame when read again; use recordings that stay the same")
    groups = dict(zip(chosen, strata(shown), strict=True))
    order = [place for place in most if place in groups]
    places = sorted(order[i] for i in in_turn([groups[place] for place in order], count))
    return Frames(
        places,
        [chosen[place] for place in places],
        [looks[place] for place in places],
        len(flat & set(places)),
        len(shown),
    )


def _semantic(recipe: Recipe, candidates: Mapping[Role, Candidate], stack: contextlib.ExitStack) -> Cascade | None:
    found = candidates.get("semantic")
    if found is None:
        return None
    engine = OrtEngine("semantic", found.files[found.native], available_cores())
    stack.callback(engine.close)
    return Cascade({"semantic": engine}, {"semantic": found.model}, recipe.regions)


def pixels_sha256(image: Image) -> str:
    """Return the hash of a frame's pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def check_frames(calibration: Calibration, frames: Frames, held: list[Image]) -> None:
    """Raise `SuspicionError` where most of the frames are black or constant, or unlike the `held`-out ones."""
    if frames.flat > MOST_BAD * len(frames.places) and not (held and all(is_flat(image) for image in held)):
        raise SuspicionError(
            "calibration.recordings",
            "black calibration",
            f"{frames.flat} of {len(frames.places)} chosen frames are black or of one grey: the ranges of activations "
            "would be too small; use recordings of what the camera will see",
        )
    if not held or not calibration.like_heldout:
        return
    share, distance = foreign_share(frames.looks, [look(image) for image in held])
    if share > MOST_BAD:
        raise SuspicionError(
            "calibration.recordings",
            "foreign calibration",
            f"{share:.0%} of the held-out frames are like none of the {len(frames.places)} that are calibrated on "
            f"(light, colour and edges are {distance:.0f} levels off in the median, {FAR_LEVELS:g} are usual at the "
            "most); calibrate on recordings of the same place and light, or set like_heldout = false",
        )
