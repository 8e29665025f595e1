"""`foveate replay RECORDING --config SITE.toml`: what is decided in a recording, the same bytes on every run.

The daemon's own loop on a ledger of its own. What would differ from run to run is fixed: the stream, the time of day at
the first frame, track ids from 1 on. Nothing else depends on when or how fast it runs: recordings wait for us, so there
is no governor and no spare time for the audit, and rounds of several cameras always have the same frames.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from edge import threads
from edge.__main__ import INTERRUPTED, positive
from edge.config import Config, load_config
from edge.errors import ConfigError, FoveateError
from edge.rehearsal import alone, is_live, with_sources
from edge.tell.clocks import clock_from
from edge.tell.reader import read_ledger

STREAM = "0" * 32  # of every replay: it is none that a device has
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay recordings and write what was decided; return the exit code."""
    threads.pin()
    options = _parser().parse_args(argv)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = _config(options)
    if options.ledger is not None:
        _check_new(options.ledger, config)
    if options.evidence is not None:
        _make_empty(options.evidence)
    with alone(config, options.ledger) as rehearsed:
        if not _played(rehearsed, options):
            return INTERRUPTED
        _tell(rehearsed.state, lines=options.ledger is None and not options.hash)
    return 0


def _config(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    for text in options.recording:
        if is_live(text) or is_live(text.partition("=")[2]):
            raise ConfigError(f"replay {text}: is live; record it, and name the file")
    found = with_sources(config, options.recording)
    missing = [name for name in config.cameras if found.cameras[name] is config.cameras[name]]
    if missing:
        raise ConfigError(f"replay: no recording of camera {missing[0]}; name one, as in {missing[0]}=FILE")
    if options.threads is None:
        return found
    return msgspec.structs.replace(found, models=msgspec.structs.replace(found.models, threads=options.threads))


def _check_new(folder: Path, config: Config) -> None:
    """Raise `FoveateError` where `folder` is, or holds, a ledger that others count on."""
    if folder.resolve() == config.state.resolve():
        raise FoveateError(f"--ledger {folder}: is the state folder of the configuration; name another one")
    if (folder / "ledger.db").exists():
        raise FoveateError(f"--ledger {folder}: holds a ledger already; name a new folder, or remove what is in it")


def _make_empty(folder: Path) -> None:
    """Make `folder`; raises `FoveateError` where that cannot be, or where it holds something: names would go on."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = any(folder.iterdir())
    except OSError as error:
        raise FoveateError(f"--evidence {folder}: {error.strerror}; name a new folder") from error
    if holds:
        raise FoveateError(f"--evidence {folder}: holds something already; name a new folder")


def _played(config: Config, options: argparse.Namespace) -> bool:
    """Run the loop to the end of the recordings; return whether it was reached. Raises a `FoveateError`."""
    from edge.daemon import Options, serve  # noqa: PLC0415  the pins come before NumPy and its threads

    given = Options(
        options.json, options.save, options.frames, options.config, clock_from(options.start), STREAM,
        pictures=options.evidence is not None, evidence=options.evidence,
    )  # fmt: skip
    summary = serve(config, given)
    if summary["ledger"]["lost"]:
        raise FoveateError(
            f"replay: {summary['ledger']['lost']} events had no room in the ledger; raise [ledger] max_mib of "
            f"{options.config}, or replay less with --frames"
        )
    log.info("replayed frames=%d counted=%s", summary["frames"], summary["counted"])
    return not summary["interrupted"]


def _tell(folder: Path, *, lines: bool) -> None:
    """Write the events as JSON lines, or the SHA-256 of these lines; it is logged in any case."""
    digest, count = hashlib.sha256(), 0
    with read_ledger(folder / "ledger.db") as ledger:
        for row in ledger.rows():
            digest.update(row.payload + b"\n")
            count += 1
            if lines:
                sys.stdout.buffer.write(row.payload + b"\n")
    if not lines:
        print(digest.hexdigest())
    log.info("events=%d sha256=%s", count, digest.hexdigest())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate replay",
        description="Look at recordings as the daemon would, and write what is decided as JSON lines: the same bytes "
        "on every run. Broker and ledger of the configuration are left alone.",
    )
    parser.add_argument(
        "recording",
        nargs="+",
        help="a video or a folder of pictures; NAME=FILE for each camera where there are several",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration (docs/config.md)")
    parser.add_argument("--hash", action="store_true", help="write the SHA-256 of the events instead of them")
    parser.add_argument("--ledger", type=Path, metavar="FOLDER", help="keep the events there, and write their SHA-256")
    parser.add_argument("--evidence", type=Path, metavar="FOLDER", help="write the pictures there; changes no event")
    parser.add_argument(
        "--start", type=_time, default=datetime.fromtimestamp(0, timezone.utc), metavar="TIME",
        help="what time it was at the first frame, ISO 8601 in UTC (default 1970-01-01)",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads of the models; changes no event")
    parser.add_argument("--frames", type=positive, metavar="N", help="end after N frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a summary of the run")
    parser.add_argument("--save", type=Path, metavar="FILE.mp4", help="write a video with everything drawn into it")
    parser.add_argument(
        "--log-level", default="warning", choices=["debug", "info", "warning", "error"], help="how much is logged"
    )
    return parser


def _time(text: str) -> datetime:
    """Return a time on the command line; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a time; write 2026-11-23T12:00") from error
