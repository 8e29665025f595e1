"""Candidates of several cameras -> looks on canvases that they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge.see.attention import AUDIT, Candidates
from edge.see.packing import FILL, pack, room_of
from edge.types import Looks


def share(wanted: Sequence[Candidates], canvas: tuple[int, int], canvases: int, max_scale: float) -> Looks:
    """Return the looks at all frames, the most valuable ones until `canvases` canvases of (width, height) are full.

    What is due comes before what fills the room that is left. Each camera has a right to its part of the canvases, so
    that a flood on one holds up no other; what one does not need goes to whoever has most to gain. Audited pieces come
    on canvases of their own, at native resolution.
    """
    frames = np.concatenate([np.full(len(one.sources), i, np.int32) for i, one in enumerate(wanted)])
    sources = np.concatenate([one.sources for one in wanted])
    values = np.concatenate([one.values for one in wanted])
    order = _order(wanted, values, canvas, canvases / len(wanted))
    due = int(np.count_nonzero(values >= 1))
    looks, kept = pack(sources[order], canvas, canvases, max_scale, due)
    reasons = np.concatenate([one.reasons for one in wanted])
    chosen = order[kept]
    looks = Looks(looks.sources, looks.canvases, looks.places, looks.scales, frames[chosen], reasons[chosen])
    return _beside(looks, [one.audited for one in wanted])


def _order(
    wanted: Sequence[Candidates], values: npt.NDArray[np.float64], canvas: tuple[int, int], part: float
) -> npt.NDArray[np.int64]:
    """Return the candidates in the order in which they get room; `part` is each camera's right, in canvases."""
    if len(wanted) == 1:
        return np.arange(len(values))  # it says which come first
    room = FILL * part * float(room_of(np.asarray([canvas]))[0])
    beyond = np.concatenate([_taken(one, canvas) > room for one in wanted])
    return np.lexsort((-values, beyond, values < 1))


def _taken(wanted: Candidates, canvas: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return (n,) the canvas pixels that each candidate of one camera takes, those before it included."""
    sizes = np.minimum(wanted.sources[:, 2:] - wanted.sources[:, :2], canvas)
    room = room_of(sizes)
    return np.cumsum(room) - room  # the first one always has a right


def _beside(looks: Looks, audited: Sequence[npt.NDArray[np.int32]]) -> Looks:
    """Return `looks` and one at each audited piece (n, 4) of each frame, on a canvas of its own."""
    pieces = np.concatenate(audited)
    if not len(pieces):
        return looks
    first, count = int(looks.canvases.max(initial=-1)) + 1, len(pieces)
    frames = np.repeat(np.arange(len(audited), dtype=np.int32), [len(some) for some in audited])
    return Looks(
        np.concatenate([looks.sources, pieces]),
        np.concatenate([looks.canvases, np.arange(first, first + count, dtype=np.int32)]),
        np.concatenate([looks.places, pieces - np.tile(pieces[:, :2], 2)]),
        np.concatenate([looks.scales, np.ones(count, np.float32)]),
        np.concatenate([looks.frames, frames]),
        np.concatenate([looks.reasons, np.full(count, AUDIT, np.int32)]),
    )
