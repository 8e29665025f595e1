from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.archive import MOST, Archive, Event, Position, committed
from deploy.receiver import HELP, Receiver, Settings, main, read_settings
from edge.errors import ConfigError, LedgerError
from tests.broker import Broker, Ear, wait_for
from tests.faults.line import DEVICE, ROOT, configuration, count, open_ledger, receiver

STREAM = "a" * 32


def event(seq: int, stream: str = STREAM, floor: int = 0, device: str = "d") -> Event:
    return Event(device, msgspec.json.encode({"kind": "count", "stream": stream, "seq": seq}), floor)


def seqs(path: Path) -> list[int]:
    return [seq for _device, _stream, seq, _payload in committed(path)]


def test_only_the_next_event_is_taken(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    fresh, told = archive.take([event(1), event(3), event(2), event(2), event(4)])
    assert [msgspec.json.decode(one.payload)["seq"] for one in fresh] == [1, 2]
    assert told == {"d": Position(STREAM, 2, again=True)}
    assert (archive.duplicates, archive.early) == (1, 2)
    assert archive.take([event(3), event(4)])[1] == {"d": Position(STREAM, 4)}
    archive.close()
    archive = Archive(tmp_path / "a.db")
    assert archive.positions() == {"d": Position(STREAM, 4, again=True)}
    assert archive.take([event(4)])[0] == []
    archive.close()
    assert seqs(tmp_path / "a.db") == [1, 2, 3, 4]


def test_a_stream_that_is_new_begins_above_what_is_gone(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    assert archive.take([event(503, floor=500)])[1] == {"d": Position(STREAM, 500, again=True)}
    assert archive.take([event(501, floor=500)])[1] == {"d": Position(STREAM, 501)}
    archive.close()
    assert seqs(tmp_path / "a.db") == [501]


def test_what_can_never_come_is_put_on_record(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    archive.take([event(1), event(2)])
    assert archive.take([event(11, floor=10)])[1] == {"d": Position(STREAM, 11)}
    archive.close()
    db = sqlite3.connect(tmp_path / "a.db")
    assert db.execute("SELECT * FROM holes").fetchall() == [("d", STREAM, 3, 10)]
    db.close()


def test_devices_and_streams_are_kept_apart(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    archive.take([event(1), event(1, device="e"), event(2), event(1, stream="b" * 32)])
    assert archive.positions() == {"d": Position("b" * 32, 1, again=True), "e": Position(STREAM, 1, again=True)}
    archive.close()
    assert len(committed(tmp_path / "a.db")) == 4


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"stream":1,"seq":1,"kind":""}', b"\xff", b'{"seq":"\xff"}'])
def test_what_is_no_event_is_ignored(tmp_path: Path, payload: bytes) -> None:
    archive = Archive(tmp_path / "a.db")
    assert archive.take([Event("d", payload)]) == ([], {})
    archive.close()


@pytest.mark.parametrize("floor", ["9" * 5000, str(1 << 63), str(1 << 64), "-1", "1e9", "NaN", "", "\u0661"])
def test_one_device_whose_floor_is_no_number_harms_no_other(
    tmp_path: Path, floor: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Event] = []
    listener = Receiver(Settings(name="archive", database=tmp_path / "a.db"), heard.extend)
    for device, said in (("bad", floor), ("bad", floor), ("good", "0")):
        message = MQTTMessage(topic=f"foveate/s/l/{device}/event/count".encode())
        message.properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types here
        message.properties.UserProperty = ("floor", said)
        message.payload = event(1).payload
        listener._on_message(listener._client, None, message)
    listener._commit()
    listener.stop()
    assert [one.device for one in heard] == ["s/l/good"]
    assert caplog.text.count("event=malformed device=s/l/bad reason=the floor is no number") == 1


def test_the_largest_numbers_are_taken_and_larger_ones_are_not(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    assert archive.take([event(MOST, floor=MOST - 1)])[1] == {"d": Position(STREAM, MOST)}
    assert archive.take([event(MOST + 1, floor=MOST), event(0), event(-1)]) == ([], {})
    assert archive.take([event(1, device="e")])[1] == {"e": Position(STREAM, 1)}
    archive.close()


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=8))
def test_any_order_of_arrival_leaves_no_hole_and_nothing_twice(batches: list[list[int]]) -> None:
    archive = Archive(Path(":memory:"))
    taken: list[int] = []
    for batch in batches:
        fresh, told = archive.take([event(seq) for seq in batch])
        taken += [msgspec.json.decode(one.payload)["seq"] for one in fresh]
        assert all(position.seq == len(taken) for position in told.values())
    archive.close()
    assert taken == list(range(1, len(taken) + 1))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"database .*file/a\.db: .*; name a file"):
        Archive(tmp_path / "file" / "a.db")


def test_it_hears_through_kills_of_the_broker_and_tells_what_is_new(broker: Broker, tmp_path: Path) -> None:
    heard: list[Event] = []
    listener = Receiver(Settings(name="archive", database=tmp_path / "a.db", port=broker.port), heard.extend)
    listener.start()
    assert listener.connected.wait(5)
    broker.kill()
    assert wait_for(lambda: not listener.connected.is_set(), 5)
    broker.start()
    assert listener.connected.wait(10)
    ear = Ear(broker.port)
    ear.say(f"foveate/{DEVICE}/event/count", event(1).payload)
    assert wait_for(lambda: len(heard) == 1, 5)
    assert wait_for(lambda: len(ear.payloads("/ack/archive")) > 0, 5)
    told = msgspec.json.decode(ear.payloads("/ack/archive")[-1])
    assert told == {"stream": STREAM, "seq": 1, "again": False}
    ear.close()
    listener.stop()
    assert heard == [Event(DEVICE, event(1).payload)]


def test_the_program_ends_well_on_sigterm(broker: Broker, tmp_path: Path) -> None:
    config = configuration(tmp_path / "state", broker.port)
    settings = tmp_path / "receiver.toml"
    settings.write_text(f'name = "archive"\ndatabase = "{tmp_path}/a.db"\nport = 1\n')
    command = [sys.executable, "-m", "deploy.receiver", "--config", str(settings), "--port", str(broker.port)]
    program = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    ear = Ear(broker.port)
    ledger = open_ledger(config)
    (one,) = ledger.commit([count(1)])
    ledger.close()

    def heard() -> bool:
        ear.say(f"foveate/{DEVICE}/event/count", msgspec.json.encode(one))
        return len(ear.payloads("/ack/archive")) > 0

    assert wait_for(heard, 10)
    program.send_signal(signal.SIGTERM)
    _, said = program.communicate(timeout=10)
    assert program.returncode == 0
    assert f"listening to foveate/+/+/+/event/+ on 127.0.0.1:{broker.port}, database {tmp_path}/a.db" in said
    assert "ended events=1 " in said
    ear.close()
    assert seqs(tmp_path / "a.db") == [1]


def test_settings_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--name", "archive"]) == 78
    assert capsys.readouterr().err.startswith("receiver: --database is missing; give the SQLite file")
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(["--config", str(tmp_path / "missing.toml")])
    with pytest.raises(ConfigError, match="--port 'many' cannot be used; give the broker's port, 1 to 65535"):
        read_settings(["--name", "a", "--database", "b", "--port", "many"])
    assert read_settings(["--name", "a", "--database", "b"]) == Settings(name="a", database=Path("b"))
    with pytest.raises(ConfigError, match="check password_file"):
        Receiver(Settings(name="a", database=tmp_path / "a.db", username="u", password_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--host", "a..b"),
        ("--host", ""),
        ("--port", "0"),
        ("--port", "99999"),
        ("--keepalive-s", "-1"),
        ("--keepalive-s", "99999"),
        ("--devices", "a/#/b"),
        ("--devices", "a/b"),
        ("--name", "a/+"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    assert main(["--name", "a", "--database", "b", option, value]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"receiver: {option} ")
    assert "; give " in line


@pytest.mark.parametrize("text", [b"name = '\xff'", b"a = " + b"[" * 5000, b"nam = 'a'", b"database = 5", b"port = 0"])
def test_a_file_of_settings_that_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    (tmp_path / "r.toml").write_bytes(text)
    given = [] if text.startswith(b"name") else ["--name", "a"]
    given += [] if text.startswith(b"database") else ["--database", "b"]
    assert main([*given, "--config", str(tmp_path / "r.toml")]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_setting_has_an_option_with_help() -> None:
    assert list(HELP) == list(Settings.__struct_fields__)


def test_a_topic_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    listener = Receiver(Settings(name="archive", database=tmp_path / "a.db"))
    message = MQTTMessage(topic=b"foveate/s/l/\xff/event/count")
    message.payload = event(1).payload
    listener._on_message(listener._client, None, message)
    assert listener._inbox == []
    listener.stop()


def test_one_database_is_for_one_receiver(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    for name in ("a.db", "link.db"):
        with pytest.raises(LedgerError, match=rf"a\.db: is in use by process {os.getpid()}; end that one, or give"):
            Archive(tmp_path / name)
    archive.close()
    Archive(tmp_path / "a.db").close()


def test_two_receivers_of_one_broker_have_sessions_of_their_own(broker: Broker, tmp_path: Path) -> None:
    listeners = [receiver(tmp_path, broker.port, name) for name in ("one", "two")]
    assert all(listener.connected.wait(5) for listener in listeners)
    ear = Ear(broker.port)
    ear.say(f"foveate/{DEVICE}/event/count", event(1).payload)
    assert wait_for(lambda: bool(ear.payloads("/ack/one") and ear.payloads("/ack/two")), 5)
    ear.close()
    for listener in listeners:
        listener.stop()
    assert seqs(tmp_path / "one.db") == seqs(tmp_path / "two.db") == [1]
