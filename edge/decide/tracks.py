"""Instances -> tracks: the same object in one frame and the next, with ids that are never reused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge.boxes import lie_in, touches_border
from edge.config import TrackRules
from edge.decide.association import NO_PAIRS, Pairs, associate
from edge.decide.kalman import BLOB_NOISE, LOOK_NOISE, later, measured
from edge.decide.motion import BeltMotion, FreeMotion, Motion, common_drift
from edge.decide.rows import new_rows
from edge.decide.stretch import Stretch
from edge.decide.support import blob_offsets, support
from edge.types import Image, Instances, Looks, Tracks

SUPPORT = 0.2  # share of a track's box that must be foreground for the labels to support it
SUPPORTED_PATIENCE = 3  # times `lost_frames` that a track lives on support alone
TENTATIVE_FRAMES = 10  # frames within which a new track must be confirmed
MOST_MISSES = 3  # looks in a row without the part that was there, after which there is none
TENTATIVE_MISSES = 1  # the same of a free object that is not confirmed yet
MOST_TRACKS = 1000  # bounded state: what would exceed it is not tracked
DAMPING = 0.97  # of a free track's velocity, per frame in which nothing shows where it is: people stop, and turn
NO_SHIFT = np.zeros(2, np.float32)


class Tracker:
    """Follows the objects of one camera.

    `new_id` gives the next id. State is bounded, and dies with its track.
    """

    def __init__(
        self, rules: TrackRules, classes: list[int], known: int, size: tuple[int, int], new_id: Callable[[], int]
    ) -> None:
        """`classes` are tracked of `known` instance classes; `size` is the frame's width and height."""
        self._rules = rules
        self._rigid = rules.motion == "belt"
        self._wanted = np.isin(np.arange(known), classes)
        self._size = size
        self._far = np.asarray(size, np.float32)
        self._new_id = new_id
        self._next_key = 1
        self._now = 0  # frames so far
        self._found: Image = np.zeros((1, 1), np.uint8)  # the foreground of this frame, and its scale
        self._scale = (1.0, 1.0)
        self._stretch = Stretch(size[1])
        self.reset()

    def reset(self) -> None:
        """Forget every track: after a time without sight, what is there now need not be what was."""
        self._rows = new_rows(0, len(self._wanted))
        self._motion: Motion = BeltMotion() if self._rigid else FreeMotion()
        self.shift = NO_SHIFT  # frame pixels (2,), of all things together, since the frame before

    def predict(self, found: Image, scale: tuple[float, float], frames: int) -> Tracks:
        """Move every track by `frames` frames and return where it is expected.

        `found` (h, w) uint8 is the foreground of this frame, `scale` frame pixels per label pixel.
        """
        rows = self._rows
        self._now += frames
        self._found, self._scale = found, scale
        shift = self._motion.step(found, scale, frames)
        if shift is None:
            self._drift(frames)
        else:
            self.shift = shift
            rows.velocities = (shift / np.float32(frames)) * self._stretch.of(rows.centers)[:, None]
            rows.points = rows.points + (rows.velocities * frames)[:, None]
        rows.since_look = rows.since_look + frames
        rows.instances = np.full(len(rows), -1, np.int32)
        rows.supported = support(found, scale, rows.boxes) >= SUPPORT
        rows.shown = rows.shown | rows.supported
        rows.supported_in = np.where(rows.supported, self._now, rows.supported_in)
        return self._tracks()

    def _drift(self, frames: int) -> None:
        """Move each track by itself; those that nothing showed in the frame before slow down."""
        rows = self._rows
        rows.points = rows.points + (rows.astray + (rows.velocities * frames)[:, None])
        rows.astray = np.zeros_like(rows.astray)
        rows.covariances = later(rows.covariances, frames)
        rows.followed = np.zeros(len(rows), np.bool_)

    def _follow(self) -> None:
        """Correct tracks that got no look by blobs that they alone stand on; those that have none slow down."""
        rows = self._rows
        unseen = rows.since_look > 0
        if self._rigid or not unseen.any():
            return
        offsets, known = blob_offsets(self._found, self._scale, rows.boxes)
        rows.followed = known & unseen
        at = rows.followed.nonzero()[0]
        if len(at):
            gains, after = measured(rows.covariances[at], BLOB_NOISE)
            rows.put(
                at,
                covariances=after,
                points=rows.points[at] + (gains[:, :1] * offsets[at])[:, None],
                velocities=rows.velocities[at] + gains[:, 1:] * offsets[at],
            )
        lost = unseen & ~known
        rows.velocities = np.where(lost[:, None], np.float32(DAMPING) * rows.velocities, rows.velocities)

    def update(self, instances: Instances, looks: Looks) -> tuple[Tracks, list[int]]:
        """Join `instances` found in `looks` to tracks; return all tracks and the keys of those that ended."""
        self._join(instances, looks)
        self._follow()
        self._confirm()
        ended = self._end()
        return self._tracks(), ended

    def _join(self, instances: Instances, looks: Looks) -> None:
        """Continue tracks by the instances that show them, and begin one with each that is left."""
        if not len(instances):
            self._miss(NO_PAIRS, looks)
            return
        usable = self._usable(instances)
        least = self._rules.min_score
        pairs = associate(
            self._tracks(),
            instances,
            usable.nonzero()[0],
            rigid=self._rigid,
            least_score=least,
            in_sight=self._rows.missed == 0,
        )
        self._miss(pairs, looks)
        self._measure(pairs, instances)
        usable[pairs[:, 1]] = False
        self._begin(usable & (instances.scores >= least), instances)

    def _usable(self, instances: Instances) -> npt.NDArray[np.bool_]:
        usable = instances.whole & self._wanted[instances.classes] & np.isfinite(instances.boxes).all(axis=1)
        usable &= instances.areas_px >= self._rules.min_area_px
        if self._rules.at_border == "wait":
            usable &= ~touches_border(instances.boxes, self._size)
        return np.asarray(usable)

    def _miss(self, pairs: Pairs, looks: Looks) -> None:
        """Count looks that cover a track and do not show it."""
        if not len(pairs) and not len(looks):
            return
        rows, missed = self._rows, np.zeros(len(self._rows), np.int32)
        if len(pairs) < len(rows):
            others = _all_but(pairs[:, 0], len(rows))
            covered = lie_in(rows.boxes[others], looks.sources.astype(np.float32))
            missed[others] = rows.missed[others] + covered
        rows.missed = missed

    def _measure(self, pairs: Pairs, instances: Instances) -> None:
        """Put the tracks where the looks show them, and learn from how far off they were."""
        if not len(pairs):
            return
        rows, (at, found) = self._rows, pairs.T
        shown = np.concatenate([instances.boxes[found], instances.centers[found]], axis=1).reshape(-1, 3, 2)
        off = shown - rows.points[at]
        if self._rigid:
            self._learn_stretch(at, shown[:, 2], off[:, 2])
            self._correct(at, off[:, 2])
        else:
            self._learn_velocity(at, off)
        votes = rows.votes[at]
        votes[np.arange(len(at)), instances.classes[found]] += 1
        rows.put(
            at,
            points=shown,
            votes=votes,
            classes=votes.argmax(axis=1),
            looks=rows.looks[at] + 1,
            since_look=0,
            instances=found,
            supported_in=self._now,
        )
        masks = list(rows.masks)
        for row, i in zip(at.tolist(), found.tolist(), strict=True):
            masks[row] = instances.masks[i]
        rows.masks = masks

    def _learn_velocity(self, at: npt.NDArray[np.int64], off: npt.NDArray[np.float32]) -> None:
        """Learn how fast each of the rows `at` (n,) goes, and by how much a look errs, from `off` (n, 3, 2)."""
        rows = self._rows
        gains, after = measured(rows.covariances[at], LOOK_NOISE)
        rows.put(
            at,
            covariances=after,
            velocities=rows.velocities[at] + gains[:, 1:] * off[:, 2],
            astray=(gains[:, :1, None] - 1) * off,
        )

    def _learn_stretch(
        self, at: npt.NDArray[np.int64], centers: npt.NDArray[np.float32], off: npt.NDArray[np.float32]
    ) -> None:
        """Learn from looks how much faster than the whole things move at their height: the camera's perspective."""
        rows = self._rows
        self._stretch.learn(centers, rows.velocities[at] * rows.since_look[at, None], off + rows.corrected[at])

    def _correct(self, at: npt.NDArray[np.int64], off: npt.NDArray[np.float32]) -> None:
        """Let what looks at rows `at` (n,) show of the belt's motion since it was last known correct the others."""
        rows = self._rows
        corrected = np.zeros_like(rows.corrected)
        if len(at) < len(rows):
            others = _all_but(at, len(rows))
            drift = common_drift(off, self._now - rows.known_in[at], self._now - rows.known_in[others])
            corrected[others] = rows.corrected[others] + drift
            rows.put(others, points=rows.points[others] + drift[:, None])
        rows.corrected = corrected
        rows.known_in = np.full(len(rows), self._now, np.int64)

    def _begin(self, new: npt.NDArray[np.bool_], instances: Instances) -> None:
        """Begin a track with each of the instances `new` (n,)."""
        found = new.nonzero()[0][: MOST_TRACKS - len(self._rows)]
        if not len(found):
            return
        count = len(found)
        rows = new_rows(count, len(self._wanted), self._now)
        rows.keys += np.arange(self._next_key, self._next_key + count)
        self._next_key += count
        rows.points = np.concatenate([instances.boxes[found], instances.centers[found]], axis=1).reshape(-1, 3, 2)
        rows.votes[np.arange(count), instances.classes[found]] = 1
        rows.classes, rows.instances = instances.classes[found], found.astype(np.int32)
        rows.looks, rows.supported = np.ones(count, np.int32), np.ones(count, np.bool_)
        rows.masks = [instances.masks[i] for i in found.tolist()]
        if self._rigid and len(self._rows):
            rows.velocities = np.tile(self._rows.velocities[:1], (count, 1))
        self._rows.append(rows)

    def _confirm(self) -> None:
        rows = self._rows
        if rows.ids.all():
            return
        sure = (rows.ids == 0) & (rows.looks >= self._rules.confirm_looks)
        if self._rules.need_support:
            sure &= rows.shown
        at = sure.nonzero()[0]
        if len(at):
            rows.put(at, ids=[self._new_id() for _ in at])

    def _end(self) -> list[int]:
        """Forget tracks that left the frame or that nothing shows any more; return their keys."""
        rows = self._rows
        if not len(rows):
            return []
        inside = (rows.centers >= 0) & (rows.centers < self._far)
        ended = ~(inside[:, 0] & inside[:, 1])
        patience = self._rules.lost_frames
        if rows.since_look.max() > min(patience, TENTATIVE_FRAMES):
            young = (rows.looks < self._rules.confirm_looks) & (self._now - rows.born > TENTATIVE_FRAMES)
            unseen = (self._now - rows.supported_in > patience) | (rows.since_look > SUPPORTED_PATIENCE * patience)
            ended |= (young & (rows.since_look > TENTATIVE_FRAMES)) | (unseen & (rows.since_look > patience))
        if self._rigid:  # a part on a belt cannot hide: what looks do not show was never there
            ended |= rows.missed >= MOST_MISSES
        else:
            ended |= (rows.missed >= TENTATIVE_MISSES) & (rows.looks < self._rules.confirm_looks)
        keys: list[int] = rows.keys[ended].tolist()
        if keys:
            rows.keep(~ended)
        return keys

    def _tracks(self) -> Tracks:
        """Return the tracks as they are; no later frame changes them."""
        rows = self._rows
        carried = rows.supported if self._rigid else rows.followed
        return Tracks(
            keys=rows.keys,
            ids=rows.ids,
            boxes=rows.boxes,
            classes=rows.classes,
            centers=rows.centers,
            velocities=rows.velocities,
            looks=rows.looks,
            since_look=rows.since_look,
            supported=rows.supported,
            instances=rows.instances,
            located=(rows.since_look == 0) | carried,
            masks=rows.masks,
        )


def _all_but(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return all rows below `count` that are not in `rows`."""
    others = np.ones(count, np.bool_)
    others[rows] = False
    return others.nonzero()[0]
