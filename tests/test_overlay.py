"""What is drawn into a frame: everything that is known, where it is, and nothing else."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.config import Config
from edge.errors import FoveateError
from edge.events import Alert, Count, Event, GrowthEvent, Measured, Measurement, PresenceEvent, Verdict
from edge.tell.overlay import (
    ALARM,
    CLASSES,
    GREY,
    LINE,
    LOOK,
    REGION,
    REMEMBERED,
    VERDICTS,
    ZONE,
    Overlay,
    Recorder,
    shade,
    tint_labels,
)
from edge.types import Boxes, Frame, Image, Labels, Looks, Moment, Regions, Tracks
from tests.see.made import Box, instances_of, looks_of, tracks_of

SIZE = (640, 480)
LEVEL = 100
NAMES = ["background", "part", "other"]
HEADER = np.s_[:60, :230]  # where the frame's number and the counts are written


def rules(**changes: Any) -> Config:
    return Config(bundle=Path("b"), state=Path("s"), cameras={"c": config.Camera(source="x")}, **changes)


def line(start: tuple[float, float], end: tuple[float, float], camera: str = "c") -> config.Line:
    return config.Line(name="door", camera=camera, start=start, end=end)


def moment(
    size: tuple[int, int] = SIZE,
    *,
    tracks: Tracks | None = None,
    regions: Sequence[Box] = (),
    looks: Looks | None = None,
    labels: npt.NDArray[np.uint8] | None = None,
    events: Sequence[Event] = (),
) -> Moment:
    classes: npt.NDArray[np.uint8] = np.zeros((6, 8), np.uint8) if labels is None else labels
    return Moment(
        Frame("c", 3, 0.1, np.full((size[1], size[0], 3), LEVEL, np.uint8)),
        Labels(classes, None, (size[0] / classes.shape[1], size[1] / classes.shape[0])),
        Regions(np.asarray(regions, np.int32).reshape(-1, 4), np.ones(len(regions), np.float32)),
        looks_of([], []) if looks is None else looks,
        instances_of([]),
        tracks_of([]) if tracks is None else tracks,
        list(events),
        {},
    )


def changed(picture: Image) -> npt.NDArray[np.bool_]:
    """Return where a picture differs from the frame, the header left out."""
    differs = (picture != LEVEL).any(axis=2)
    differs[HEADER] = False
    return np.asarray(differs)


def draw(seen: Moment, **changes: Any) -> Image:
    return Overlay(rules(**changes), NAMES).draw(seen)


def test_nothing_is_drawn_outside_the_header_when_there_is_nothing() -> None:
    seen = moment()
    picture = draw(seen)
    assert picture.shape == (480, 640, 3)
    assert not changed(picture).any()
    assert (picture[HEADER] != LEVEL).any()
    assert (seen.frame.image == LEVEL).all(), "the frame itself is not drawn into"


def test_a_track_is_shaded_in_its_box_and_named_above_it() -> None:
    picture = draw(moment(tracks=tracks_of([(300, 200, 400, 260)])))
    differs = changed(picture)
    assert differs[205:255, 305:395].all()
    ys, xs = np.nonzero(differs)
    assert 298 <= xs.min() <= 300
    assert xs.max() <= 402
    assert 175 <= ys.min() < 200, "the text"
    assert ys.max() <= 262
    inside = picture[230, 350].astype(int)
    assert np.abs(inside - (LEVEL * 0.55 + np.asarray(CLASSES[1]) * 0.45)).max() <= 1


def test_only_the_mask_is_shaded_not_the_whole_box() -> None:
    tracks = tracks_of([(300, 200, 400, 300)])
    tracks.masks[0][:, 2:] = False
    differs = changed(draw(moment(tracks=tracks)))
    assert differs[210:290, 305:345].all()
    assert not differs[210:290, 360:395].any()


def test_a_track_without_an_id_has_no_name() -> None:
    differs = changed(draw(moment(tracks=tracks_of([(300, 200, 400, 260)], ids=[0]))))
    assert differs[230, 350]
    assert not differs[:197].any()


def test_a_track_that_is_only_carried_on_is_fainter() -> None:
    now, later = (draw(moment(tracks=tracks_of([(300, 200, 400, 260)], since_look=[n]))) for n in (0, 9))
    assert abs(int(now[230, 350, 0]) - LEVEL) > abs(int(later[230, 350, 0]) - LEVEL) > 0


@pytest.mark.parametrize("kind", [config.Line, config.Gate])
def test_lines_and_gates_are_drawn_from_end_to_end(kind: type[config.Line | config.Gate]) -> None:
    rule = kind(name="x", camera="c", start=(300, 100), end=(300, 400), direction="right")
    differs = changed(draw(moment(), **{"lines" if kind is config.Line else "gates": [rule]}))
    assert differs[100:401, 300].all()
    assert not differs[:, :290].any()
    assert not differs[410:].any()
    assert not differs[:90].any()
    assert tuple(draw(moment(), lines=[line((300, 100), (300, 400))])[350, 300].tolist()) == pytest.approx(LINE, abs=20)


def test_a_line_of_another_camera_is_not_drawn() -> None:
    assert not changed(draw(moment(), lines=[line((300, 100), (300, 400), camera="d")])).any()


HALL = config.Zone(name="hall", camera="c", points=[(250, 150), (550, 150), (550, 400), (250, 400)], attention="only")


def alert(tracks: list[int], kind: str = "unattended") -> Alert:
    return Alert(
        time=0, camera="c", frame=3, rule="bags", rule_kind=kind, zone="hall", alarm=True, reason="", since=0,
        tracks=tracks, labels=["part"] * len(tracks), value=3, limit=2,
    )  # fmt: skip


def with_zones(seen: Moment, *alerts: Alert, **inside: int) -> Moment:
    return replace(seen, zones={"hall": inside}, alerts=alerts)


def at(picture: Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(picture[y, x].tolist())


def test_a_zone_is_drawn_round_with_how_many_are_inside() -> None:
    none, two = (draw(with_zones(moment(), **inside), zones=[HALL]) for inside in ({}, {"part": 2}))
    for x, y in ((400, 150), (550, 300), (400, 400), (250, 300)):
        assert at(two, x, y) == ZONE
    assert not changed(two)[200:380, 270:530].any()
    assert (none[150:180] != two[150:180]).any()
    assert (none[190:] == two[190:]).all()


def test_a_zone_that_only_steers_looks_is_grey_and_one_of_another_camera_is_not_drawn() -> None:
    assert at(draw(moment(), zones=[HALL]), 400, 400) == GREY
    elsewhere = config.Zone(name="hall", camera="d", points=HALL.points, attention="only")
    assert not changed(draw(moment(), zones=[elsewhere])).any()


def test_while_an_alert_lasts_its_zone_is_red_and_its_objects_are_framed() -> None:
    tracks = tracks_of([(300, 200, 400, 300), (420, 200, 520, 300)], ids=[7, 8])
    seen = moment(tracks=tracks)
    wrong = draw(with_zones(seen, alert([7, 99])), zones=[HALL])
    right = draw(with_zones(seen), zones=[HALL])
    assert (at(wrong, 400, 400), at(right, 400, 400)) == (ALARM, ZONE)
    differs = (wrong != right).any(axis=2)
    assert differs[200, 350]
    assert not differs[180:320, 412:540].any(), "the other object is as before"
    crowd = (draw(with_zones(seen, alert([7], "occupancy")), zones=[HALL]) != right).any(axis=2)
    assert crowd[150:180, 320:].any(), "the rule beside the zone's name"
    assert not crowd[190:320, 290:540].any(), "no object by itself"


def test_regions_are_framed_and_looks_have_their_corners_marked() -> None:
    region = draw(moment(regions=[(300, 200, 400, 300)]))
    assert tuple(region[200, 350].tolist()) == REGION
    assert not changed(region)[210:290, 310:390].any()
    look = draw(moment(looks=looks_of([(300, 200, 420, 320)], [(0, 0, 120, 120)])))
    assert tuple(look[200, 305].tolist()) == LOOK
    assert not changed(look)[200, 350]


def test_labels_tint_their_pixels_and_leave_the_background() -> None:
    labels = np.zeros((6, 8), np.uint8)
    labels[4, 5] = 1
    differs = changed(draw(moment(labels=labels)))
    expected = np.zeros_like(differs)
    expected[320:400, 400:480] = True
    np.testing.assert_array_equal(differs, expected)


def count(number: int) -> Count:
    return Count(time=0, camera="c", frame=3, counter="door/part", track=number, position=(0, 0))


def verdict(number: int, label: str) -> Verdict:
    return Verdict(
        time=0, camera="c", frame=3, gate="exit", track=number, label="part", position=(0, 0), verdict=label,
        reasons=[], defects_px={}, looks=2,
    )  # fmt: skip


def test_counts_are_written_and_remembered() -> None:
    overlay = Overlay(rules(), NAMES)
    none, one, still = (overlay.draw(moment(events=e))[HEADER] for e in ([], [count(1)], []))
    two = overlay.draw(moment(events=[count(2)]))[HEADER]
    assert (none != one).any()
    assert (one == still).all()
    assert (two != still).any()


@pytest.mark.parametrize("label", ["PASS", "REJECT", "REVIEW"])
def test_a_verdict_colours_its_part_from_then_on(label: str) -> None:
    overlay, tracks = Overlay(rules(), NAMES), tracks_of([(300, 200, 400, 260)], ids=[7])
    overlay.draw(moment(tracks=tracks, events=[verdict(7, label)]))
    picture = overlay.draw(moment(tracks=tracks))
    expected = LEVEL * 0.55 + np.asarray(VERDICTS[label]) * 0.45
    assert np.abs(picture[230, 350] - expected).max() <= 1


def test_what_is_remembered_is_bounded() -> None:
    overlay = Overlay(rules(), NAMES)
    for i in range(REMEMBERED + 100):
        overlay._remember(moment((8, 8), events=[verdict(i, "PASS")]))
    assert len(overlay._verdicts) == len(overlay._order) == REMEMBERED
    assert min(overlay._verdicts) == 100


def test_the_canvases_are_shown_in_a_corner_the_first_rightmost() -> None:
    shown: list[Image] = []
    overlay = Overlay(rules(), NAMES, lambda: shown)
    assert not changed(overlay.draw(moment())).any()
    shown += [np.full((64, 64, 3), 230, np.uint8), np.full((64, 64, 3), 220, np.uint8)]
    picture = overlay.draw(moment())
    assert (picture[400, 560] == 230).all()
    assert (picture[400, 400] == 220).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_any_size_of_frame_and_any_place_of_things_can_be_drawn(width: int, height: int, seed: int) -> None:
    random = np.random.default_rng(seed)

    def boxes(low: int, high: int) -> list[list[int]]:
        corners = random.integers(low, high, (4, 2))
        return np.concatenate([corners, corners + random.integers(1, 60, (4, 2))], axis=1).tolist()  # type: ignore[no-any-return]

    seen = moment(
        (width, height),
        tracks=tracks_of(boxes(-80, 120)),
        regions=boxes(0, 60),
        looks=looks_of(boxes(0, 60), boxes(0, 60)),
        labels=random.integers(0, 4, (max(1, height // 4), max(1, width // 4))).astype(np.uint8),
        events=[verdict(1, "REJECT"), count(2)],
    )
    canvases = [np.zeros((32, 48, 3), np.uint8)] * 2
    picture = Overlay(rules(lines=[line((0, 0), (width, height))]), NAMES, lambda: canvases).draw(seen)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert (picture != LEVEL).any()


@settings(deadline=None)
@given(st.tuples(*[st.floats(-60, 120, width=32)] * 2, *[st.floats(0, 90, width=32)] * 2))
def test_a_mask_is_drawn_inside_its_box_and_the_picture(box: tuple[float, ...]) -> None:
    picture: Image = np.full((50, 70, 3), LEVEL, np.uint8)
    x0, y0, width, height = box
    corners: Boxes = np.asarray([x0, y0, x0 + width, y0 + height], np.float32)
    shade(picture, corners, np.ones((5, 5), np.bool_), (0, 0, 255), 0.5)
    ys, xs = np.nonzero((picture != LEVEL).any(axis=2))
    left, top, right, bottom = np.round(corners).astype(int).tolist()
    visible = max(left, 0) < min(right, 70) and max(top, 0) < min(bottom, 50)
    assert bool(len(xs)) == visible
    if visible:  # the outline is two pixels wide, and smoothed
        assert xs.min() >= left - 2
        assert xs.max() <= right + 1
        assert ys.min() >= top - 2
        assert ys.max() <= bottom + 1


def test_tinting_keeps_what_is_background() -> None:
    picture: Image = np.full((10, 10, 3), LEVEL, np.uint8)
    labels = np.zeros((5, 5), np.uint8)
    labels[2, 3] = 200
    tint_labels(picture, Labels(labels, None, (2.0, 2.0)))
    assert np.argwhere((picture != LEVEL).any(axis=2)).tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (32, 18)])
def test_a_recording_can_be_read_again(tmp_path: Path, size: tuple[int, int]) -> None:
    recorder = Recorder(tmp_path / "o.mp4", size, 10.0, rules(), NAMES, lambda: ())
    for _ in range(5):
        recorder.add(moment(size))
    recorder.close()
    video = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    pictures = []
    while True:
        found, picture = video.read()
        if not found:
            break
        pictures.append(picture)
    video.release()
    assert len(pictures) == 5
    width, height = pictures[0].shape[1], pictures[0].shape[0]
    assert (abs(width - size[0]) <= 1, abs(height - size[1]) <= 1) == (True, True)


def test_a_recording_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"--save .*none/o\.mp4: .*; name an \.mp4 file"):
        Recorder(tmp_path / "none" / "o.mp4", (64, 48), 10.0, rules(), NAMES, lambda: ())


def test_a_recording_for_which_there_is_no_room_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "o.mp4", SIZE, 10.0, rules(), NAMES, lambda: ())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        for _ in range(20):
            recorder.add(moment())
        with pytest.raises(FoveateError, match=r"--save .*o\.mp4: the video could not be written whole; free"):
            recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    recorder.close()


def test_a_recording_without_a_frame_is_no_error(tmp_path: Path) -> None:
    Recorder(tmp_path / "o.mp4", SIZE, 10.0, rules(), NAMES, lambda: ()).close()


def test_the_size_of_a_part_stays_on_it_and_no_more_are_remembered() -> None:
    overlay = Overlay(rules(), NAMES)
    part = tracks_of([(300, 200, 360, 260)], ids=[7])
    plain = overlay.draw(moment(tracks=part))
    said = {name: Measured(12.3, 0.1) for name in ("area_mm2", "length_mm", "width_mm")}
    many = [
        Measurement(
            time=0,
            camera="c",
            frame=1,
            line="l",
            track=i,
            label="part",
            position=(0, 0),
            measures=said,
            looks=2,
            touched=False,
        )
        for i in range(REMEMBERED + 8)
    ]
    overlay.draw(moment(events=many))
    assert len(overlay._sizes) == REMEMBERED
    overlay.draw(moment(events=[msgspec.structs.replace(many[0], track=7)]))
    assert (overlay.draw(moment(tracks=part)) != plain).any()


def test_a_defect_is_drawn_from_when_it_persists_until_it_is_gone() -> None:
    overlay = Overlay(rules(), NAMES)
    event = GrowthEvent(
        time=0, camera="c", frame=1, rule="rust", defect=1, stage="grows", place=(0.5, 0.5, 0.6, 0.6), share=0.01,
        seen=8, of=8, trend=3.0,
    )  # fmt: skip
    overlay.draw(moment(events=[event]))
    there = changed(overlay.draw(moment()))
    assert there[240 - 3, 320:384].all()
    assert not there[300:, :300].any()
    gone = msgspec.structs.replace(event, stage="gone")
    assert not changed(overlay.draw(moment(events=[gone]))).any()


def test_places_are_drawn_where_they_were_found_and_in_the_colour_of_their_verdict() -> None:
    places = {"a": [(100.0, 200.0), (160.0, 260.0)], "b": [(300.0, 200.0), (360.0, 260.0)]}
    check = config.Presence(name="screws", camera="c", places=places, classes=["part"], move_px=50)
    overlay = Overlay(msgspec.structs.replace(rules(), presence=[check]), NAMES)
    plain = overlay.draw(moment())
    event = PresenceEvent(
        time=0, camera="c", frame=1, rule="screws", verdict="NOK", missing=["b"], shares={"a": 0.5, "b": 0.0},
        moved=(0.0, 40.0, 0.0), reasons=["1 of 2 places"],
    )  # fmt: skip
    drawn = overlay.draw(moment(events=[event]))
    assert drawn[300, 130].tolist() == list(VERDICTS["PASS"])
    assert drawn[300, 330].tolist() == list(VERDICTS["REJECT"])
    assert (drawn[200, 130] == plain[200, 130]).all()
