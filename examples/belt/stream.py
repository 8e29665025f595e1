"""Stream a belt as raw BGR24 frames: ``python -m examples.belt.stream --seed 7 --frames 900 > pipe``.

With --demand every frame is rendered only after one byte has come in on stdin, so that the reader and the renderer
never compete for a core; the end of stdin ends the stream.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from examples.belt.scene import Image

_PIPE_BYTES: Final = 1 << 20


def main() -> int:
    """Write the frames; a reader that goes away and Ctrl-C both end the stream quietly."""
    options = _options()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _stream(options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.belt.stream", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--frames", type=int, default=None, help="how many frames; endless when left out")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="number of the first frame")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="write only every Nth frame")
    parser.add_argument("--demand", action="store_true", help="wait for a byte on stdin before each frame")
    return parser.parse_args()


def _stream(options: argparse.Namespace) -> None:
    from examples.belt.belt import Belt  # noqa: PLC0415 - seconds matter: --help needs no cv2

    out = sys.stdout.fileno()
    _widen(out)
    belt = Belt(options.seed)
    belt.skip(options.start)
    while options.frames is None or belt.index < options.frames:
        if options.demand and not os.read(sys.stdin.fileno(), 1):
            return
        _write(out, belt.step().image)
        belt.skip(options.every - 1)


def _widen(out: int) -> None:
    """Give the pipe the largest buffer an ordinary user may have; other outputs stay as they are."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415 - not everywhere

        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _write(out: int, image: Image) -> None:
    """Write a frame from its own memory, resuming where the pipe took only a part."""
    view = image.reshape(-1).data
    while view:
        view = view[os.write(out, view) :]


if __name__ == "__main__":
    sys.exit(main())
