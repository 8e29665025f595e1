"""One MQTT 5 connection, from its first byte to its last.

A new one, on a new paho client, is made for each attempt. So paho never queues nor resends anything on its own: its
"not connected" means "maybe later", its reconnect ignores the broker's Receive Maximum, and its "published" covers
refusals. This module calls paho's read, write and upkeep itself, and nothing is published unless connected.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from paho.mqtt import MQTTException
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt

MAX_IN_FLIGHT = 16
MAX_MESSAGE_BYTES = 64 << 10  # that the broker may send us: an acknowledgement is short, and anybody might write one
_CONNECT_TIMEOUT_S = 3.0
TAKEN_OVER = 142

# What paho's decoder raises on bytes that are not MQTT, besides the errors of the socket; which, differs by version.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error, MQTTException)


class Message(NamedTuple):
    """What the broker sent."""

    topic: str
    payload: bytes
    retained: bool


class Receipt(NamedTuple):
    """The broker's answer to one publish."""

    seq: int | None  # of the event, None for anything else
    code: int  # 0 fine, 16 nobody listens, 128 and above refused
    text: str
    topic: str


class _Flight(NamedTuple):
    seq: int | None
    topic: str
    at: float  # s, monotonic


@dataclass(frozen=True, slots=True)
class Login:
    """What every connection of one device has in common."""

    settings: Mqtt
    client_id: str
    password: str | None
    tls: ssl.SSLContext | None
    will_topic: str


class Connection:
    """Use from one thread. `messages` and `receipts` fill while `step` runs."""

    def __init__(self, login: Login, will: bytes) -> None:
        self.ready = False  # the broker has accepted us
        self.closed = False
        self.reason = ""  # why it closed
        self.code = 0  # of the broker's refusal or farewell
        self.messages: deque[Message] = deque()
        self.receipts: deque[Receipt] = deque()
        self._limit = MAX_IN_FLIGHT
        self._flights: dict[int, _Flight] = {}
        self._settings = login.settings
        self._client = client = Client(CallbackAPIVersion.VERSION2, login.client_id, protocol=MQTTv5)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        if login.settings.username is not None:
            client.username_pw_set(login.settings.username, login.password)
        if login.tls is not None:
            client.tls_set_context(login.tls)
        client.will_set(login.will_topic, will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message

    def open(self) -> bool:
        """Connect and say hello, at most 3 s; return False, with `reason`, where nobody answers."""
        settings = self._settings
        try:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
            limits.MaximumPacketSize = MAX_MESSAGE_BYTES
            self._client.connect(
                settings.host, settings.port, settings.keepalive_s, clean_start=True, properties=limits
            )
            sock: Any = self._client.socket()
            # Small messages must not wait until TCP has acknowledged those before, neither ours nor the broker's:
            # together with TCP_QUICKACK below that is 6 times the rate.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BROKEN as error:
            self._end(str(error) or type(error).__name__)
        return not self.closed

    @property
    def room(self) -> int:
        """Return how many messages may be published before the broker answers one."""
        return self._limit - len(self._flights) if self.ready and not self.closed else 0

    @property
    def busy(self) -> bool:
        """Return whether the broker still owes us an answer to a message."""
        return bool(self._flights)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, seq: int | None = None, floor: int = 0
    ) -> None:
        """Send one message at QoS 1; call only while there is `room`."""
        if self.closed:
            return
        properties = None
        if seq is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types here
            properties.UserProperty = [("floor", str(floor))]
        try:
            info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        except BROKEN as error:
            self._end(str(error))
            return
        self._flights[info.mid] = _Flight(seq, topic, time.monotonic())
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._end(f"cannot send: {info.rc.name}")

    def subscribe(self, topic: str) -> None:
        """Ask for messages on `topic`, the retained ones included."""
        self._client.subscribe(topic, qos=1)

    def step(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Read, write and keep alive; return after `timeout_s`, or sooner where there is something to do."""
        try:
            self._poll(timeout_s, wake)
        except BROKEN as error:
            self._end(f"{type(error).__name__}: {error}")
        if not self.closed and self._client.socket() is None:
            self._end("connection lost")
        oldest = next(iter(self._flights.values()), None)
        if oldest and time.monotonic() - oldest.at > self._settings.keepalive_s:
            self._end(f"no answer to a message for {self._settings.keepalive_s} s")

    def close(self, *, polite: bool = True) -> None:
        """End the connection; a polite end keeps the broker from publishing the will."""
        with contextlib.suppress(*BROKEN):
            if polite and not self.closed:
                self._client.disconnect()
        self._end("closed")

    def _poll(self, timeout_s: float, wake: socket.socket | None) -> None:
        client = self._client
        sock: Any = client.socket()
        if self.closed or sock is None:
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        if wake is not None:
            poll.register(wake, select.POLLIN)
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        here = sock.fileno()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # see `open`; the kernel forgets it again
        found = dict(poll.poll(0 if buffered else timeout_s * 1000))
        if wake is not None and wake.fileno() in found:
            wake.recv(4096)
        if buffered or found.get(here, 0) & ~select.POLLOUT:
            client.loop_read()
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self.reason = self.reason or reason
        client = self._client
        # paho and its callbacks refer to each other: without this, sockets live until a garbage collection.
        client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
        sock = client.socket()
        if sock is not None:
            sock.close()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        if code.is_failure:
            self.code, self.reason = code.value, f"refused: {code}"
            return
        self._limit = min(MAX_IN_FLIGHT, int(getattr(properties, "ReceiveMaximum", 65535)))
        self.ready = True

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.code = code.value
            self.reason = self.reason or f"sent away: {code}"
        elif not self.ready:
            self.reason = self.reason or "hung up on before an answer"

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        flight = self._flights.pop(mid, None)
        if flight is not None:
            self.receipts.append(Receipt(flight.seq, code.value, str(code), flight.topic))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.messages.append(Message(message.topic, bytes(message.payload), message.retain))
