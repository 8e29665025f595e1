"""`foveate run CONFIG` and `python -m edge CONFIG`: the daemon."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge import threads
from edge.config import Config, load_config
from edge.errors import ConfigError, FoveateError

INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit code."""
    threads.pin()
    options = _parser().parse_args(argv)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        return _run(options)
    except FoveateError as error:
        print(f"foveate: error: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError as error:
        print(f"foveate: error: not enough memory: {error}; use smaller frames or models", file=sys.stderr)
        return FoveateError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    if options.source is not None:
        if len(config.cameras) != 1:
            raise ConfigError(
                f"--source {options.source}: the configuration has {len(config.cameras)} cameras "
                f"({', '.join(config.cameras)}); --source works with one"
            )
        (name, camera), *_ = config.cameras.items()
        replaced = msgspec.structs.replace(camera, source=_source(options.source), command=[], demand=False)
        config = msgspec.structs.replace(config, cameras={name: replaced})
    return _serve(config, options)


def _serve(config: Config, options: argparse.Namespace) -> int:
    from edge.daemon import Options, serve  # noqa: PLC0415  the pins come before NumPy and its threads

    given = Options(options.json, options.save, options.frames, options.config)
    if options.trial:
        with tempfile.TemporaryDirectory(prefix="foveate-trial-") as folder:  # `serve` minds signals, imports do not
            summary = serve(msgspec.structs.replace(config, state=Path(folder), mqtt=None, simulated=True), given)
    else:
        summary = serve(config, given)
    ledger = summary["ledger"]
    where = "told=nobody" if options.trial else " ".join(f"{name}={ledger[name]}" for name in _WHERE)
    log = logging.getLogger(__name__)
    log.info(
        "ended frames=%d counted=%s verdicts=%s %s", summary["frames"], summary["counted"], summary["verdicts"], where
    )
    return 0


_WHERE = ("delivered", "queued", "lost")


def _source(text: str) -> str:
    """Return a source given on the command line; files are relative to where the command is typed."""
    return text if "://" in text or text.startswith("usb:") else str(Path(text).resolve())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate run",
        description="Look at every frame of the configured cameras, decide, and tell the broker.",
    )
    parser.add_argument("config", type=Path, help="configuration file (TOML; docs/config.md)")
    parser.add_argument("--source", help="a video, a folder of pictures, usb:N or a URL, instead of the configured one")
    parser.add_argument(
        "--trial", action="store_true", help="leave ledger and broker alone: count into a temporary folder, tell nobody"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a summary of the run")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE.mp4",
        help="write a video with everything drawn into it: to look at, not to run again; 3 to 8 MB a second",
    )
    parser.add_argument("--frames", type=positive, metavar="N", help="end after N frames")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="how much is logged"
    )
    return parser


def positive(text: str) -> int:
    """Return a number of frames given on a command line; argparse tells what is wrong with another text."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of frames; use 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
