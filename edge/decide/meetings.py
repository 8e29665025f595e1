"""Who is one instance with whom: tracks merge where their objects touch or hide each other, and split again.

A merge: a look shows one instance where two confirmed tracks are expected. Its box is that round both rather than that
of the one it continues, and the other, which no instance shows, is in it. A split: both have an instance of their own
again; or a track's object becomes two that nobody had merged. Each takes two looks in a row, so that one bad box is
neither. Ids are kept: the other is held within the instance for as long as that goes on, and the one that has it is
expected as it was alone, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.boxes import areas_of, common_of, overlaps
from edge.decide.rows import Rows
from edge.events import MeetingEvent
from edge.types import Boxes, Frame, Instances

COVERED = 0.7  # share of a box in another, from which it is in it
BOTH = 0.7  # intersection over union, from which an instance's box is that round several
CLEARER = 0.2  # by which it is more like that than like the box of one alone
SETTLED = 2  # looks in a row that make a merge or a split
FILLS = 0.9  # of an instance's side, from which one of the two is as long
MOST_GONE = 3  # looks in a row after which one that is not in the instance any more is just lost

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]


@dataclass(slots=True)
class Meeting:
    """Two tracks with one instance."""

    track: int  # key of the one that has it
    other: int  # key of the one within
    own: Points  # (3, 2) both corners and the centre of the former as it was alone, from the instance's centre
    as_one: int = 1  # looks in a row that show one
    as_two: int = 0  # looks in a row that show both
    gone: int = 0  # looks in a row in which the other is not in there
    since: float | None = None  # s, monotonic: when it was told


@dataclass(frozen=True, slots=True)
class Places:
    """Where else some of the tracks may be."""

    rows: Numbers  # (k,)
    boxes: Boxes  # (k, 4)
    centers: Points  # (k, 2)


class Meetings:
    """Follows who has met; what is known of a meeting ends with either track."""

    def __init__(self) -> None:
        self._open: dict[int, Meeting] = {}  # by key of the one within
        self._out_of: dict[int, int] = {}  # key of a new track -> key of the one that it was a part of
        self._newly: dict[int, int] = {}  # index of an instance of this frame -> the same
        self._done: list[tuple[str, Meeting]] = []  # what is to be told of this frame
        self.jumped: list[int] = []  # rows whose box has become that of two, or of one again, in this frame

    @property
    def others(self) -> list[int]:
        """Return the keys of those who are within another's instance."""
        return list(self._open)

    def alone(self, rows: Rows) -> Places | None:
        """Return where those would be that have an instance with another, were they alone; None: there are none."""
        as_one = [meeting for meeting in self._open.values() if not meeting.as_two]
        if not as_one:
            return None
        at = np.asarray([_row(rows, meeting.track) for meeting in as_one])
        places = [_opposite(rows, one, row) for one, row in zip(as_one, at.tolist(), strict=True)]
        points = np.stack(places, axis=2)
        return Places(at, points.reshape(6, -1)[:4].T, points[2].T)

    def see(self, rows: Rows, instances: Instances, pairs: Numbers, unseen: Flags, left: Flags, now: int) -> None:
        """Take in what the looks of frame number `now` show, before `rows` (n,) are put there.

        `pairs` (k, 2) are rows and instances, `unseen` (n,) the rows that a look covers and does not show, `left` (m,)
        the instances that would begin tracks. Those within another's instance are put inside it, and not lost.
        """
        self.jumped, self._newly = [], {}
        if not (self._open or unseen.any() or left.any()):
            return
        known = np.full(len(rows), -1)
        known[pairs[:, 0]] = pairs[:, 1]
        self._go_on(rows, instances, known, unseen, now)
        sure = pairs[rows.ids[pairs[:, 0]] > 0]
        lost = (unseen & (rows.ids > 0)).nonzero()[0]
        if len(lost) and len(sure):
            self._begin(rows, instances, sure, lost, now)
        if len(sure) and left.any():
            self._part(rows, instances, sure, left.nonzero()[0])

    def begun(self, keys: Numbers, found: Numbers) -> None:
        """Note that the instances `found` (k,) have begun tracks of `keys` (k,)."""
        for key, index in zip(keys.tolist(), found.tolist(), strict=True) if self._newly else ():
            if index in self._newly:
                self._out_of[key] = self._newly[index]

    def forget(self, keys: list[int]) -> None:
        """Drop what is known of tracks that ended."""
        gone = set(keys)
        self._open = {key: one for key, one in self._open.items() if not gone & {one.track, one.other}}
        self._out_of = {new: old for new, old in self._out_of.items() if not gone & {new, old}}
        self._done = [(change, one) for change, one in self._done if not gone & {one.track, one.other}]

    def told(self, frame: Frame, rows: Rows) -> list[MeetingEvent]:
        """Return who has merged and who has split in `frame`, after which `rows` are where they are."""
        events = []
        for change, meeting in self._done:
            lasted = None if meeting.since is None else round(frame.time - meeting.since, 6)
            events.append(_event(frame, rows, change, meeting.track, meeting.other, lasted))
            meeting.since = frame.time
        self._done = []
        for new, old in list(self._out_of.items()):
            if rows.ids[_row(rows, new)]:
                events.append(_event(frame, rows, "split", old, new, None))
                del self._out_of[new]
        return events

    def _go_on(self, rows: Rows, instances: Instances, known: Numbers, unseen: Flags, now: int) -> None:
        """See what has become of those who have met: still one, two again, or one of them is elsewhere."""
        for meeting in list(self._open.values()):
            track, other = _row(rows, meeting.track), _row(rows, meeting.other)
            if known[track] < 0 <= known[other]:
                if meeting.track in self._open:  # with a third one: it has left this one
                    del self._open[meeting.other]
                    continue
                self._swap(meeting, rows.points[:, :, other] - instances.centers[known[other]])
                track, other = other, track
            if known[track] >= 0 and known[other] >= 0:
                self._split(meeting, track)
            elif known[track] >= 0 and unseen[other]:
                box = instances.boxes[known[track]]
                if _shares(rows.boxes[other : other + 1], box[None])[0, 0] >= COVERED:
                    self._merge(meeting, track)
                    _hold(rows, meeting, box, now)
                else:
                    meeting.gone += 1
            if meeting.gone >= MOST_GONE:
                del self._open[meeting.other]

    def _swap(self, meeting: Meeting, own: Points) -> None:
        """Let the other one have the instance, with all who are within it."""
        del self._open[meeting.other]
        meeting.track, meeting.other, meeting.own = meeting.other, meeting.track, own
        self._open[meeting.other] = meeting
        self._bring_along(meeting)

    def _bring_along(self, meeting: Meeting) -> None:
        """Have all who were within the other one's instance within that of the one which has theirs now."""
        for within in self._open.values():
            if within.track == meeting.other and within.other != meeting.track:
                within.track, within.own = meeting.track, meeting.own

    def _split(self, meeting: Meeting, track: int) -> None:
        if not meeting.as_two:
            self.jumped.append(track)
        meeting.as_one, meeting.gone, meeting.as_two = 0, 0, meeting.as_two + 1
        if meeting.since is None or meeting.as_two >= SETTLED:
            del self._open[meeting.other]
            if meeting.since is not None:
                self._done.append(("split", meeting))

    def _merge(self, meeting: Meeting, track: int) -> None:
        if meeting.as_two:
            self.jumped.append(track)
        meeting.as_one, meeting.gone, meeting.as_two = meeting.as_one + 1, 0, 0
        self._bring_along(meeting)
        if meeting.since is None and meeting.as_one == SETTLED:
            self._done.append(("merge", meeting))

    def _begin(self, rows: Rows, instances: Instances, pairs: Numbers, lost: Numbers, now: int) -> None:
        """Begin meetings of the rows `lost` (l,) with those of `pairs` (k, 2) whose instance is like all of them."""
        lost = lost[~np.isin(rows.keys[lost], self.others)]
        boxes, shown = rows.boxes, instances.boxes[pairs[:, 1]]
        inside = _shares(boxes[lost], shown) >= COVERED
        for at in inside.any(axis=0).nonzero()[0].tolist():
            others, (track, index) = lost[inside[:, at]], pairs[at].tolist()
            if not _is_round(shown[at], boxes[others], boxes[track]):
                continue
            self.jumped.append(track)
            own = rows.points[:, :, track] - instances.centers[index]
            for other in others.tolist():
                key = int(rows.keys[other])
                self._open[key] = Meeting(int(rows.keys[track]), key, own)
                self._bring_along(self._open[key])
                _hold(rows, self._open[key], shown[at], now)

    def _part(self, rows: Rows, instances: Instances, pairs: Numbers, left: Numbers) -> None:
        """Note which of the instances `left` (l,) are parts of what was one with a row of `pairs` (k, 2)."""
        before, shown = rows.boxes[pairs[:, 0]], instances.boxes[pairs[:, 1]]
        inside = _shares(instances.boxes[left], before) >= COVERED
        for at in inside.any(axis=0).nonzero()[0].tolist():
            parts = left[inside[:, at]]
            if _is_round(before[at], instances.boxes[parts], shown[at]):
                track = int(pairs[at, 0])
                self._newly |= dict.fromkeys(parts.tolist(), int(rows.keys[track]))
                self.jumped.append(track)


def claimed(rows: Rows, instances: Instances, pairs: Numbers, left: Flags) -> Numbers:
    """Return `pairs` (k, 2) of rows and instances with those added that only a merge or a split explains; by row.

    An instance of `left` (m,) that is where two lost tracks or more should be is that of the largest of them, and where
    two instances or more are in the place of a lost track, the largest is its own: their centres are elsewhere.
    """
    alone = rows.ids > 0
    alone[pairs[:, 0]] = False
    lost, free = alone.nonzero()[0], left.nonzero()[0]
    if not len(lost) or not len(free):
        return pairs
    boxes, shown = rows.boxes[lost], instances.boxes[free]
    more = [(int(lost[row]), int(free[one])) for one, row in _groups(shown, boxes)]
    more += [(int(lost[one]), int(free[row])) for one, row in _groups(boxes, shown)]
    if not more:
        return pairs
    both = np.concatenate([pairs, np.asarray(more, np.int64)])
    both = both[np.unique(both[:, 0], return_index=True)[1]]
    return np.asarray(both[np.sort(np.unique(both[:, 1], return_index=True)[1])])


def _groups(boxes: Boxes, parts: Boxes) -> Iterator[tuple[int, int]]:
    """Yield which of `boxes` (n, 4) are round two of `parts` (m, 4) or more, and which of these is the largest."""
    inside = _shares(parts, boxes) >= COVERED
    for at in (inside.sum(axis=0) > 1).nonzero()[0].tolist():
        some = inside[:, at].nonzero()[0]
        largest = int(some[areas_of(parts[some]).argmax()])
        if _is_round(boxes[at], parts[some], parts[largest]):
            yield at, largest


def _hold(rows: Rows, meeting: Meeting, box: npt.NDArray[np.float32], now: int) -> None:
    """Put the other one into the `box` (4,) of the instance, as near as can be; it is not lost.

    The box is that round both: along an axis that the one which has it does not fill, the other reaches an end.
    """
    other = _row(rows, meeting.other)
    corner, side = rows.points[0, :, other], rows.points[1, :, other] - rows.points[0, :, other]
    room = np.maximum(box[2:] - box[:2] - side, 0)
    place = np.clip(corner - box[:2], 0, room)
    ends = meeting.own[1] - meeting.own[0] < FILLS * (box[2:] - box[:2])
    place = np.where(ends, room * (place > room / 2), place)
    rows.points[:, :, other] += box[:2] + place - corner
    rows.missed[other], rows.supported_in[other] = 0, now


def _opposite(rows: Rows, meeting: Meeting, track: int) -> Points:
    """Return the points (3, 2) of the one that has the instance, were it alone: at the end where the other is not."""
    own, instance, other = meeting.own, rows.points[:, :, track], rows.points[:, :, _row(rows, meeting.other)]
    side, length = own[1] - own[0], instance[1] - instance[0]
    ends = np.maximum(side, other[1] - other[0]) < FILLS * length
    at_end = np.where(other[0] + other[1] < instance[0] + instance[1], instance[1] - side, instance[0])
    moved = np.where(ends, at_end - own[0], instance[2])
    return np.asarray(own + moved, np.float32)


def _is_round(box: npt.NDArray[np.float32], some: Boxes, one: npt.NDArray[np.float32]) -> bool:
    """Tell whether `box` (4,) is that round `some` (n, 4) and `one` (4,), and clearly not that of `one` alone."""
    low, high = np.minimum(some[:, :2].min(axis=0), one[:2]), np.maximum(some[:, 2:].max(axis=0), one[2:])
    both = np.stack([np.concatenate([low, high]), one])
    like_all, like_one = overlaps(box[None], both)[0].tolist()
    return bool(like_all >= BOTH and like_all >= like_one + CLEARER)


def _shares(boxes: Boxes, of: Boxes) -> npt.NDArray[np.float32]:
    """Return (n, m) the share of each of `boxes` (n, 4) that lies in each of `of` (m, 4)."""
    return np.asarray(common_of(boxes, of) / np.maximum(areas_of(boxes), 1e-6)[:, None], np.float32)


def _row(rows: Rows, key: int) -> int:
    """Return the row of a key that is there: keys only ever rise."""
    return int(rows.keys.searchsorted(key))


def _event(frame: Frame, rows: Rows, change: str, track: int, other: int, lasted_s: float | None) -> MeetingEvent:
    at, its = _row(rows, track), _row(rows, other)
    x, y = rows.centers[at].tolist()
    return MeetingEvent(
        time=frame.time,
        camera=frame.camera,
        frame=frame.index,
        change=change,
        track=int(rows.ids[at]),
        other=int(rows.ids[its]),
        position=(x, y),
        merged_s=lasted_s,
    )
