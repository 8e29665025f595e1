"""`foveate calibrate`: what a camera has to be told before it can measure."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from calibration.board import board_svg
from calibration.scale import Pattern, Scale, checkerboard, marker, scale_of
from edge.config import Camera
from edge.errors import ConfigError
from edge.see.cameras import open_camera
from edge.see.cameras.stills import NoPictureError, read_still
from edge.types import Frame, Image

FRAMES = 10  # of a source
READ_TIMEOUT_S = 10.0
FAR = 0.25  # share of the frame below which a pattern tells little of the rest


def main(argv: Sequence[str] | None = None) -> int:
    """Print a board, or the scale of a camera; return the exit code."""
    options = _parser().parse_args(argv)
    if options.what == "board":
        _write(options.out, board_svg(options.squares, options.square_mm))
    else:
        print(_told(scale_of(list(_patterns(options)), options.print_u)), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="foveate calibrate", description="What a camera has to be told to measure.")
    kinds = parser.add_subparsers(dest="what", required=True)
    board = kinds.add_parser("board", help="write a checkerboard to print, as SVG")
    board.add_argument("--out", type=Path, required=True, help="the file, for example board.svg")
    board.add_argument("--squares", type=_squares, default=(10, 7), help="across x down (default 10x7)")
    board.add_argument("--square-mm", type=_positive, default=25.0, help="width of a square (default 25)")
    scale = kinds.add_parser("scale", help="millimetres per pixel from pictures of a board or marker, for site.toml")
    scale.add_argument("pictures", type=Path, nargs="*", help="of the pattern, flat in the plane that objects lie in")
    scale.add_argument("--source", help="a camera or recording instead of pictures: usb:0, rtsp://…, a file")
    scale.add_argument("--squares", type=_squares, default=(10, 7), help="of the checkerboard (default 10x7)")
    scale.add_argument("--square-mm", type=_positive, help="width of one of its squares, measured on the print")
    scale.add_argument("--marker", type=int, help="number of an ArUco marker of 4X4_50, instead of a checkerboard")
    scale.add_argument("--marker-mm", type=_positive, help="width of its black square, measured on the print")
    scale.add_argument(
        "--print-u",
        type=_share,
        default=0.001,
        help="relative standard uncertainty of the printed lengths (default 0.001: 0.1 mm in 100, a steel ruler's)",
    )
    return parser


def _patterns(options: argparse.Namespace) -> Iterator[Pattern]:
    """Yield what each picture shows; raises `ConfigError` where something is missing."""
    if bool(options.pictures) == bool(options.source):
        raise ConfigError("calibrate scale: give pictures, or --source with a camera or recording")
    if (options.square_mm is None) == (options.marker is None):
        raise ConfigError("calibrate scale: give --square-mm for a checkerboard, or --marker and --marker-mm")
    if options.marker is not None and options.marker_mm is None:
        raise ConfigError(
            f"calibrate scale: --marker {options.marker} needs --marker-mm, the width of its black square"
        )
    pictures = _recorded(options.source) if options.source else _read(options.pictures)
    for name, image in pictures:
        if options.marker is not None:
            yield marker(name, image, options.marker, options.marker_mm)
        else:
            yield checkerboard(name, image, options.squares, options.square_mm)


def _read(paths: Sequence[Path]) -> Iterator[tuple[str, Image]]:
    for path in paths:
        yield str(path), _picture(path)


def _picture(path: Path) -> Image:
    try:
        return read_still(path)
    except NoPictureError as error:
        raise ConfigError(f"{path}: {error}; {error.fix or 'name PNG or JPEG files'}") from error


def _recorded(source: str) -> Iterator[tuple[str, Image]]:
    with open_camera("calibrate", Camera(source=source)) as camera:
        for number in range(FRAMES):
            frame = camera.read(READ_TIMEOUT_S)
            if not isinstance(frame, Frame):
                if number:
                    return
                raise ConfigError(f"{source}: gave no frame in {READ_TIMEOUT_S:g} s; see that it runs")
            yield f"{source}, frame {number}", frame.image


def _told(scale: Scale) -> str:
    """Return what site.toml needs, and in comments how good it is."""
    lines = ["[cameras.NAME]  # the table that is there already"]
    if scale.marks:
        lines.append(
            f"# Not square to the plane: one number, {scale.mm_per_px:.5g} mm per pixel, would be off by "
            f"{scale.number_u:.1%}."
        )
    else:
        lines.append(f"mm_per_px = {scale.mm_per_px:.6g}")
    lines += ["", "[cameras.NAME.measure]", f"scale_u = {scale.scale_u:.2g}  # relative, one standard uncertainty"]
    if scale.marks:
        rows = ",\n".join(f"  [{x:.2f}, {y:.2f}, {x_mm:.3f}, {y_mm:.3f}]" for x, y, x_mm, y_mm in scale.marks)
        lines.append(f"marks = [  # frame pixels, and millimetres\n{rows},\n]")
    if scale.covered < FAR:
        lines.append(f"# The pattern covered {scale.covered:.0%} of the frame; what is true beyond it nobody has seen.")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}; name another file") from error
    print(f"{path}: print it at 100 %, and measure the line below the squares")


def _squares(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})x(\d{1,2})", text)
    if found is None or min(map(int, found.groups())) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no board; write 10x7 for 10 squares across and 7 down")
    return int(found[1]), int(found[2])


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; 0.001 is one in a thousand")
    return value


if __name__ == "__main__":
    sys.exit(main())
