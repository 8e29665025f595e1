"""Write one frame as a PNG: ``python -m examples.belt.picture --seed 7 --frame 400 --out belt.png --truth``."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.belt.belt import Belt
from examples.belt.scene import DEFECTS, HEIGHT, KINDS, MAX_ID, WIDTH, Image, Truth, View

_KIND_COLOURS: Final = ((32, 32, 32), (60, 180, 240), (90, 200, 90), (220, 140, 60), (180, 90, 220))
_DEFECT_COLOURS: Final = ((32, 32, 32), (255, 255, 0), (60, 60, 255), (0, 160, 255), (255, 0, 200))
"""BGR, background first."""


def main() -> int:
    """Render the frame asked for and write it."""
    parser = argparse.ArgumentParser(prog="python -m examples.belt.picture", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--frame", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--truth", action="store_true", help="a sheet of image, semantic, instances and defects")
    options = parser.parse_args()
    belt = Belt(options.seed)
    belt.skip(options.frame)
    view = belt.step(truth=options.truth)
    if not cv2.imwrite(options.out, sheet(view)):
        print(f"cannot write {options.out}", file=sys.stderr)
        return 1
    return 0


def sheet(view: View) -> Image:
    """Return the image alone, or with truth a 2x2 sheet (2160, 3840, 3) in colour."""
    if view.truth is None:
        return view.image
    truth = view.truth
    left = np.vstack((view.image, _instances(truth)))
    right = np.vstack((_coloured(truth.semantic, _KIND_COLOURS), _coloured(truth.defects, _DEFECT_COLOURS)))
    result: Image = np.hstack((left, right))
    _legend(result[:, WIDTH:], KINDS, _KIND_COLOURS)
    _legend(result[HEIGHT:, WIDTH:], DEFECTS, _DEFECT_COLOURS)
    return result


def _coloured(labels: NDArray[np.uint8], colours: tuple[tuple[int, int, int], ...]) -> Image:
    return np.array(colours, np.uint8)[labels]


def _instances(truth: Truth) -> Image:
    """Give every id its own colour."""
    colours = np.random.default_rng(0).integers(70, 256, (MAX_ID + 1, 3), np.uint8)
    colours[0] = _KIND_COLOURS[0]
    return colours[truth.instances]


def _legend(picture: Image, names: tuple[str, ...], colours: tuple[tuple[int, int, int], ...]) -> None:
    for index, (name, colour) in enumerate(zip(names, colours[1:], strict=True)):
        cv2.putText(picture, name, (30 + 280 * index, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.3, colour, 3, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main())
