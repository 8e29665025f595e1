"""Faults between ledger and receivers: a broker that dies, freezes, refuses or talks to nobody (B1, B3, B5, B6)."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from random import Random

import msgspec
import pytest

from edge.config import Mqtt
from tests.broker import OPEN, Broker, wait_for
from tests.faults.line import Line, Reckoning, configuration, new_seed, receiver, reckon, repeats


def under_kills(broker: Broker, folder: Path, receivers: list[str], kills: int) -> tuple[bool, Reckoning]:
    """Return whether a line drained, and its reckoning, after so many kills of a broker that keeps nothing."""
    random = Random(new_seed())
    line = Line(configuration(folder / "state", broker.port, receivers), folder / "truth")
    archive = receiver(folder, broker.port)
    for _ in range(kills):
        line.produce(random.uniform(0.05, 0.5))
        broker.kill()
        line.produce(random.uniform(0.0, 0.4))
        broker.start()
    begin = time.monotonic()
    drained = line.end(drain_s=15)
    drain_s = time.monotonic() - begin
    duplicates = archive.archive.duplicates
    if drained:
        wait_for(lambda: archive.error is not None, 0.3)  # in the control: for what may still come
    archive.stop()
    result = reckon(folder / "truth", folder / "archive.db")
    print(f"kills={kills} {result} duplicates={duplicates} drain_s={drain_s:.1f}")
    return drained, result


def test_b1_no_event_is_lost_when_the_broker_is_killed(broker: Broker, tmp_path: Path) -> None:
    drained, result = under_kills(broker, tmp_path, ["archive"], repeats(25))
    assert drained
    assert result.committed > 25 * 20
    assert result == Reckoning(result.committed, result.committed, missing=0, holes=0, twice=0)


def test_control_puback_as_delivery_loses_events_under_the_same_kills(broker: Broker, tmp_path: Path) -> None:
    lost = 0
    for attempt in range(6):  # a broker that has nothing in its hands at its kills loses nothing
        folder = tmp_path / str(attempt)
        folder.mkdir()
        drained, result = under_kills(broker, folder, [], repeats(8))
        assert drained, "every row left the ledger: the broker had confirmed it"
        assert result.twice == 0
        lost += result.missing
        if lost:
            break
    assert lost > 0, "the harness proves nothing if this does not lose"


def test_b2_no_event_is_lost_when_the_broker_is_restarted(broker: Broker, tmp_path: Path) -> None:
    line = Line(configuration(tmp_path / "state", broker.port), tmp_path / "truth")
    archive = receiver(tmp_path, broker.port)
    for _ in range(repeats(4)):
        line.produce(0.3)
        broker.stop()
        broker.start()
    assert line.end(drain_s=15)
    archive.stop()
    result = reckon(tmp_path / "truth", tmp_path / "archive.db")
    assert result == Reckoning(result.committed, result.committed, missing=0, holes=0, twice=0)


def test_b3_a_frozen_broker_is_noticed_and_caught_up_with(broker: Broker, tmp_path: Path) -> None:
    line = Line(configuration(tmp_path / "state", broker.port), tmp_path / "truth")
    archive = receiver(tmp_path, broker.port)
    line.produce(0.5)
    broker.freeze()
    begin = time.monotonic()
    line.produce(3.0)
    took = time.monotonic() - begin
    assert not line.delivery.status().connected
    broker.thaw()
    assert line.end(drain_s=10)
    archive.stop()
    result = reckon(tmp_path / "truth", tmp_path / "archive.db")
    print(f"{result} took={took:.2f}")
    assert result == Reckoning(700, 700, missing=0, holes=0, twice=0)
    assert took < 4.5, "the pipeline waits for nobody"


def test_b5_a_refused_topic_deletes_nothing_and_is_alarmed(broker: Broker, tmp_path: Path) -> None:
    broker.kill()
    rules = tmp_path / "acl"
    rules.write_text("topic read #\ntopic write foveate/site/line/device/state\n")
    broker.text = f"{OPEN}acl_file {rules}\n"
    broker.start()
    for receivers in (["archive"], []):
        name = "-".join(receivers) or "none"
        line = Line(configuration(tmp_path / name, broker.port, receivers), tmp_path / f"truth-{name}")
        line.produce_one()
        refused = "refused:foveate/site/line/device/event/count"
        assert wait_for(lambda: refused in line.delivery.status().alarms, 2)  # noqa: B023  the line of this round
        assert "Not authorized" in line.delivery.status().alarms[refused]
        assert line.ledger.identity().queued == 1
        assert not line.end(drain_s=0.5)


def test_b5_a_bad_password_deletes_nothing_and_does_not_hammer(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker.kill()
    (tmp_path / "users").write_text("foveate:$7$101$AAAA$AAAA\n")
    (tmp_path / "password").write_text("wrong\n")
    broker.text = f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n"
    broker.start()
    config = configuration(tmp_path / "state", broker.port)
    mqtt = Mqtt(port=broker.port, receivers=["archive"], username="foveate", password_file=tmp_path / "password")
    line = Line(msgspec.structs.replace(config, mqtt=mqtt), tmp_path / "truth")
    line.produce_one()
    assert wait_for(lambda: "login" in line.delivery.status().alarms, 2)
    before = (broker.folder / "mosquitto.log").read_text().count("New connection")
    time.sleep(3.0)
    assert (broker.folder / "mosquitto.log").read_text().count("New connection") - before <= 3
    assert "password_file" in line.delivery.status().alarms["login"]
    assert line.ledger.identity().queued == 1
    assert sum("mqtt=offline" in text for text in caplog.messages) == 1
    assert not any("wrong" in text for text in caplog.messages), "no password in the log"
    assert not line.end(drain_s=0)


def test_b6_an_event_that_nobody_hears_stays(broker: Broker, tmp_path: Path) -> None:
    line = Line(configuration(tmp_path / "state", broker.port), tmp_path / "truth")
    line.produce_one()
    assert wait_for(lambda: "nobody" in line.delivery.status().alarms, 2)
    assert line.ledger.identity().queued == 1
    archive = receiver(tmp_path, broker.port)
    assert line.end(drain_s=10)
    assert "nobody" not in line.delivery.status().alarms
    archive.stop()
