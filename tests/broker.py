"""A real mosquitto on a loopback port that the kernel chose."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

# Debian's default is to forget: the hardest case, on which nothing of ours may depend.
OPEN = "allow_anonymous true\npersistence false\n"
_START_S = 10.0


class Broker:
    """One mosquitto and its port, which stays the same over restarts."""

    def __init__(self, folder: Path, text: str = OPEN) -> None:
        self.folder = folder
        self.text = text
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once connections are accepted."""
        user = "user root\n" if os.geteuid() == 0 else ""  # or it could not read the folders of pytest
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(f"listener {self.port} 127.0.0.1\n{user}{self.text}")
        with (self.folder / "mosquitto.log").open("ab") as output:
            self.process = subprocess.Popen([program(), "-c", configuration], stdout=output, stderr=output)
        until = time.monotonic() + _START_S
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"mosquitto did not start:\n{(self.folder / 'mosquitto.log').read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an administrator does."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop it from running; its sockets stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(number)
            self.process.wait(10)
            self.process = None


class Ear:
    """A client that hears everything, and can speak out of turn."""

    def __init__(self, port: int) -> None:
        self.heard: list[MQTTMessage] = []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self.client.on_message = lambda _client, _data, message: self.heard.append(message)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=1)
        self.client.loop_start()

    def payloads(self, ending: str) -> list[bytes]:
        """Return what came on topics with that ending."""
        return [bytes(message.payload) for message in self.heard if message.topic.endswith(ending)]

    def say(self, topic: str, payload: bytes) -> None:
        """Publish, retained."""
        self.client.publish(topic, payload, qos=1, retain=True).wait_for_publish(5)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
        self.client.on_message = None


def program() -> str:
    """Return the path of mosquitto, or fail the test."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail("mosquitto is not installed; on Debian: apt-get install mosquitto")
    return found


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether somebody answers on loopback `port`."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether `condition` came true within `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Yield a running broker that keeps nothing; a test may end, freeze or reconfigure it."""
    folder = tmp_path / "broker"
    folder.mkdir()
    running = Broker(folder)
    running.start()
    yield running
    if running.process is not None:
        running.thaw()
        running.kill()
