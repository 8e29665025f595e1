"""The interpreter of the peers is asked for in words, and what they count is what they counted in between."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import peers, peers_worker
from benchmarks.common import ROOT
from edge.errors import FoveateError


@pytest.mark.parametrize("path", [None, Path("nowhere/python"), Path(sys.executable)])
def test_without_the_peers_it_says_how_to_get_them(path: Path | None) -> None:
    with pytest.raises(FoveateError, match=r"pip install -r benchmarks/peers\.txt"):
        peers.interpreter(path)


def test_every_peer_has_a_version() -> None:
    lines = (ROOT / "benchmarks" / "peers.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert set(peers.NEEDED) <= set(pinned)


def test_counts_of_the_warm_up_do_not_count() -> None:
    assert peers.counted({"a": 2}, {"a": 5, "b": 1}) == Counter(a=3, b=1)
    assert peers.counted(None, None) is None


def test_frames_are_seen_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 64))
    for level in range(0, 250, 25):
        video.write(np.full((64, 64, 3), level, np.uint8))
    video.release()
    seen: list[int] = []

    class Seer:
        def see(self, image: Any) -> list[list[float]]:
            seen.append(round(float(image.mean()) / 25))
            return []

        def counts(self) -> dict[str, int] | None:
            return None

    monkeypatch.setattr("sys.stdin", io.StringIO("2 4\n4 5\n7 8\n"))
    answers = io.StringIO()
    peers_worker.answer(Seer(), str(tmp_path / "v.avi"), answers)
    assert seen == [2, 3, 4, 7]
    assert len(answers.getvalue().splitlines()) == 3
