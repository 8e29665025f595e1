from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.config import Config, Mqtt, Shift
from edge.config import Ledger as Limits
from edge.errors import BrokerError, ConfigError, LedgerError
from edge.tell.connection import MAX_MESSAGE_BYTES, Connection, Login
from edge.tell.delivery import Delivery
from edge.tell.ledger import Ledger
from edge.tell.reader import read_ledger
from edge.tell.topics import Topics
from tests.broker import Broker, Ear, free_port, wait_for
from tests.faults.line import configuration, count, open_ledger, receiver, verdict

ROOT = "foveate/site/line/device"
REPOSITORY = Path(__file__).parents[2]


class Device:
    """A ledger with its delivery, ended by the fixture."""

    def __init__(self, config: Config, state: dict[str, Any] | None = None) -> None:
        self.ledger: Ledger = open_ledger(config)
        self.health = state if state is not None else {"mode": "Operational"}
        self.delivery = Delivery(config, self.ledger, lambda: self.health)
        self.delivery.start()

    def connected(self) -> bool:
        return self.delivery.status().connected

    def alarms(self) -> dict[str, str]:
        return self.delivery.status().alarms

    def end(self, drain_s: float = 0.0) -> bool:
        done = self.delivery.stop(drain_s)
        self.ledger.close()
        return done


@pytest.fixture
def ear(broker: Broker) -> Iterator[Ear]:
    listening = Ear(broker.port)
    yield listening
    listening.close()


def state(ear: Ear) -> dict[str, Any]:
    told = ear.payloads("/state")
    return msgspec.json.decode(told[-1]) if told else {}


def test_everything_is_told_on_its_topic(broker: Broker, ear: Ear, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port))
    listener = receiver(tmp_path, broker.port)
    assert listener.connected.wait(5)
    told = device.ledger.commit([count(1), count(2, "gate/#1+/left")])
    assert wait_for(lambda: device.delivery.status().unacknowledged == 0, 5)
    assert wait_for(lambda: len(ear.payloads("/count/door/part")) > 0, 5)
    assert msgspec.json.decode(ear.payloads("/count/door/part")[-1]) == {"total": 1, "stream": device.ledger.stream}
    assert wait_for(lambda: len(ear.payloads("/count/gate/%231%2B/left")) > 0, 5)
    events = [message for message in ear.heard if message.topic == f"{ROOT}/event/count"]
    assert [msgspec.json.decode(message.payload)["seq"] for message in events] == [1, 2]
    assert msgspec.json.decode(events[0].payload)["total"] == 1
    assert events[0].payload == msgspec.json.encode(told[0])
    assert dict(getattr(events[0].properties, "UserProperty", [])) == {"floor": "0"}
    born = msgspec.json.decode(ear.payloads("/state")[0])
    assert {
        "mode": "Operational",
        "online": True,
        "delivery": "receiver",
        "stream": device.ledger.stream,
    }.items() <= born.items()
    assert born["session"] == device.delivery.status().session > 0
    listener.stop()
    assert device.end()
    assert wait_for(lambda: state(ear) == {"online": False, "session": born["session"], "queued": 0}, 5)


def test_totals_are_told_again_to_a_broker_that_forgot(broker: Broker, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port, []))
    device.ledger.commit([count(n) for n in range(5)])
    assert wait_for(lambda: device.delivery.status().unacknowledged == 0, 5)
    broker.kill()
    broker.start()
    later = Ear(broker.port)
    assert wait_for(lambda: len(later.payloads("/count/door/part")) > 0, 10)
    assert msgspec.json.decode(later.payloads("/count/door/part")[0])["total"] == 5
    later.close()
    device.end()


def test_two_devices_with_one_id_are_alarmed_and_do_not_fight(broker: Broker, ear: Ear, tmp_path: Path) -> None:
    one = Device(configuration(tmp_path / "one", broker.port))
    assert wait_for(lambda: state(ear).get("online") is True, 5)
    first = state(ear)["session"]
    two = Device(configuration(tmp_path / "two", broker.port))
    assert wait_for(lambda: "takeover" in {**one.alarms(), **two.alarms()}, 10)
    seen = [msgspec.json.decode(payload) for payload in ear.payloads("/state")]
    assert {"online": False, "session": first} in seen  # the will of the one that was thrown out
    births = sum(told["online"] for told in seen)
    time.sleep(2.0)
    assert sum(msgspec.json.decode(payload)["online"] for payload in ear.payloads("/state")) <= births + 2
    one.end()
    two.end()


def test_names_that_look_alike_when_joined_are_two_devices(broker: Broker, tmp_path: Path) -> None:
    config = configuration(tmp_path, broker.port)
    names = [{"site": "a-b", "line": "c"}, {"site": "a", "line": "b-c"}]
    devices = [Device(msgspec.structs.replace(config, state=tmp_path / each["line"], **each)) for each in names]
    assert wait_for(lambda: all(device.connected() for device in devices), 5)
    time.sleep(0.5)
    assert all(device.connected() for device in devices)
    assert not any(device.delivery.status().last_error for device in devices)
    for device in devices:
        device.end()


def test_state_is_told_when_it_changes(broker: Broker, ear: Ear, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port, []))
    assert wait_for(lambda: state(ear).get("mode") == "Operational", 5)
    assert state(ear)["delivery"] == "broker"
    told = len(ear.payloads("/state"))
    device.health = {"mode": "Error"}
    assert wait_for(lambda: state(ear).get("mode") == "Error", 5)
    assert len(ear.payloads("/state")) == told + 1
    device.end()


ODD = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"null",
    b'{"stream":1}',
    b'{"stream":"x","seq":-1}',
    b'{"stream":"x","seq":1e400}',
    b'{"stream":"x","seq":' + b"9" * 900 + b"}",
    b'{"stream":"\xff","seq":1}',
    b"[" * 5000,
]


@pytest.mark.parametrize("payload", ODD, ids=lambda payload: repr(payload[:12]))
def test_odd_acknowledgements_are_alarmed_and_ignored(broker: Broker, ear: Ear, tmp_path: Path, payload: bytes) -> None:
    device = Device(configuration(tmp_path / "state", broker.port))
    device.ledger.commit([count(1), count(2)])
    assert wait_for(lambda: len(ear.payloads("/event/count")) >= 2, 5)
    ear.say(f"{ROOT}/ack/archive", payload)
    ear.say(f"{ROOT}/ack/stranger", payload)
    assert wait_for(lambda: {"ack", "ack:archive"} <= set(device.alarms()), 5)
    assert device.ledger.identity().queued == 2
    ear.say(f"{ROOT}/ack/archive", msgspec.json.encode({"stream": device.ledger.stream, "seq": 2}))
    assert wait_for(lambda: device.ledger.identity().delivered == 2, 5)
    assert wait_for(lambda: "ack:archive" not in device.alarms(), 5)
    assert device.end()


def test_a_new_connection_begins_with_what_is_not_acknowledged(broker: Broker, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port))
    device.ledger.commit([count(1), count(2)])
    for _ in range(2):
        ear = Ear(broker.port)
        broker.kill()
        ear.close()
        broker.start()
        ear = Ear(broker.port)
        assert wait_for(lambda: len(ear.payloads("/event/count")) >= 2, 10)  # noqa: B023
        assert device.delivery.status().resent == 0, "at once, not because an acknowledgement was overdue"
        ear.close()
    device.end()


def test_the_brokers_word_counts_only_up_to_the_first_refusal(broker: Broker, tmp_path: Path) -> None:
    broker.kill()
    (tmp_path / "acl").write_text(
        "topic read #\n" + "".join(f"topic write {ROOT}/{t}\n" for t in ("state", "event/count"))
    )
    broker.text += f"acl_file {tmp_path / 'acl'}\n"
    broker.start()
    device = Device(configuration(tmp_path / "state", broker.port, []))
    device.ledger.commit([count(1), verdict("REJECT"), count(2)])
    assert wait_for(lambda: f"refused:{ROOT}/event/verdict" in device.alarms(), 5)
    assert wait_for(lambda: device.ledger.identity().delivered > 0, 5)
    time.sleep(0.3)
    assert [row.seq for row in device.ledger.outbox.pending(0, 9)] == [2, 3]
    assert not device.end()


def test_a_receiver_that_stays_away_holds_back_only_its_own(broker: Broker, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port, ["archive", "away"]))
    here = receiver(tmp_path, broker.port)
    device.ledger.commit([count(n) for n in range(200)])
    assert wait_for(lambda: device.ledger.outbox.acknowledged["archive"] == 200, 10)
    assert device.ledger.identity().queued == 200
    back = receiver(tmp_path, broker.port, "away")
    assert wait_for(lambda: device.ledger.identity().queued == 0, 10)
    here.stop()
    back.stop()
    assert device.end()


def test_without_a_broker_one_line_says_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    device = Device(configuration(tmp_path / "state", port))
    assert wait_for(lambda: device.delivery.status().last_error != "", 5)
    device.ledger.commit([count(1)])
    assert not device.end(drain_s=1.0)  # several attempts
    lines = [record.getMessage() for record in caplog.records if record.name == "edge.tell.delivery"]
    assert lines[1:] == ["mqtt=draining waits up to 1 s for the acknowledgement of 1 events"]
    assert re.search(rf"mqtt=offline broker=127\.0\.0\.1:{port} reason=.*refused fix=start the broker", lines[0])


def test_stop_waits_for_the_last_acknowledgement(broker: Broker, tmp_path: Path) -> None:
    device = Device(configuration(tmp_path / "state", broker.port))
    listener = receiver(tmp_path, broker.port)
    device.ledger.commit([count(n) for n in range(300)])
    assert device.end(drain_s=10)
    listener.stop()
    later = Ear(broker.port)
    assert wait_for(lambda: state(later).get("online") is False and len(later.payloads("/count/door/part")) > 0, 5)
    assert msgspec.json.decode(later.payloads("/count/door/part")[0])["total"] == 300, "the retained total is the last"
    later.close()


def test_what_ends_the_thread_is_told_to_the_pipeline(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration(tmp_path / "state", broker.port)
    ledger = open_ledger(config)

    def state() -> dict[str, Any]:
        raise LedgerError("the disk is gone")

    delivery = Delivery(config, ledger, state)
    delivery.check()
    delivery.start()
    assert wait_for(lambda: delivery.status().failed, 5)
    with pytest.raises(LedgerError, match="the disk is gone"):
        delivery.check()
    assert not [record for record in caplog.records if record.exc_info], "one line is enough, and the pipeline has it"
    delivery._error = ZeroDivisionError("x")
    with pytest.raises(BrokerError, match=r"ended: ZeroDivisionError\('x'\)"):
        delivery.check()
    delivery.stop(0)
    ledger.close()


def test_settings_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    ledger = open_ledger(configuration(tmp_path, 1))
    missing = tmp_path / "missing"
    wrong = [
        (None, r"no table \[mqtt\]"),
        (Mqtt(username="u", password_file=missing), "mqtt.password_file .*missing: .*No such file"),
        (Mqtt(password_file=missing), "there is no mqtt.username"),
        (Mqtt(ca_file=missing), "mqtt.ca_file .*missing: "),
    ]
    for mqtt, text in wrong:
        with pytest.raises(ConfigError, match=text):
            Delivery(msgspec.structs.replace(configuration(tmp_path, 1), mqtt=mqtt), ledger, dict)
    ledger.close()


# paho drops the socket of a handshake that failed without closing it; it is closed as it is freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mutual_tls_or_nothing(tmp_path: Path) -> None:
    _certificates(tmp_path)
    broker = Broker(
        tmp_path,
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/host.pem\nkeyfile {tmp_path}/host.key\n"
        "require_certificate true\nallow_anonymous true\n",
    )
    broker.start()
    config = configuration(tmp_path / "state", broker.port, [])
    own = {"cert_file": tmp_path / "host.pem", "key_file": tmp_path / "host.key"}
    good = Mqtt(port=broker.port, ca_file=tmp_path / "ca.pem", keepalive_s=2, **own)  # type: ignore[arg-type]
    for mqtt, works in [
        (good, True),
        (msgspec.structs.replace(good, cert_file=None, key_file=None), False),
        (msgspec.structs.replace(good, ca_file=tmp_path / "other.pem"), False),
        (msgspec.structs.replace(good, ca_file=None, cert_file=None, key_file=None), False),
    ]:
        device = Device(msgspec.structs.replace(config, mqtt=mqtt))
        device.ledger.commit([count(1)])
        assert device.end(drain_s=5.0 if works else 0.7) is works
    broker.kill()


ASK = """
import sys
from pathlib import Path
from deploy.receiver import Receiver, Settings
from edge.config import Mqtt
from edge.errors import ConfigError
from edge.tell.login import read_login

names = {"ca": "ca.pem", "cert": "ca.pem", "key": "x.key"}
files = {f"{name}_file": Path(sys.argv[1], file) for name, file in names.items()}
for use in (
    lambda: read_login(Mqtt(**files), "id", "will"),
    lambda: Receiver(Settings(name="a", database=Path(sys.argv[1], "a.db"), **files)),
):
    try:
        use()
    except ConfigError as error:
        print(error)
"""


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path: Path) -> None:
    _certificates(tmp_path)
    encrypt = ["openssl", "ec", "-in", "ca.key", "-out", "x.key", "-aes128", "-passout", "pass:secret"]
    subprocess.run(encrypt, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        start_new_session=True,  # no terminal: OpenSSL would ask on it
    )
    assert done.stderr == ""
    login, receiver = done.stdout.splitlines()
    assert login.endswith("name a PEM certificate and its unencrypted key")
    assert receiver.endswith("and that key_file is not encrypted")


def test_topics_escape_what_mqtt_forbids() -> None:
    assert Topics("r").count("line/a+b#%\0/left") == "r/count/line/a%2Bb%23%25%00/left"
    assert Topics("r").receiver("r/ack/archive") == "archive"


def _certificates(folder: Path) -> None:
    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for name in ("ca", "other"):
        openssl(f"req -x509 {key} -subj /CN={name} -keyout {name}.key -out {name}.pem -days 2")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(f"req {key} -subj /CN=host -keyout host.key -out host.csr")
    openssl("x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san -out host.pem -days 2")


def test_a_message_that_is_too_long_to_be_an_acknowledgement_is_kept_by_the_broker(broker: Broker, ear: Ear) -> None:
    ear.say("d/ack/long", b"x" * MAX_MESSAGE_BYTES)
    ear.say("d/ack/short", b"x" * 100)
    connection = Connection(Login(Mqtt(port=broker.port), "d", None, None, "d/state"), b"{}")
    connection.open()

    def came(condition: Callable[[], bool]) -> bool:
        connection.step(0.01)
        return condition()

    assert wait_for(lambda: came(lambda: connection.ready), 5)
    connection.subscribe("d/ack/+")
    assert wait_for(lambda: came(lambda: len(connection.messages) > 0), 5)
    ear.say("d/ack/long", b"x" * MAX_MESSAGE_BYTES)
    ear.say("d/ack/last", b"x")
    assert wait_for(lambda: came(lambda: len(connection.messages) > 1), 5)
    assert [message.topic for message in connection.messages] == ["d/ack/short", "d/ack/last"]
    connection.close()


def rows(ledger: Ledger) -> int:
    with read_ledger(ledger._store.path) as read:
        return sum(1 for _ in read.rows())


@pytest.mark.parametrize("away", [False, True])
def test_what_is_delivered_is_dropped_by_the_delivery_thread_whether_or_not_there_is_a_broker(
    broker: Broker, tmp_path: Path, away: bool
) -> None:
    config = configuration(tmp_path / "state", broker.port)
    device, archive = Device(config), receiver(tmp_path, broker.port)
    device.ledger.commit([count(n) for n in range(40)])
    assert wait_for(lambda: device.ledger.identity().delivered == 40, 5)
    time.sleep(0.5)
    assert rows(device.ledger) == 40, "kept for as long as configured"
    device.end()
    archive.stop()
    if away:
        broker.kill()
    device = Device(msgspec.structs.replace(config, ledger=Limits(max_mib=64, keep_days=0)))
    assert wait_for(lambda: rows(device.ledger) == 0, 5)
    assert device.connected() is not away
    device.end()


def test_the_summary_of_a_shift_is_an_event_and_there_for_whoever_comes_later(broker: Broker, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        configuration(tmp_path / "state", broker.port), shifts=[Shift(name="early", start="06:00", end="14:00")]
    )
    device = Device(config)
    times = iter([datetime(2026, 11, 23, hour, tzinfo=timezone.utc) for hour in (7, 14)])
    device.ledger.accounts.follow(config, lambda _: next(times))
    assert device.ledger.accounts.due(0.0, dict) == []
    device.ledger.commit([count(1)])
    (summary,) = device.ledger.commit(device.ledger.accounts.due(1.0, dict))
    assert wait_for(lambda: "nobody" in device.alarms(), 5), "who is there hears nothing"
    latecomer = Ear(broker.port)
    assert wait_for(lambda: latecomer.payloads("/summary/early") == [msgspec.json.encode(summary)], 5)
    latecomer.close()
    device.end()
