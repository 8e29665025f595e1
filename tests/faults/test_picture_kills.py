"""Kills at any moment between a picture and its event: neither is there without the other, and no picture is torn."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import cv2
import msgspec
import numpy as np

from edge import config
from edge.events import Count, Event
from edge.tell.evidence import Pictures
from edge.tell.ledger import Ledger
from edge.tell.reader import read_ledger
from tests.broker import wait_for
from tests.faults.line import ROOT, count, new_seed, repeats, wrong

KILLS = 12
SIDE = 640  # of noise: such a picture takes as long to write as a commit


def opened(state: Path) -> tuple[Ledger, Pictures]:
    """Open both as the daemon does."""
    ledger = Ledger(state, config.Ledger(max_mib=64), [])
    pictures = Pictures(state / "evidence", config.Evidence(quality=100), 64)
    pictures.open(lambda: ledger.outbox.newest(4096))
    return ledger, pictures


def work(state: Path) -> None:
    """Write picture after picture, each with its event, until killed."""
    ledger, pictures = opened(state)
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    (state / "ready").touch()
    while True:
        ledger.commit([msgspec.structs.replace(count(1), picture=pictures.write("c-1-1", image))])
        pictures.settle()


def named(state: Path) -> list[str]:
    with read_ledger(state / "ledger.db") as ledger:
        events = [msgspec.json.decode(row.payload, type=Event) for row in ledger.rows()]
    return [event.picture for event in events if isinstance(event, Count)]


def test_after_any_kill_every_picture_has_its_event_and_every_event_its_picture(tmp_path: Path) -> None:
    random, parts = Random(new_seed()), 0
    for _ in range(repeats(KILLS)):
        (tmp_path / "ready").unlink(missing_ok=True)
        child = subprocess.Popen([sys.executable, "-m", "tests.faults.test_picture_kills", str(tmp_path)], cwd=ROOT)
        assert wait_for((tmp_path / "ready").exists, 20)
        time.sleep(random.uniform(0.0, 0.2))
        child.kill()
        child.wait(10)
        parts += len(list(tmp_path.rglob("*.part")))
        ledger, _ = opened(tmp_path)
        ledger.close()
        assert wrong(tmp_path) == []
        files = sorted((tmp_path / "evidence").rglob("*.*"))
        assert [str(path.relative_to(tmp_path / "evidence")) for path in files] == named(tmp_path)
        assert np.asarray(cv2.imread(str(files[-1]))).shape == (SIDE, SIDE, 3)
    print(f"left between picture and commit={parts}")
    assert len(files) > repeats(KILLS)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
