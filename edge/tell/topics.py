"""Where on the broker each message goes: ``foveate/<site>/<line>/<device>/…``."""

from __future__ import annotations

from dataclasses import dataclass

from edge.config import Config

_ESCAPES = str.maketrans({"+": "%2B", "#": "%23", "%": "%25", "\0": "%00"})


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device."""

    root: str  # foveate/<site>/<line>/<device>

    @classmethod
    def of(cls, config: Config) -> Topics:
        """Return the topics of the device that `config` describes."""
        return cls(f"foveate/{config.site}/{config.line}/{config.device}")

    @property
    def state(self) -> str:
        """Return the retained topic that says whether the device is there and how it is."""
        return f"{self.root}/state"

    @property
    def acks(self) -> str:
        """Return the filter of what receivers write."""
        return f"{self.root}/ack/+"

    def event(self, kind: str) -> str:
        """Return the topic of events of one kind."""
        return f"{self.root}/event/{kind}"

    def count(self, counter: str) -> str:
        """Return the retained topic of a running total; characters that MQTT forbids are escaped as in URLs."""
        return f"{self.root}/count/{counter.translate(_ESCAPES)}"

    def summary(self, shift: str) -> str:
        """Return the retained topic of the newest summary of a shift."""
        return f"{self.root}/summary/{shift}"

    def receiver(self, topic: str) -> str:
        """Return the name of the receiver that wrote to `topic`, or what stands in its place."""
        return topic.removeprefix(f"{self.root}/ack/")
