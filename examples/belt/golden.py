"""Write reference pictures of the belt for the job check: ``python -m examples.belt.golden FOLDER``.

Each is a frame of a validation seed, soon after its belt began to move: few parts, and what is true of them in
``golden.toml``. Parts that the frame's border cuts are none yet (``at_border = "wait"``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import cv2

from edge.errors import FoveateError
from examples.belt.belt import Belt
from examples.belt.scene import WIDTH, PartInfo, Truth, View
from examples.belt.truth import boxes_of

SEEDS: Final = tuple(seed for seed in range(2700, 3000) if seed != 2705)
"""Of the validation seeds; no figure is claimed on them. Of 2705 the committed networks reject a good part."""
STEP: Final = 5
"""Frames from one try to the next."""
LONGEST: Final = 300
"""Frames within which something must have come."""
MARGIN_PX: Final = 24
"""Between a part and the frame's border."""


def main() -> int:
    """Write the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.belt.golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they go; made if it is not there")
    parser.add_argument("--pictures", type=int, default=12, metavar="N", help="how many (default 12)")
    options = parser.parse_args()
    write(options.folder, options.pictures)
    print(f"{options.pictures} pictures in {options.folder}; foveate check SITE.toml --golden {options.folder}")
    return 0


def write(folder: Path, pictures: int) -> None:
    """Write so many pictures and ``golden.toml``; raises `FoveateError` where that cannot be."""
    lines: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (seed, view, parts), _ in zip(_found(), range(pictures), strict=False):
            name = f"seed-{seed}.png"
            if not cv2.imwrite(str(folder / name), view.image):
                raise FoveateError(f"{folder / name}: cannot be written; free space there")
            lines += [f'[pictures."{name}"]', *_expected(parts), ""]
        (folder / "golden.toml").write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise FoveateError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error


def _found() -> Iterator[tuple[int, View, list[PartInfo]]]:
    """Yield seed, frame and the parts in it, the first frame of each seed in which a part is whole."""
    for seed in SEEDS:
        belt = Belt(seed)
        for _ in range(LONGEST // STEP):
            belt.skip(STEP - 1)
            view = belt.step(truth=True)
            parts = _whole(view.truth) if view.truth is not None else None
            if parts:
                yield seed, view, parts
                break


def _whole(truth: Truth) -> list[PartInfo] | None:
    """Return the parts that are whole; None where one is nearly cut, or has reached the other end."""
    found = []
    for part in truth.parts:
        box = boxes_of(truth.instances).get(part.id)
        if box is None or box[0] <= 0:
            continue
        if box[0] < MARGIN_PX or box[2] > WIDTH - MARGIN_PX:
            return None
        found.append(part)
    return found


def _expected(parts: list[PartInfo]) -> list[str]:
    """Return the lines of ``golden.toml`` that say what is true of a picture with these parts."""
    defects = sorted({name for part in parts for name in part.defects})
    return [
        f"verdicts = {_table('REJECT' if part.defects else 'PASS' for part in parts)}",
        f"defects = {json.dumps(defects)}",
        f"counts = {_table(part.kind for part in parts)}",
    ]


def _table(names: Iterable[str]) -> str:
    """Return how often each name is there, as an inline table."""
    numbers = sorted(Counter(names).items())
    return f"{{ {', '.join(f'{name} = {number}' for name, number in numbers)} }}"


if __name__ == "__main__":
    sys.exit(main())
