"""What is said on a connection, and what is heard: state, totals, events; receipts and acknowledgements."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from edge.tell.connection import Connection, Message, Receipt
from edge.tell.ledger import Ledger
from edge.tell.outbox import Answer
from edge.tell.schema import BROKER
from edge.tell.status import Alarms
from edge.tell.topics import Topics
from edge.tell.window import Lane

log = logging.getLogger(__name__)

NOBODY_LISTENS = 16
REFUSED = 128
_STATE_S = 1.0  # shortest time between two state messages
_TOTALS_S = 0.25  # shortest time between two rounds of changed totals
_KEPT_FREE = 4  # of the messages in flight, for events
_MAX_ACK_BYTES = 1024


class Ack(msgspec.Struct, frozen=True):
    """What a receiver writes, retained: it has everything of `stream` up to `seq`."""

    stream: str
    seq: int
    again: bool = False  # it misses rows and asks for them now, not after a pause


class Speaker:
    """Follows the delivery rule on one connection after the other. Used by the delivery thread only."""

    def __init__(self, topics: Topics, ledger: Ledger, alarms: Alarms, state: Callable[[], dict[str, Any]]) -> None:
        self.resent = 0
        self.confirmed = False  # this connection has moved something
        self._topics = topics
        self._ledger = ledger
        self._outbox = ledger.outbox
        self._alarms = alarms
        self._state = state
        self._lanes = [Lane(name, seq) for name, seq in sorted(ledger.outbox.acknowledged.items())]
        self._by_broker = ledger.outbox.receivers == [BROKER]
        self._session = 0
        self._taken: set[int] = set()  # rows that the broker has taken, above the acknowledged one
        self._told_totals: dict[str, int] = {}
        self._told_summaries: dict[str, bytes] = {}
        self._totals_due = 0.0  # s, monotonic
        self._told_state = b""
        self._state_due = 0.0  # s, monotonic

    def will(self, session: int) -> bytes:
        """Return the last will of connection number `session`."""
        return msgspec.json.encode({"online": False, "session": session})

    def begin(self, connection: Connection, session: int) -> None:
        """Start on a new connection: ask for acknowledgements, and say everything from the last one on."""
        self.confirmed = False
        self._session = session
        self._taken.clear()
        self._told_totals, self._told_summaries, self._told_state = {}, {}, b""
        self._totals_due = self._state_due = 0.0
        for lane in self._lanes:
            lane.restart()
        if not self._by_broker:
            connection.subscribe(self._topics.acks)

    def hear(self, connection: Connection) -> None:
        """Take in what has arrived; raises `LedgerError`."""
        while connection.messages:
            self._take_message(connection.messages.popleft())
        while connection.receipts:
            self._take_receipt(connection.receipts.popleft())
        if self._by_broker:
            self._take_pubacks(self._lanes[0])

    def speak(self, connection: Connection) -> None:
        """Send what there is room for; raises `LedgerError`."""
        now = time.monotonic()
        if now >= self._state_due and connection.room > 0:
            self._state_due = now + _STATE_S
            self._send_state(connection)
        if now >= self._totals_due and self._send_totals(connection):
            self._totals_due = now + _TOTALS_S
            self._send_summaries(connection)
        self._send_events(connection, now)

    def farewell(self, connection: Connection, until: float) -> None:
        """Say the last totals and that we leave on purpose, wait for receipts until `until`, s monotonic, and close."""
        payload = msgspec.json.encode({"online": False, "session": self._session, "queued": self._outbox.queued})
        said = False
        while not connection.closed and time.monotonic() < until:
            self.hear(connection)
            if not said and self._send_totals(connection) and connection.room > 0:
                connection.publish(self._topics.state, payload, retain=True)
                said = True
            elif said and not connection.busy:
                break
            connection.step(0.05)
        self.hear(connection)
        connection.close()

    def _send_state(self, connection: Connection) -> None:
        for gate, wrong in self._ledger.gates.broken().items():
            self._alarms.set(f"gate:{gate}", wrong)
        state = self._state()
        if failing := state.get("evidence", {}).get("failing"):
            self._alarms.set("evidence", failing)
        else:
            self._alarms.clear("evidence")
        payload = msgspec.json.encode(
            {
                **state,
                "gates": self._ledger.gates.tallies,
                "online": True,
                "session": self._session,
                "stream": self._outbox.stream,
                "delivery": "broker" if self._by_broker else "receiver",
                "queued": self._outbox.queued,
                "alarms": self._alarms.active,
            }
        )
        if payload != self._told_state:
            self._told_state = payload
            connection.publish(self._topics.state, payload, retain=True)

    def _send_totals(self, connection: Connection) -> bool:
        """Send the totals that changed, the latest value only; return whether all are told."""
        for counter, total in self._ledger.totals().items():
            if self._told_totals.get(counter) == total:
                continue
            if connection.room <= _KEPT_FREE:
                return False
            self._told_totals[counter] = total
            payload = msgspec.json.encode({"total": total, "stream": self._outbox.stream})
            connection.publish(self._topics.count(counter), payload, retain=True)
        return True

    def _send_summaries(self, connection: Connection) -> None:
        """Send the newest summary of each shift that has a new one."""
        for shift, payload in self._ledger.accounts.told.items():
            if self._told_summaries.get(shift) != payload and connection.room > _KEPT_FREE:
                self._told_summaries[shift] = payload
                connection.publish(self._topics.summary(shift), payload, retain=True)

    def _send_events(self, connection: Connection, now: float) -> None:
        for lane in self._lanes:
            if lane.tick(now):
                self.resent += 1
            room = min(connection.room, lane.room)
            if room <= 0 or lane.sent >= self._outbox.last_seq:
                continue
            for row in self._outbox.pending(lane.sent, room):
                topic = self._topics.event(row.kind)
                connection.publish(topic, row.payload, seq=row.seq, floor=self._outbox.floor)
                for other in self._lanes:  # all subscribe to the same topic: once is enough for those at one point
                    if other.sent == row.seq - 1 and other.room > 0:
                        other.send(row.seq, now)

    def _take_message(self, message: Message) -> None:
        name = self._topics.receiver(message.topic)
        known = name in self._outbox.acknowledged
        alarm = f"ack:{name}" if known else "ack"  # strangers share one: they could have any number of names
        try:
            ack = msgspec.json.decode(message.payload[:_MAX_ACK_BYTES], type=Ack)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._alarms.set(alarm, f"acknowledgement of {name[:64]!r} is not {{stream, seq}}: {error}; ignored")
            return
        answer = self._outbox.acknowledge(name, ack.stream, ack.seq)
        if answer in {Answer.PROGRESS, Answer.REPEATED}:
            self._alarms.clear(alarm)
            self._advance(name, ack, answer)
        elif answer is Answer.AHEAD or not message.retained:  # a retained one may be of an earlier ledger or receiver
            self._alarms.set(alarm, f"{answer.value} acknowledgement of {name[:64]!r}: seq {ack.seq} ignored")

    def _advance(self, name: str, ack: Ack, answer: Answer) -> None:
        now = time.monotonic()
        lane = next(lane for lane in self._lanes if lane.receiver == name)
        if answer is Answer.PROGRESS:
            lane.acknowledge(ack.seq, now)
            self.confirmed = True
        if ack.again:
            lane.again(now)

    def _take_receipt(self, receipt: Receipt) -> None:
        alarm = f"refused:{receipt.topic}"
        if receipt.code >= REFUSED:
            self._alarms.set(alarm, f"the broker refuses {receipt.topic}: {receipt.text}; allow it in the broker's ACL")
            return
        self._alarms.clear(alarm)
        if receipt.seq is None:
            return
        if receipt.code == NOBODY_LISTENS:
            self._alarms.set("nobody", f"nobody is subscribed to {receipt.topic}")
        else:
            self._alarms.clear("nobody")
        if self._by_broker:
            self._taken.add(receipt.seq)

    def _take_pubacks(self, lane: Lane) -> None:
        """Where the broker's word counts: acknowledge up to the first row that it has not taken."""
        seq = lane.acknowledged
        while seq + 1 in self._taken:
            seq += 1
            self._taken.discard(seq)
        if seq > lane.acknowledged and self._outbox.acknowledge(BROKER, self._outbox.stream, seq) is Answer.PROGRESS:
            lane.acknowledge(seq, time.monotonic())
            self.confirmed = True
