"""What is known of spots from frame to frame: how long they wait."""

from __future__ import annotations

import numpy as np

from edge.see.spots import SpotMemory
from edge.types import Boxes

STILL = np.zeros(2, np.float32)
SPOT = np.asarray([[10, 10, 50, 50]], np.float32)
RETRY = 4
NO = np.zeros(1, np.bool_)
YES = np.ones(1, np.bool_)


def ages(memory: SpotMemory, frames: range, spots: Boxes, looked_in: tuple[int, ...] = ()) -> list[int]:
    """Return for how many frames the one spot is due, in each of `frames`."""
    found = []
    for frame in frames:
        memory.see(spots, STILL)
        _, due, _ = memory.values(frame, RETRY)
        found += due.tolist()
        memory.note(frame, (YES if frame in looked_in else NO)[: len(spots)], NO[: len(spots)])
    return found


def test_a_new_spot_waits_from_its_first_frame_on() -> None:
    assert ages(SpotMemory(), range(5, 9), SPOT) == [0, 1, 2, 3]


def test_one_that_showed_nothing_waits_from_when_it_is_due_again() -> None:
    assert ages(SpotMemory(), range(9), SPOT, looked_in=(0,)) == [0, 0, 0, 0, 0, 1, 2, 3, 4]


def test_what_was_out_of_sight_did_not_wait() -> None:
    for looked_in in ((), (0,)):
        memory = SpotMemory()
        ages(memory, range(3), SPOT, looked_in)
        ages(memory, range(3, 60), SPOT[:0])
        back = ages(memory, range(60, 64), SPOT)
        assert back == [0, 1, 2, 3], looked_in


def test_dropped_frames_are_no_time_out_of_sight() -> None:
    memory = SpotMemory()
    ages(memory, range(3), SPOT)
    assert ages(memory, range(10, 12), SPOT) == [10, 11]
