"""`foveate ledger`: what was decided and who has it, out of a ledger that may be in use. It changes nothing."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from deploy.ledger_files import COMMON, as_text, check_spared, write_csv, write_jsonl
from edge.config import load_config
from edge.errors import LedgerError
from edge.event_facts import counter_of
from edge.events import Event, SummaryEvent
from edge.tell.reader import Kept, Reader, read_ledger
from edge.tell.schema import BROKER, MOST
from edge.tell.store import EVIDENCE
from edge.tell.verify import verify

CONFIGS = {".toml", ".json"}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are asked for."""

    kind: str | None = None
    counter: str | None = None
    since: str | None = None  # ISO 8601 in UTC, as in events
    until: str | None = None  # the same
    shift: str | None = None  # of summaries

    def takes(self, row: Kept) -> bool:
        """Tell whether `row` is one of them."""
        if self.kind is not None and row.kind != self.kind:
            return False
        if self == Filter(self.kind):
            return True
        event = _decoded(row, Event)
        return (
            (self.counter is None or counter_of(event) == self.counter)
            and (self.since is None or event.utc >= self.since)
            and (self.until is None or event.utc < self.until)
            and (self.shift is None or (isinstance(event, SummaryEvent) and event.shift == self.shift))
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Show, trace, verify or export; return the exit code."""
    options = _parser().parse_args(argv)
    path = _ledger_of(options.place)
    if options.what == "export":
        check_spared("--csv" if options.csv else "--jsonl", options.csv or options.jsonl, path)
    with read_ledger(path) as ledger:
        match options.what:
            case "show":
                _show(ledger, _filter(options), options.last)
            case "trace":
                _trace(ledger, options.seq, options.evidence or path.parent / EVIDENCE)
            case "verify":
                _verify(ledger)
            case _:
                _export(ledger, _filter(options), options.csv, options.jsonl)
    return 0


def _ledger_of(place: Path) -> Path:
    """Return the file of the ledger that a state folder, a configuration or the file itself names."""
    is_file = os.path.isfile(place)  # noqa: PTH113  no error of its own where it may not be looked at
    if is_file and place.suffix.lower() in CONFIGS:
        return load_config(place).state / "ledger.db"
    return place if is_file else place / "ledger.db"


def _show(ledger: Reader, asked: Filter, last: int) -> None:
    identities, totals = ledger.identities(), ledger.totals()
    print(f"{ledger.path}, stream {ledger.stream}")
    print(f"{_range(ledger)}; {_who_has_it(ledger)}")
    print(f"\n{'kind':10}{'counted':>10} = {'delivered':>10} + {'queued':>8} + {'lost':>8}")
    for kind, one in identities.items():
        print(f"{kind:10}{one.counted:10} = {one.delivered:10} + {one.queued:8} + {one.lost:8}")
    if totals:
        print("\ntotals")
        width = max(map(len, totals))
        for counter, total in totals.items():
            print(f"  {counter:{width}} {total:9}")
    _print_rows(ledger, asked, last)


def _range(ledger: Reader) -> str:
    if ledger.last == 0:
        return "no event yet"
    kept = ledger.last - ledger.first + 1
    if kept == 0:
        return f"events 1 to {ledger.last}, none of which is kept"
    return f"events 1 to {ledger.last}, of which {kept} are kept, from {ledger.first} on"


def _who_has_it(ledger: Reader) -> str:
    told = [f"{'the broker' if name == BROKER else name} has {seq}" for name, seq in ledger.receivers().items()]
    return ", ".join(told)


def _print_rows(ledger: Reader, asked: Filter, last: int) -> None:
    found = _newest(ledger, asked, last)
    if not found:
        print("\nno such event is kept")
        return
    print(f"\n{'seq':>8}  {'utc':24}  {'camera':12}{'frame':>8}  kind")
    for row in found:
        event = _decoded(row, dict)
        told = {name: value for name, value in event.items() if name not in COMMON and value not in ("", None, [], {})}
        rest = " ".join(f"{name}={as_text(_rounded(value))}" for name, value in told.items())
        camera = event.get("camera") or "-"
        print(f"{row.seq:8}  {event.get('utc', ''):24}  {camera:12}{event.get('frame', 0):8}  {row.kind} {rest}")


def _rounded(value: Any) -> Any:
    """Return `value` with its fractions rounded to what a line of a table has room for."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return {name: _rounded(one) for name, one in value.items()} if isinstance(value, dict) else value


def _newest(ledger: Reader, asked: Filter, last: int) -> list[Kept]:
    """Return the `last` events that are asked for, the oldest first; what is older is not read."""
    found: list[Kept] = []
    for row in ledger.rows(newest_first=True):
        if asked.takes(row):
            found.append(row)
        if len(found) == last:
            break
    return found[::-1]


def _trace(ledger: Reader, seq: int, evidence: Path) -> None:
    row = ledger.row(seq)
    if row is None:
        gone = "is no longer kept" if seq <= ledger.last else "was not given yet"
        raise LedgerError(f"ledger {ledger.path}: event {seq} {gone}; there are {_range(ledger)}")
    where = "delivered: every receiver has it" if seq <= ledger.floor else "queued: not every receiver has it yet"
    event, known = _decoded(row, dict), _decoded(row, Event)
    width = max(map(len, event))
    print(f"event {seq} of {ledger.path}, {where}")
    for name, value in event.items():
        print(f"  {name:{width}}  {as_text(value)}")
    if known.camera:
        print(f"decided in frame {known.frame} of camera {known.camera}, at {known.time:.3f} s of its clock")
        if source := ledger.source(known.camera, seq):
            print(f"which was {source}")
    if picture := event.get("picture"):
        print(_picture(evidence / picture))


def _picture(path: Path) -> str:
    """Say where a picture is, or that it is not there."""
    try:
        return f"picture {path}, {path.stat().st_size} bytes"
    except ValueError:  # a NUL in an altered event
        return f"picture {str(path)!r}: is no name of a file; foveate ledger verify says what else is altered"
    except OSError as error:
        return f"picture {path}: {error.strerror}; it was the oldest when the budget was used up, or was never written"


def _verify(ledger: Reader) -> None:
    """Print every law; raises `LedgerError` where one is broken."""
    broken = 0
    print(f"{ledger.path}, stream {ledger.stream}: {_range(ledger)}")
    for finding in verify(ledger):
        broken += not finding.holds
        print(f"{'OK' if finding.holds else 'BAD':4}{finding.law}{f': {finding.found}' if finding.found else ''}")
    if broken:
        raise LedgerError(
            f"ledger {ledger.path}: {broken} of what must hold does not; keep a copy of the file, check the disk, and "
            "compare with what the receivers have"
        )


def _export(ledger: Reader, asked: Filter, csv: Path | None, jsonl: Path | None) -> None:
    rows = (row for row in ledger.rows() if asked.takes(row))
    target = csv or jsonl
    count = write_csv(csv, _events(rows)) if csv is not None else write_jsonl(jsonl or Path(), rows)
    print(f"{count} events into {target}; {_range(ledger)}", file=sys.stderr)


def _events(rows: Iterator[Kept]) -> Iterator[dict[str, Any]]:
    return (_decoded(row, dict) for row in rows)


def _decoded(row: Kept, kind: Any) -> Any:
    """Return the event in `row`; raises `LedgerError` where it is none."""
    try:
        return msgspec.json.decode(row.payload, type=kind)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise LedgerError(
            f"ledger: event {row.seq} is altered: {error}; foveate ledger verify says what else is"
        ) from error


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(options.kind, options.counter, options.since, options.until, options.shift)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate ledger", description="Show, trace, verify or export a ledger, also while a daemon writes it."
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="{show,trace,verify,export}")
    show = _command(commands, "show", "who has what, totals, and the newest events")
    _add_filter(show)
    show.add_argument("--last", type=_number, default=20, metavar="N", help="so many events (default 20)")
    trace = _command(commands, "trace", "one event: the camera and the frame that it was decided in")
    trace.add_argument("seq", type=_number, help="its number")
    trace.add_argument(
        "--evidence", type=Path, metavar="FOLDER", help="where the pictures are (default: beside the ledger)"
    )
    _command(commands, "verify", "hold everything against everything; exit code 74 where something does not add up")
    export = _command(commands, "export", "write the events into a file")
    _add_filter(export)
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", type=Path, metavar="FILE", help="one line each, with a column for every field")
    target.add_argument("--jsonl", type=Path, metavar="FILE", help="one line each, byte for byte as it is told")
    return parser


def _command(commands: Any, name: str, what: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what.capitalize() + ".")
    command.add_argument("place", type=Path, help="a state folder, the configuration that names it, or a ledger.db")
    return command


def _add_filter(command: argparse.ArgumentParser) -> None:
    command.add_argument("--kind", help="only events of this kind: count, verdict, gap …")
    command.add_argument("--counter", help="only those that raised this total, such as door/person/left")
    command.add_argument("--since", type=_time, metavar="TIME", help="only those from this time on, ISO 8601 in UTC")
    command.add_argument("--until", type=_time, metavar="TIME", help="only those before this time")
    command.add_argument("--shift", metavar="NAME", help="only the summaries of this shift; off, every: the others")


def _number(text: str) -> int:
    if not (re.fullmatch("[0-9]{1,16}", text) and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text} is not a number; use 1 or more")
    return int(text)


def _time(text: str) -> str:
    """Return a time on the command line as events have it; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc).isoformat()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a time; write 2026-11-23T12:00") from error
