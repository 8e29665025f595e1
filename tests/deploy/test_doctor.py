"""`foveate doctor`: a line per thing, and how to mend it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from deploy import checks, doctor
from deploy.checks import FIX, NONE, OK, Finding
from edge.memory import Room
from tests.see.coded import write_bundle

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")

CONFIG = """
bundle = "bundle"
state = "state"
device = "cam"
{extra}
[cameras.front]
source = "pictures"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration with a bundle and a folder of pictures that work, and no broker."""
    for name in ("pictures", "state"):
        (tmp_path / name).mkdir()
    write_bundle(tmp_path / "bundle")
    cv2.imwrite(str(tmp_path / "pictures" / "1.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "config.toml").write_text(CONFIG.format(extra=""))
    return tmp_path / "config.toml"


Examine = Callable[[Path], tuple[int, str]]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Examine:
    monkeypatch.setattr(checks, "clock", lambda: Finding(OK, "the clock is synchronised"))  # not this machine's matter

    def examined(path: Path) -> tuple[int, str]:
        code = doctor.main([str(path)])
        return code, capsys.readouterr().out

    return examined


def test_all_is_well(config: Path, examine: Examine) -> None:
    code, said = examine(config)
    assert code == 0, said
    assert "OK  bundle coded 1 " in said
    assert said.count("model: float32 on onnxruntime") == 2
    assert "OK  camera front: 64 x 48, no frame rate" in said
    assert "--  no broker is configured" in said
    assert said.endswith("nothing to fix\n")


def test_what_may_come_to_be_needed_is_held_against_what_there_is(
    config: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = examine(config)
    assert code == 0
    assert re.search(r"^OK  memory: at most \d+ MiB$", said, re.MULTILINE)
    monkeypatch.setattr("edge.memory.available", lambda _: Room(1e6, "the memory limit of /jail"))
    code, said = examine(config)
    assert code == 1
    assert re.search(r"^FIX memory: .* MiB .* by the memory limit of /jail: take fewer cameras or", said, re.MULTILINE)


def test_the_coarse_model_is_tried_where_a_governor_would_ask_for_it(config: Path, examine: Examine) -> None:
    shutil.rmtree(config.parent / "bundle")
    write_bundle(config.parent / "bundle", coarse=True)
    assert "coarse model" not in examine(config)[1]
    config.write_text(config.read_text() + "[governor]\nlimit_ms = 50\n")
    assert "OK  coarse model: float32 on onnxruntime" in examine(config)[1]


def test_machine_alone(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.main([])
    said = capsys.readouterr().out
    assert "OK  Python 3." in said
    assert "cores for this process" in said
    assert all(line[:3] in {"OK ", "FIX", "-- "} for line in said.splitlines()[:-1])


def test_configuration_that_is_wrong(config: Path, examine: Examine) -> None:
    config.write_text(CONFIG.format(extra="devise = 3"))
    code, said = examine(config)
    assert code == 1
    assert "FIX configuration" in said
    assert "did you mean `device`?" in said
    assert said.endswith("1 to fix\n")


def test_an_appearance_model_that_the_bundle_has_not(config: Path, examine: Examine) -> None:
    config.write_text(CONFIG.format(extra="") + '\n[tracks.reidentify]\nappearance = "model"\n')
    code, said = examine(config)
    assert code == 1
    assert "FIX tracks.reidentify.appearance: is model, and the bundle has no appearance model" in said


def test_each_part_that_is_broken_is_named(config: Path, examine: Examine) -> None:
    for model in (config.parent / "bundle").glob("*.onnx"):
        model.write_bytes(b"\0" * model.stat().st_size)
    (config.parent / "pictures" / "1.png").write_bytes(b"no picture")
    code, said = examine(config)
    assert code == 1
    assert said.count("the file was altered, copy the bundle again") == 2
    assert "FIX camera front" in said
    assert "3 to fix" in said


def test_another_source_is_tried(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config.parent / "recording"
    other.mkdir()
    cv2.imwrite(str(other / "1.png"), np.zeros((24, 32, 3), np.uint8))
    doctor.main([str(config), "--source", str(other)])
    assert "OK  camera front: 32 x 24" in capsys.readouterr().out
    config.write_text(config.read_text() + '[cameras.back]\nsource = "pictures"\n')
    assert doctor.main([str(config), "--source", str(other)]) == 1
    assert f"FIX source {other}: there are 2 cameras (" in capsys.readouterr().out


def test_no_bundle(config: Path, examine: Examine) -> None:
    (config.parent / "bundle" / "manifest.json").unlink()
    assert "FIX bundle" in examine(config)[1]


def test_packages_that_are_missing(config: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks._NEEDED, "not_there", "not-there")
    code, said = examine(config)
    assert code == 1
    assert "FIX not-there is not installed: pip install not-there" in said
    assert "was not tried: install what is missing first" in said


def test_state_folder(tmp_path: Path) -> None:
    assert [f.status for f in checks.state_folder(tmp_path / "a" / "b", 1)] == [OK, OK]
    assert [f.status for f in checks.state_folder(tmp_path, 1 << 40)] == [OK, FIX]
    assert [f.status for f in checks.state_folder(tmp_path, 1, 1 << 40)] == [OK, FIX]
    (tmp_path / "file").write_text("")
    assert [f.status for f in checks.state_folder(tmp_path / "file" / "state", 1)] == [FIX]


def test_clock_has_an_answer() -> None:
    assert checks.clock().status in {OK, FIX, NONE}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_broker_that_is_not_there(config: Path, examine: Examine) -> None:
    config.write_text(CONFIG.format(extra=f"mqtt.port = {free_port()}"))
    code, said = examine(config)
    assert code == 1
    assert "cannot be reached" in said


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """Run a broker that lets `good` do as a device does, and `poor` only log in."""
    assert MOSQUITTO is not None, "install Debian's mosquitto"
    port = free_port()
    acl = "user good\ntopic write foveate/site/line/cam/reply/+\ntopic read foveate/site/line/cam/ack/+\n"
    acl += "user receiver\ntopic write foveate/site/line/cam/ack/archive\n"
    (tmp_path / "acl").write_text(acl)
    (tmp_path / "users").write_text("good:word\npoor:word\nreceiver:word\n")
    subprocess.run([_passwd(), "-U", str(tmp_path / "users")], check=True, timeout=20, capture_output=True)
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous false", "user root"]
    lines += [f"password_file {tmp_path / 'users'}", f"acl_file {tmp_path / 'acl'}"]
    (tmp_path / "mosquitto.conf").write_text("\n".join(lines))
    process = subprocess.Popen([MOSQUITTO, "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _passwd() -> str:
    found = shutil.which("mosquitto_passwd")
    assert found is not None, "install Debian's mosquitto"
    return found


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    with socket.socket() as sock:
        while sock.connect_ex(("127.0.0.1", port)) != 0:
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.02)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("user", "password", "wrong"),
    [("good", "word", []), ("good", "guess", ["log in"]), ("poor", "word", ["write to foveate/site/line/cam/reply"])],
)
def test_broker_that_answers(
    config: Path, examine: Examine, broker: int, user: str, password: str, wrong: list[str]
) -> None:
    (config.parent / "password").write_text(password + "\n")
    settings = f'mqtt = {{ port = {broker}, username = "{user}", password_file = "password" }}'
    config.write_text(CONFIG.format(extra=settings))
    code, said = examine(config)
    assert code == bool(wrong), said
    assert all(f"cannot {what}" in said for what in wrong)
    if not wrong:
        assert said.count("OK  broker 127.0.0.1") == 3


@pytest.mark.broker
@pytest.mark.parametrize("known", [False, True])
def test_a_receiver_that_never_acknowledged_anything_is_named(
    config: Path, examine: Examine, broker: int, known: bool
) -> None:
    if known:
        told = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        told.username_pw_set("receiver", "word")
        told.connect("127.0.0.1", broker)
        told.loop_start()
        told.publish("foveate/site/line/cam/ack/archive", b"{}", qos=1, retain=True).wait_for_publish(5)
        told.disconnect()
        told.loop_stop()
    (config.parent / "password").write_text("word\n")
    settings = f'mqtt = {{ port = {broker}, username = "good", password_file = "password", receivers = ["archive"] }}'
    config.write_text(CONFIG.format(extra=settings))
    code, said = examine(config)
    assert code == 0, said
    assert ("receiver archive has not acknowledged anything yet" in said) == (not known)
