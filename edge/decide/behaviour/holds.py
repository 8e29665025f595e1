"""Conditions that have to last: hysteresis in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.decide.records import Records

_KIND = np.dtype([
    ("holds", "?"),
    ("since", "f8"),  # s, where it holds
    ("fails", "?"),  # it holds, but was false when last known
    ("failing", "f8"),  # s since when
    ("on", "?"),
])  # fmt: skip


class Holds:
    """One condition for each of many things.

    It holds from when it becomes true until it has been false for `clear_s` in a row: shorter interruptions do not
    count. It is on from when it is true and has held for `seconds`, as long as it holds. Where nobody knows whether it
    is true, it is taken to be as it last was; what begins is begun by knowing.
    """

    def __init__(self, seconds: float, clear_s: float) -> None:
        self._seconds, self._clear_s = seconds, clear_s
        self._rows = Records(_KIND)

    def update(
        self,
        time: float,
        keys: npt.NDArray[np.int64],
        true: npt.NDArray[np.bool_],
        known: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return (n,) which are on at `time`, and (n,) for how many seconds each holds.

        `keys` (n,) are the things, of which others are forgotten; `true` (n,) says what is so, `known` (n,) of whom
        that is known, all where it is left out.
        """
        self._rows.follow(keys)
        at = self._rows.at
        false = ~true if known is None else ~true & known
        true = true if known is None else true & known
        at["holds"] &= ~(true & at["fails"] & (time - at["failing"] >= self._clear_s))  # it was over before
        at["on"] &= at["holds"]
        at["since"][true & ~at["holds"]] = time
        at["holds"] |= true
        at["failing"][false & ~at["fails"]] = time
        at["fails"] = (at["fails"] & ~true) | (false & at["holds"])
        at["holds"] &= ~(at["fails"] & (time - at["failing"] >= self._clear_s))
        at["fails"] &= at["holds"]
        lasted = np.where(at["fails"], at["failing"], time) - at["since"]
        at["on"] = at["holds"] & (at["on"] | (true & (lasted >= self._seconds)))
        return at["on"].copy(), np.where(at["holds"], lasted, 0.0)

    def holding(self) -> npt.NDArray[np.int64]:
        """Return the keys of the things whose condition holds."""
        return np.asarray(self._rows.keys[self._rows.at["holds"]])

    def clear(self) -> None:
        """Forget everything: nobody has looked."""
        self._rows.clear()
