"""`foveate doctor [CONFIG]`: one line per thing that must work, and how to mend what does not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy import checks
from deploy.checks import FIX, OK, Finding
from edge import threads
from edge.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; return 0 where there is nothing to fix, else 1."""
    threads.pin()
    parser = argparse.ArgumentParser(
        prog="foveate doctor", description="Check this machine and, if given, a configuration; say what to fix."
    )
    parser.add_argument("config", nargs="?", type=Path, help="configuration file (TOML); its parts are tried out")
    parser.add_argument("--source", help="try this video, folder, usb:N or URL instead of the configured camera")
    options = parser.parse_args(argv)
    if options.source is not None and options.config is None:
        parser.error("--source needs a configuration")
    fixes = 0
    for finding in _findings(options.config, options.source):
        print(_line(finding), flush=True)  # some take seconds: show each as it comes
        fixes += finding.status == FIX
    print(f"{fixes} to fix" if fixes else "nothing to fix")
    return 1 if fixes else 0


def _findings(config: Path | None, source: str | None) -> Iterator[Finding]:
    missing = False
    for finding in checks.machine():
        missing = missing or finding.status == FIX
        yield finding
    yield from checks.gpu()
    yield from checks.host()
    if config is None:
        return
    if missing:
        yield Finding(FIX, f"{config} was not tried", "install what is missing first")
        return
    yield from _tried(config, source)


def _tried(path: Path, source: str | None) -> Iterator[Finding]:
    from deploy import probe  # noqa: PLC0415  it needs every package, and those have been looked for only now
    from edge.config import load_config  # noqa: PLC0415
    from edge.rehearsal import with_sources  # noqa: PLC0415  see above

    try:
        config = load_config(path)
        if source is not None:
            config = with_sources(config, [source])
    except ConfigError as error:
        yield Finding(FIX, str(error))
        return
    yield Finding(OK, f"configuration {path}")
    yield from probe.models(config)
    yield from probe.cameras(config)
    yield from probe.golden(config)
    yield from probe.broker(config)
    pictures_mib = config.evidence.budget_mib if config.pictured else 0
    yield from checks.state_folder(config.state, config.ledger.max_mib, pictures_mib)


def _line(finding: Finding) -> str:
    how = f": {finding.how}" if finding.status == FIX and finding.how else ""
    return f"{finding.status:<3} {finding.what}{how}"
