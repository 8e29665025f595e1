"""How far one receiver is: what it was sent, what it has acknowledged, when it is sent the same again."""

from __future__ import annotations

WINDOW = 16  # rows that may be sent and not yet acknowledged
RETRY_S = 2.0  # without an acknowledgement for so long, all unacknowledged rows are sent again
RETRY_MAX_S = 16.0  # doubled up to this while a receiver is away
AGAIN_S = 0.2  # a receiver that asks for the rest is heard so often


class Lane:
    """The window of one receiver. Knows nothing of sockets, clocks or disks."""

    def __init__(self, receiver: str, acknowledged: int) -> None:
        self.receiver = receiver
        self.acknowledged = acknowledged
        self.sent = acknowledged  # highest number sent since the last start from the acknowledged one
        self._retry_s = RETRY_S
        self._due = 0.0  # s, monotonic
        self._again_at = float("-inf")  # s, monotonic

    @property
    def room(self) -> int:
        """Return how many more rows may be sent."""
        return WINDOW - (self.sent - self.acknowledged)

    def send(self, seq: int, now: float) -> None:
        """Take note that row `seq`, the one after `sent`, goes out."""
        if self.sent == self.acknowledged:
            self._due = now + self._retry_s
        self.sent = seq

    def acknowledge(self, seq: int, now: float) -> None:
        """Take note that the receiver has everything up to `seq`, a number above the last one."""
        self.acknowledged = seq
        self.sent = max(self.sent, seq)
        self._retry_s = RETRY_S
        self._due = now + self._retry_s

    def again(self, now: float) -> None:
        """Take note that the receiver misses rows and asks for them."""
        if now - self._again_at >= AGAIN_S:
            self._again_at = now
            self.restart()

    def restart(self) -> None:
        """Begin again after the last acknowledged row, as on a new connection."""
        self.sent = self.acknowledged
        self._retry_s = RETRY_S

    def tick(self, now: float) -> bool:
        """Begin again where an acknowledgement is overdue; return whether it was."""
        if self.sent == self.acknowledged or now < self._due:
            return False
        self.sent = self.acknowledged
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        return True
