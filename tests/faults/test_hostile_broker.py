"""A broker that sends anything but what it should (B7)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from paho.mqtt import MQTTException
from paho.mqtt.client import Client

from deploy.probe import broker
from deploy.receiver import Receiver, Settings
from tests.broker import wait_for
from tests.faults.line import Line, configuration, new_seed, repeats

HELLO = bytes([0x20, 6, 0, 0, 3, 0x21, 0, 5])  # CONNACK: success, Receive Maximum 5
FAREWELLS = {
    "silence": b"",
    "half a packet": bytes([0x40, 20, 0]),
    "wrong id": bytes([0x40, 4, 0xFF, 0xFE, 0, 0]),
    "receipt for nothing": bytes([0x40, 2, 0, 0]),
    "endless length": bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
    "receive maximum exceeded": bytes([0xE0, 2, 0x93, 0]),
    "publish without topic": bytes([0x30, 3, 0xFF, 0xFF, 0]),
    "topic that is not text": bytes([0x30, 6, 0, 2, 0xC3, 0x28, 0, 1]),
    "broken properties": bytes([0x30, 6, 0, 1, 97, 3, 0x26, 0]),
    "packet of no kind": bytes([0x00, 0]),
    "refusal without a reason": bytes([0x20, 3, 0, 0xF0, 0]),
}


class FakeBroker:
    """Greets each client, listens for a moment, says one thing, hangs up."""

    def __init__(self, words: list[bytes], greeting: bytes = HELLO) -> None:
        self.calls = 0
        self.most_open = 0  # publishes that came without an answer of ours
        self._words, self._greeting = words, greeting
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with client, contextlib.suppress(ConnectionError):
                    self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(0.15)
        client.recv(4096)
        client.sendall(self._greeting)
        heard = b""
        with contextlib.suppress(TimeoutError):
            while data := client.recv(4096):
                heard += data
        self.most_open = max(self.most_open, heard.count(b"/event/count") + heard.count(b"/device/state"))
        client.sendall(self._words[self.calls % len(self._words)])
        self.calls += 1
        with contextlib.suppress(TimeoutError):
            while client.recv(4096):
                pass


@contextlib.contextmanager
def line_to(words: list[bytes], folder: Path, receivers: list[str]) -> Iterator[tuple[FakeBroker, Line]]:
    """Yield a fake broker and a line of 20 events that talks to it; ends both."""
    fake = FakeBroker(words)
    line = Line(configuration(folder / "state", fake.port, receivers), folder / "truth")
    try:
        for _ in range(20):
            line.produce_one()
        yield fake, line
    finally:
        line.end(drain_s=0)
        fake.close()


@pytest.mark.parametrize("words", FAREWELLS.values(), ids=FAREWELLS.keys())
def test_b7_nonsense_ends_a_connection_and_nothing_else(tmp_path: Path, words: bytes) -> None:
    with line_to([words], tmp_path, []) as (fake, line):
        assert wait_for(lambda: fake.calls >= 2, 15), "it comes back"
        line.delivery.check()
        assert line.ledger.identity().queued == 20
        assert 0 < fake.most_open <= 5, "the broker's Receive Maximum"


@pytest.mark.parametrize(
    "error", [MQTTException("malformed"), IndexError("short")], ids=lambda error: type(error).__name__
)
def test_b7_whatever_paho_raises_on_nonsense_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What it raises depends on its version."""

    def read(*_: object) -> None:
        raise error

    monkeypatch.setattr(Client, "loop_read", read)
    monkeypatch.setattr(Client, "loop", read)
    with line_to([b""], tmp_path, []) as (fake, line):
        assert wait_for(lambda: str(error) in line.delivery.status().last_error, 15)
        line.delivery.check()
        *_, found = broker(configuration(tmp_path, fake.port))
        assert (found.status, "does not speak MQTT 5" in found.what) == ("FIX", True)
        listener = Receiver(Settings(name="archive", database=tmp_path / "a.db", port=fake.port))
        assert str(error) in listener._receive_until_lost()
        listener.stop()


def test_b7_random_bytes_end_a_connection_and_nothing_else(tmp_path: Path) -> None:
    random = Random(new_seed())
    # Never 0x4…: that would be a receipt, which is to be believed.
    words = [
        bytes([random.choice([0x30, 0x90, 0xE0, 0xB0, random.randrange(64)])]) + random.randbytes(30) for _ in range(99)
    ]
    with line_to(words, tmp_path, ["archive"]) as (fake, line):
        until = time.monotonic() + repeats(4)
        while time.monotonic() < until:
            time.sleep(0.05)
            line.delivery.check()
        assert fake.calls >= 3
        assert line.ledger.identity().queued == 20
