"""The ids of one camera's tracks: the tracker's own, or those by which objects are known when they come back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from edge.config import TrackRules
from edge.decide.reidentify import Identities, kind_of
from edge.events import Event
from edge.see.appearance import Appearance, appearance_of
from edge.types import Frame, Instances, Tracks


class Identity:
    """Takes appearances where they are wanted, and gives tracks their ids; does nothing where nobody asks for it.

    `tracker_id` gives the tracker the ids that it confirms tracks by.
    """

    def __init__(
        self,
        rules: TrackRules,
        embedder: Appearance | None,
        size: tuple[int, int],
        classes: list[str],
        new_id: Callable[[], int],
    ) -> None:
        """`size` is the frame's (width, height); `new_id` gives an id that nobody has had."""
        self.tracker_id = new_id
        self._identities: Identities | None = None
        if rules.reidentify is not None:
            own = count(1)  # nobody else sees these
            self.tracker_id = lambda: next(own)
            kind = kind_of(rules.reidentify, rules.motion)
            self._appearance = appearance_of(kind, embedder)
            vector = self._appearance.size, self._appearance.most
            self._identities = Identities(rules.reidentify, kind, vector, size, classes, new_id)

    def of(self, frame: Frame, instances: Instances, tracks: Tracks) -> tuple[Tracks, list[Event]]:
        """Return `tracks` with the ids by which everybody knows them, and who is back in this frame."""
        if self._identities is None:
            return tracks, []
        rows = self._identities.due(frame, tracks)
        vectors = self._appearance(frame.image, instances, tracks.instances[rows].astype(int))
        tracks, events = self._identities.named(frame, tracks, instances, rows, vectors)
        return tracks, [*events]

    def blind(self) -> None:
        """Note a time without sight: all tracks begin anew."""
        if self._identities is not None:
            self._identities.blind()
