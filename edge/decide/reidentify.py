"""An object that leaves and comes back is the same one: ids by what things look like.

When the tracker confirms a track, and there are enough looks at it, its appearance is held against those of the objects
that have left. Where one of them is surely meant, that one is back, under its old id from its first event on. Where two
are as likely, nobody guesses: it gets a new id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of, touches_border
from edge.config import Reidentify
from edge.decide.gallery import Crowd, Gallery, Matches, Rows, Vectors, match
from edge.decide.records import Records
from edge.events import ReturnEvent
from edge.types import Array, Frame, Instances, Tracks

EARLY_LOOKS: Final = 4  # appearances that are taken whenever a track is seen; later ones are rarer
EVERY_FRAMES: Final = 10  # from one of the later ones to the next
MOST_NAMED: Final = 32  # tracks of one frame that are held against all that is remembered; others wait for the next
LEAST_WEIGHT: Final = 0.01  # of a look at something that others cover
LIMITS: Final = {  # least similarity and margin by kind of appearance (`benchmarks reid`, on what it does not report)
    "rings": (0.96, 0.01),
    "stripes": (0.65, 0.03),
    "model": (0.7, 0.02),
}


def kind_of(rules: Reidentify, motion: str) -> str:
    """Return the kind of appearance that `rules` ask for: stripes, rings or model."""
    return rules.appearance or ("rings" if motion == "belt" else "stripes")


class Identities:
    """Gives the confirmed tracks of one camera the ids that everybody else sees.

    What is remembered of a track dies with it, but for its appearance: that is kept for as long as it may come back.
    The appearance of a track is the mean of its looks, each weighed by how sure and how free of others it is.
    """

    def __init__(
        self,
        rules: Reidentify,
        kind: str,
        vector: tuple[int, int],
        size: tuple[int, int],
        classes: list[str],
        new_id: Callable[[], int],
    ) -> None:
        """`kind` is that of the appearance; `vector` its length and for how many objects of a frame it may be asked.

        `size` is the frame's width and height, `classes` are the names of the instance classes, the background first;
        `new_id` gives an id that nobody has had.
        """
        self._rules = rules
        limits = LIMITS[kind]
        self._least = limits[0] if rules.least is None else rules.least
        self._margin = limits[1] if rules.margin is None else rules.margin
        length, self._most = vector
        self._size = size
        self._classes = classes
        self._new_id = new_id
        self._gallery = Gallery(rules.memory_s, length)
        self._rows = Records(
            np.dtype(
                [
                    ("id", "i8"),
                    ("label", "i8"),
                    ("confirmed", "?"),
                    ("since", "f8"),  # s: when it was
                    ("seen", "f8"),  # s: last sighting
                    ("taken", "i8"),  # frame in which its appearance was last taken
                    ("looks", "i8"),  # times that it was
                    ("sum", "f4", (length,)),  # of these, each with its weight
                ]
            )
        )
        self._gone = self._rows.at  # records of tracks that ended in this frame

    def due(self, frame: Frame, tracks: Tracks) -> Rows:
        """Return the rows (k,) of `tracks` whose appearance is to be taken in `frame`, those without an id first."""
        self._gone = self._rows.follow(tracks.keys)
        at, sighted = self._rows.at, tracks.instances >= 0
        at["label"] = tracks.classes
        at["seen"][sighted] = frame.time
        first = (tracks.ids > 0) & ~at["confirmed"]
        at["since"][first] = frame.time
        at["confirmed"] |= first
        wanted = sighted & ((at["looks"] < EARLY_LOOKS) | (frame.index - at["taken"] >= EVERY_FRAMES))
        rows = wanted.nonzero()[0]
        rows = rows[~touches_border(tracks.boxes[rows], self._size)]
        order = np.lexsort((at["taken"][rows], at["looks"][rows], at["id"][rows] > 0))
        return np.asarray(np.sort(rows[order[: self._most]]))

    def named(
        self, frame: Frame, tracks: Tracks, instances: Instances, rows: Rows, vectors: Vectors
    ) -> tuple[Tracks, list[ReturnEvent]]:
        """Return `tracks` with the ids that they have for others, 0 while that is not decided, and who is back.

        `vectors` (k, d) are the appearances of the `rows` (k,) of `tracks`.
        """
        at = self._rows.at
        at["sum"][rows] += vectors * _weights(tracks, instances, rows)[:, None]
        at["looks"][rows] += 1
        at["taken"][rows] = frame.index
        pending = at["confirmed"] & (at["id"] == 0)
        events = self._name(frame, tracks, pending) if pending.any() else []
        self._remember(self._gone)  # not before: who ends in this frame is not back in it
        self._gone = self._gone[:0]
        return dataclasses.replace(tracks, ids=at["id"].copy()), events

    def blind(self) -> None:
        """Remember all tracks: after a time without sight they begin anew."""
        self._remember(self._rows.clear())
        self._gone = self._rows.at

    def _name(self, frame: Frame, tracks: Tracks, pending: npt.NDArray[np.bool_]) -> list[ReturnEvent]:
        """Give ids to those `pending` (n,) of which enough is known; return who is back, and who may be."""
        self._gallery.expire(frame.time)
        at, remembered = self._rows.at, self._gallery.crowd
        late = frame.time - at["since"] >= self._rules.wait_s
        meets = np.isin(at["label"], remembered.labels)  # somebody of its class is remembered
        ready = (pending & (late | ~meets | (at["looks"] >= self._rules.looks))).nonzero()[0][:MOST_NAMED]
        come = ready[meets[ready] & (at["looks"][ready] > 0)]
        present = (at["id"] > 0) & (at["looks"] > 0)
        matches = match(_crowd(at[come]), remembered, _crowd(at[present]), self._least, self._margin)
        back = matches.rows[matches.known]
        away_s = frame.time - self._gallery.take(back)
        at["id"][come[matches.known]] = remembered.ids[back]
        for row in ready[at["id"][ready] == 0].tolist():
            at["id"][row] = self._new_id()
        told = matches.known | matches.doubtful
        waits = np.full(len(come), np.nan)
        waits[matches.known] = away_s
        return [self._told(frame, tracks, int(come[i]), matches, i, waits[i]) for i in told.nonzero()[0].tolist()]

    def _told(self, frame: Frame, tracks: Tracks, row: int, matches: Matches, i: int, away_s: float) -> ReturnEvent:
        """Return the event on the track in `row`, the one with number `i` in `matches`, away for `away_s`, or NaN."""
        x, y = tracks.centers[row].tolist()
        sure = bool(matches.known[i])
        return ReturnEvent(
            time=frame.time,
            camera=frame.camera,
            frame=frame.index,
            track=int(self._rows.at["id"][row]),
            label=self._classes[tracks.classes[row]],
            sure=sure,
            candidates=matches.candidates[i],
            similarity=round(float(matches.similarities[i]), 4),
            away_s=round(float(away_s), 3) if sure else None,
            position=(x, y),
        )

    def _remember(self, ended: Array) -> None:
        """Keep what tracks that ended looked like."""
        kept = ended[(ended["id"] > 0) & (ended["looks"] > 0)]
        if len(kept):
            self._gallery.add(_crowd(kept), kept["seen"])


def _crowd(rows: Array) -> Crowd:
    """Return who the tracks with the records `rows` (n,) are."""
    sums = rows["sum"]
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return Crowd(rows["id"], rows["label"], (sums / np.maximum(lengths, 1e-12)).astype(np.float32))


def _weights(tracks: Tracks, instances: Instances, rows: Rows) -> npt.NDArray[np.float32]:
    """Return (k,) what the looks at the tracks `rows` (k,) are worth: how sure they are, and how free of others."""
    boxes = tracks.boxes[rows]
    common = common_of(boxes, tracks.boxes)
    common[np.arange(len(rows)), rows] = 0
    covered = common.max(axis=1, initial=0) / np.maximum(areas_of(boxes), 1e-6)
    free = 1 - np.minimum(covered, 1)
    return np.asarray(np.maximum(instances.scores[tracks.instances[rows]] * free**2, LEAST_WEIGHT), np.float32)
