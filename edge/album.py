"""Which picture goes with what was decided: the look that shows most of a defect, or the frame of the decision.

What inspectors want is the part in native pixels, nothing drawn over it, with a margin round it. Of a part under a gate
the look with the largest area of the defects that the gate minds is remembered, from its first such look until its
track ends; everything else is cut from the frame in which it was decided.

Pictures are encoded in the loop, before the commit that names them, so their number and size are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edge.boxes import CORNERS
from edge.config import Config
from edge.decide.evidence import SHARPEST
from edge.events import Alert, Count, Event, Verdict
from edge.tell.evidence import Pictures
from edge.tell.ledger import Ledger
from edge.tell.overlay import VERDICTS, outlined
from edge.types import Frame, Image, Moment, Tracks

MOST_PX = 1 << 20  # frame pixels of one picture; a larger one is reduced to so many
MOST_PICTURES = 4  # of one commit
KEPT_BYTES = 16 << 20  # of the looks that are remembered, of each camera
NEWEST = 4096  # events among which those of the last round are


@dataclass(slots=True)
class View:
    """A part of a frame, and the object in it."""

    frame: int
    image: Image  # (h, w, 3)
    box: npt.NDArray[np.float32]  # (4,) of the object, pixels of `image`
    mask: npt.NDArray[np.bool_] | None  # stretched over `box`; None: there are several objects
    area_px: float = 0.0  # frame pixels of the defects that it shows
    track: int = 0  # id; 0: not yet confirmed


@dataclass(slots=True)
class _Desk:
    """What is needed of one camera."""

    defects: list[int]  # columns of `Instances.defects_px` that its gates mind
    looks: dict[int, View] = field(default_factory=dict)  # by key of the track; those that came last are last
    kept_bytes: int = 0


class Sight(Protocol):
    """A frame, and where its tracks are: once it has been looked at, a moment, or before that."""

    @property
    def frame(self) -> Frame: ...  # noqa: D102
    @property
    def tracks(self) -> Tracks: ...  # noqa: D102


class Album:
    """Gives events their pictures. What is remembered of a track dies with it."""

    def __init__(self, config: Config, defects: Sequence[str], pictures: Pictures) -> None:
        """`defects` are the defect classes of the instance model."""
        self._rules = config.evidence
        self._pictures = pictures
        self._desks = {name: _Desk(_minded(config, name, defects)) for name in config.cameras}

    def illustrate(self, events: Iterable[Event], sights: Sequence[Sight] = ()) -> list[Event]:
        """Return `events`, those that are to have a picture with its name; `sights` are the frames that decided them.

        The pictures are in their places after `settle`. At most `MOST_PICTURES` of them are taken.
        """
        now = {sight.frame.camera: sight for sight in sights}
        moments = [sight for sight in sights if isinstance(sight, Moment)]
        for moment in moments:
            self._remember(moment)
        told, left = list[Event](), MOST_PICTURES
        for event in events:
            view = self._view(event, now.get(event.camera))
            if view is None:
                told.append(event)
            elif left:
                left -= 1
                told.append(self._pictured(event, view))
            else:
                self._pictures.left_out += 1
                told.append(event)
        for moment in moments:
            self._forget(self._desks[moment.frame.camera], moment.tracks)
        return told

    def settle(self) -> None:
        """Bring the pictures to their places: the events that name them are committed."""
        self._pictures.settle()

    def report(self) -> dict[str, object]:
        """Return what the state message says of the pictures."""
        return self._pictures.report()

    def _remember(self, moment: Moment) -> None:
        """Keep the looks of this frame that show more of a defect than those before."""
        desk, tracks, instances = self._desks[moment.frame.camera], moment.tracks, moment.instances
        if not desk.defects:
            return
        rows = np.flatnonzero(tracks.instances >= 0)
        found = tracks.instances[rows]
        areas_px = instances.defects_px[found][:, desk.defects].sum(axis=1)
        shown = (areas_px > 0) & (instances.scales[found] >= SHARPEST)
        for row, i, area_px in zip(rows[shown].tolist(), found[shown].tolist(), areas_px[shown].tolist(), strict=True):
            key = int(tracks.keys[row])
            if key not in desk.looks or area_px > desk.looks[key].area_px:
                view = cut(moment, instances.boxes[i], instances.masks[i], self._rules.pad_px)
                if view is not None:
                    view.image, view.area_px = view.image.copy(), area_px
                    _keep(desk, key, view)
        if desk.looks:
            ids = dict(zip(tracks.keys.tolist(), tracks.ids.tolist(), strict=True))
            for key, view in desk.looks.items():
                view.track = ids.get(key, view.track)

    def _forget(self, desk: _Desk, tracks: Tracks) -> None:
        if desk.looks:
            for key in desk.looks.keys() - set(tracks.keys.tolist()):
                desk.kept_bytes -= desk.looks.pop(key).image.nbytes

    def _view(self, event: Event, sight: Sight | None) -> View | None:
        """Return what is to be shown of `event`; None where there is nothing, or it is to have no picture."""
        match event:
            case Verdict() if event.verdict in self._rules.verdicts:
                looks = self._desks[event.camera].looks.values()
                best = next((view for view in looks if view.track == event.track), None)
                return best or self._present(sight, [event.track])
            case Count() if event.counter.split("/")[0] in self._rules.lines:
                return self._present(sight, [event.track])
            case Alert() if event.alarm and event.rule in self._rules.rules:
                return self._present(sight, event.tracks)
            case _:
                return None

    def _present(self, sight: Sight | None, ids: Sequence[int]) -> View | None:
        """Return the part of the present frame in which the tracks `ids` are; None where none of them is in sight."""
        if sight is None:
            return None
        rows = np.flatnonzero(np.isin(sight.tracks.ids, ids))
        if not len(rows):
            return None
        boxes = sight.tracks.boxes[rows]
        box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
        view = cut(sight, box, sight.tracks.masks[rows[0]] if len(rows) == 1 else None, self._rules.pad_px)
        if view is not None:
            view.track = int(sight.tracks.ids[rows[0]])
        return view

    def _pictured(self, event: Event, view: View) -> Event:
        """Return `event` with the name of its picture, which is written; as it was where that cannot be."""
        drawn = self._drawn(view, event) if self._rules.outline else view.image
        name = self._pictures.write(f"{event.camera}-{view.frame}-{view.track}", drawn)
        return msgspec.structs.replace(event, picture=name)

    def _drawn(self, view: View, event: Event) -> Image:
        """Return the picture (h, 2 w, 3) plain, and beside it with the outline of the object."""
        color = VERDICTS[event.verdict] if isinstance(event, Verdict) else (255, 255, 255)
        second = view.image.copy()
        outlined(second, view.box, view.mask, color)
        return np.hstack([view.image, second])


def open_album(config: Config, defects: Sequence[str], ledger: Ledger, folder: Path | None) -> Album:
    """Return what has the pictures, in `folder` or nowhere, once it is settled what a kill has left there."""
    pictures = Pictures(folder, config.evidence, config.ledger.max_mib)
    pictures.open(lambda: ledger.outbox.newest(NEWEST))
    return Album(config, defects, pictures)


def cut(sight: Sight, box: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None, pad_px: int) -> View | None:
    """Return the part of a frame round `box` (4,), reduced where it is large; None where it is outside."""
    image = sight.frame.image
    height, width = image.shape[:2]
    x0, y0 = np.maximum(np.floor(box[:2]).astype(int) - pad_px, 0).tolist()
    x1, y1 = np.minimum(np.ceil(box[2:]).astype(int) + pad_px, (width, height)).tolist()
    if x1 <= x0 or y1 <= y0:
        return None
    part, inside = image[y0:y1, x0:x1], box - np.asarray([x0, y0], np.float32)[CORNERS]
    pixels = (x1 - x0) * (y1 - y0)
    if pixels > MOST_PX:
        scale = math.sqrt(MOST_PX / pixels)
        size = max(1, int((x1 - x0) * scale)), max(1, int((y1 - y0) * scale))
        part, inside = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8), inside * scale
    return View(sight.frame.index, part, inside.astype(np.float32), mask)


def _minded(config: Config, camera: str, defects: Sequence[str]) -> list[int]:
    """Return which of `defects` the gates of a camera mind, as their numbers; none where no verdict has a picture."""
    if not config.evidence.verdicts:
        return []
    names = {name for gate in config.gates if gate.camera == camera for name in gate.defects}
    return [i for i, name in enumerate(defects) if name in names]


def _keep(desk: _Desk, key: int, view: View) -> None:
    """Remember a look, in the place of the one before of this track; the oldest go where there is no room."""
    before = desk.looks.pop(key, None)
    desk.kept_bytes += view.image.nbytes - (0 if before is None else before.image.nbytes)
    desk.looks[key] = view
    while desk.kept_bytes > KEPT_BYTES:
        oldest = next(iter(desk.looks))
        desk.kept_bytes -= desk.looks.pop(oldest).image.nbytes
