"""Tables for what turns instances into events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.config.values import (
    MOST_CORNERS,
    MOST_PLACES,
    Count,
    Fraction,
    Looks,
    Name,
    NotNegative,
    Point,
    Positive,
    Share,
    Table,
    Whole,
)

Range = tuple[NotNegative, NotNegative]  # the smallest and the largest
Numbers = tuple[Count, Count]  # the fewest and the most


class Reidentify(Table, frozen=True, kw_only=True):
    """An object that leaves and comes back keeps its id."""

    memory_s: Positive = 600.0  # for how long one that has left is remembered
    appearance: Literal["stripes", "rings", "model"] | None = None  # default: rings on a belt, stripes elsewhere
    least: Fraction | None = None  # similarity below which nobody is the same; default: by appearance
    margin: Fraction | None = None  # by which it must be above that of anybody else; default: by appearance
    looks: Whole = 2  # at a track before its id is decided, where somebody is remembered
    wait_s: NotNegative = 1.0  # for which that may take


class TrackRules(Table, frozen=True, kw_only=True):
    """How objects keep their identity."""

    classes: list[str] = []  # instance classes that are tracked; default: all
    motion: Literal["free", "belt"] = "free"  # belt: everything moves together, rigidly
    at_border: Literal["track", "wait"] = "track"  # wait: objects cut by the frame's border are not yet objects
    confirm_looks: Whole = 2  # complete looks before a track has an id
    need_support: bool = False  # no id before the semantic labels have shown something there
    lost_frames: Whole = 30  # frames without sight or support before a track ends
    min_score: Fraction = 0.0  # instances below it only continue tracks that no surer one does, and begin none
    min_area_px: NotNegative = 0.0  # frame pixels of mask below which an instance is no object
    reidentify: Reidentify | None = None  # what comes back is known again; default: it has a new id


class Line(Table, frozen=True, kw_only=True):
    """A line whose crossings are counted: ``<name>/<class>/<direction>``, or ``<name>/<class>`` for one direction."""

    name: Name
    camera: Name
    start: Point
    end: Point
    direction: Literal["both", "right", "left", "up", "down"] = "both"
    anchor: Literal["mask", "center", "bottom"] = "mask"  # what of an object crosses
    hysteresis_px: NotNegative = 4.0  # how far beyond the line it must be
    settle_looks: Whole = 2  # sightings in a row beyond the line that make a crossing: one alone may be a bad box
    once: bool = False  # an object counts once per direction, however often it comes back
    measure: bool = False  # an event says how large each object is that counts

    @property
    def measures(self) -> bool:
        """Tell whether sizes are wanted."""
        return self.measure


class SizeLimits(Table, frozen=True, kw_only=True):
    """How small and how large a part of one class may be, smallest first."""

    area_mm2: Range | None = None
    length_mm: Range | None = None
    width_mm: Range | None = None


class DefectLimit(Table, frozen=True, kw_only=True):
    """When a defect class rejects a part."""

    min_area_px: Positive = 30.0  # frame pixels
    looks: Fraction = 0.5  # share of the part's complete looks that must show it
    review_area_px: Positive | None = None  # shown in as many looks, it makes the verdict REVIEW; below `min_area_px`
    max_count: Count | None = None  # spots of it, above which a look rejects, however small they are


class Gate(Table, frozen=True, kw_only=True):
    """A line before which every part must have a verdict."""

    name: Name
    camera: Name
    start: Point
    end: Point
    direction: Literal["right", "left", "up", "down"]
    defects: dict[str, DefectLimit] = {}  # by defect class; a class that is not named does not reject
    min_looks: Looks = 2  # complete looks without which nothing passes
    fail_safe: Literal["REJECT", "REVIEW"] = "REJECT"  # the verdict of a part that was not inspected
    doubt: Literal["REVIEW", "REJECT", "PASS"] = "REVIEW"  # the verdict where looks do not agree on a defect
    ejector_px: Positive | None = None  # from the line to the ejector, along the way parts go, frame pixels
    ejector_mm: Positive | None = None  # the same in millimetres, for a camera that has `mm_per_px`
    ejector_s: Positive | None = None  # seconds from the line to the ejector, at whatever speed
    answer_ms: NotNegative = 50.0  # what commit, broker and network may take until the ejector knows
    measure: bool = False  # verdicts say how large parts are
    limits: dict[str, SizeLimits] = {}  # by instance class; a class that is not named may have any size
    contains: dict[str, dict[str, Numbers]] = {}  # by instance class of the part: how many of other classes lie in it

    @property
    def measures(self) -> bool:
        """Tell whether sizes are wanted."""
        return self.measure or bool(self.limits)

    @property
    def tallies(self) -> bool:
        """Tell whether numbers are limited: of what parts contain, or of spots of a defect."""
        return bool(self.contains) or self.counts_flaws

    @property
    def counts_flaws(self) -> bool:
        """Tell whether the spots of a defect are counted."""
        return any(limit.max_count is not None for limit in self.defects.values())


class Zone(Table, frozen=True, kw_only=True):
    """A polygon of one camera's frame: it steers looks, and `[[rules]]` say what happens in it."""

    name: Name
    camera: Name
    points: Annotated[list[Point], msgspec.Meta(min_length=3, max_length=MOST_CORNERS)]
    attention: Literal["only", "ignore"] | None = None  # spots begin in the first kind alone, in none of the second
    classes: list[str] = []  # instance classes that can be inside; default: all that are tracked
    anchor: Literal["center", "bottom"] = "center"  # the point of an object that is inside
    hysteresis_px: NotNegative = 4.0  # how far beyond the border it must be
    settle_looks: Whole = 2  # sightings in a row beyond the border that make it enter or leave


class Growth(Table, frozen=True, kw_only=True):
    """Watches what the semantic labels show at fixed places of one camera's frame, for defects that grow."""

    name: Name
    camera: Name
    every_s: NotNegative = 0.0  # from one picture that counts to the next
    window: Annotated[int, msgspec.Meta(ge=8, le=256)] = 12  # pictures that are remembered, the newest
    seen: Fraction = 0.5  # share of the window that must show a defect before it persists
    factor: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 1.5  # newest third of the pictures over the oldest: growth
    least_share: Fraction = 0.00005  # of the frame, below which a spot is noise


class Presence(Table, frozen=True, kw_only=True):
    """Watches whether everything is there that belongs at fixed places of one camera's frame."""

    name: Name
    camera: Name
    places: Annotated[
        dict[Name, Annotated[list[Point], msgspec.Meta(min_length=2, max_length=MOST_CORNERS)]],
        msgspec.Meta(min_length=1, max_length=MOST_PLACES),
    ]  # corners in order; two points are opposite corners of a box
    classes: Annotated[list[str], msgspec.Meta(min_length=1)]  # what belongs there, any of them
    by: Literal["labels", "instances"] = "labels"  # what shows it
    least_share: Share = 0.2  # of a place, that labels of these classes must cover
    empty: list[str] = []  # classes that show a place where nothing is, so that places that moved are found
    move_px: NotNegative = 0.0  # how far all places may have moved together
    turn_deg: Annotated[float, msgspec.Meta(ge=0, le=45)] = 0.0  # and how far they may have turned then
    window: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1  # frames that decide, the newest
    seen: Share = 0.5  # of them that must show a place filled
    trigger: Literal["change", "frame"] = "change"  # when it is told

    @property
    def moves(self) -> bool:
        """Tell whether the places have to be found."""
        return self.move_px > 0


class JobCheck(Table, frozen=True, kw_only=True):
    """Reference pictures that must still be judged as they were when they were chosen."""

    folder: Path  # with the pictures, and golden.toml beside them
    on_failure: Literal["refuse", "fail_safe"] = "fail_safe"  # of the check at the start


def corners_of(points: list[Point]) -> list[Point]:
    """Return the corners of a place in order: two points are opposite corners of a box."""
    if len(points) > 2:
        return points
    (x0, y0), (x1, y1) = points
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
