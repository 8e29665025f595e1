"""Whether a ledger adds up: the laws of every ledger, and what its rows say against its totals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from edge.event_facts import counter_of
from edge.events import Event
from edge.tell import schema
from edge.tell.reader import Kept, Reader

_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Finding(NamedTuple):
    """One thing that must hold."""

    holds: bool
    law: str
    found: str = ""  # the numbers behind it


@dataclass(slots=True)
class _Counter:
    """The kept rows of one counter."""

    first: int  # total in the oldest of them
    last: int
    rows: int = 1


@dataclass(slots=True)
class _Scan:
    """What one pass over all rows has found; each wrong thing by the first row that has it."""

    rows: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    counters: dict[str, _Counter] = field(default_factory=dict)

    def blame(self, what: str, seq: int) -> None:
        """Note that row `seq` is wrong."""
        self.wrong.setdefault(what, seq)


_ALTERED = "every row has its checksum"
_FOREIGN = "every row is an event with its own stream, number and kind"
_FALLS = "totals rise from row to row"


def verify(ledger: Reader) -> Iterator[Finding]:
    """Yield what must hold in `ledger`, one thing at a time; the rows are read once."""
    sound = True
    for law, broken in ledger.broken_laws():
        sound = sound and not broken
        yield Finding(not broken, law, _reckoned(ledger) if sound and law == schema.IDENTITY else "")
    scan = _scanned(ledger)
    for what in (_ALTERED, _FOREIGN, _FALLS):
        bad = scan.wrong.get(what)
        yield Finding(bad is None, what, f"{scan.rows} rows" if bad is None else f"not row {bad}")
    if sound:  # else there is nothing to hold them against
        yield _totals(ledger, scan)


def _reckoned(ledger: Reader) -> str:
    """Return the identity in numbers, over all kinds."""
    all_of = ledger.identities().values()
    counted, lost = sum(one.counted for one in all_of), sum(one.lost for one in all_of)
    return f"{counted} = {sum(one.delivered for one in all_of)} + {sum(one.queued for one in all_of)} + {lost}"


def _scanned(ledger: Reader) -> _Scan:
    scan = _Scan()
    for row in ledger.rows():
        scan.rows += 1
        if not schema.is_sound(*row):
            scan.blame(_ALTERED, row.seq)
        event = _event(row, ledger.stream)
        if event is None:
            scan.blame(_FOREIGN, row.seq)
        elif (counter := counter_of(event)) is not None:
            _note_total(scan, counter, getattr(event, "total", 0), row.seq)
    return scan


def _event(row: Kept, stream: str) -> Event | None:
    """Return the event in `row`, or None where it holds another one."""
    try:
        event = _EVENTS.decode(row.payload)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None
    own = (event.stream, event.seq, event.__struct_config__.tag) == (stream, row.seq, row.kind)
    return event if own else None


def _note_total(scan: _Scan, counter: str, total: int, seq: int) -> None:
    found = scan.counters.get(counter)
    if found is None:
        scan.counters[counter] = _Counter(total, total)
        return
    if total <= found.last:
        scan.blame(_FALLS, seq)
    found.last, found.rows = total, found.rows + 1


def _totals(ledger: Reader, scan: _Scan) -> Finding:
    """Compare the totals with what the rows add up to; events that were lost raised a total and left no row.

    Where rows are no longer kept, the oldest one of a counter says what the total was before.
    """
    totals, whole = ledger.totals(), ledger.first == 1
    lost = sum(one.lost for one in ledger.identities().values())
    missing = {name: totals.get(name, 0) - (one.first - 1) - one.rows for name, one in scan.counters.items()}
    if whole:
        missing |= {name: total for name, total in totals.items() if name not in missing}
        missing |= {name: totals.get(name, 0) - one.rows for name, one in scan.counters.items()}
    good = all(number >= 0 for number in missing.values()) and sum(missing.values()) <= lost
    wrong = next((name for name, number in missing.items() if number < 0 or number > lost), "")
    law = "totals are what all rows add up to" if whole else f"totals are what rows from {ledger.first} on add up to"
    found = f"{len(missing)} of {len(totals)} counters, {sum(missing.values())} of them lost"
    return Finding(good, law, f"{found}{f'; not {wrong}' if wrong else ''}")
