"""A belt followed by its encoder's ticks, for as long as these are to be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge.config import Gate, TrackRules
from edge.decide.encoder import SILENT, Encoder
from edge.decide.gate import QualityGate
from edge.decide.tracks import Tracker
from edge.events import EncoderEvent, Verdict
from edge.types import Frame, Image, Seen
from examples.belt.motion import Motion
from tests.see.made import instances_of, looks_of, tracks_of

SIZE, SCALE = (960, 480), (4.0, 4.0)
PX_PER_TICK = 0.25
PICTURE: Image = np.zeros((4, 4, 3), np.uint8)
NOTHING, NO_LOOKS = instances_of([]), looks_of([], [])
Ticks = Callable[[int, float], float | None]  # of a frame, by the travel of the belt


def exact(_: int, travel: float) -> float:
    return float(round(travel / PX_PER_TICK))


def foreground(corners: np.ndarray) -> Image:
    found: Image = np.zeros((SIZE[1] // 4, SIZE[0] // 4), np.uint8)
    for x0, y0, x1, y1 in np.round(corners / 4).astype(int).tolist():
        found[max(y0, 0) : y1, max(x0, 0) : max(x1, 0)] = 1
    return found


def off_px(travels: list[float], kept: list[int], ticks: Ticks | None) -> tuple[list[float], list[EncoderEvent]]:
    """Return by how much the worst track is off in each frame of those `kept` that shows any, after one look at each.

    Parts lie in a row that goes on and on, and come in unseen; each is looked at when it is wholly in sight.
    """
    starts = np.arange(-6000.0, 700.0, 170.0)
    following = Tracker(TrackRules(motion="belt", confirm_looks=1), [1], 2, SIZE, iter(range(1, 10**6)).__next__,
                        (PX_PER_TICK, 0.0) if ticks else None)  # fmt: skip
    worst, told, looked, last = list[float](), list[EncoderEvent](), set[int](), kept[0] - 1
    for index in kept:
        x = starts + travels[index]
        y = 100.0 + 60 * (np.arange(len(x)) % 5)
        corners = np.stack([x - 30, y - 30, x + 30, y + 30], axis=1)
        there = ((x > 40) & (x < SIZE[0] - 40)).nonzero()[0]
        new = [i for i in there.tolist() if i not in looked]
        looked.update(new)
        now = ticks(index, travels[index]) if ticks else None
        following.predict(foreground(corners), SCALE, index - last, now)
        last = index
        tracks, _ = following.update(instances_of(corners[new].tolist()) if new else NOTHING, NO_LOOKS)
        told += [e for e in following.told(Frame("c", index, index / 30, PICTURE, ticks=now))
                 if isinstance(e, EncoderEvent)]  # fmt: skip
        places = tracks.centers[:, 0]
        inside = places[(places > 60) & (places < SIZE[0] - 60)]
        if len(inside):
            worst.append(float(np.abs(inside[:, None] - x).min(axis=1).max()))
    return worst, told


def drive(seed: int, frames: int = 500) -> list[float]:
    """Return the travel of the synthetic belt: it speeds up, slows down, stops and goes back."""
    return Motion(np.random.default_rng(seed)).travels(frames)


def halved(frames: int, seed: int) -> list[int]:
    """Return the numbers of the frames of which half are left."""
    kept = np.random.default_rng(seed).random(frames) < 0.5
    return [int(index) for index in np.flatnonzero(kept)]


@pytest.mark.parametrize("seed", range(4))
def test_with_ticks_parts_are_where_they_are_while_the_belt_changes_its_speed_and_half_the_frames_are_lost(
    seed: int,
) -> None:
    worst, told = off_px(drive(seed), halved(500, seed), exact)
    assert max(worst) < 1.0
    assert not told


def test_the_belt_stands_still_unseen_and_goes_on_unseen() -> None:
    """Two seconds are lost in which it stops; without ticks its speed is carried on."""
    travels = [10.0 * min(i, 40) + 10.0 * max(0, i - 90) for i in range(200)]
    kept = [i for i in range(200) if not 35 <= i < 95]
    with_ticks, _ = off_px(travels, kept, exact)
    without, _ = off_px(travels, kept, None)
    assert max(with_ticks) < 1.0
    assert max(without) > 4.0


FAULTS: dict[str, Ticks] = {
    "silent": lambda i, travel: None if i >= 100 else exact(i, travel),
    "stuck": lambda i, travel: exact(i, min(travel, 1100.0)),
    "backwards": lambda i, travel: exact(i, travel if travel < 1100 else 2200 - travel),
    "astray": lambda i, travel: exact(i, travel) * (1.0 if i < 100 else 3.0) - (0 if i < 100 else 2 * 4 * 1100),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_once_and_parts_are_followed_by_the_labels(fault: str) -> None:
    travels = [11.0 * i for i in range(300)]
    worst, told = off_px(travels, list(range(300)), FAULTS[fault])
    assert [(event.alarm, event.fault) for event in told] == [(True, fault)]
    assert 99 <= told[0].frame <= 100 + max(SILENT, 5)
    assert max(worst) < 25.0


def test_an_encoder_that_is_well_again_is_believed_again() -> None:
    def away(i: int, travel: float) -> float:
        return exact(i, travel if not 100 <= i < 130 else 1100.0)

    worst, told = off_px([11.0 * i for i in range(300)], list(range(300)), away)
    assert [(event.alarm, event.fault) for event in told] == [(True, "stuck"), (False, "stuck")]
    assert told[1].frame < 220
    assert max(worst) < 25.0


@pytest.mark.parametrize("jump", [-4400.0, 65_536.0, 700.0])
def test_a_jump_of_the_counter_moves_nothing(jump: float) -> None:
    worst, _ = off_px([11.0 * i for i in range(250)], list(range(250)), lambda i, t: exact(i, t) + jump * (i >= 100))
    assert max(worst) < 12.0


def test_the_labels_may_err_now_and_then() -> None:
    """One frame in ten they say anything: the ticks go on being believed."""
    random, encoder, ticks = np.random.default_rng(3), Encoder((PX_PER_TICK, 0), SIZE), 0.0
    for _ in range(400):
        before, ticks = ticks, ticks + 48
        seen = np.asarray([12.0 if random.random() < 0.9 else random.uniform(-60, 60), 0.0], np.float32)
        shift = encoder.step(ticks, seen, 1, sure=True)
        if before:
            assert shift.tolist() == [12.0, 0.0]
    assert encoder.fault == ""


def verdicts(speeds: Iterator[float]) -> list[Verdict]:
    """Return what a gate at x = 100 with an ejector 200 px on says of a part that goes at `speeds`."""
    rule = Gate(name="g", camera="c", start=(100, 0), end=(100, 200), direction="right", ejector_px=200.0)
    gate, x, told = QualityGate(rule, ["", "part"], ["scratch"], None, None, (PX_PER_TICK, 0.0)), 50.0, list[Verdict]()
    for index, speed in enumerate(speeds):
        x += speed
        box = [(x - 10, 90, x + 10, 110)]
        tracks = tracks_of(box, velocities=[(speed, 0)], instances=[0])
        frame = Frame("c", index, index / 10, np.zeros((200, 400, 3), np.uint8))
        seen = Seen(
            frame, np.zeros((4, 4), np.uint8), (1.0, 1.0), instances_of(box, defects=1), tracks, [], ticks=1000 + 4 * x
        )
        told += [event for event in gate.decide(seen) if isinstance(event, Verdict)]
    return told


def test_a_verdict_says_at_which_ticks_the_part_is_at_the_ejector_whatever_the_belt_does() -> None:
    steady, faster = verdicts(iter([10.0] * 12)), verdicts(iter([10.0] * 4 + [14.0] * 8))
    assert [v.ejector_ticks for v in steady] == [v.ejector_ticks for v in faster] == [1000 + 4 * 300]
    assert steady[0].deadline != faster[0].deadline
