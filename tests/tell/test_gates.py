"""The accounts of gates in the ledger."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import config
from edge.events import Arrival, Event, Verdict
from edge.tell.gates import Tally
from edge.tell.ledger import Ledger
from edge.tell.schema import LAWS
from tests.faults.line import count, verdict

LIMITS = config.Ledger(max_mib=8)
IDENTITY = LAWS["seen = passed + rejected + reviewed + expired + under way"]


def arrival(track: int, gate: str = "exit") -> Arrival:
    return Arrival(time=1.0, camera="c", frame=1, gate=gate, track=track, label="part", position=(3.0, 4.5))


def of(track: int, label: str, gate: str = "exit") -> Verdict:
    return msgspec.structs.replace(verdict(label), track=track, gate=gate)


def test_parts_add_up_at_every_commit_and_over_restarts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as outside:
        batches: list[list[Event]] = [
            [arrival(1), arrival(2), arrival(3), arrival(1, "other")],
            [of(2, "PASS"), arrival(4), count(1)],
            [of(1, "REJECT"), of(3, "REVIEW")],
        ]
        for events in batches:
            told = ledger.commit(events)
            assert outside.execute(IDENTITY).fetchone() == (1,)
    assert [event.total for event in told if isinstance(event, Verdict)] == [1, 1]
    assert ledger.gates.tallies == {
        "exit": Tally(seen=4, passed=1, rejected=1, reviewed=1, under_way=1),
        "other": Tally(seen=1, under_way=1),
    }
    assert ledger.totals()["exit/seen"] == 4
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, [])
    left = ledger.gates.left_over(9.0, simulated=True)
    assert [(event.gate, event.track, event.verdict, event.position) for event in left] == [
        ("exit", 4, "EXPIRED", (3.0, 4.5)),
        ("other", 1, "EXPIRED", (3.0, 4.5)),
    ]
    ledger.commit(left)
    assert ledger.gates.left_over(9.0, simulated=True) == []
    assert ledger.gates.tallies["exit"] == Tally(seen=4, passed=1, rejected=1, reviewed=1, expired=1)
    assert ledger.totals()["exit/EXPIRED"] == 1
    assert ledger.gates.broken() == {}
    ledger.close()


@pytest.mark.parametrize("events", [[of(7, "PASS")], [arrival(1)], [of(1, "PASS"), of(1, "REJECT")]])
def test_what_does_not_fit_is_astray_and_an_alarm_but_no_damage(tmp_path: Path, events: list[Any]) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    stream = ledger.stream
    ledger.commit([arrival(1)])
    assert ledger.gates.broken() == {}
    ledger.commit(events)
    tally = ledger.gates.tallies["exit"]
    assert (tally.holds, tally.astray) == (True, 1)
    assert list(ledger.gates.broken()) == ["exit"]
    ledger.close()
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.stream == stream
    assert ledger.gates.broken() == {}, "that was the run before"
    ledger.close()


def test_a_ledger_without_accounts_gets_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    stream = ledger.stream
    ledger.commit([count(1)])
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute("DROP TABLE gates")
        db.execute("DROP TABLE under_way")
        db.execute("UPDATE meta SET value = 3 WHERE key = 'version'")
        db.execute("PRAGMA user_version=3")
        db.commit()
    ledger = Ledger(tmp_path, LIMITS, [])
    assert ledger.stream == stream
    ledger.commit([arrival(1)])
    assert ledger.gates.tallies["exit"].under_way == 1
    ledger.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gates SET seen = seen + 1",
        "UPDATE gates SET passed = 'x'",
        "UPDATE gates SET astray = -1",
        "DELETE FROM under_way",
        "UPDATE under_way SET gate = 'else'",
        "UPDATE under_way SET x = 'x'",
    ],
)
def test_accounts_that_do_not_add_up_are_damage(tmp_path: Path, statement: str) -> None:
    ledger = Ledger(tmp_path, LIMITS, [])
    ledger.commit([arrival(1), arrival(2), of(2, "PASS")])
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute(statement)
        db.commit()
    Ledger(tmp_path, LIMITS, []).close()
    assert (tmp_path / "ledger.db.corrupt-1").exists()
