"""Events of a ledger in files that other programs read: whole, or not there at all."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, get_args

import msgspec

from edge.errors import FoveateError, LedgerError
from edge.events import Event
from edge.tell.reader import Kept

COMMON = ("kind", "stream", "seq", "utc", "time", "camera", "frame", "simulated", "degraded")  # of every event
_BYTES = "surrogateescape"  # an altered payload that is no text is written as it is


def check_spared(flag: str, target: Path, ledger: Path) -> None:
    """Raise `FoveateError` where `target` is a file of the state folder that `ledger` lies in."""
    place, folder = Path(os.path.realpath(target)), Path(os.path.realpath(ledger)).parent
    ours = place.name == "beat" or place.name.startswith(("ledger.", ledger.name))
    if place.parent == folder and ours:
        raise FoveateError(f"{flag} {target}: would replace a part of the state folder; name another file")


def columns() -> list[str]:
    """Return the columns of a table of events: what all have, then the fields of each kind."""
    own = [name for kind in get_args(Event) for name in kind.__struct_fields__ if name not in COMMON]
    return [*COMMON, *dict.fromkeys(own)]


def write_csv(target: Path, events: Iterable[dict[str, Any]]) -> int:
    """Write `events` as CSV (RFC 4180, UTF-8), lists and tables in a field as JSON; return how many.

    Raises `FoveateError`.
    """
    names, count = columns(), 0
    with _whole(target) as file:
        table = csv.writer(file)
        table.writerow(names)
        for event in events:
            table.writerow(_fields(event, names))
            count += 1
    return count


def write_jsonl(target: Path, rows: Iterable[Kept]) -> int:
    """Write `rows` as JSON lines, byte for byte as they are told; return how many. Raises `FoveateError`."""
    count = 0
    with _whole(target) as file:
        for row in rows:
            if not isinstance(row.payload, bytes):  # SQLite keeps a text where bytes belong
                raise LedgerError(
                    f"ledger: event {row.seq} is altered: it is no bytes; foveate ledger verify says what else is"
                )
            file.write(row.payload.decode(errors=_BYTES) + "\n")
            count += 1
    return count


def _fields(event: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [as_text(event.get(name, "")) for name in names]


def as_text(value: Any) -> str:
    """Return a value of an event as people read it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[IO[str]]:
    """Yield a file that takes the place of `target` once everything is in it; raises `FoveateError`."""
    try:
        if target.exists() and not target.is_file():  # a pipe, or a terminal: nothing can take its place
            with target.open("w", encoding="utf-8", errors=_BYTES, newline="") as file:
                yield file
            return
        with _part(Path(os.path.realpath(target))) as file:
            yield file
    except OSError as error:
        raise FoveateError(
            f"{target}: cannot be written: {error.strerror}; name a file in a folder with room that you may write"
        ) from error


@contextlib.contextmanager
def _part(place: Path) -> Iterator[IO[str]]:
    """Yield a new file beside `place`, which takes its place at the end, or is removed where that does not come."""
    part = place.with_name(f".{place.name}.part")
    part.unlink(missing_ok=True)  # of a run that was killed
    try:
        with part.open("x", encoding="utf-8", errors=_BYTES, newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
