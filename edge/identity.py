"""The ids of one camera's tracks: the tracker's own, or those by which objects are known when they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import msgspec
import numpy as np

from edge.config import Reidentify
from edge.decide.reidentify import Identities, kind_of
from edge.events import Event, MeetingEvent
from edge.models import Models
from edge.see.appearance import appearance_of
from edge.types import Frame, Instances, Tracks


class Identity:
    """Takes appearances where they are wanted, and gives tracks their ids; does nothing where nobody asks for it.

    `tracker_id` gives the tracker the ids that it confirms tracks by.
    """

    def __init__(
        self,
        rules: Reidentify | None,
        motion: str,
        models: Models,
        size: tuple[int, int],
        new_id: Callable[[], int],
    ) -> None:
        """`motion` is that of the tracks, `size` the frame's (width, height); `new_id` gives an id nobody has had."""
        self.tracker_id = new_id
        self._identities: Identities | None = None
        self._names: dict[int, int] = {}  # the tracker's ids of the last frame, and by which these tracks are known
        if rules is not None:
            own = count(1)  # nobody else sees these
            self.tracker_id = lambda: next(own)
            kind, classes = kind_of(rules, motion), models.instance_classes
            self._appearance = appearance_of(kind, models.embedder)
            vector = self._appearance.size, self._appearance.most
            self._identities = Identities(rules, kind, vector, size, classes, new_id)

    def expected(self, tracks: Tracks) -> Tracks:
        """Return `tracks`, as the tracker expects them, with the ids that they had in the last frame."""
        if self._identities is None:
            return tracks
        ids = [self._names.get(number, 0) for number in tracks.ids.tolist()]
        return replace(tracks, ids=np.asarray(ids, tracks.ids.dtype))

    def of(self, frame: Frame, instances: Instances, tracks: Tracks) -> tuple[Tracks, list[Event]]:
        """Return `tracks` with the ids by which everybody knows them, and who is back in this frame."""
        if self._identities is None:
            return tracks, []
        rows = self._identities.due(frame, tracks)
        vectors = self._appearance(frame.image, instances, tracks.instances[rows].astype(int))
        named, events = self._identities.named(frame, tracks, instances, rows, vectors)
        self._names = dict(zip(tracks.ids.tolist(), named.ids.tolist(), strict=True))
        return named, [*events]

    def renamed(self, events: list[Event]) -> list[Event]:
        """Return what the tracker tells of the last frame with the ids by which everybody knows its tracks.

        Who has no such id yet is not told of.
        """
        if self._identities is None:
            return events
        found = [self._renamed(event) if isinstance(event, MeetingEvent) else event for event in events]
        return [event for event in found if not isinstance(event, MeetingEvent) or (event.track and event.other)]

    def _renamed(self, event: MeetingEvent) -> MeetingEvent:
        track, other = (self._names.get(number, 0) for number in (event.track, event.other))
        return msgspec.structs.replace(event, track=track, other=other)

    def blind(self) -> None:
        """Note a time without sight: all tracks begin anew."""
        if self._identities is not None:
            self._identities.blind()
