"""Stream a belt as raw BGR24 frames: ``python -m examples.belt.stream --seed 7 --frames 900 > pipe``.

With --demand every frame is rendered only after one byte has come in on stdin, so that the reader and the renderer
never compete for a core; the end of stdin ends the stream. With --ticks an encoder's number is written for every frame,
before the frame: four ticks a pixel, so that `px_per_tick = [0.25, 0]`. With --video the frames go into a file instead.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from examples.belt.scene import Image

_PIPE_BYTES: Final = 1 << 20
_TICKS_PER_PX: Final = 4


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
    parser.add_argument("--ticks", type=Path, metavar="FILE", help="write the encoder's ticks of each frame there")
    parser.add_argument("--video", type=Path, metavar="FILE.mp4", help="write a recording, 30 frames/s; needs --frames")
    parser.add_argument("--demand", action="store_true", help="wait for a byte on stdin before each frame")
    options = parser.parse_args()
    if options.video and (options.frames is None or options.demand):
        parser.error("--video: needs --frames, and has no reader that could ask for frames")
    return options


def _stream(options: argparse.Namespace) -> None:
    from examples.belt.belt import Belt  # noqa: PLC0415 - seconds matter: --help needs no cv2

    belt = Belt(options.seed)
    belt.skip(options.start)
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(_video(options.video)) if options.video else _pipe()
        ticks = stack.enter_context(options.ticks.open("w", buffering=1)) if options.ticks else None
        while options.frames is None or belt.index < options.frames:
            if options.demand and not os.read(sys.stdin.fileno(), 1):
                return
            view = belt.step()
            _count(ticks, view.travel_px)
            write(view.image)
            belt.skip(options.every - 1)


def _pipe() -> Callable[[Image], object]:
    """Return what writes a frame to standard output."""
    out = sys.stdout.fileno()
    _widen(out)
    return lambda image: _write(out, image)


@contextlib.contextmanager
def _video(path: Path) -> Iterator[Callable[[Image], object]]:
    """Yield what writes a frame into a new video."""
    import cv2  # noqa: PLC0415

    from examples.belt.scene import HEIGHT, WIDTH  # noqa: PLC0415

    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    if not video.isOpened():
        raise SystemExit(f"{path}: cannot be written; name an .mp4 file in a folder that you may write")
    try:
        yield video.write
    finally:
        video.release()


def _count(ticks: IO[str] | None, travel_px: float) -> None:
    """Write what an encoder counts on so long a way."""
    if ticks is not None:
        ticks.write(f"{round(_TICKS_PER_PX * travel_px)}\n")


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
