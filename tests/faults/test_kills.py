"""Processes that die: the daemon (D1), the receiver (G1); and a receiver that lies (G2)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from deploy.archive import Position
from deploy.receiver import Receiver, Settings
from tests.broker import Broker, Ear, wait_for
from tests.faults.line import (
    DEVICE,
    ROOT,
    Line,
    Options,
    Reckoning,
    configuration,
    new_seed,
    open_ledger,
    receiver,
    reckon,
    repeats,
    wrong,
)


def program(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a module of the tests as a process of its own."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)


def test_d1_every_event_committed_by_a_daemon_that_is_killed_arrives_once(broker: Broker, tmp_path: Path) -> None:
    random = Random(new_seed())
    archive = receiver(tmp_path, broker.port)
    truth = tmp_path / "truth"
    truth.touch()
    options = Options(str(tmp_path / "state"), broker.port, str(truth), ["archive"])
    totals = 0
    for _ in range(repeats(20)):
        size = truth.stat().st_size
        daemon = program("tests.faults.line", msgspec.json.encode(options).decode())
        assert wait_for(lambda: truth.stat().st_size > size, 10), "a killed daemon comes back"  # noqa: B023
        time.sleep(random.uniform(0.0, 0.3))
        daemon.kill()
        daemon.wait(10)
        assert wrong(tmp_path / "state") == []
        totals, before = len(truth.read_text().splitlines()), totals
        assert totals > before
    options.seconds = 0.1
    daemon = program("tests.faults.line", msgspec.json.encode(options).decode())
    assert daemon.wait(30) == 0, "drained"
    archive.stop()
    result = reckon(truth, tmp_path / "archive.db")
    print(f"{result} duplicates={archive.archive.duplicates}")
    assert (result.missing, result.holes, result.twice) == (0, 0, 0)
    # A commit that was killed before its line in the truth file is delivered all the same: at most one a kill.
    assert result.committed <= result.delivered <= result.committed + repeats(20)
    ledger = open_ledger(configuration(tmp_path / "state", broker.port))
    assert ledger.totals() == {"door/part": result.delivered}
    assert ledger.identity().delivered == ledger.identity().counted == result.delivered
    ledger.close()


class Mortal(Receiver):
    """Dies between a commit and its acknowledgement, after so many commits."""

    lives = 0

    def acknowledge(self, device: str, position: Position) -> None:
        if position.again:  # on connecting, or when rows are missing: nothing new was committed
            super().acknowledge(device, position)
            return
        self.lives -= 1
        if self.lives < 0:
            signal.raise_signal(signal.SIGKILL)
        super().acknowledge(device, position)


def test_g1_a_receiver_killed_between_commit_and_acknowledgement_gets_nothing_twice(
    broker: Broker, tmp_path: Path
) -> None:
    random = Random(new_seed())
    line = Line(configuration(tmp_path / "state", broker.port), tmp_path / "truth")
    for _ in range(repeats(12)):
        lives = random.randrange(8)
        gate = program("tests.faults.test_kills", str(tmp_path / "archive.db"), str(broker.port), str(lives))
        while gate.poll() is None:
            line.produce(0.05)
        assert gate.returncode == -signal.SIGKILL
    archive = receiver(tmp_path, broker.port)
    assert line.end(drain_s=15)
    duplicates = archive.archive.duplicates
    archive.stop()
    result = reckon(tmp_path / "truth", tmp_path / "archive.db")
    print(f"{result} duplicates={duplicates}")
    assert result == Reckoning(result.committed, result.committed, missing=0, holes=0, twice=0)


def test_g2_a_receiver_that_lies_deletes_nothing(broker: Broker, tmp_path: Path) -> None:
    line = Line(configuration(tmp_path / "state", broker.port), tmp_path / "truth")
    ear = Ear(broker.port)
    for _ in range(40):
        line.produce_one()
    assert wait_for(lambda: len(ear.payloads("/event/count")) >= 16, 5)
    stream = line.ledger.stream
    for lie, seq, why in [(stream, 41, "ahead"), (stream, 1 << 80, "ahead"), ("0" * 32, 3, "foreign")]:
        ear.say(f"foveate/{DEVICE}/ack/archive", msgspec.json.encode({"stream": lie, "seq": seq}))
        assert wait_for(lambda: why in line.delivery.status().alarms.get("ack:archive", ""), 5)  # noqa: B023
        assert line.ledger.identity().queued == 40
    ear.say(f"foveate/{DEVICE}/ack/archive", msgspec.json.encode({"stream": stream, "seq": 17}))  # never sent yet
    assert wait_for(lambda: "seq 17" in line.delivery.status().alarms.get("ack:archive", ""), 5)
    assert line.ledger.identity().queued == 40
    ear.say(f"foveate/{DEVICE}/ack/archive", msgspec.json.encode({"stream": stream, "seq": 16}))
    assert wait_for(lambda: line.ledger.identity().delivered == 16, 5)
    assert wait_for(lambda: line.delivery.status().alarms.get("ack:archive") is None, 5)
    ear.say(f"foveate/{DEVICE}/ack/archive", msgspec.json.encode({"stream": stream, "seq": 3}))  # older
    time.sleep(0.2)
    assert line.ledger.identity().delivered == 16
    ear.close()
    assert not line.end(drain_s=0)


def main(arguments: Sequence[str]) -> None:
    """Receive until the end of so many lives."""
    database, port, lives = arguments
    receiver = Mortal(Settings(name="archive", database=Path(database), port=int(port)))
    receiver.lives = int(lives)
    receiver.run()


if __name__ == "__main__":
    main(sys.argv[1:])
