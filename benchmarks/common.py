"""What benchmarks share."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edge.errors import FoveateError
from edge.threads import available_cores

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = ROOT / "examples" / "people"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    seed: int
    quick: bool
    plot: Path | None = None  # where a benchmark that draws something puts its picture
    peers_python: Path | None = None  # the interpreter that has the peers' packages


def data_folder() -> Path:
    """Return the folder of real recordings and weights, which is not part of this repository."""
    folder = Path(os.environ.get("FOVEATE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "weights").is_dir():
        raise FoveateError(
            f"data {folder}: there is no folder weights in it; set FOVEATE_DATA to where the data is "
            "(examples/people/README.md says which files, and where they come from)"
        )
    return folder


def machine() -> str:
    """Return the name of this machine's processor and the number of cores this process may use, its quota included."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_info() if line.startswith(("model name", "Model"))]
    return f"{names[0] if names else platform.machine()}, {available_cores()} cores"


def run_module(module: str, *arguments: str) -> None:
    """Run `python -m module` to its end; raises `FoveateError` with its last words if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FoveateError(f"{module} ended with exit code {done.returncode}: {said[-1] if said else 'no word why'}")


def _cpu_info() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
