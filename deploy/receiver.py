"""The reference receiver: commits every event once, in order, and only then acknowledges it.

Run it (``python -m deploy.receiver --name archive --database events.db``), use `Receiver` in a process of your own, or
write the same in another language: it keeps one number per device and stream, the highest with nothing missing below.
An event that is next is committed, one at or below the number is a duplicate, one above waits for those before it.
After the commit the number is published, retained, on ``…/ack/<name>``; the device sends on from there.
"""

from __future__ import annotations

import argparse
import logging
import re
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.archive import Archive, Event, Position
from edge.config import Name, Text
from edge.errors import ConfigError, FoveateError
from edge.tell.connection import BROKEN
from edge.tell.login import no_passphrase

log = logging.getLogger(__name__)

_BACK_OFF_S = (0.2, 5.0)
_SESSION_S = 7 * 24 * 3600  # the broker keeps what it can for a receiver that is away
_BATCH = 256  # events in one commit
_NUMBER = re.compile(r"[0-9]{1,19}")
_FIELD = re.compile(r"`(?:\$\.)?(\w+)`$")  # at the end of what msgspec says is wrong

_Short = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Host = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]+\Z")]
_Devices = Annotated[str, msgspec.Meta(pattern=r"^(\+|[A-Za-z0-9_.=-]{1,64})(/(\+|[A-Za-z0-9_.=-]{1,64})){2}\Z")]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to reach the broker, and where to keep what comes."""

    name: Name
    database: Path
    host: _Host = "127.0.0.1"
    port: _Short = 1883
    devices: _Devices = "+/+/+"
    username: Text | None = None
    password_file: Path | None = None
    ca_file: Path | None = None  # switches TLS on
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: _Short = 5


HELP = {
    "name": "the name under which devices wait for it: one of their [mqtt] receivers (1 to 64 of A-Z a-z 0-9 _ . = -)",
    "database": "the SQLite file that keeps the events; made if it is not there",
    "host": "the broker: a name or an address (default 127.0.0.1)",
    "port": "the broker's port, 1 to 65535 (default 1883; 8883 is usual with TLS)",
    "devices": "whose events: SITE/LINE/DEVICE, each a name or + for any (default +/+/+)",
    "username": "a user name, for a broker that asks for one",
    "password_file": "a file with the password on one line",
    "ca_file": "a PEM file of the authority that the broker's certificate must come from; switches TLS on",
    "cert_file": "the receiver's own certificate, PEM; together with --key-file",
    "key_file": "the key of that certificate, PEM, unencrypted",
    "keepalive_s": "seconds without a word after which a connection is given up, 1 to 65535 (default 5)",
}


class Receiver:
    """A receiver in a thread of its own. `on_commit` is called in it after each commit, with what is new."""

    def __init__(self, settings: Settings, on_commit: Callable[[Sequence[Event]], None] | None = None) -> None:
        """Open the database; raises `LedgerError`, and `ConfigError` for credentials that cannot be read."""
        self.error: Exception | None = None  # what ended the thread
        self.connected = threading.Event()
        self._settings = settings
        self._on_commit = on_commit
        self._inbox: list[Event] = []
        self._stopping = threading.Event()
        self._client = self._new_client()
        self.archive = Archive(settings.database)
        self._thread = threading.Thread(target=self._entry, name="receiver", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Have `run` end after the commit in hand."""
        self._stopping.set()

    def stop(self) -> None:
        """End the thread after the commit in hand, and close the database."""
        self.finish()
        if self._thread.is_alive():
            self._thread.join()
        client = self._client
        client.on_connect = client.on_message = None  # paho and we refer to each other
        del self._client
        self.archive.close()

    def run(self) -> None:
        """Receive until `finish`; raises `LedgerError`. For those who bring a thread of their own."""
        pause_s, offline = _BACK_OFF_S[0], False
        while not self._stopping.is_set():
            reason = self._receive_until_lost()
            if self.connected.is_set():
                pause_s, offline = _BACK_OFF_S[0], False
                self.connected.clear()
            if not (offline or self._stopping.is_set()):
                offline = True
                log.warning("mqtt=offline broker=%s:%d reason=%s", self._settings.host, self._settings.port, reason)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _BACK_OFF_S[1])
        self._client.disconnect()

    def acknowledge(self, device: str, position: Position) -> None:
        """Publish how far we are with `device`, retained."""
        topic = f"foveate/{device}/ack/{self._settings.name}"
        self._client.publish(topic, msgspec.json.encode(position._asdict()), qos=1, retain=True)

    def _entry(self) -> None:
        try:
            self.run()
        except Exception as error:
            log.exception("receiver=failed")
            self.error = error

    def _receive_until_lost(self) -> str:
        """Connect, and receive until the connection ends; return why."""
        client, settings = self._client, self._settings
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
        properties.SessionExpiryInterval = _SESSION_S
        self._inbox.clear()
        try:
            # A clean start would throw away what the broker holds for us.
            client.connect(settings.host, settings.port, settings.keepalive_s, clean_start=False, properties=properties)
        except (OSError, ValueError) as error:  # ValueError: no host can have this name
            return str(error)
        while not self._stopping.is_set():
            sock: Any = client.socket()
            if sock is None:
                return "sent away"
            # Neither our small messages nor the broker's wait until TCP has acknowledged those before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            lost = self._step(0.1)
            known = 0
            while not lost and known < len(self._inbox) < _BATCH:
                known = len(self._inbox)  # what lies ready shares one commit
                lost = self._step(0)
            self._commit()
            if lost:
                return lost
        return "stopped"

    def _step(self, timeout_s: float) -> str:
        """Read, write and keep alive; return why the connection is lost, if it is."""
        try:
            code = self._client.loop(timeout_s)
        except BROKEN as error:
            return f"{type(error).__name__}: {error}"
        return "" if code is MQTTErrorCode.MQTT_ERR_SUCCESS else code.name

    def _commit(self) -> None:
        if not self._inbox:
            return
        events, self._inbox = self._inbox, []
        fresh, told = self.archive.take(events)
        if fresh and self._on_commit is not None:
            self._on_commit(fresh)
        if self._client.is_connected():  # else: on connecting
            for device, position in told.items():
                self.acknowledge(device, position)

    def _new_client(self) -> Client:
        settings = self._settings
        client = Client(CallbackAPIVersion.VERSION2, f"receiver-{settings.name}", protocol=MQTTv5)
        client.connect_timeout = 3.0
        try:
            if settings.username is not None:
                file = settings.password_file
                client.username_pw_set(settings.username, file.read_text("utf-8").rstrip("\r\n") if file else None)
            if settings.ca_file is not None:
                context = ssl.create_default_context(cafile=settings.ca_file)
                if settings.cert_file is not None:
                    context.load_cert_chain(settings.cert_file, settings.key_file, password=no_passphrase)
                client.tls_set_context(context)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{settings.name}: {error}; check password_file, ca_file, cert_file, and that key_file is not encrypted"
            ) from error
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.warning("mqtt=refused broker=%s:%d reason=%s", self._settings.host, self._settings.port, code)
            return
        self.connected.set()
        log.info("mqtt=connected broker=%s:%d", self._settings.host, self._settings.port)
        client.subscribe(f"foveate/{self._settings.devices}/event/+", qos=1)
        for device, position in self.archive.positions().items():
            self.acknowledge(device, position)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            device = "/".join(message.topic.split("/")[1:4])
        except UnicodeDecodeError:  # no device has such a name, and no broker should pass it on
            return
        pairs = getattr(message.properties, "UserProperty", [])
        floor = next((value for name, value in pairs if name == "floor"), "0")
        number = int(floor) if _NUMBER.fullmatch(floor) else -1  # the archive refuses that
        self._inbox.append(Event(device, bytes(message.payload), number))


def main(arguments: Sequence[str] | None = None) -> int:
    """Receive until SIGTERM or SIGINT; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(arguments)
        receiver = Receiver(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: receiver.finish())
        where = f"{settings.host}:{settings.port}"
        log.info("listening to foveate/%s/event/+ on %s, database %s", settings.devices, where, settings.database)
        receiver.run()
        receiver.stop()
        log.info("ended events=%d duplicates=%d", receiver.archive.kept, receiver.archive.duplicates)
    except FoveateError as error:
        print(f"receiver: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_settings(arguments: Sequence[str] | None) -> Settings:
    """Return the settings of the command line, on top of those of the TOML file it may name; raises `ConfigError`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.receiver", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, help="a TOML file with these settings, _ for -; options win")
    for name, text in HELP.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=text)
    options = vars(parser.parse_args(arguments))
    path = options.pop("config")
    given = {**_from_file(path), **{name: value for name, value in options.items() if value is not None}}
    try:
        settings = msgspec.convert(given, Settings, strict=False, dec_hook=_path)
        settings.host.encode("idna")  # as the socket will
    except UnicodeError as error:
        raise ConfigError(f"--host {given['host']}: no machine can have this name; give {HELP['host']}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(_in_words(str(error), given, path)) from error
    return settings


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
        raise ConfigError(f"--config {path}: {error}; name a TOML file with the options of --help") from error


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


def _in_words(message: str, given: dict[str, Any], path: Path | None) -> str:
    """Return what is wrong with an option, or with a setting of file `path`, and what belongs there."""
    found = _FIELD.search(message)
    name = found[1] if found else ""
    if name not in HELP:
        return f"--config {path}: {message}; the names are those of --help, with _ for -"
    option = f"--{name.replace('_', '-')}"
    if name not in given:
        return f"{option} is missing; give {HELP[name]}"
    return f"{option} {given[name]!r} cannot be used; give {HELP[name]}"


if __name__ == "__main__":
    sys.exit(main())
