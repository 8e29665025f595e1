"""`foveate check SITE.toml`: are the reference pictures still judged as they were when they were chosen?"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge import threads
from edge.config import Config, JobCheck, load_config
from edge.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the pictures and print a table; return 0 where all are judged as expected, else 1."""
    threads.pin()
    options = _parser().parse_args(argv)
    config = load_config(options.config)
    if options.golden is not None:
        config = msgspec.structs.replace(config, job_check=JobCheck(folder=options.golden.resolve()))
    if config.job_check is None:
        raise ConfigError(
            f"configuration {options.config}: there is no table [job_check]; add it, or name a folder with --golden"
        )
    return _checked(config)


def _checked(config: Config) -> int:
    from edge.bundle import open_bundle  # noqa: PLC0415  the pins come before NumPy and its threads
    from edge.daemon import open_models  # noqa: PLC0415
    from edge.golden import summary_of  # noqa: PLC0415
    from edge.job_check import judged_again  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        results = [*judged_again(config, open_models(config, open_bundle(config.bundle), stack))]
    names = max(len("picture"), *(len(result.name) for result in results))
    wants = [summary_of(result.expected) for result in results]
    width = max(map(len, wants))
    print(f"     {'picture':{names}}  expected")
    for result, wanted in zip(results, wants, strict=True):
        print(f"{'NOK' if result.differences else 'OK ':<3}  {result.name:{names}}  {wanted:{width}}".rstrip())
        for difference in result.differences:
            print(f"     {difference}")
    failed = sum(bool(result.differences) for result in results)
    print(f"{failed} of {len(results)} pictures are judged otherwise than expected")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate check",
        description="Judge the reference pictures of a configuration again, by the models and rules that it loads.",
    )
    parser.add_argument("config", type=Path, help="configuration file (docs/config.md)")
    parser.add_argument(
        "--golden", type=Path, metavar="FOLDER", help="pictures and their golden.toml, instead of those of [job_check]"
    )
    return parser
