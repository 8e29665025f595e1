"""What a start says of the time before it, whatever the clock did meanwhile (C1)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import config
from edge.config import Config
from edge.daemon import _note_blind_time
from edge.events import GapEvent
from edge.tell.ledger import Ledger

NOON = 1_795_435_200.0  # s since 1970: 2026-11-23, 12:00 UTC


class Source:
    """What is asked of a camera at a start."""

    def __init__(self, *, live: bool) -> None:
        self.live = live


def gaps(folder: Path) -> list[GapEvent]:
    """Start once more with two live cameras and a recording; return the gaps that this says."""
    ledger = Ledger(folder, config.Ledger(max_mib=8), [])
    cameras: Any = {"a": Source(live=True), "b": Source(live=True), "recording": Source(live=False)}
    _note_blind_time(Config(bundle=folder, state=folder, cameras={}), ledger, cameras)
    found = [msgspec.json.decode(row.payload, type=GapEvent) for row in ledger.outbox.pending(0, 99)]
    ledger.close()
    return found


def beaten(folder: Path, now: float) -> None:
    ledger = Ledger(folder, config.Ledger(max_mib=8), [])
    ledger.beat(now)
    ledger.close()


def test_the_first_start_was_never_blind(tmp_path: Path) -> None:
    assert gaps(tmp_path) == []


@pytest.mark.parametrize(
    ("passed_s", "blind_s"),
    [
        (42.0, 42.0),
        (0.0, 0.0),
        (3642.0, 3642.0),
        (-3558.0, 0.0),
        (-NOON, 0.0),
        (12 * 365 * 86400.0, 12 * 365 * 86400.0),
    ],
    ids=["42 s", "at once", "1 h on", "1 h back", "1970", "2038"],
)
def test_each_live_camera_was_blind_since_the_last_beat_and_never_for_less_than_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed_s: float, blind_s: float
) -> None:
    beaten(tmp_path, NOON)
    monkeypatch.setattr(time, "time", lambda: NOON + passed_s)
    told = gaps(tmp_path)
    assert [gap.camera for gap in told] == ["a", "b"]
    for gap in told:
        assert gap.reason == "start"
        assert gap.until - gap.since == pytest.approx(blind_s)
        assert gap.until == pytest.approx(time.monotonic(), abs=10), "only one clock is subtracted from"
