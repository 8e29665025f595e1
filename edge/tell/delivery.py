"""The thread that tells: ledger -> broker -> receivers' acknowledgement -> ledger.

A broker's PUBACK is not delivery: it comes before anything is on the broker's disk, and also where nobody listens. An
event leaves the ledger when every configured receiver has acknowledged it; only without receivers does the PUBACK
count, and the state message says so.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from edge.config import Config
from edge.errors import BrokerError, ConfigError, FoveateError
from edge.tell.connection import TAKEN_OVER, Connection, Login
from edge.tell.ledger import Ledger
from edge.tell.login import read_login
from edge.tell.speaker import Speaker
from edge.tell.status import Alarms, Status
from edge.tell.topics import Topics

log = logging.getLogger(__name__)

_BACK_OFF_S = (0.2, 5.0)  # first and longest pause between two attempts to connect
_REFUSED_S = 1.0  # shortest pause after the broker turned us away
_STEP_S = 0.1
_SHORT_S, _SHORTS = 10.0, 5  # so many connections in a row, none longer: another client takes our id again and again
_SETTLED_S = 30.0
_HELLO_S = 5.0  # for the broker's answer to our CONNECT
_FAREWELL_S = 1.0
_JOIN_S = 10.0  # a connect that hangs, and the farewell


class Delivery:
    """The delivery thread. `state` is called in it: it must be quick, and safe to call beside the pipeline."""

    def __init__(self, config: Config, ledger: Ledger, state: Callable[[], dict[str, Any]]) -> None:
        """Read credentials and certificates; raises `ConfigError` where there are none, or no ``[mqtt]`` table."""
        if config.mqtt is None:
            raise ConfigError("delivery: the configuration has no table [mqtt]; add one with host and port")
        self._topics = Topics.of(config)
        # No name holds a colon, so no two devices share an id. With slashes in it, the demo's broker (rumqttd) panics.
        client_id = self._topics.root.replace("/", ":")
        self._login: Login = read_login(config.mqtt, client_id, self._topics.state)
        self._where = f"{config.mqtt.host}:{config.mqtt.port}"
        self._outbox = ledger.outbox
        self._alarms = Alarms()
        self._speaker = Speaker(self._topics, ledger, self._alarms, state)
        self._thread = threading.Thread(target=self._entry, name="delivery", daemon=True)
        self._nudged, self._nudge = socket.socketpair()
        for end in (self._nudged, self._nudge):
            end.settimeout(0)
        self._stop_at: float | None = None  # s, monotonic
        self._error: Exception | None = None
        self._status = Status(unacknowledged=ledger.outbox.queued)
        self._last_error = ""
        self._session = 0  # 0: none yet for the next connection
        self._shorts = 0  # connections in a row that ended soon
        self._offline = False  # and said so

    def start(self) -> None:
        """Start the thread."""
        self._outbox.listen(self._wake)
        self._thread.start()

    def stop(self, drain_s: float) -> bool:
        """Wait at most `drain_s` for acknowledgements, say goodbye, end; return whether everything is delivered."""
        queued, connected = self._outbox.queued, self._status.connected
        if queued and drain_s and self._thread.is_alive():
            log.info("mqtt=draining waits up to %g s for the acknowledgement of %d events", drain_s, queued)
        self._stop_at = time.monotonic() + drain_s
        self._outbox.listen(None)
        self._wake()
        if self._thread.is_alive():
            self._thread.join(drain_s + _JOIN_S)
        if not self._thread.is_alive():
            self._nudged.close()
            self._nudge.close()
        queued = self._outbox.queued
        if queued and drain_s and connected:  # else it has been said that nobody is there
            last, acknowledged = self._outbox.last_seq, self._outbox.acknowledged
            behind = ",".join(name or "the broker" for name, seq in acknowledged.items() if seq < last)
            log.warning("mqtt=undelivered events=%d waiting_for=%s", queued, behind)
        return not queued

    def status(self) -> Status:
        """Return how it is going. Any thread may ask."""
        return self._status

    def check(self) -> None:
        """Raise what ended the thread, if something did: `FoveateError`."""
        if isinstance(self._error, FoveateError):
            raise self._error
        if self._error is not None:
            raise BrokerError(f"delivery to {self._where} ended: {self._error!r}; start again") from self._error

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been nudged often enough
            self._nudge.send(b"\0")

    def _entry(self) -> None:
        try:
            self._run()
        except Exception as error:
            if not isinstance(error, FoveateError):  # that is one line, where the run ends
                log.exception("delivery=failed")
            self._error = error
            self._report(connected=False)

    def _run(self) -> None:
        pause_s = _BACK_OFF_S[0]
        while not self._over():
            self._session = self._session or self._outbox.next_session()
            connection = Connection(self._login, self._speaker.will(self._session))
            try:
                useful = self._hello(connection) and self._converse(connection)
            finally:
                connection.close(polite=False)  # on an error, the will is to speak for us
            self._report(connected=False)
            if self._over():
                return
            self._lost(connection)
            pause_s = _BACK_OFF_S[0] if useful else pause_s
            self._pause(self._pause_after(connection, pause_s))
            pause_s = min(2 * pause_s, _BACK_OFF_S[1])

    def _hello(self, connection: Connection) -> bool:
        """Return whether the broker has let us in."""
        until = time.monotonic() + _HELLO_S
        connection.open()
        while not (connection.ready or connection.closed or connection.code) and time.monotonic() < until:
            connection.step(_STEP_S)
        if not connection.ready:
            self._shorts = 0
            connection.reason = connection.reason or f"no answer for {_HELLO_S:g} s"
            connection.close(polite=False)
        return connection.ready and not connection.closed

    def _converse(self, connection: Connection) -> bool:
        """Talk until the connection ends or we do; return whether it was good for anything."""
        begin = time.monotonic()
        self._alarms.clear("login")
        self._found()
        self._speaker.begin(connection, self._session)
        while not (connection.closed or self._over()):
            self._speaker.hear(connection)
            self._speaker.speak(connection)
            self._report(connected=True)
            connection.step(_STEP_S, self._nudged)
            if time.monotonic() - begin > _SETTLED_S:
                self._alarms.clear("takeover")
        self._speaker.hear(connection)
        if not connection.closed:
            self._speaker.farewell(connection, time.monotonic() + _FAREWELL_S)
        self._session = 0  # the next connection has a number of its own
        short = time.monotonic() - begin < _SHORT_S
        self._shorts = self._shorts + 1 if short else 0
        return self._speaker.confirmed or not short

    def _over(self) -> bool:
        if self._stop_at is None:
            return False
        return self._outbox.queued == 0 or time.monotonic() >= self._stop_at

    def _pause(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s * random.uniform(0.8, 1.2)  # a fleet must not come back in step
        while time.monotonic() < until and not self._over():
            time.sleep(min(0.05, pause_s))
            self._report(connected=False)

    def _found(self) -> None:
        self._offline = False
        log.info("mqtt=connected broker=%s session=%d", self._where, self._session)

    def _lost(self, connection: Connection) -> None:
        """Take note of the end of a connection; a line for the first of a row only."""
        self._last_error = connection.reason
        if self._taken_over(connection):
            self._alarms.set("takeover", f"another client uses the id {self._login.client_id}: one device runs twice")
        elif connection.code >= 128 and not connection.ready:
            self._alarms.set("login", f"broker {self._where} {connection.reason}: check username and password_file")
        if not self._offline:
            self._offline = True
            log.warning(
                "mqtt=offline broker=%s reason=%s fix=start the broker, or check [mqtt] host, port and TLS files; "
                "events queue on disk meanwhile",
                self._where,
                connection.reason,
            )

    def _taken_over(self, connection: Connection) -> bool:
        """Return whether another client has our id. Not every broker says so."""
        return connection.code == TAKEN_OVER or self._shorts >= _SHORTS

    def _pause_after(self, connection: Connection, pause_s: float) -> float:
        """Return how long to wait, s: longer where the broker itself sent us away."""
        if self._taken_over(connection):  # or both would throw each other out without end
            return _BACK_OFF_S[1]
        return max(pause_s, _REFUSED_S) if connection.code >= 128 else pause_s

    def _report(self, *, connected: bool) -> None:
        self._status = Status(
            connected=connected,
            session=self._session,
            unacknowledged=self._outbox.queued,
            resent=self._speaker.resent,
            last_error=self._last_error,
            failed=self._error is not None,
            alarms=self._alarms.active,
        )
