"""Held-out frames of the belt with their truth, laid out as `export/heldout.py` reads them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from edge.types import Array
from examples.belt.belt import KINDS, TEST_SEEDS, Belt, Truth

LENGTH = 900  # frames of a run that pictures are taken from


def write_heldout(folder: Path, seeds: list[int], per_seed: int) -> None:
    """Write `per_seed` frames of each run, spread over it, with semantic, instance and defect truth."""
    kinds: dict[str, dict[int, str]] = {}
    for seed in seeds:
        belt = Belt(seed)
        for index in np.linspace(60, LENGTH - 1, per_seed).round().astype(int).tolist():
            belt.skip(index - belt.index)
            view = belt.step(truth=True)
            if view.truth is None:
                raise AssertionError("a step with truth has truth")
            name = f"{seed:04}-{index:04}"
            _write(folder, name, view.image, view.truth)
            kinds[name] = {part.id: part.kind for part in view.truth.parts}
    (folder / "kinds.json").write_text(json.dumps(kinds))


def _write(folder: Path, name: str, image: Array, truth: Truth) -> None:
    # a defect belongs to its part also where a chip leaves only belt to be seen
    maps = {"images": image, "semantic": truth.semantic, "instances": truth.instances, "defects": truth.defects}
    for kind, picture in maps.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / kind / f"{name}.png"), picture)


def main() -> int:
    """Write held-out frames of test seeds."""
    parser = argparse.ArgumentParser(prog="python -m examples.belt.heldout", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*TEST_SEEDS[:6]])
    parser.add_argument("--frames", type=int, default=4, help="of each seed")
    options = parser.parse_args()
    write_heldout(options.folder, options.seeds, options.frames)
    print(f"{len(options.seeds) * options.frames} frames of {', '.join(KINDS)} in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
