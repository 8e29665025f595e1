"""What is known of objects that have left, as long as one of them may come back under its id."""

from __future__ import annotations

from typing import Generic, TypeVar

from edge.decide.gallery import MOST_REMEMBERED

T = TypeVar("T")


class Lasting(Generic[T]):
    """Keeps one thing per id, of the `MOST_REMEMBERED` that were put in last: no more are known again."""

    def __init__(self) -> None:
        self._kept: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, track: int, what: T) -> None:
        """Remember `what` of the object with id `track`, whose track has ended."""
        self._kept.pop(track, None)
        self._kept[track] = what
        if len(self._kept) > MOST_REMEMBERED:
            del self._kept[next(iter(self._kept))]

    def take(self, track: int) -> T | None:
        """Return what is remembered of the object with id `track`, and forget it: it is there again."""
        return self._kept.pop(track, None)
