"""What became of objects that left and came back: their old ids, those of others, or new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Passing:
    """One object, from when it comes into sight until it leaves."""

    thing: int  # the object, whichever time it passes
    tracks: list[int] = field(default_factory=list)  # ids that it had, in order; more than one where its track broke


@dataclass
class Score:
    """Passings by what became of them."""

    returned: int = 0  # of objects that had an id before
    known: int = 0  # of these: their own old one
    merged: int = 0  # of these: that of another object
    fresh: int = 0  # of objects that had none before
    taken: int = 0  # of these: that of another object
    unseen: int = 0  # had no id at all
    ids: int = 0  # that there were
    things: int = 0  # objects that had one

    def figures(self, name: str) -> dict[str, float]:
        """Return counts and shares."""
        return {
            f"{name}_returned": self.returned,
            f"{name}_known": self.known / max(1, self.returned),
            f"{name}_merged": self.merged / max(1, self.returned),
            f"{name}_new": self.fresh,
            f"{name}_new_merged": self.taken / max(1, self.fresh),
            f"{name}_without_id": self.unseen,
        }

    def add(self, other: Score) -> None:
        """Add another score."""
        for key, value in vars(other).items():
            setattr(self, key, getattr(self, key) + value)


def score(passings: Sequence[Passing], first: int = 0) -> Score:
    """Return what became of `passings`, in the order in which they came into sight; those before `first` count as past.

    An id belongs to the object that had it first. Of a passing the first id counts.
    """
    owners: dict[int, int] = {}
    seen, found = set[int](), Score()
    for i, passing in enumerate(passings):
        if not passing.tracks:
            found.unseen += i >= first
            continue
        owner = owners.get(passing.tracks[0])
        for track in passing.tracks:
            owners.setdefault(track, passing.thing)
        if i >= first:
            _count(found, passing.thing, owner, before=passing.thing in seen)
        seen.add(passing.thing)
    found.ids, found.things = len(owners), len(seen)
    return found


def _count(found: Score, thing: int, owner: int | None, *, before: bool) -> None:
    """Count a passing of `thing`, whose id was that of `owner`, or nobody's."""
    if before:
        found.returned += 1
        found.known += owner == thing
        found.merged += owner not in {None, thing}
    else:
        found.fresh += 1
        found.taken += owner is not None
