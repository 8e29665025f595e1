"""The daemon and its parts under way: the next start says what became of them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from edge import config
from edge.config import Config
from edge.daemon import Options, serve
from edge.events import Event, Verdict
from tests.see.coded import write_belt, write_bundle

GATE = config.Gate(name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right")


def events(state: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as db:
        rows = db.execute("SELECT payload FROM events ORDER BY seq").fetchall()
    return [msgspec.json.decode(payload, type=Event) for (payload,) in rows]


def test_parts_that_were_under_way_when_a_run_ended_are_expired_by_the_next(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 60, 4)
    rules = Config(
        bundle=tmp_path / "bundle",
        state=tmp_path / "state",
        cameras={"c": config.Camera(source=str(tmp_path / "pictures"), fps=10)},
        regions=config.RegionRules(min_area_px=50, pad_px=6),
        attention=config.Attention(canvases=2),
        tracks=config.TrackRules(motion="belt", at_border="wait"),
        gates=[GATE],
        models=config.Models(threads=1),
    )
    first = serve(rules, Options(frames=36))["gates"]["exit"]
    assert first["under_way"] >= 1
    assert first["seen"] == first["passed"] + first["under_way"]
    left = {event.track for event in events(rules.state)} - {
        event.track for event in events(rules.state) if isinstance(event, Verdict)
    }
    second = serve(rules, Options(frames=1))["gates"]["exit"]
    assert second == {**first, "expired": first["under_way"], "under_way": 0}
    told = events(rules.state)[-len(left) :]
    assert {event.track for event in told} == left
    assert {(event.verdict, *event.reasons) for event in told} == {("EXPIRED", "the run before ended")}
