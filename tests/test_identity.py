"""The loop with re-identification: one part that passes twice is one part."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import config
from edge.bundle import open_bundle
from edge.daemon import open_models
from edge.engines import models_for
from edge.errors import ConfigError
from edge.events import Arrival, Count, Event, MeetingEvent, ReturnEvent, Verdict, VisitorEvent
from edge.health import Stopwatch
from edge.identity import Identity
from edge.station import Station
from edge.types import FULL, Frame, Gap, Image
from tests.see.coded import FRAME, belt, picture, write_bundle
from tests.see.made import instances_of, tracks_of

LINE = config.Line(name="door", camera="c", start=(80, 0), end=(80, 120), direction="right", settle_looks=1, once=True)
ZONE = config.Zone(name="hall", camera="c", points=[(0, 0), (160, 0), (160, 120), (0, 120)], settle_looks=1)
PASSES = 45  # frames that a part takes
AWAY = 30


def settings(folder: Path, **rules: Any) -> config.Config:
    """Return the configuration of a belt with a line that counts once and a zone with its visitors."""
    return config.Config(
        bundle=folder / "bundle",
        state=folder / "state",
        cameras={"c": config.Camera(source="x")},
        regions=config.RegionRules(min_area_px=50, pad_px=6),
        tracks=config.TrackRules(motion="belt", at_border="wait", **rules),
        lines=[LINE],
        zones=[ZONE],
        rules=[config.Unique(name="parts", zone="hall")],
    )


def passing_twice() -> list[Image]:
    once = [picture(belt(i, 1)) for i in range(PASSES)]
    return once + [picture([])] * AWAY + once


def play(given: config.Config, items: Sequence[Image | Gap], first_id: int = 1) -> list[Event]:
    """Return what is decided in pictures, ten a second, and in gaps between them."""
    with ExitStack() as stack:
        models = open_models(given, open_bundle(given.bundle), stack)
        ids = itertools.count(first_id)
        station = Station("c", FRAME, given, models, lambda: next(ids))
        events: list[Event] = []
        for index, item in enumerate(items):
            if isinstance(item, Gap):
                events += station.blind(item, FULL)
            else:
                events += station.see(Frame("c", index, index / 10, item), Stopwatch()).events
    return events


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("coded")
    write_bundle(place / "bundle")
    return place


def of(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_part_that_passes_twice_is_two_parts_or_one(folder: Path) -> None:
    plain = play(settings(folder), passing_twice())
    known = play(settings(folder, reidentify=config.Reidentify()), passing_twice())
    assert [event.track for event in of(plain, Count)] == [1, 2]
    assert [event.track for event in of(plain, VisitorEvent)] == [1, 2]
    assert not of(plain, ReturnEvent)
    assert [event.track for event in of(known, Count)] == [1]
    assert [event.track for event in of(known, VisitorEvent)] == [1]
    (back,) = of(known, ReturnEvent)
    assert (back.track, back.sure) == (1, True)
    assert back.away_s > AWAY / 10
    assert {event.track for event in known if hasattr(event, "track")} == {1}


def test_a_verdict_before_the_look_has_the_id_that_everybody_knows(folder: Path) -> None:
    gate = config.Gate(name="gate", camera="c", start=(110, 0), end=(110, 120), direction="right", min_looks=1)
    given = msgspec.structs.replace(settings(folder, reidentify=config.Reidentify()), gates=[gate])
    known = play(given, passing_twice(), first_id=71)
    assert [(event.track, event.verdict) for event in of(known, Verdict)] == [(71, "PASS")] * 2
    assert [event.track for event in of(known, Arrival)] == [71] * 2


def test_before_anything_has_left_nothing_is_decided_otherwise(folder: Path) -> None:
    images = [picture(belt(i, 4)) for i in range(40)]
    plain, known = (play(settings(folder, reidentify=rules), images) for rules in (None, config.Reidentify()))
    early = [event for event in plain if event.frame < 30]
    assert early
    assert [event for event in known if event.frame < 30] == early


def test_the_same_pictures_give_the_same_events(folder: Path) -> None:
    given = settings(folder, reidentify=config.Reidentify())
    first, second = (play(given, passing_twice()) for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_a_part_that_stands_still_through_a_gap_is_the_same_one(folder: Path) -> None:
    still = [picture([(60, 60)])] * 12
    gap = Gap("c", 12, 1.2, 4.0, "stall")
    known = play(settings(folder, reidentify=config.Reidentify()), [*still, gap, *still])
    assert [event.track for event in of(known, VisitorEvent)] == [1]
    assert [event.track for event in of(known, ReturnEvent)] == [1]


def test_what_the_tracker_tells_is_told_of_the_ids_that_everybody_knows(folder: Path) -> None:
    given = settings(folder, reidentify=config.Reidentify())
    met = MeetingEvent(
        time=0.0, camera="c", frame=0, change="merge", track=2, other=1, position=(0.0, 0.0), merged_s=None
    )
    with ExitStack() as stack:
        models = open_models(given, open_bundle(given.bundle), stack)
        ids = itertools.count(71)
        identity = Identity(given.tracks.reidentify, "belt", models, FRAME, lambda: next(ids))
        boxes = [(40, 40, 61, 61), (80, 40, 101, 61)]
        tracks, _ = identity.of(
            Frame("c", 0, 0.0, picture([])), instances_of(boxes), tracks_of(boxes, instances=[0, 1])
        )
    assert tracks.ids.tolist() == [71, 72]
    (told,) = identity.renamed([met])
    assert (told.track, told.other) == (72, 71)  # type: ignore[union-attr]
    assert not identity.renamed([msgspec.structs.replace(met, other=9)])  # it has no id yet


def test_a_network_that_the_bundle_does_not_have_is_named(folder: Path) -> None:
    given = settings(folder, reidentify=config.Reidentify(appearance="model"))
    assert set(models_for(given, open_bundle(given.bundle))) == {"semantic", "instance"}
    with pytest.raises(ConfigError, match="the bundle has no appearance model"):
        play(given, [picture([])])
