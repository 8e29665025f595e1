"""What became of the parts of each gate: ``seen = passed + rejected + reviewed + expired`` and those under way.

The numbers and the list of who is under way change in the transaction that commits the events, so that this holds at
every moment, kills and power cuts included. What does not fit, a verdict of a part that is not under way or an arrival
of one that is, changes none of them: it is counted as astray.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from edge.events import Arrival, Event, Verdict

COLUMNS = {"PASS": "passed", "REJECT": "rejected", "REVIEW": "reviewed", "EXPIRED": "expired"}
_READ = (
    "SELECT gate, seen, passed, rejected, reviewed, expired, "
    "(SELECT count(*) FROM under_way WHERE under_way.gate = gates.gate), astray FROM gates"
)


class Tally(msgspec.Struct, frozen=True):
    """Parts of one gate since its ledger began."""

    seen: int = 0
    passed: int = 0
    rejected: int = 0
    reviewed: int = 0
    expired: int = 0
    under_way: int = 0
    astray: int = 0  # events that do not fit: there should be none

    @property
    def holds(self) -> bool:
        """Return whether every part that was seen has a verdict or is under way."""
        return self.seen == self.passed + self.rejected + self.reviewed + self.expired + self.under_way


class GateBook:
    """The accounts of all gates. `take` and `left_over` are for the thread that commits."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` is the connection that commits."""
        self._db = db
        self.tallies: dict[str, Tally] = {}  # replaced, never changed: any thread may read it
        self.read()
        self._before = self.tallies

    def take(self, events: Sequence[Event]) -> bool:
        """Enter `events` into the accounts, within a transaction; return whether they changed."""
        for event in events:
            if isinstance(event, Arrival):
                known = self._db.execute(
                    "INSERT OR IGNORE INTO under_way VALUES (?, ?, ?, ?, ?, ?)",
                    (event.gate, event.track, event.camera, event.label, *event.position),
                )
                self._raise(event.gate, "seen" if known.rowcount else "astray")
            elif isinstance(event, Verdict):
                gone = self._db.execute("DELETE FROM under_way WHERE gate = ? AND track = ?", (event.gate, event.track))
                self._raise(event.gate, COLUMNS.get(event.verdict, "astray") if gone.rowcount else "astray")
        return any(isinstance(event, (Arrival, Verdict)) for event in events)

    def read(self) -> None:
        """Take over what is on the disk."""
        self.tallies = {str(name): Tally(*numbers) for name, *numbers in self._db.execute(_READ)}

    def left_over(self, time: float, *, simulated: bool) -> list[Verdict]:
        """Return that all parts under way are expired: they were so when a run ended. `time` is s, monotonic."""
        rows = self._db.execute("SELECT gate, track, camera, label, x, y FROM under_way ORDER BY gate, track")
        return [
            Verdict(
                time=time, camera=camera, frame=0, simulated=simulated, gate=gate, track=track, label=label,
                position=(x, y), verdict="EXPIRED", reasons=["the run before ended"], defects_px={}, looks=0,
            )
            for gate, track, camera, label, x, y in rows.fetchall()
        ]  # fmt: skip

    def broken(self) -> dict[str, str]:
        """Return what is wrong with the accounts of this run, by gate. Any thread may ask."""
        found = {}
        for name, tally in self.tallies.items():
            astray = tally.astray - self._before.get(name, Tally()).astray
            if astray:
                found[name] = f"{astray} arrivals or verdicts of gate {name} do not fit: some part was told twice"
            if not tally.holds:
                found[name] = f"the parts of gate {name} do not add up: {tally}"
        return found

    def _raise(self, gate: str, column: str) -> None:
        self._db.execute(
            f"INSERT INTO gates (gate, {column}) VALUES (?, 1) "  # noqa: S608  one of our own names
            f"ON CONFLICT (gate) DO UPDATE SET {column} = {column} + 1",
            (gate,),
        )
