"""Pictures that are not what their names say: each is told in one line, and none is waited for."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.cli import main as calibrate
from edge.config import Config, load_config
from edge.errors import ConfigError
from edge.golden import read_golden, read_picture
from edge.see.cameras.stills import read_still

NAMES = {
    "text.png": "is no picture or is cut short; copy it again",
    "empty.png": "is no picture or is cut short; copy it again",
    "half.jpg": "is no picture or is cut short; copy it again",
    "large.png": "cannot be decoded: .*; make it smaller",
    "pipe.png": "is no file",
    "none.png": "cannot be read: No such file or directory",
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with what is no picture."""
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    header = struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_picture_is_named_in_one_line(pictures: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=NAMES[name]) as golden:
        read_picture(pictures / name)
    with pytest.raises(ConfigError, match=NAMES[name]) as board:
        calibrate(["scale", str(pictures / name), "--square-mm", "20"])
    assert all("\n" not in str(error.value) and name in str(error.value) for error in (golden, board))


def test_a_name_that_is_not_utf_8_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    path.write_bytes(cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes())
    assert read_still(path).shape == (4, 6, 3)


def test_what_is_expected_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('bundle = "b"\nstate = "s"\n[cameras.c]\nsource = "pictures"\n')
    rules: Config = load_config(tmp_path / "site.toml")
    os.mkfifo(tmp_path / "golden.toml")
    with pytest.raises(ConfigError, match=r"golden\.toml: is no file; write one"):
        read_golden(tmp_path, rules)
