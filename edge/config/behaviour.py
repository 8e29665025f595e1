"""Tables for what happens in zones: `[[rules]]`, told apart by their `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, Union

import msgspec

from edge.config.values import MOST, Name, NotNegative, Point, Positive, Table, Whole

Classes = Annotated[list[str], msgspec.Meta(min_length=1)]
MOST_DWELLS = 1000  # of which a median is taken
Dwells = Annotated[int, msgspec.Meta(ge=1, le=MOST_DWELLS)]
Span = Annotated[float, msgspec.Meta(ge=1e-3, le=MOST)]  # seconds that can be divided into parts


class ZoneRule(Table, frozen=True, kw_only=True, tag_field="kind"):
    """What every rule has."""

    name: Name
    zone: Name


class Occupancy(ZoneRule, frozen=True, kw_only=True, tag="occupancy"):
    """Who enters and leaves, and whether too many are inside."""

    most: Whole | None = None  # inside, above which there is an alert
    seconds: NotNegative = 1.0  # it must be above
    clear_s: NotNegative = 1.0  # it must not be above any more


class Dwell(ZoneRule, frozen=True, kw_only=True, tag="dwell"):
    """An object that stays in the zone for too long."""

    seconds: Positive


class Loitering(ZoneRule, frozen=True, kw_only=True, tag="loitering"):
    """An object that keeps to one place."""

    seconds: Span
    radius_px: Positive  # half the side of the square that all of its way in the last `seconds` fits into


class AgainstFlow(ZoneRule, frozen=True, kw_only=True, tag="against_flow"):
    """An object that goes back against the direction of the zone."""

    flow: Point  # x, y of a vector that points along it; its length does not matter
    distance_px: Positive  # net


class Congestion(ZoneRule, frozen=True, kw_only=True, tag="congestion"):
    """Many objects that hardly move."""

    least: Whole  # so many
    speed_px_s: Positive  # slower than this
    seconds: NotNegative
    clear_s: NotNegative = 1.0


class SlowStation(ZoneRule, frozen=True, kw_only=True, tag="slow_station"):
    """A station that takes longer than planned."""

    planned_s: Positive  # median dwell time
    newest: Dwells = 9  # dwell times that the median is of
    least: Whole = 3  # of them without which there is none
    clear_s: NotNegative = 1.0


class Unattended(ZoneRule, frozen=True, kw_only=True, tag="unattended"):
    """An object that stays still while nobody is near it."""

    classes: Classes  # that are left behind
    others: Classes  # who attend
    distance_px: NotNegative  # edge to edge, within which one attends
    seconds: Positive
    speed_px_s: Positive = 10.0  # below which an object stays still
    clear_s: NotNegative = 1.0


class Interaction(ZoneRule, frozen=True, kw_only=True, tag="interaction"):
    """Two objects near each other."""

    classes: Classes  # of the one in the zone
    others: Classes  # of the other one, wherever it is
    distance_px: NotNegative  # edge to edge
    by: Literal["boxes", "masks"] = "boxes"
    seconds: NotNegative
    clear_s: NotNegative = 1.0


class Conversion(ZoneRule, frozen=True, kw_only=True, tag="conversion"):
    """Of those who enter one zone, how many reach another."""

    to: Name  # the other zone
    seconds: Positive  # within which it counts


class Trajectory(ZoneRule, frozen=True, kw_only=True, tag="trajectory"):
    """Where the objects went that were in the zone."""

    tolerance_px: Positive = 4.0  # by which the path that is told may be off, at any time


class Unique(ZoneRule, frozen=True, kw_only=True, tag="unique"):
    """How many different objects have been in the zone."""


BehaviourRule = Union[
    Occupancy,
    Dwell,
    Loitering,
    AgainstFlow,
    Congestion,
    SlowStation,
    Unattended,
    Interaction,
    Conversion,
    Trajectory,
    Unique,
]


def zones_of(rule: BehaviourRule) -> list[str]:
    """Return the names of the zones that a rule is about."""
    return [rule.zone, rule.to] if isinstance(rule, Conversion) else [rule.zone]
