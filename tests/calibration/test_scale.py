"""Millimetres per pixel from rendered boards and markers, whose scale is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from calibration.cli import main
from calibration.scale import Pattern, checkerboard, marker, scale_of
from edge.config import Camera, Measuring
from edge.decide.measure import plane_of
from edge.errors import ConfigError
from edge.types import Image

SQUARES, SQUARE_MM = (10, 7), 20.0
SIZE = 1280, 960
FINE = 8  # pixels of the drawn board per millimetre

Matrix = npt.NDArray[np.float64]


def board(squares: tuple[int, int] = SQUARES) -> Image:
    """Return a checkerboard with a white margin of one square, `FINE` pixels per mm."""
    side = int(SQUARE_MM * FINE)
    y, x = np.indices((squares[1] + 2, squares[0] + 2))
    inside = (x > 0) & (x <= squares[0]) & (y > 0) & (y <= squares[1])
    cells = np.where(inside & ((x + y) % 2 == 0), 20, 235).astype(np.uint8)
    return np.repeat(np.repeat(cells, side, axis=0), side, axis=1)


def aruco(number: int, side_mm: float) -> Image:
    side = int(side_mm * FINE)
    drawn = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), number, side)
    return np.asarray(cv2.copyMakeBorder(drawn, side // 3, side // 3, side // 3, side // 3, 0, value=255), np.uint8)


def photo(drawn: Image, to_frame: Matrix, rng: np.random.Generator) -> Image:
    """Return what a camera sees of `drawn`, `to_frame` (3, 3) being millimetres to frame pixels, with noise."""
    half = np.asarray([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # pixels are areas: their middles are at halves
    fine = np.diag([1 / FINE, 1 / FINE, 1.0])
    warp = np.linalg.inv(half) @ to_frame @ fine @ half
    large = np.diag([3.0, 3.0, 1.0])
    moved = np.asarray([[1, 0, 1.0], [0, 1, 1.0], [0, 0, 1]])  # three by three pixels to each, for soft edges
    seen = cv2.warpPerspective(drawn, moved @ large @ warp, (SIZE[0] * 3, SIZE[1] * 3), borderValue=200)
    grey = cv2.resize(seen, SIZE, interpolation=cv2.INTER_AREA).astype(np.float64) + rng.normal(0, 3, SIZE[::-1])
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def straight(px_per_mm: float, degrees: float, at: tuple[float, float] = (300, 250)) -> Matrix:
    angle = np.deg2rad(degrees)
    cos, sin = px_per_mm * np.cos(angle), px_per_mm * np.sin(angle)
    return np.asarray([[cos, -sin, at[0]], [sin, cos, at[1]], [0, 0, 1]])


def slanted(px_per_mm: float) -> Matrix:
    return np.asarray([[px_per_mm, 0.3, 150], [0.05, px_per_mm, 200], [3e-4, 8e-4, 1]])


@pytest.mark.parametrize("seed", range(6))
def test_a_board_seen_straight_gives_one_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    px_per_mm = float(rng.uniform(1.5, 3.0))
    image = photo(board(), straight(px_per_mm, float(rng.uniform(-20, 20))), rng)
    scale = scale_of([checkerboard("a.png", image, SQUARES, SQUARE_MM)], print_u=0.0)
    assert not scale.marks
    assert scale.scale_u < 0.001
    assert scale.mm_per_px * px_per_mm == pytest.approx(1, abs=2 * scale.scale_u + 2e-5)


def test_a_board_seen_at_a_slant_gives_marks_that_measure_rightly() -> None:
    image = photo(board(), slanted(2.0), np.random.default_rng(1))
    scale = scale_of([checkerboard("a.png", image, SQUARES, SQUARE_MM)], print_u=0.0)
    assert len(scale.marks) == 4
    assert scale.number_u > 10 * scale.scale_u
    plane = plane_of(Camera(source="x", measure=Measuring(scale_u=0.0, marks=list(scale.marks))), "camera")
    lines_mm = np.asarray([[[20.0, 30], [150, 120]], [[60, 110], [200, 25]]])
    ends = cv2.perspectiveTransform(lines_mm, slanted(2.0))
    for (start, end), (seen_start, seen_end) in zip(lines_mm, ends, strict=True):
        shown = plane.to_mm(np.stack([seen_start, seen_end]))
        true = float(np.linalg.norm(end - start))
        assert float(np.linalg.norm(shown[1] - shown[0])) == pytest.approx(true, rel=2 * scale.scale_u + 1e-4)


def test_pictures_of_one_plane_are_taken_together() -> None:
    rng = np.random.default_rng(2)
    views = [straight(2.0, 5, (250, 200)), straight(2.0, -8, (500, 420)), straight(2.0, 80, (900, 250))]
    patterns = [checkerboard(f"{i}", photo(board(), view, rng), SQUARES, SQUARE_MM) for i, view in enumerate(views)]
    assert scale_of(patterns, 0.0).mm_per_px == pytest.approx(0.5, rel=3e-4)


def test_a_lens_that_bends_makes_the_scale_less_sure() -> None:
    rng = np.random.default_rng(3)
    image = photo(board(), straight(3.0, 0, (100, 120)), rng)
    camera = np.asarray([[1200.0, 0, SIZE[0] / 2], [0, 1200.0, SIZE[1] / 2], [0, 0, 1]])
    bent = np.asarray(cv2.undistort(image, camera, np.asarray([0.25, 0, 0, 0])), np.uint8)
    flat, curved = (scale_of([checkerboard("a", one, SQUARES, SQUARE_MM)], 0.0) for one in (image, bent))
    assert curved.scale_u > 3 * flat.scale_u
    assert abs(curved.mm_per_px / flat.mm_per_px - 1) > flat.scale_u


def test_the_print_is_part_of_the_uncertainty() -> None:
    image = photo(board(), straight(2.0, 3), np.random.default_rng(4))
    pattern = checkerboard("a.png", image, SQUARES, SQUARE_MM)
    sure, unsure = scale_of([pattern], 0.0), scale_of([pattern], 0.01)
    assert unsure.scale_u == pytest.approx(np.hypot(sure.scale_u, 0.01))


@pytest.mark.parametrize("seed", range(4))
def test_a_marker_gives_one_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = photo(aruco(7, 60.0), straight(4.0, float(rng.uniform(-30, 30)), (500, 300)), rng)
    scale = scale_of([marker("m.png", image, 7, 60.0)], 0.0)
    assert scale.mm_per_px == pytest.approx(0.25, rel=0.004)
    assert not scale.marks


def test_what_is_not_there_is_said() -> None:
    grey = np.full((480, 640, 3), 128, np.uint8)
    with pytest.raises(ConfigError, match=r"^a\.png: no checkerboard of 10 x 7 squares"):
        checkerboard("a.png", grey, SQUARES, SQUARE_MM)
    with pytest.raises(ConfigError, match="too few"):
        checkerboard("a.png", grey, (3, 3), SQUARE_MM)
    with pytest.raises(ConfigError, match="marker 3 is to be seen once; the picture shows none"):
        marker("a.png", grey, 3, 50.0)
    image = photo(aruco(7, 60.0), straight(4.0, 0, (500, 300)), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="marker 3 is to be seen once; the picture shows 7"):
        marker("a.png", image, 3, 50.0)


def test_pictures_of_two_sizes_are_refused() -> None:
    rng = np.random.default_rng(5)
    first = checkerboard("a.png", photo(board(), straight(2.0, 0), rng), SQUARES, SQUARE_MM)
    second = Pattern("b.png", (640, 480), first.seen, first.known, first.lengths, first.corners)
    with pytest.raises(ConfigError, match=r"b\.png: is 640 x 480, a\.png 1280 x 960"):
        scale_of([first, second], 0.0)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["scale", *arguments]) == 0
    return dict(msgspec.toml.decode(capsys.readouterr().out))


def test_the_command_prints_what_site_toml_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.png"
    cv2.imwrite(str(path), photo(board(), straight(2.0, 4), np.random.default_rng(6)))
    camera = told([str(path), "--square-mm", "20"], capsys)["cameras"]["NAME"]
    assert camera["mm_per_px"] == pytest.approx(0.5, rel=0.002)
    assert camera["measure"]["scale_u"] == pytest.approx(0.001, rel=0.2)  # nearly all of it the print's
    cv2.imwrite(str(path), photo(board(), slanted(2.0), np.random.default_rng(6)))
    camera = told([str(path), "--square-mm", "20"], capsys)["cameras"]["NAME"]
    assert "mm_per_px" not in camera
    plane_of(Camera(source="x", measure=Measuring(**camera["measure"])), "camera")


def test_the_command_takes_a_folder_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        image = photo(board(), straight(2.0, 4), np.random.default_rng(i))
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    camera = told(["--source", str(tmp_path), "--square-mm", "20"], capsys)["cameras"]["NAME"]
    assert camera["mm_per_px"] == pytest.approx(0.5, rel=0.002)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "give pictures, or --source"),
        (["a.png"], "give --square-mm for a checkerboard, or --marker"),
        (["a.png", "--marker", "3"], "--marker 3 needs --marker-mm"),
        (["a.png", "--square-mm", "20"], "a.png: cannot be read: No such file or directory; name PNG or JPEG files"),
    ],
)
def test_what_is_missing_is_said(typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        main(["scale", *typed])


@pytest.mark.parametrize("typed", [["--squares", "10"], ["--square-mm", "-1"], ["--print-u", "2"]])
def test_values_out_of_range_are_refused(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scale", "a.png", *typed])
    assert typed[0] in capsys.readouterr().err


def test_the_board_that_is_printed_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "board.svg"
    assert main(["board", "--out", str(path), "--squares", "10x7", "--square-mm", "20"]) == 0
    root = ET.parse(path).getroot()  # noqa: S314  our own file
    drawn = root.findall("{*}path")[0].attrib["d"].rstrip("z").split("z")
    assert len(drawn) == 35
    assert root.attrib["width"] == "230mm"
    with pytest.raises(ConfigError, match="cannot be written"):
        main(["board", "--out", str(tmp_path / "no" / "board.svg")])
