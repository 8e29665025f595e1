"""A real mosquitto on a loopback port, and a receiver that only acknowledges, for benchmarks that tell.

``python -m benchmarks.broker --port N --name NAME`` is the receiver: it keeps nothing but the highest number.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from benchmarks.common import ROOT
from edge.errors import BrokerError
from examples.belt.demo import free_port

START_S, END_S, RETRY_S = 10.0, 5.0, 0.2
RECEIVER = "benchmark"


class Mosquitto:
    """One mosquitto; its port stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once connections are accepted; raises `BrokerError`."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise BrokerError("mosquitto: is not installed; on Debian: apt-get install mosquitto")
        user = "user root\n" if os.geteuid() == 0 else ""
        path = self._folder / "mosquitto.conf"
        path.write_text(f"listener {self.port} 127.0.0.1\n{user}allow_anonymous true\npersistence false\n")
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(path)], stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while not _accepts(self.port):
            if time.monotonic() > until or self._process.poll() is not None:
                raise BrokerError(f"mosquitto on 127.0.0.1:{self.port}: does not start; {self._folder} has its log")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; what it kept is gone."""
        if self._process is not None:
            end(self._process)
            self._process = None


@contextlib.contextmanager
def telling(folder: Path) -> Iterator[Mosquitto]:
    """Yield a running mosquitto, with the receiver `RECEIVER` in a process of its own."""
    broker = Mosquitto(folder)
    broker.start()
    command = [sys.executable, "-m", "benchmarks.broker", "--port", str(broker.port), "--name", RECEIVER]
    receiver = subprocess.Popen(command, cwd=ROOT)
    try:
        yield broker
    finally:
        end(receiver)
        broker.stop()


def end(process: subprocess.Popen[Any]) -> None:
    """Terminate a process that this one has started, and kill it where it does not listen."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Key(msgspec.Struct):
    stream: str
    seq: int


class _Receiver:
    """Acknowledges all that comes in order, once for what came together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._highest: dict[tuple[str, str], int] = {}  # device, stream -> nothing is missing below
        self._changed: set[tuple[str, str]] = set()
        self._client = Client(CallbackAPIVersion.VERSION2, f"receiver-{name}", protocol=MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message

    def run(self, port: int) -> None:
        """Go on until the process is ended."""
        while True:
            with contextlib.suppress(OSError):
                self._client.connect("127.0.0.1", port, 5)
                while self._client.loop(0.05) is MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._hurry()
                    self._tell()
            time.sleep(RETRY_S)

    def _hurry(self) -> None:
        """Have TCP send and acknowledge at once: the device's window is small."""
        link = self._client.socket()
        if isinstance(link, socket.socket):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _tell(self) -> None:
        for device, stream in self._changed:
            payload = msgspec.json.encode({"stream": stream, "seq": self._highest[device, stream]})
            self._client.publish(f"{device}/ack/{self._name}", payload, qos=1, retain=True)
        self._changed.clear()

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe("foveate/+/+/+/event/+", qos=1)
        self._changed.update(self._highest)  # a broker that forgets has to hear it again

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        key = msgspec.json.decode(message.payload, type=_Key)
        place = message.topic.split("/event/")[0], key.stream
        pairs = dict(getattr(message.properties, "UserProperty", []))
        highest = max(self._highest.get(place, 0), int(pairs.get("floor", "0")))
        self._highest[place] = key.seq if key.seq == highest + 1 else highest
        self._changed.add(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        _Receiver(given.name).run(given.port)
