"""What benchmarks share."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edge.errors import FoveateError

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = ROOT / "examples" / "people"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    seed: int
    quick: bool


def data_folder() -> Path:
    """Return the folder of real recordings and weights, which is not part of this repository."""
    found = [Path(os.environ["FOVEATE_DATA"])] if "FOVEATE_DATA" in os.environ else [ROOT.parent / "shared" / "data"]
    if not (found[0] / "weights").is_dir():
        raise FoveateError(f"data {found[0]}: there is no folder weights in it; set FOVEATE_DATA to where the data is")
    return found[0]


def run_module(module: str, *arguments: str) -> None:
    """Run `python -m module` to its end; raises `FoveateError` with its last words if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FoveateError(f"{module} ended with exit code {done.returncode}: {said[-1] if said else 'no word why'}")
