from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.tell.window import RETRY_MAX_S, RETRY_S, WINDOW, Lane


def test_a_window_fills_and_opens_again() -> None:
    lane = Lane("archive", 10)
    for seq in range(11, 11 + WINDOW):
        lane.send(seq, 0.0)
    assert lane.room == 0
    lane.acknowledge(13, 0.1)
    assert (lane.room, lane.sent) == (3, 26)


def test_without_acknowledgement_it_begins_again_more_and_more_rarely() -> None:
    lane = Lane("archive", 0)
    now, pauses = 0.0, []
    for _ in range(6):
        lane.send(1, now)
        begin = now
        while not lane.tick(now):
            now += 0.25
        pauses.append(now - begin)
        assert lane.sent == 0
    assert pauses == [RETRY_S, 4.0, 8.0, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S]
    lane.acknowledge(1, now)
    lane.send(2, now)
    assert not lane.tick(now + RETRY_S - 0.1)
    assert lane.tick(now + RETRY_S)


def test_progress_puts_the_next_try_off() -> None:
    lane = Lane("archive", 0)
    lane.send(1, 0.0)
    lane.send(2, 0.0)
    lane.acknowledge(1, 1.9)
    assert not lane.tick(2.1)
    assert lane.tick(3.9)
    assert lane.sent == 1


def test_nothing_sent_is_never_overdue() -> None:
    assert not Lane("archive", 5).tick(1e9)


def test_a_receiver_that_asks_is_heard_but_not_five_times_at_once() -> None:
    lane = Lane("archive", 3)
    lane.send(4, 0.0)
    lane.again(0.0)
    assert lane.sent == 3
    lane.send(4, 0.0)
    lane.again(0.1)
    assert lane.sent == 4
    lane.again(0.3)
    assert lane.sent == 3


@given(
    st.lists(st.tuples(st.sampled_from(["send", "ack", "tick", "again", "restart"]), st.integers(1, 20)), max_size=60)
)
def test_never_more_than_the_window_and_never_a_row_left_out(steps: list[tuple[str, int]]) -> None:
    lane, now = Lane("archive", 0), 0.0
    ever = 0
    for step, number in steps:
        now += number / 10
        if step == "send" and lane.room > 0:
            assert lane.sent + 1 <= ever + 1
            lane.send(lane.sent + 1, now)
            ever = max(ever, lane.sent)
        elif step == "ack" and lane.acknowledged < ever:
            lane.acknowledge(min(ever, lane.acknowledged + number), now)
        elif step == "tick":
            lane.tick(now)
        elif step == "again":
            lane.again(now)
        elif step == "restart":
            lane.restart()
        assert 0 <= lane.sent - lane.acknowledged <= WINDOW
