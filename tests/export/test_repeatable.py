"""The same inputs give the same bundle, byte for byte but for the time at which it was made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.export.nets import rewritten

ROOT = Path(__file__).parents[2]


def exported(recipe: Path, out: Path, hash_seed: str) -> None:
    """Export in a process of its own: what depends on the order of a set differs between two of them."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "export.cli", str(recipe), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def everything(recipe: Path) -> Path:
    """Return a recipe with all methods and both flavours of INT8."""
    return rewritten(
        recipe,
        ('head = "logits"', 'head = "logits"\ntensorrt = true\ncoarse_size = [16, 16]'),
        ('method = "minmax"', 'method = "auto"'),
    )


def test_two_processes_give_the_same_bytes(everything: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        exported(everything, tmp_path / seed, seed)
    first, second = tmp_path / "1", tmp_path / "2"
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        one, other = (re.sub(rb'"created": "[^"]*"', b"", (folder / name).read_bytes()) for folder in (first, second))
        assert one == other, name
    lists = [(tmp_path / f"{seed}.report" / "calibration.json").read_bytes() for seed in ("1", "2")]
    assert lists[0] == lists[1]


def test_the_frames_are_listed_and_the_list_is_hashed(recipe: Path, tmp_path: Path) -> None:
    exported(recipe, tmp_path / "out", "3")
    data = (tmp_path / "out.report" / "calibration.json").read_bytes()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["calibration"]["frames_sha256"] == hashlib.sha256(data).hexdigest()
    listed = json.loads(data)
    assert len(listed) == 8
    pictures = sorted((tmp_path / "pictures").iterdir())
    for one in listed:
        image = cv2.imread(str(pictures[one["frame"]]))
        assert image is not None
        assert one["sha256"] == hashlib.sha256(image.tobytes()).hexdigest()
        assert one["product"] == "a"
        assert 0 < one["occupancy"] < 0.5
    assert not any("_ms" in key for key in manifest["quality"])
