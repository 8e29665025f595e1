"""When shifts begin and end, in every time zone and in the nights in which clocks are changed."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Shift
from edge.tell.shifts import Every, Period, Shifts

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
THREE = [
    Shift(name="early", start="06:00", end="14:00"),
    Shift(name="late", start="14:00", end="22:00"),
    Shift(name="night", start="22:00", end="06:00"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def period(name: str, begin: str, end: str) -> Period:
    return Period(name, utc(begin), utc(end))


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2026-11-23T06:00", period("early", "2026-11-23T05:00", "2026-11-23T13:00")),
        ("2026-11-23T12:59:59.999", period("early", "2026-11-23T05:00", "2026-11-23T13:00")),
        ("2026-11-23T13:00", period("late", "2026-11-23T13:00", "2026-11-23T21:00")),
        ("2026-11-23T23:30", period("night", "2026-11-23T21:00", "2026-11-24T05:00")),
        ("2026-11-23T04:59", period("night", "2026-11-22T21:00", "2026-11-23T05:00")),
        ("2026-07-01T04:00", period("early", "2026-07-01T04:00", "2026-07-01T12:00")),
    ],
)
def test_a_shift_is_by_the_clocks_of_its_place(now: str, found: Period) -> None:
    assert Shifts(THREE, BERLIN).at(utc(now)) == found


def test_the_night_in_which_clocks_go_on_is_an_hour_shorter_and_the_other_longer() -> None:
    shifts = Shifts(THREE, BERLIN)
    spring, autumn = shifts.at(utc("2026-03-29T00:30")), shifts.at(utc("2026-10-25T00:30"))
    assert spring == period("night", "2026-03-28T21:00", "2026-03-29T04:00")
    assert autumn == period("night", "2026-10-24T20:00", "2026-10-25T05:00")


def test_a_time_that_is_left_out_is_when_clocks_go_on_and_of_two_the_first_counts() -> None:
    shifts = Shifts([Shift(name="a", start="02:30", end="03:00"), Shift(name="b", start="03:00", end="02:30")], BERLIN)
    gone = utc("2026-03-29T01:00")  # 02:00 is 03:00: nothing is left of a
    assert shifts.at(gone - timedelta(seconds=1)).name == "b"
    assert shifts.at(gone) == Period("b", gone, utc("2026-03-30T00:30"))
    twice = shifts.at(utc("2026-10-25T00:45"))  # the first 02:45
    assert twice == period("a", "2026-10-25T00:30", "2026-10-25T02:00")


def test_the_time_between_shifts_is_off() -> None:
    shifts = Shifts([Shift(name="day", start="08:00", end="16:30")], timezone.utc)
    assert shifts.at(utc("2026-11-23T07:00")) == period("off", "2026-11-22T16:30", "2026-11-23T08:00")
    assert shifts.at(utc("2026-11-23T16:30")) == period("off", "2026-11-23T16:30", "2026-11-24T08:00")
    whole = Shifts([Shift(name="day", start="06:00", end="06:00")], timezone.utc)
    assert whole.at(utc("2026-11-23T05:59")) == period("day", "2026-11-22T06:00", "2026-11-23T06:00")


def test_a_day_that_a_place_left_out_is_no_harm() -> None:
    """Samoa had no 30 December 2011."""
    samoa = Shifts([Shift(name="noon", start="12:00", end="13:00")], zoneinfo.ZoneInfo("Pacific/Apia"))
    assert samoa.at(utc("2011-12-30T10:00")).name == "off"
    assert samoa.at(utc("2011-12-30T22:30")) == period("noon", "2011-12-30T22:00", "2011-12-30T23:00")


ZONES = [
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kolkata",
    "Africa/Casablanca",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 1439), min_size=2, max_size=6, unique=True),
    st.sampled_from(ZONES),
    st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2037-12-31")),
    st.booleans(),
)
def test_periods_follow_each_other_without_a_hole(marks: list[int], zone: str, now: datetime, pauses: bool) -> None:
    times = [f"{mark // 60:02d}:{mark % 60:02d}" for mark in sorted(marks)]
    ends = [*times[1:], times[0]]
    pairs = list(zip(times, ends, strict=True))[:: 2 if pauses else 1]
    shifts = Shifts(
        [Shift(name=f"s{i}", start=start, end=end) for i, (start, end) in enumerate(pairs)], zoneinfo.ZoneInfo(zone)
    )
    found = shifts.at(now.replace(tzinfo=timezone.utc))
    for _ in range(8):
        assert found.begin < found.end
        assert shifts.at(found.begin) == found
        assert shifts.at(found.end - timedelta(microseconds=1)) == found
        after = shifts.at(found.end)
        assert after.begin == found.end
        found = after


def test_so_many_seconds_begin_with_the_hour() -> None:
    assert Every(900).at(utc("2026-11-23T12:44:59")) == period("every", "2026-11-23T12:30", "2026-11-23T12:45")
