"""What is remembered of things that have a key: it dies with the key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.types import Array


class Records:
    """One record per key, in the order of the keys that are there now."""

    def __init__(self, kind: np.dtype[np.void]) -> None:
        """`kind` is the structured dtype of a record; a new one is all zeros."""
        self.keys: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.at: Array = np.zeros(0, kind)

    def follow(self, keys: npt.NDArray[np.int64]) -> Array:
        """Let the records be those of `keys` (n,), each of which is there once; return those whose key is gone."""
        if len(keys) == len(self.keys) and (keys == self.keys).all():
            return self.at[:0]
        now = np.zeros(len(keys), self.at.dtype)
        _, new, old = np.intersect1d(keys, self.keys, assume_unique=True, return_indices=True)
        now[new] = self.at[old]
        gone = np.delete(self.at, old)
        self.keys, self.at = keys.copy(), now
        return gone

    def clear(self) -> Array:
        """Forget all records; return them."""
        gone = self.at
        self.keys, self.at = self.keys[:0], gone[:0]
        return gone
