"""Which picture an event has: the look that shows most of a defect, in native pixels, within bounds."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge import album, config
from edge.album import KEPT_BYTES, MOST_PICTURES, MOST_PX, Album
from edge.config import Config
from edge.daemon import Options, serve
from edge.events import Alert, Count, Event, Verdict
from edge.tell.clocks import clock_from
from edge.tell.evidence import Pictures
from edge.types import Frame, Image, Instances, Labels, Moment, Regions, Tracks
from tests.faults.line import count, verdict
from tests.see.coded import write_belt, write_bundle
from tests.see.made import instances_of, looks_of, tracks_of

SCRATCHED = {"scratch": config.DefectLimit()}
GATE = config.Gate(name="exit", camera="c", start=(100, 0), end=(100, 200), direction="right", defects=SCRATCHED)
NOTHING = Regions(np.zeros((0, 4), np.int32), np.zeros(0, np.float32))


class Shown(Pictures):
    """Pictures that go nowhere, and are looked at."""

    def __init__(self) -> None:
        super().__init__(None, config.Evidence())
        self.images: list[Image] = []

    def write(self, about: str, picture: Image) -> str:
        self.images.append(picture.copy())
        return super().write(about, picture)


def made(**rules: Any) -> tuple[Album, Shown]:
    site = Config(
        bundle=Path("b"), state=Path("s"), cameras={"c": config.Camera(source="x"), "d": config.Camera(source="y")},
        gates=[GATE], evidence=config.Evidence(**{"pad_px": 5, **rules}),
    )  # fmt: skip
    shown = Shown()
    return Album(site, ["scratch", "chip"], shown), shown


def picture(seed: int, size: tuple[int, int] = (300, 200)) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def moment(
    index: int, tracks: Tracks, instances: Instances, image: Image | None = None, events: Sequence[Event] = ()
) -> Moment:
    shot = picture(index) if image is None else image
    labels = Labels(np.zeros((4, 4), np.uint8), None, (1.0, 1.0))
    frame = Frame("c", index, index / 10, shot)
    return Moment(frame, labels, NOTHING, looks_of([], []), instances, tracks, list(events), {})


def seen(index: int, x: float, area: float, scale: float = 1.0, key: int = 1) -> Moment:
    """Return a frame in which a part of 20 x 20 was looked at, with so much of a scratch."""
    box = (x - 10, 90, x + 10, 110)
    found = instances_of([box], defects=2, defects_px=[(area, 7 * area)], scales=[scale])
    return moment(index, tracks_of([box], keys=[key], ids=[key], instances=[0]), found)


def carried(index: int, x: float, key: int = 1) -> Moment:
    """Return a frame in which nobody looked at it."""
    box = (x - 10, 90, x + 10, 110)
    return moment(index, tracks_of([box], keys=[key], ids=[key]), instances_of([], defects=2))


def told(by: Album, event: Event, *moments: Moment) -> Any:
    (found,) = by.illustrate([event], moments)
    return found


def judged(label: str, track: int = 1) -> Verdict:
    return msgspec.structs.replace(verdict(label), track=track)


def test_the_look_with_the_largest_area_of_what_the_gate_minds_is_the_picture() -> None:
    by, shown = made()
    for index, x, area, scale in ((4, 40, 30, 1), (5, 60, 80, 1), (6, 70, 500, 0.5), (7, 80, 50, 1)):
        by.illustrate([], [seen(index, x, area, scale)])
    found = told(by, judged("REJECT"), carried(9, 105))
    assert found.picture == "0000000/0000000001-c-5-1.jpg"
    (image,) = shown.images
    assert (image == picture(5)[85:115, 45:75]).all(), "native pixels, with a margin, as they were"


def test_a_defect_that_no_gate_minds_is_not_looked_for() -> None:
    by, shown = made()
    box = (30, 90, 50, 110)
    only_chip = instances_of([box], defects=2, defects_px=[(0, 90)])
    by.illustrate([], [moment(4, tracks_of([box], instances=[0]), only_chip)])
    assert told(by, judged("REJECT"), carried(9, 105)).picture == "0000000/0000000001-c-9-1.jpg"
    assert (shown.images[0] == picture(9)[85:115, 90:120]).all(), "the frame of the decision instead"


def test_verdicts_that_nobody_asked_for_have_none_and_nothing_else_changes() -> None:
    by, shown = made(verdicts=["REVIEW"])
    by.illustrate([], [seen(4, 40, 30)])
    for label, there in (("PASS", False), ("REJECT", False), ("REVIEW", True), ("EXPIRED", False)):
        event = judged(label)
        found = told(by, event, carried(5, 60))
        assert bool(found.picture) == there
        assert msgspec.structs.replace(found, picture="") == event
    assert len(shown.images) == 1


def test_where_the_camera_went_blind_the_look_before_is_the_picture() -> None:
    by, shown = made()
    by.illustrate([], [seen(4, 40, 30)])
    assert told(by, judged("REJECT")).picture == "0000000/0000000001-c-4-1.jpg"
    assert told(by, judged("REJECT", track=2)).picture == ""
    assert len(shown.images) == 1


def test_a_part_whose_track_ends_with_its_verdict_has_its_look_and_is_then_forgotten() -> None:
    by, _ = made()
    by.illustrate([], [seen(4, 40, 30)])
    gone = moment(5, tracks_of([]), instances_of([], defects=2))
    assert told(by, judged("REJECT"), gone).picture == "0000000/0000000001-c-4-1.jpg"
    assert told(by, judged("REJECT"), gone).picture == ""
    assert by._desks["c"].kept_bytes == 0


def test_looks_are_those_of_the_id_that_the_track_has_now() -> None:
    by, _ = made()
    box = (30, 90, 50, 110)
    unconfirmed = tracks_of([box], keys=[7], ids=[0], instances=[0])
    by.illustrate([], [moment(4, unconfirmed, instances_of([box], defects=2, defects_px=[(30, 0)]))])
    by.illustrate([], [moment(5, tracks_of([box], keys=[7], ids=[3]), instances_of([], defects=2))])
    assert told(by, judged("REJECT", track=3)).picture == "0000000/0000000001-c-4-3.jpg"


def test_a_verdict_that_needs_no_look_shows_its_frame_where_the_part_is_expected() -> None:
    class Glanced:
        """What the album asks of a frame that nothing was looked at in."""

        def __init__(self, of: Moment) -> None:
            self.frame, self.tracks = of.frame, of.tracks

    by, shown = made()
    (event,) = by.illustrate([judged("REJECT")], [Glanced(carried(3, 100.0))])
    assert isinstance(event, Verdict)
    assert event.picture
    np.testing.assert_array_equal(shown.images, [picture(3)[85:115, 85:115]])


def test_counts_and_alerts_show_the_frame_that_they_are_decided_in() -> None:
    by, shown = made(lines=["door"], rules=["near"])
    boxes = [(20, 90, 40, 110), (60, 100, 90, 150), (200, 0, 210, 10)]
    now = moment(6, tracks_of(boxes), instances_of([], defects=2))
    crossing = msgspec.structs.replace(count(2, "door/part/left"), camera="c")
    alert = Alert(
        time=0.6, camera="c", frame=6, rule="near", rule_kind="interaction", zone="z", alarm=True, reason="", since=0.6,
        tracks=[1, 2, 99], labels=["part", "part", "part"], value=1.0, limit=1.0,
    )  # fmt: skip
    over = msgspec.structs.replace(alert, alarm=False)
    other = msgspec.structs.replace(alert, rule="far")
    found: list[Any] = by.illustrate([crossing, count(1, "exit/part"), alert, over, other], [now])
    assert [event.picture for event in found] == [
        "0000000/0000000001-c-6-2.jpg", "", "0000000/0000000002-c-6-1.jpg", "", "",
    ]  # fmt: skip
    assert (shown.images[0] == picture(6)[95:155, 55:95]).all()
    assert (shown.images[1] == picture(6)[85:155, 15:95]).all(), "both that are in sight"


def test_a_picture_at_the_border_is_cut_and_one_outside_is_none() -> None:
    by, shown = made()
    near = moment(1, tracks_of([(-10, -10, 10, 10)]), instances_of([], defects=2))
    assert told(by, judged("REJECT"), near).picture
    assert shown.images[0].shape == (15, 15, 3)
    outside = moment(2, tracks_of([(400, 0, 420, 10)]), instances_of([], defects=2))
    assert told(by, judged("REJECT"), outside).picture == ""


def test_a_large_one_is_reduced_to_what_a_round_can_encode() -> None:
    by, shown = made()
    huge = np.zeros((2000, 3000, 3), np.uint8)
    now = moment(1, tracks_of([(0, 0, 3000, 2000)]), instances_of([], defects=2), huge)
    assert told(by, judged("REJECT"), now).picture
    height, width = shown.images[0].shape[:2]
    assert 0.98 * MOST_PX < height * width <= MOST_PX
    assert width / height == pytest.approx(1.5, abs=0.01)


def test_no_more_than_so_many_of_a_round() -> None:
    by, _ = made()
    boxes = [(20 * i, 90, 20 * i + 10, 110) for i in range(9)]
    now = moment(1, tracks_of(boxes), instances_of([], defects=2))
    found: list[Any] = by.illustrate([judged("REJECT", track=i + 1) for i in range(9)], [now])
    assert [bool(event.picture) for event in found] == [True] * MOST_PICTURES + [False] * (9 - MOST_PICTURES)
    assert by.report()["left_out"] == 9 - MOST_PICTURES
    assert told(by, judged("REJECT"), now).picture, "the next round has its own"


def test_what_is_remembered_has_a_bound_and_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "KEPT_BYTES", 5 * 30 * 30 * 3)
    by, shown = made()
    image = picture(1)
    boxes = [(30 * i + 10, 90, 30 * i + 30, 110) for i in range(8)]
    found = instances_of(boxes, defects=2, defects_px=[(9, 0)] * 8)
    by.illustrate([], [moment(1, tracks_of(boxes, instances=range(8)), found, image)])
    image[:] = 0
    there = [bool(told(by, judged("REJECT", track=i + 1)).picture) for i in range(8)]
    assert there == [False] * 3 + [True] * 5, "the oldest go"
    assert shown.images[0].any()
    assert KEPT_BYTES > 4 * 3 * MOST_PX, "some of the largest"


def test_an_outline_is_beside_the_plain_picture() -> None:
    by, shown = made(outline=True)
    by.illustrate([], [seen(4, 40, 30)])
    told(by, judged("REJECT"), carried(9, 105))
    (image,) = shown.images
    plain = picture(4)[85:115, 25:55]
    assert (image[:, :30] == plain).all()
    drawn = (image[:, 30:] != plain).any(axis=2)
    assert drawn[5].sum() > 15, "along the upper edge of the part"
    assert not drawn[8:22, 8:22].any(), "not in it"


def events_of(state: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as db:
        rows = db.execute("SELECT payload FROM events ORDER BY seq").fetchall()
    return [msgspec.json.decode(payload, type=Event) for (payload,) in rows]


def site(folder: Path, **changes: Any) -> Config:
    fields: dict[str, Any] = {
        "bundle": folder / "bundle",
        "state": folder / "state",
        "cameras": {"c": config.Camera(source=str(folder / "pictures"), fps=10)},
        "regions": config.RegionRules(min_area_px=50, pad_px=6),
        "attention": config.Attention(canvases=2),
        "tracks": config.TrackRules(motion="belt", at_border="wait"),
        "lines": [config.Line(name="door", camera="c", start=(80, 0), end=(80, 120), direction="right")],
        "gates": [
            config.Gate(
                name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right",
                defects={"scratch": config.DefectLimit(min_area_px=20)},
            )
        ],
        "models": config.Models(threads=1),
        **changes,
    }  # fmt: skip
    return Config(**fields)


def test_the_daemon_writes_the_rejected_part_and_says_so(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 80, 4, (1, 3))
    rules = site(tmp_path, evidence=config.Evidence(quality=100))
    serve(rules, Options())
    rejected = [event for event in events_of(rules.state) if isinstance(event, Verdict) and event.verdict == "REJECT"]
    assert len(rejected) == 2
    for event in rejected:
        image = np.asarray(cv2.imread(str(rules.state / "evidence" / event.picture)))
        assert min(image.shape[:2]) > 40
        middle = image[image.shape[0] // 2 - 12 : image.shape[0] // 2 + 12, image.shape[1] // 2 - 12 :][:, :24]
        assert (middle[..., 0] > 150).any(), "the part is in the middle"
        assert ((image[..., 0] > 210) & (image[..., 0] < 235)).sum() >= 10, "and its scratch on it"
    assert {event.picture for event in events_of(rules.state) if isinstance(event, Count)} == {""}


def test_a_disk_that_takes_no_pictures_takes_events_all_the_same(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 80, 4, (1,))
    rules = site(tmp_path, evidence=config.Evidence(lines=["door"]))
    rules.state.mkdir()
    (rules.state / "evidence").write_text("in the way")
    summary = serve(rules, Options())
    assert summary["ledger"]["counted"] == 12
    assert {getattr(event, "picture", "") for event in events_of(rules.state)} == {""}


def test_events_are_the_same_with_and_without_pictures(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 80, 4, (1,))
    digests, then = [], clock_from(datetime.fromtimestamp(0, timezone.utc))
    for name, options in (
        ("with", Options(clock=then, stream="0" * 32, evidence=tmp_path / "seen")),
        ("without", Options(clock=then, stream="0" * 32, pictures=False)),
    ):
        rules = site(tmp_path, state=tmp_path / name, evidence=config.Evidence(lines=["door"]))
        serve(rules, options)
        payload = b"".join(msgspec.json.encode(event) for event in events_of(rules.state))
        digests.append(hashlib.sha256(payload).hexdigest())
        assert not (rules.state / "evidence").exists()
    assert digests[0] == digests[1]
    named = {event.picture for event in events_of(tmp_path / "with") if getattr(event, "picture", "")}
    assert named == {str(path.relative_to(tmp_path / "seen")) for path in (tmp_path / "seen").rglob("*.jpg")}
    assert len(named) == 5
