"""The shipped broker configuration: certificates, what each client may do, and what it may not."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

FILES = Path(__file__).parents[2] / "deploy" / "mosquitto"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin")
DEVICE, OTHER = "plant/1/cam", "plant/1/other"
CLIENTS = (DEVICE, OTHER, "archive", "dashboard", "stranger")
HELLO = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x05\x00\x00\x03doc"  # CONNECT, clean, as client "doc"
DENIED = 135  # MQTT 5: not authorised

pytestmark = pytest.mark.broker


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("plant", "elsewhere"):  # two authorities that know nothing of each other
        subprocess.run([FILES / "make_certificates.sh", folder / name, "127.0.0.1", *CLIENTS], check=True, timeout=60)
    return folder / "plant"


def shipped(folder: Path, certificates: Path, port: int) -> str:
    """Return the shipped configuration with this machine's paths, port and user."""
    changes = {
        "listener 8883": f"listener {port} 127.0.0.1",
        "/etc/mosquitto/certs": str(certificates),
        "/etc/mosquitto/foveate.acl": str(FILES / "acl"),
        "/var/lib/mosquitto/": f"{folder}/",
        "/run/mosquitto/mosquitto.pid": str(folder / "pid"),
        "user mosquitto": "user root",  # only looked at where root runs this
    }
    text = (FILES / "edge.conf").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[int]:
    assert MOSQUITTO is not None, "install Debian's mosquitto"
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    (folder / "edge.conf").write_text(shipped(folder, certificates, port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", str(folder / "edge.conf")], stderr=log)
    try:
        _wait_until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(10)
    said = [line for line in (folder / "log").read_text().splitlines() if "run as root" not in line]
    assert [line for line in said if "Warning" in line or "configuration" in line] == []
    assert (folder / "mosquitto.db").exists(), "retained messages were not kept"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Peer:
    """A client with a certificate; each operation returns the broker's reason code."""

    def __init__(self, port: int, certificates: Path, name: str) -> None:
        self.codes: dict[str, int] = {}
        self.received: list[str] = []
        context = ssl.create_default_context(cafile=certificates / "ca.crt")
        stem = str(certificates / name.replace("/", "_"))
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        self.client = client = Client(CallbackAPIVersion.VERSION2, "", protocol=MQTTv5)
        client.tls_set_context(context)
        client.on_connect = lambda *args: self.codes.update(connect=args[3].value)
        client.on_publish = lambda *args: self.codes.update(publish=args[3].value)
        client.on_subscribe = lambda *args: self.codes.update(subscribe=args[3][0].value)
        client.on_message = lambda *args: self.received.append(args[2].topic)
        client.connect("127.0.0.1", port)
        self._answer("connect")

    def publish(self, topic: str, *, retain: bool = False) -> int:
        self.client.publish(topic, b"{}", qos=1, retain=retain)
        return self._answer("publish")

    def subscribe(self, topic: str) -> int:
        self.client.subscribe(topic, qos=1)
        return self._answer("subscribe")

    def listen(self, seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.client.loop(0.05)
        return self.received

    def close(self) -> None:
        """Disconnect; paho and its callbacks refer to each other, so the socket is closed by hand."""
        sock: Any = self.client.socket()
        self.client.disconnect()
        sock.close()
        self.client.on_connect = self.client.on_publish = self.client.on_subscribe = self.client.on_message = None

    def _answer(self, step: str) -> int:
        self.codes.pop(step, None) if step != "connect" else None
        assert _wait_until(lambda: self.client.loop(0.05) is None or step in self.codes, 5.0), f"no answer to {step}"
        return self.codes[step]


Connect = Callable[[str], Peer]


@pytest.fixture
def connect(broker: int, certificates: Path) -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def connected(name: str) -> Peer:
            peer = Peer(broker, certificates, name)
            stack.callback(peer.close)
            return peer

        yield connected


def allowed(code: int) -> bool:
    return code in {0, 1, 2, 16}  # 16: nobody listens


@pytest.mark.parametrize(
    "below", ["event/count", "count/exit/nut/right", "summary/early", "state", "reply/7", "preview/front"]
)
def test_device_writes_its_own(connect: Connect, below: str) -> None:
    device = connect(DEVICE)
    assert allowed(device.publish(f"foveate/{DEVICE}/{below}"))
    assert device.publish(f"foveate/{OTHER}/{below}") == DENIED


@pytest.mark.parametrize("topic", [f"foveate/{DEVICE}/ack/archive", f"foveate/{DEVICE}/cmd/stop", "other/topic"])
def test_device_does_not_write(connect: Connect, topic: str) -> None:
    assert connect(DEVICE).publish(topic) == DENIED


def test_device_hears_only_what_is_for_it(connect: Connect) -> None:
    device, receiver = connect(DEVICE), connect("archive")
    for topic in (f"foveate/{DEVICE}/ack/+", f"foveate/{DEVICE}/cmd/+", "foveate/#", "#", f"foveate/{OTHER}/ack/+"):
        device.subscribe(topic)
    for topic in (f"foveate/{OTHER}/ack/archive", f"foveate/{DEVICE}/ack/archive"):
        assert allowed(receiver.publish(topic))
    assert set(device.listen(0.4)) == {f"foveate/{DEVICE}/ack/archive"}


def test_receiver_reads_events_and_acknowledges(connect: Connect) -> None:
    receiver, device = connect("archive"), connect(DEVICE)
    assert receiver.subscribe("foveate/+/+/+/event/#") in {0, 1}
    assert device.publish(f"foveate/{DEVICE}/event/verdict") == 0
    assert receiver.listen(0.4) == [f"foveate/{DEVICE}/event/verdict"]
    assert allowed(receiver.publish(f"foveate/{DEVICE}/ack/archive", retain=True))


@pytest.mark.parametrize("below", ["ack/dashboard", "event/count", "state", "cmd/stop", "count/exit/nut"])
def test_receiver_writes_nothing_else(connect: Connect, below: str) -> None:
    assert connect("archive").publish(f"foveate/{DEVICE}/{below}") == DENIED


def test_dashboard_reads_and_commands(connect: Connect) -> None:
    dashboard, device = connect("dashboard"), connect(DEVICE)
    dashboard.subscribe("foveate/#")
    device.publish(f"foveate/{DEVICE}/state")
    assert f"foveate/{DEVICE}/state" in dashboard.listen(0.4)
    assert allowed(dashboard.publish(f"foveate/{DEVICE}/cmd/preview"))
    assert dashboard.publish(f"foveate/{DEVICE}/event/count") == DENIED


def test_stranger_with_a_certificate(connect: Connect) -> None:
    stranger, device = connect("stranger"), connect(DEVICE)
    stranger.subscribe("foveate/#")
    stranger.subscribe("$SYS/#")
    device.publish(f"foveate/{DEVICE}/event/count")
    assert stranger.listen(0.3) == []
    assert stranger.publish(f"foveate/{DEVICE}/event/count") == DENIED


def greet(port: int, context: ssl.SSLContext) -> bytes:
    """Shake hands, send an MQTT CONNECT, and return what the broker says to it."""
    raw = socket.create_connection(("127.0.0.1", port), 5)
    with raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
        sock.sendall(HELLO)
        return sock.recv(64)  # TLS 1.3 tells of a missing client certificate only here


def trusting(certificates: Path, authority: str, client: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates.parent / authority / "ca.crt")
    if client is not None:
        stem = certificates.parent / client / "archive"
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    return context


def test_certificates_that_fit(broker: int, certificates: Path) -> None:
    assert greet(broker, trusting(certificates, "plant", "plant")).startswith(b"\x20")  # CONNACK


@pytest.mark.parametrize(("authority", "client"), [("elsewhere", "plant"), ("plant", "elsewhere"), ("plant", None)])
def test_certificates_that_do_not(broker: int, certificates: Path, authority: str, client: str | None) -> None:
    try:
        answer = greet(broker, trusting(certificates, authority, client))
    except OSError:
        return
    assert answer == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls(broker: int, certificates: Path) -> None:
    context = trusting(certificates, "plant", "plant")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)version|protocol|reset"):
        greet(broker, context)


def test_plain_text_is_refused(broker: int) -> None:
    with socket.create_connection(("127.0.0.1", broker), 5) as sock:
        sock.sendall(HELLO)
        try:
            answer = sock.recv(64)
        except ConnectionResetError:
            return
        assert not answer.startswith(b"\x20")
