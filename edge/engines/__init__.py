"""Back ends that run a model file, behind one protocol of four members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edge.bundle import TensorSpec
from edge.types import Array


class Engine(Protocol):
    """A loaded model. Use it only from the thread that opened it."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once. The arrays returned may be reused by the next call: copy what you keep."""
        ...

    def close(self) -> None:
        """Free everything; a closed engine must not be used."""
        ...
