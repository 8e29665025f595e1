"""A ledger that is full (R1), and one that is full again and again (R2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from edge import config
from edge.events import Event, GapEvent
from edge.tell.ledger import Identity, Ledger
from tests.faults.line import count, new_seed, verdict

LIMITS = config.Ledger(max_mib=1)


def opened(folder: Path) -> Ledger:
    return Ledger(folder, LIMITS, ["archive"])


def fill(ledger: Ledger, make: Callable[[int], Event], batch: int = 50) -> tuple[int, int]:
    """Commit until an event is lost; return how many were kept and lost."""
    kept = lost = 0
    while not lost:
        told = ledger.commit([make(n) for n in range(batch)])
        kept += sum(event.seq > 0 for event in told)
        lost += sum(event.seq == 0 for event in told)
        assert kept < 100_000
    return kept, lost


def test_r1_a_full_ledger_drops_counts_before_passes_before_rejects_and_declares_them(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    counts, lost_counts = fill(ledger, count)
    assert ledger.full
    passes, lost_passes = fill(ledger, lambda _n: verdict("PASS"))
    rejects, lost_rejects = fill(ledger, lambda _n: verdict("REJECT"))
    assert min(counts, passes, rejects) > 100
    kept, lost = counts + passes + rejects, lost_counts + lost_passes + lost_rejects
    assert ledger.identity() == Identity(kept + lost, 0, kept, lost)
    assert ledger.totals()["door/part"] == counts + lost_counts, "totals go on"
    for number in range(500):  # nothing but totals has room, for as long as it takes
        assert ledger.commit([count(number)])[0].seq == 0
    lost += 500
    ledger.close()
    assert (tmp_path / "ledger.db").stat().st_size <= 1 << 20
    ledger = opened(tmp_path)
    assert ledger.full, "also after a restart"
    assert ledger.totals()["door/part"] == counts + lost_counts + 500
    ledger.outbox.pending(0, 10**6)
    ledger.outbox.acknowledge("archive", ledger.stream, int(kept * 0.7))
    while ledger.outbox.drop_history():
        pass
    gap, after = ledger.commit([count(10**6)])
    assert isinstance(gap, GapEvent)
    assert (gap.reason, gap.lost_events, gap.until) == ("outbox", lost, after.time)
    assert 0 < gap.since < 1.0
    assert (after.seq, gap.seq) == (kept + 2, kept + 1)
    assert ledger.identity() == Identity(kept + lost + 2, int(kept * 0.7), kept + 2 - int(kept * 0.7), lost)
    assert not ledger.full
    ledger.close()


def test_r2_a_ledger_at_its_cap_frees_itself_again_and_again(tmp_path: Path) -> None:
    random = Random(new_seed())
    ledger = opened(tmp_path)
    counted = lost = declared = 0
    begin = time.monotonic()
    while time.monotonic() - begin < 3.0 or (not declared and time.monotonic() - begin < 60.0):
        choices: list[Event] = [count(1), verdict("REJECT")]
        told = ledger.commit(random.choices(choices, k=random.randrange(1, 80)))
        counted += len(told)
        lost += sum(event.seq == 0 for event in told)
        declared += sum(event.lost_events for event in told if isinstance(event, GapEvent))
        if random.random() < 0.04:
            rows = ledger.outbox.pending(ledger.outbox.floor, random.randrange(1, 5000))
            if rows:
                ledger.outbox.acknowledge("archive", ledger.stream, rows[-1].seq)
        ledger.outbox.drop_history()
        identity = ledger.identity()
        assert (identity.counted, identity.lost, identity.holds) == (counted, lost, True)
        (listed,) = ledger._db.execute("SELECT count(*) FROM events WHERE seq > ?", (ledger.outbox.floor,)).fetchone()
        assert listed == identity.queued
    print(f"counted={counted} lost={lost} declared={declared}")
    assert 0 < declared <= lost
    assert ledger._db.execute("PRAGMA page_count").fetchone()[0] <= 256
    ledger.close()
    opened(tmp_path).close()
