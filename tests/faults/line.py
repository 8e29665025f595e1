"""A production line for fault tests: numbered counts, a truth file of what was committed, and the reckoning.

Run as a program, it is a daemon without eyes: ``python -m tests.faults.line <json options>``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.archive import committed
from deploy.receiver import Receiver, Settings
from edge.config import Config, Mqtt
from edge.config import Ledger as Limits
from edge.events import Count, Verdict
from edge.tell.delivery import Delivery
from edge.tell.ledger import Ledger
from edge.tell.reader import read_ledger
from edge.tell.verify import verify

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "site/line/device"


def new_seed() -> int:
    """Return the seed of this run, and print it; FOVEATE_SEED repeats one."""
    seed = int(os.environ.get("FOVEATE_SEED", time.time_ns() % 1_000_000))
    print(f"FOVEATE_SEED={seed}")
    return seed


def repeats(short: int) -> int:
    """Return how often a fault is injected: `short` in CI, FOVEATE_FAULTS times as often by night."""
    return short * int(os.environ.get("FOVEATE_FAULTS", "1"))


def configuration(folder: Path, port: int, receivers: Sequence[str] = ("archive",), max_mib: int = 64) -> Config:
    """Return the configuration of a device that tells to loopback `port`."""
    mqtt = Mqtt(port=port, receivers=list(receivers), keepalive_s=2)
    return Config(bundle=folder, state=folder, cameras={}, mqtt=mqtt, ledger=Limits(max_mib=max_mib))


def open_ledger(config: Config) -> Ledger:
    """Return the ledger of `config`."""
    receivers = config.mqtt.receivers if config.mqtt else []
    return Ledger(config.state, config.ledger, list(receivers))


def wrong(state: Path) -> list[str]:
    """Return what does not add up in the ledger of a state folder, read as others do."""
    with read_ledger(state / "ledger.db") as ledger:
        return [finding.law for finding in verify(ledger) if not finding.holds]


def count(number: int, counter: str = "door/part") -> Count:
    """Return the event of one crossing."""
    return Count(time=number / 200, camera="c", frame=number, counter=counter, track=number, position=(1.0, 2.0))


def verdict(label: str) -> Verdict:
    """Return the event of one part at its gate."""
    return Verdict(
        time=1.0,
        camera="c",
        frame=1,
        gate="exit",
        track=1,
        label="part",
        position=(1.0, 2.0),
        verdict=label,
        reasons=[],
        defects_px={"scratch": 99.0},
        looks=3,
    )


def receiver(folder: Path, port: int, name: str = "archive") -> Receiver:
    """Return a receiver that is running."""
    running = Receiver(Settings(name=name, database=folder / f"{name}.db", port=port))
    running.start()
    return running


class Line:
    """A ledger and its delivery, with a truth file written after each commit."""

    def __init__(self, config: Config, truth: Path) -> None:
        self.ledger = open_ledger(config)
        self.delivery = Delivery(config, self.ledger, dict)
        self.delivery.start()
        self._truth = os.open(truth, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._number = 0

    def produce(self, seconds: float, per_s: float = 200.0) -> None:
        """Commit counts for so long, one to a transaction."""
        begin = time.monotonic()
        for step in range(int(seconds * per_s)):
            time.sleep(max(0.0, begin + step / per_s - time.monotonic()))
            self.produce_one()

    def produce_one(self) -> None:
        """Commit one count, then write it into the truth file."""
        self.delivery.check()
        self._number += 1
        (event,) = self.ledger.commit([count(self._number)])
        os.write(self._truth, f"{event.stream} {event.seq}\n".encode())

    def end(self, drain_s: float) -> bool:
        """Return whether all was delivered within `drain_s`."""
        done = self.delivery.stop(drain_s)
        self.ledger.close()
        os.close(self._truth)
        return done


@dataclass(frozen=True)
class Reckoning:
    """Truth against what a receiver has."""

    committed: int
    delivered: int
    missing: int  # in the truth, not at the receiver
    holes: int  # numbers below a stream's highest that the receiver has not
    twice: int  # keys that the receiver has more than once


def reckon(truth: Path, database: Path) -> Reckoning:
    """Compare what was committed with what was received."""
    told = {(stream, int(seq)) for stream, seq in (line.split() for line in truth.read_text().splitlines())}
    keys = [(stream, seq) for _device, stream, seq, _payload in committed(database)]
    highest = {stream: max(seq for name, seq in keys if name == stream) for stream, _seq in keys}
    return Reckoning(
        committed=len(told),
        delivered=len(set(keys)),
        missing=len(told - set(keys)),
        holes=sum(highest.values()) - len(set(keys)),
        twice=sum(number - 1 for number in Counter(keys).values()),
    )


class Options(msgspec.Struct):
    """What the program is told on its command line."""

    folder: str
    port: int
    truth: str
    receivers: list[str]
    per_s: float = 200.0
    seconds: float = 60.0
    drain_s: float = 20.0


def main() -> int:
    """Produce until SIGTERM or for so many seconds; exit 0 where all was delivered."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    line = Line(configuration(Path(options.folder), options.port, options.receivers), Path(options.truth))
    until = time.monotonic() + options.seconds
    while not ending and time.monotonic() < until:
        line.produce(0.05, options.per_s)
    return 0 if line.end(options.drain_s) else 1


if __name__ == "__main__":
    sys.exit(main())
