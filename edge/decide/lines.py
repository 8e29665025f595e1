"""Lines that objects cross, with hysteresis, so that one that waits on the line does not flicker over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.config import Gate, Line, Point
from edge.types import Array, Boxes, Tracks

FAR = 1e6  # frames: some day
LEAST_LOOKS = 2  # at a track before anybody knows its velocity


@dataclass(frozen=True, slots=True)
class Crossing:
    """One track went from one side of a line to the other."""

    row: int  # of the tracks of this frame
    direction: str  # right, left, up or down: the side it went to, by the line's steeper normal
    position: tuple[float, float]  # x, y of the anchor, frame pixels


class LineWatch:
    """Remembers on which side of one line every track was last clearly seen; the memory dies with the track."""

    def __init__(
        self, start: Point, end: Point, anchor: str = "center", hysteresis_px: float = 0.0, settle_looks: int = 1
    ) -> None:
        self._start = np.asarray(start, np.float64)
        along = np.asarray(end, np.float64) - self._start
        self._length = float(np.hypot(*along))
        self._along = along / self._length
        self._normal = np.asarray([-self._along[1], self._along[0]])
        self._anchor = anchor
        self.hysteresis_px = hysteresis_px
        self._settle = settle_looks
        self._sides: dict[int, int] = {}
        self._beyond: dict[int, int] = {}  # sightings in a row on the other side
        self._names = {+1: direction_of(self._normal), -1: direction_of(-self._normal)}

    def crossings(self, tracks: Tracks) -> list[Crossing]:
        """Return the confirmed tracks that are clearly on another side than before, within the line's two ends."""
        points = anchors(tracks, self._anchor)
        offsets = points - self._start
        distance, along = offsets @ self._normal, offsets @ self._along
        if self._anchor == "mask":
            self._weigh(tracks, distance)
        clear = tracks.located & (np.abs(distance) > self.hysteresis_px)
        inside = (along >= 0) & (along <= self._length)
        keys, sides = tracks.keys.tolist(), np.sign(distance).astype(int).tolist()
        found = []
        for row in np.flatnonzero(clear).tolist():
            key, side = keys[row], sides[row]
            before = self._sides.setdefault(key, side)
            if before == side:
                self._beyond.pop(key, None)
                continue
            self._beyond[key] = self._beyond.get(key, 0) + 1
            if self._beyond[key] < self._settle or tracks.ids[row] == 0:  # unconfirmed: it keeps its first side
                continue
            self._sides[key] = side
            del self._beyond[key]
            if inside[row]:
                found.append(Crossing(row, self._names[side], (float(points[row, 0]), float(points[row, 1]))))
        return found

    def _weigh(self, tracks: Tracks, distance: npt.NDArray[np.float64]) -> None:
        """Put how far most of a mask is beyond the line into `distance` (n,), for the tracks that stand on it.

        The middle of what stands on the line is as far from it as the share of its area on that side says: half of
        its extent across the line where all of it is there, 0 where half is.
        """
        reach = (tracks.boxes[:, 2:] - tracks.boxes[:, :2]) @ np.abs(self._normal) / 2
        for row in np.flatnonzero(np.abs(distance) < reach).tolist():
            share = _share_beyond(tracks.masks[row], tracks.boxes[row], self._start, self._normal)
            if share is not None:
                distance[row] = (2 * share - 1) * reach[row]

    def side(self, key: int) -> int:
        """Return on which side a track was last clearly seen, +1 or -1; 0 where it never was."""
        return self._sides.get(key, 0)

    def place(self, point: npt.NDArray[np.float32]) -> tuple[float, bool]:
        """Return how far `point` (2,) is beyond the line, frame pixels, and whether it is between the line's ends."""
        offset = point - self._start
        return float(offset @ self._normal), 0 <= float(offset @ self._along) <= self._length

    @property
    def length(self) -> float:
        """Return the distance of the line's ends, frame pixels."""
        return self._length

    def path(
        self, points: npt.NDArray[np.float32], velocities: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (n,) how far `points` (n, 2) are beyond the line, and where on it those at `velocities` (n, 2) cross.

        Both in frame pixels, the latter from the line's start; what does not move crosses beside where it is.
        """
        offsets, speeds = points - self._start, velocities @ self._normal
        distances = offsets @ self._normal
        frames = np.where(speeds == 0, 0.0, distances / np.where(speeds == 0, 1.0, speeds))
        return distances, (offsets - velocities * frames[:, None]) @ self._along

    def across(self, velocity: npt.NDArray[np.float32]) -> float:
        """Return the part of `velocity` (2,) that crosses the line, positive towards its side +1."""
        return float(velocity @ self._normal)

    def extent(self, box: Array) -> float:
        """Return half of what `box` (4,) measures across the line, frame pixels."""
        return float((box[2:] - box[:2]) @ np.abs(self._normal)) / 2

    @property
    def directions(self) -> list[str]:
        """Return the directions in which the line can be crossed."""
        return list(self._names.values())

    def name(self, side: float) -> str:
        """Return the direction of a crossing to `side`, by its sign."""
        return self._names[1 if side > 0 else -1]

    def reset(self) -> None:
        """Drop what is known of all tracks."""
        self._sides.clear()
        self._beyond.clear()

    def forget(self, keys: list[int]) -> None:
        """Drop what is known of tracks that ended."""
        for key in keys:
            self._sides.pop(key, None)
            self._beyond.pop(key, None)


def anchors(tracks: Tracks, anchor: str) -> npt.NDArray[np.float64]:
    """Return (n, 2) the point of every track that crosses lines: centroid, or middle of the box's lower edge."""
    if anchor != "bottom":
        return tracks.centers.astype(np.float64)
    return np.stack([(tracks.boxes[:, 0] + tracks.boxes[:, 2]) / 2, tracks.boxes[:, 3]], axis=1).astype(np.float64)


def _share_beyond(
    mask: npt.NDArray[np.bool_], box: Array, start: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]
) -> float | None:
    """Return the share of `mask` (h, w), stretched over `box` (4,), on the side of a line that `normal` (2,) points to.

    A cell that the line cuts is there in part, so that coarse masks cross as smoothly as fine ones. None where the mask
    is empty.
    """
    cells = np.count_nonzero(mask)
    if not cells:
        return None
    height, width = mask.shape
    x0, y0, x1, y1 = box.tolist()
    step_x, step_y = (x1 - x0) / width * normal[0], (y1 - y0) / height * normal[1]
    across = (x0 - start[0]) * normal[0] + (np.arange(width) + 0.5) * step_x
    down = (y0 - start[1]) * normal[1] + (np.arange(height) + 0.5) * step_y
    beyond = (across + down[:, None])[mask] / max(abs(step_x) + abs(step_y), 1e-9) + 0.5
    return float(np.clip(beyond, 0.0, 1.0).sum()) / cells


def deadlines(tracks: Tracks, targets: Sequence[Line | Gate]) -> npt.NDArray[np.float64]:
    """Return (n,) in how many frames each track reaches the first of `targets` as it moves now; infinity: none.

    One that is on a target reaches it at once; one with too few looks to have a velocity will some day (`FAR`), and so
    will all where there is no target.
    """
    if not targets:
        return np.full(len(tracks), FAR)
    near = (tracks.boxes[:, 2:] - tracks.boxes[:, :2]).max(axis=1, initial=0.0) / 2
    first = np.where(tracks.looks < LEAST_LOOKS, FAR, np.inf)
    for target in targets:
        np.minimum(first, _reached_in(tracks, target, near), out=first)
    return first


def away_px(boxes: Boxes, targets: Sequence[Line | Gate]) -> npt.NDArray[np.float64]:
    """Return (n,) how far the middles of `boxes` (n, 4) are from the nearest of `targets`, frame pixels."""
    middles = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2
    nearest = np.full(len(boxes), np.inf)
    for target in targets:
        start = np.asarray(target.start, np.float64)
        along = np.asarray(target.end, np.float64) - start
        shares = np.clip((middles - start) @ along / (along @ along), 0.0, 1.0)
        offsets = middles - start - shares[:, None] * along
        np.minimum(nearest, np.hypot(offsets[:, 0], offsets[:, 1]), out=nearest)
    return nearest


def _reached_in(tracks: Tracks, target: Line | Gate, near: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return (n,) in how many frames each track crosses `target`, give or take `near` (n,) frame pixels."""
    start = np.asarray(target.start, np.float64)
    along = np.asarray(target.end, np.float64) - start
    length = float(np.hypot(*along))
    along /= length
    normal = np.asarray([-along[1], along[0]])
    offsets, speed = tracks.centers - start, tracks.velocities @ normal
    if target.direction != "both":
        speed = np.where(speed * (1 if direction_of(normal) == target.direction else -1) > 0, speed, 0.0)
    moves = speed != 0
    frames = np.maximum(-(offsets @ normal) / np.where(moves, speed, 1.0), 0.0)  # until it is there; 0: it is beyond
    there = offsets + tracks.velocities * frames[:, None]
    place = there @ along
    reaches = moves & (np.abs(there @ normal) <= near) & (place >= -near) & (place <= length + near)
    return np.where(reaches, frames, np.inf)


def direction_of(normal: npt.NDArray[np.float64]) -> str:
    """Return the name of the direction a vector (2,) mostly points to, y downwards."""
    if abs(normal[0]) >= abs(normal[1]):
        return "right" if normal[0] > 0 else "left"
    return "down" if normal[1] > 0 else "up"
