"""The audit: does the gate in front of the instance model miss anything?

Now and then a canvas shows a tile of the frame at native resolution, whatever the semantic labels say of it. The tiles
of a round cover the whole frame in random order, and every round cuts it elsewhere. What they show is a sample that the
gate has not chosen: an object that the labels mostly call background was missed by it, and foreground in which the
instance model finds nothing is unexplained. So each model is the witness of the other, and no truth is needed.

Every object is judged once, the first time a tile shows at least half of it, and counts once enough looks confirm it:
one wrong detection is no object. What a tile cuts and no track knows is looked at whole in the next frames, and judged
there. Counts are kept per class and per size (COCO's three); bounds are those of Clopper and Pearson.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge import config
from edge.boxes import areas_of, lie_in
from edge.events import AuditEvent
from edge.see.glimpses import Glimpses, half_of
from edge.see.misses import SIZES, Group, estimate
from edge.see.regions import SQUARE, Painter
from edge.types import Array, Boxes, Frame, Image, Seen, Tracks

TILES = 48  # newest ones with foreground, over which unexplained foreground is averaged
MOST_SHARE = 0.25  # of the canvases' number by which the audit exceeds it, on average
SPARE = 4  # times as many tiles where there is time left
PATIENCE = 2  # times as long that a tile waits where there is none to lose
NEAR_CELLS = 3  # label pixels: one round the tile, and boxes and tiles are rounded
OVERLAP = 0.25  # share of a tile that the next one shows too, at the least


class Audit:
    """Samples what one camera's gate misses."""

    def __init__(
        self,
        rules: config.Audit,
        size: tuple[int, int],
        canvas: tuple[int, int],
        canvases: int,
        classes: list[str],
        confirm_looks: int,
    ) -> None:
        """`size` is the frame's and `canvas` the canvas' (width, height); a frame has at most `canvases` of these.

        `classes` are the names of the instance classes, the background first; `confirm_looks` as in `TrackRules`.
        """
        self._rules = rules
        self._confirm_looks = confirm_looks
        self._urgent = math.ceil(1 / (MOST_SHARE * canvases))  # frames between two tiles at the least
        self._classes = classes
        self._size = size
        self._canvas = canvas
        names = [*(f"class/{name}" for name in classes[1:]), *(f"size/{name}" for name in SIZES)]
        self._groups = {name: Group() for name in names}
        self._foreground: deque[tuple[int, int]] = deque(maxlen=TILES)  # cells of each tile, unexplained ones
        self._unexplained = False  # the alarm
        self._rng = np.random.default_rng(0)  # a replay takes the same tiles
        self._round: list[list[int]] = []
        self._last: int | None = None  # frame of the last tile
        self._open: dict[int, tuple[bool, str]] = {}  # track -> whether it was missed, and its size, until confirmed
        self._judged: set[int] = set()  # tracks that count already
        self._glimpses = Glimpses()
        self.report = self._report()  # what the state message says; replaced, never changed

    @property
    def alarm(self) -> bool:
        """Tell whether the gate misses too much, or sees what is not there."""
        return self._unexplained or any(group.alarm for group in self._groups.values())

    def upper(self, label: str) -> float | None:
        """Return the upper 95 % bound of the share of class `label` that the gate misses; None: none was audited."""
        group = self._groups.get(f"class/{label}")
        return None if group is None or not group.missed else float(group.told["upper"])

    def tile(self, frame: int, *, spare: bool, brief: bool = False) -> npt.NDArray[np.int32]:
        """Return the tile of frame number `frame` that the instance model is to see, (1, 4), or none, (0, 4).

        `spare` says that there was time left before this frame, which the audit may use beyond its schedule; `brief`
        that little time is to be taken for it, for which the audit waits as long again as its schedule says.
        """
        every = self._interval() * (PATIENCE if brief else 1) // (SPARE if spare and not brief else 1)
        due = self._last is None or frame - self._last >= every
        if not self._rules.every_frames or not due:
            return np.zeros((0, 4), np.int32)
        self._last = frame
        if not self._round:
            tiles = self._tiles()
            self._round = [tiles[i] for i in self._rng.permutation(len(tiles))]
        return np.asarray([self._round.pop()], np.int32)

    def _tiles(self) -> list[list[int]]:
        """Return tiles that cover the frame, in a grid that begins anywhere."""
        starts = []
        for extent, most in zip(self._size, self._canvas, strict=True):
            side, step = min(extent, most), max(1, int(most * (1 - OVERLAP)))
            grid = np.arange(-int(self._rng.integers(step)), extent - side + step, step)
            starts.append([(int(start), int(start) + side) for start in np.unique(np.clip(grid, 0, extent - side))])
        return [[x0, y0, x1, y1] for x0, x1 in starts[0] for y0, y1 in starts[1]]

    def judge(self, seen: Seen, tile: npt.NDArray[np.int32]) -> list[AuditEvent]:
        """Learn from what `tile`, (1, 4) or none, (0, 4), shows; return the alarms that begin or end."""
        changes: list[AuditEvent] = []
        if len(tile) or self._glimpses:
            self._sample(seen, tile)
        if len(tile):
            changes += self._explain(seen, tile[0])
        confirmed = self._confirmed(seen.tracks)
        changes += [change for row in confirmed for change in self._count(seen.frame, seen.tracks, row)]
        if len(tile) or confirmed:
            self.report = self._report()
        for key in seen.ended:
            self._open.pop(key, None)
            self._judged.discard(key)
        return changes

    def reset(self) -> None:
        """Forget the tracks: the camera was blind."""
        self._open.clear()
        self._judged.clear()
        self._glimpses.clear()

    def _report(self) -> dict[str, Any]:
        """Return objects and misses with 95 % bounds, in all, per class and per size; alarms."""
        sizes = [group for name, group in self._groups.items() if name.startswith("size/")]
        every = estimate(sum(group.hits for group in sizes), sum(len(group.missed) for group in sizes))
        alarms = [name for name, group in self._groups.items() if group.alarm]
        return {
            **every,
            "groups": {name: group.told for name, group in self._groups.items() if group.missed},
            "unexplained": round(self._share(), 4),
            "alarms": [*alarms, *(["unexplained"] if self._unexplained else [])],
        }

    def _interval(self) -> int:
        """Return the frames between two tiles: fewer while something is wrong, or seems so."""
        urgent = self.alarm or any(group.suspect for group in self._groups.values())
        return min(self._urgent, self._rules.every_frames) if urgent else self._rules.every_frames

    def _sample(self, seen: Seen, tile: npt.NDArray[np.int32]) -> None:
        """Judge what the tile shows whole for the first time, and what a look shows whole after a tile showed half."""
        instances, tracks = seen.instances, seen.tracks
        inside = lie_in(instances.boxes, tile.astype(np.float32))
        judged = inside | self._glimpses.followed(seen.frame.index, instances)
        rows = np.flatnonzero(tracks.instances >= 0)
        for row in rows[judged[tracks.instances[rows]]].tolist():
            i = int(tracks.instances[row])
            self._note(int(tracks.keys[row]), self._misses(seen, i), float(instances.areas_px[i]))
        cut = np.flatnonzero(inside & ~instances.whole)
        if len(cut):
            self._sample_cut(seen, cut)

    def _sample_cut(self, seen: Seen, cut: npt.NDArray[np.int64]) -> None:
        """Judge the tracks of which `cut` (n,), rows of `instances`, show half, by that half; remember the others."""
        instances, tracks = seen.instances, seen.tracks
        areas = areas_of(tracks.boxes) * np.asarray([mask.mean() for mask in tracks.masks], np.float32)
        shown = half_of(instances.boxes[cut], instances.areas_px[cut], tracks.boxes, areas)
        shown &= instances.classes[cut][:, None] == tracks.classes
        for n, row in np.argwhere(shown).tolist():
            self._note(int(tracks.keys[row]), self._misses(seen, int(cut[n])), float(areas[row]))
        unknown = cut[~shown.any(axis=1)]
        self._glimpses.note(seen.frame.index, instances.boxes[unknown], instances.areas_px[unknown])

    def _misses(self, seen: Seen, i: int) -> bool:
        """Tell whether the foreground leaves out what is seen of instance number `i`."""
        box, mask = seen.instances.boxes[i], seen.instances.masks[i]
        return seen_share(seen.found, seen.scale, box, mask) < self._rules.seen_share

    def _note(self, key: int, missed: bool, area_px: float) -> None:
        """Judge the object of a track, if that has not been done yet."""
        if key not in self._open and key not in self._judged:
            self._open[key] = missed, next(name for name, limit in SIZES.items() if area_px < limit)

    def _confirmed(self, tracks: Tracks) -> list[int]:
        """Return the rows of the tracks that were judged and are confirmed now."""
        if not self._open:
            return []
        keys, sure = tracks.keys.tolist(), np.flatnonzero(tracks.looks >= self._confirm_looks).tolist()
        return [row for row in sure if keys[row] in self._open]

    def _count(self, frame: Frame, tracks: Tracks, row: int) -> list[AuditEvent]:
        """Count a judged object that is confirmed now."""
        key = int(tracks.keys[row])
        missed, size = self._open.pop(key)
        self._judged.add(key)
        changes = []
        for name in (f"class/{self._classes[tracks.classes[row]]}", f"size/{size}"):
            group = self._groups[name]
            if group.add(missed, self._rules.most_missed):
                changes.append(_event(frame, name, group.alarm, group.hits, len(group.missed)))
                group.clear()
        return changes

    def _explain(self, seen: Seen, tile: npt.NDArray[np.int32]) -> list[AuditEvent]:
        """Note how much foreground in the tile is neither part of an instance nor of a track."""
        found, scale = seen.found, seen.scale
        explained = painted_near(tile, seen.tracks.masks, seen.tracks.boxes, found.shape, scale)
        explained |= painted_near(tile, seen.instances.masks, seen.instances.boxes, found.shape, scale)
        x0, y0, x1, y1 = np.rint(tile / np.asarray([*scale, *scale])).astype(int).tolist()
        here = found[y0:y1, x0:x1]
        rest = here > np.asarray(cv2.dilate(explained, SQUARE), np.uint8)[y0:y1, x0:x1]
        cells = int(np.count_nonzero(here))
        if cells:
            self._foreground.append((cells, int(np.count_nonzero(rest))))
        share, limit = self._share(), self._rules.most_unexplained
        turns = share <= limit / 2 if self._unexplained else share > limit
        if not turns or len(self._foreground) < TILES:
            return []
        self._unexplained = not self._unexplained
        cells, rest_cells = (sum(column) for column in zip(*self._foreground, strict=True))
        return [_event(seen.frame, "unexplained", self._unexplained, rest_cells, cells)]

    def _share(self) -> float:
        """Return the share of foreground in the newest tiles that nothing explains."""
        return sum(rest for _, rest in self._foreground) / max(1, sum(cells for cells, _ in self._foreground))


def painted_near(
    tile: Array, masks: list[npt.NDArray[np.bool_]], boxes: Boxes, shape: tuple[int, ...], scale: tuple[float, float]
) -> Image:
    """Return what a `Painter` paints in `tile` (4,) and a label pixel round it; elsewhere it may be less."""
    margin = NEAR_CELLS * max(scale)
    x0, y0, x1, y1 = boxes.T
    left, top, right, bottom = tile.tolist()
    near = (x0 < right + margin) & (x1 > left - margin) & (y0 < bottom + margin) & (y1 > top - margin)
    rows = np.flatnonzero(near)
    return Painter()([masks[row] for row in rows.tolist()], boxes[rows], shape, scale)


def seen_share(found: Image, scale: tuple[float, float], box: Array, mask: npt.NDArray[np.bool_]) -> float:
    """Return the share of an object, by its `mask` stretched over `box` (4,) of the frame, that `found` shows."""
    cells = [
        (float(low) + (np.arange(count) + 0.5) * float(high - low) / count) / step
        for low, high, count, step in zip(box[:2], box[2:], mask.shape[::-1], scale, strict=True)
    ]
    xs, ys = (np.clip(c.astype(int), 0, limit - 1) for c, limit in zip(cells, found.shape[::-1], strict=True))
    return float(found[np.ix_(ys, xs)][mask].mean()) if mask.any() else 0.0


def _event(frame: Frame, group: str, alarm: bool, hits: int, trials: int) -> AuditEvent:
    """Return the event that says that an alarm begins or ends."""
    return AuditEvent(
        time=frame.time,
        camera=frame.camera,
        frame=frame.index,
        group=group,
        alarm=alarm,
        missed=hits,
        of=trials,
        share=round(hits / max(1, trials), 4),
    )
