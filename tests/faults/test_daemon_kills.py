"""The real daemon on the real belt, killed again and again beside a real mosquitto."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec

from deploy.archive import committed
from edge.config import Config, Mqtt, load_config
from tests.broker import Broker, wait_for
from tests.faults.line import ROOT, new_seed, open_ledger, receiver, repeats, wrong

KILLS = 20
FRAMES = 900
RESTART_S = 20.0


def belt(bundle: Path, state: Path, port: int) -> Config:
    """Return the belt's configuration, from where parts already cross its lines."""
    config = load_config(ROOT / "examples" / "belt" / "config.toml")
    stream = ["{python}", "-m", "examples.belt.stream", "--seed", "3", "--start", "300", "--frames", str(FRAMES)]
    camera = msgspec.structs.replace(config.cameras["belt"], command=[*stream, "--demand"])
    mqtt = Mqtt(port=port, receivers=["archive"], drain_s=30)
    return msgspec.structs.replace(config, bundle=bundle, state=state, cameras={"belt": camera}, mqtt=mqtt)


def start(path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge", str(path), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def test_nothing_committed_is_missing_or_doubled_after_twenty_kills_of_the_daemon(
    broker: Broker, belt_bundle: Path, tmp_path: Path
) -> None:
    random = Random(new_seed())
    archive = receiver(tmp_path, broker.port)
    config = belt(belt_bundle, tmp_path / "state", broker.port)
    path, database = tmp_path / "config.json", tmp_path / "archive.db"
    path.write_bytes(msgspec.json.encode(config, enc_hook=str))
    for _ in range(repeats(KILLS)):
        known = len(committed(database))
        daemon = start(path)
        assert wait_for(lambda: len(committed(database)) > known, RESTART_S), "comes back and counts"  # noqa: B023
        time.sleep(random.uniform(0.0, 0.5))
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)
        assert wrong(config.state) == []
    last = start(path, "--frames", "20")
    assert last.wait(60) == 0, "runs to its end and drains"
    archive.stop()
    received = committed(database)
    ledger = open_ledger(config)
    counted = ledger.identity()
    ledger.close()
    assert [seq for _, _, seq, _ in received] == list(range(1, len(received) + 1)), "none missing, none doubled"
    assert len({stream for _, stream, _, _ in received}) == 1, "one ledger all along"
    assert (counted.delivered, counted.queued, counted.lost) == (len(received), 0, 0)
    assert counted.counted == len(received) > repeats(KILLS)
