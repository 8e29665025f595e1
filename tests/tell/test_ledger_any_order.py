from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge import config
from edge.events import GapEvent
from edge.tell.ledger import Identity, Ledger
from edge.tell.outbox import Answer
from tests.faults.line import count

LIMITS = config.Ledger(max_mib=8, keep_days=0)  # what is delivered may go at any time


class AnyOrder(RuleBasedStateMachine):
    """Commits, acknowledgements, restarts and crashes in any order, against a model in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="foveate-"))
        self.folders = 0
        self.acknowledged = {"archive": 0, "gate": 0}
        self.counted = self.dropped = 0
        self.totals: dict[str, int] = {}
        self.ids: set[int] = set()
        self.open()
        self.stream = self.ledger.stream

    def open(self) -> None:
        self.ledger = Ledger(self.root / str(self.folders), LIMITS, ["archive", "gate"])

    @rule(names=st.lists(st.sampled_from(["a/x", "b/y", ""]), max_size=4))
    def commit(self, names: list[str]) -> None:
        gap = GapEvent(time=1, camera="c", frame=1, since=0, until=1, reason="stall")
        told = self.ledger.commit([count(1, name) if name else gap for name in names])
        assert [event.seq for event in told] == list(range(self.counted + 1, self.counted + len(names) + 1))
        self.counted += len(names)
        for name in filter(None, names):
            self.totals[name] = self.totals.get(name, 0) + 1

    @rule(receiver=st.sampled_from(["archive", "gate"]), step=st.integers(-3, 9))
    def acknowledge(self, receiver: str, step: int) -> None:
        self.ledger.outbox.pending(self.ledger.outbox.floor, 5)
        sent = self.ledger.outbox._sent
        seq = self.acknowledged[receiver] + step
        answer = self.ledger.outbox.acknowledge(receiver, self.stream, seq)
        assert answer is (Answer.AHEAD if seq > sent else Answer.PROGRESS if step > 0 else Answer.REPEATED)
        if answer is Answer.PROGRESS:
            self.acknowledged[receiver] = seq

    @rule()
    def drop(self) -> None:
        """Drop all that is delivered; what is queued is not touched."""
        self.ledger.outbox.drop_history()
        self.dropped = min(self.acknowledged.values())

    @rule(number=st.integers(1, 50))
    def reserve(self, number: int) -> None:
        first = self.ledger.reserve_ids(number)
        block = set(range(first, first + number))
        assert not block & self.ids
        self.ids |= block

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """Go on from a copy of the files as they lie on disk now."""
        old = self.root / str(self.folders)
        self.folders += 1
        shutil.copytree(old, self.root / str(self.folders), ignore=shutil.ignore_patterns("*-shm"))
        self.ledger.close()
        self.open()

    @invariant()
    def reconciles(self) -> None:
        floor = min(self.acknowledged.values())
        assert self.ledger.identity() == Identity(self.counted, floor, self.counted - floor, 0)
        assert self.ledger.identity("count").counted == sum(self.totals.values())
        assert self.ledger.totals() == self.totals
        assert self.ledger.stream == self.stream

    @precondition(lambda self: self.counted > 0)
    @invariant()
    def rows_are_in_order(self) -> None:
        floor = min(self.acknowledged.values())
        rows = self.ledger._db.execute("SELECT seq FROM events ORDER BY seq").fetchall()
        assert [seq for (seq,) in rows] == list(range(self.dropped + 1, self.counted + 1))
        sent = self.ledger.outbox._sent
        queued = self.ledger.outbox.pending(0, 1000)
        self.ledger.outbox._sent = sent  # looking is not sending
        assert [row.seq for row in queued] == list(range(floor + 1, self.counted + 1))

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.root)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
