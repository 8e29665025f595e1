"""`python -m benchmarks NAME [--seed S] [--quick] [--json FILE]`: one benchmark, as a table and as JSON.

Every module of this folder with a function `run` is a benchmark. The JSON holds its name, its figures (flat, units in
the keys), the machine, versions of what was measured, and the commit.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Options, machine
from edge import threads
from edge.errors import FoveateError

HERE = Path(__file__).parent
PACKAGES = ("foveate", "onnxruntime", "numpy", "opencv-python-headless", "paho-mqtt", "onnx")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; return the exit code."""
    threads.pin()
    given = _parser().parse_args(argv)
    try:
        figures: dict[str, Any] = importlib.import_module(f"benchmarks.{given.name}").run(_options(given))
    except ModuleNotFoundError as error:
        print(
            f"benchmarks {given.name}: needs {error.name}, which is not installed; in the checkout: "
            "pip install -e '.[demo,export,bench]' (street, defects, screws: '.[train]' too)",
            file=sys.stderr,
        )
        return FoveateError.exit_code
    except FoveateError as error:
        print(f"benchmarks {given.name}: {error}", file=sys.stderr)
        return error.exit_code
    result = {"name": given.name, "seed": given.seed, "quick": given.quick, "figures": figures, **_where()}
    _show(result)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def names() -> list[str]:
    """Return the benchmarks there are."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef run(" in path.read_text())


def _where() -> dict[str, Any]:
    """Return what was measured on and with."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if _git("status", "--porcelain") else ""),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _show(result: dict[str, Any]) -> None:
    print(f"{result['name']} on {result['machine']}, commit {result['commit']}")
    width = max((len(name) for name in result["figures"]), default=0)
    for name, value in result["figures"].items():
        print(f"  {name:{width}}  {value:.4g}" if isinstance(value, float) else f"  {name:{width}}  {value}")


def _options(given: argparse.Namespace) -> Options:
    """Return what the command line says; a picture goes beside the JSON where nothing else is said."""
    plot = given.plot or (given.json and given.json.with_suffix(".png"))
    return Options(given.seed, given.quick, plot, given.peers_python)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, then claim.")
    parser.add_argument("name", choices=names(), help="which benchmark")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="cascade, defects, screws: where the picture goes")
    parser.add_argument(
        "--peers-python",
        type=Path,
        metavar="FILE",
        help="peers, cascade, mot, parity: an interpreter with their packages",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
