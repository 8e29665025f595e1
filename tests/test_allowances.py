"""Each bound holds for what it bounds: as much as there can be is made, and weighed."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge import config, events, memory
from edge.album import Album
from edge.allowances import HEAP_BYTES, LASTING, MIB, _behaviour, _decoding, _outputs, allowances
from edge.bundle import EngineFile, Head, TensorSpec
from edge.daemon import Options, serve
from edge.decide.behaviour import Behaviour
from edge.decide.behaviour.trajectory import MOST_POINTS
from edge.decide.counting import LineCounter
from edge.decide.gallery import MOST_REMEMBERED as MOST_REMEMBERED_GONE
from edge.decide.gate import QualityGate
from edge.decide.growth import GrowthWatch
from edge.decide.lasting import Lasting
from edge.decide.presence import PresenceWatch
from edge.decide.reidentify import Identities
from edge.decide.sizes import Sizes
from edge.decide.tallies import Tallies
from edge.decide.tracks import MOST_TRACKS, Tracker
from edge.errors import ConfigError
from edge.health import WINDOW, CameraReport, Health, Stopwatch
from edge.see.appearance import Rings, Stripes
from edge.see.attention import MOST_SPOTS, Chooser
from edge.see.audit import Audit
from edge.see.found import MOST_MASK_CELLS
from edge.see.instances import MOST_INSTANCES, distinct
from edge.see.prototypes import decode_prototypes
from edge.see.regions import Painter
from edge.see.spots import MOST_REMEMBERED, SpotMemory
from edge.tell.evidence import Pictures
from edge.types import Array, Boxes, Frame, Gap, Instances, Labels, Looks, Moment, Regions, Seen
from tests.faults.line import verdict
from tests.see.coded import FRAME, instance_model, semantic_model, write_belt, write_bundle
from tests.see.made import instances_of, looks_of, tracks_of

FILE = EngineFile("onnxruntime", "float32", "m.onnx", 0, "")
SIZE = (2000, 1200)
LINE = config.Line(name="l", camera="c", start=(1, 0), end=(1, 1200))
GATE = config.Gate(name="g", camera="c", start=(1, 0), end=(1, 1200), direction="right")
FEW = 50  # tracks, where each costs time
NOTHING = np.zeros((60, 100), np.uint8)


def settings(folder: Path, **changes: Any) -> config.Config:
    fields: dict[str, Any] = {
        "bundle": folder / "bundle",
        "state": folder / "state",
        "cameras": {"c": config.Camera(source=str(folder / "pictures"), fps=10)},
        "attention": config.Attention(canvases=64),
        "tracks": config.TrackRules(motion="belt"),
        "lines": [LINE],
        "gates": [GATE],
        **changes,
    }
    return config.Config(**fields)


def bounds(folder: Path) -> dict[str, int]:
    """Return the bounds where as many objects can come as are ever kept."""
    known = instance_model(FILE)
    many = [msgspec.structs.replace(spec, shape=(64, 3)) if spec.name == "peaks" else spec for spec in known.outputs]
    instance = msgspec.structs.replace(known, outputs=many)
    return allowances(settings(folder), semantic_model(FILE), instance, {"c": SIZE})


@pytest.fixture(autouse=True)
def weighing() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def weighed() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def grid(count: int) -> Boxes:
    """Return boxes (count, 4) that lie apart, away from the frame's border."""
    ys, xs = np.divmod(np.arange(count), 40)
    corners = np.stack([20 + xs * 48, 20 + ys * 40], axis=1)
    return np.concatenate([corners, corners + 30], axis=1).astype(np.float32)


def flood(count: int, cells: int) -> Instances:
    """Return objects whose masks have so many cells."""
    found = instances_of(grid(count).tolist(), defects=1)
    found.masks[:] = [np.ones((cells // 64, 64), np.bool_) for _ in range(count)]
    return found


def tracker() -> Tracker:
    ids = itertools.count(1)
    return Tracker(config.TrackRules(motion="belt", lost_frames=10**6), [1], 2, SIZE, lambda: next(ids))


def looked() -> Looks:
    return looks_of([(0, 0, *SIZE)], [(0, 0, *SIZE)])


def test_the_tracks_of_a_camera_weigh_no_more(tmp_path: Path) -> None:
    before, following = weighed(), tracker()
    for _ in range(3):
        expected = following.predict(NOTHING, (20.0, 20.0), 1)
        tracks, _ = following.update(flood(MOST_TRACKS + 7, MOST_MASK_CELLS), looked())
    assert len(tracks) == MOST_TRACKS == len(expected)
    del expected  # it holds the masks before these, which came as instances and are weighed there
    assert MOST_TRACKS * MOST_MASK_CELLS < weighed() - before < bounds(tmp_path)["tracks"]


def test_the_masks_that_a_painter_keeps_weigh_no_more(tmp_path: Path) -> None:
    masks = [np.ones((64, 128), np.bool_) for _ in range(MOST_TRACKS)]
    paint, scale, before = Painter(), (2.0, 2.0), weighed()
    for shift in (0.0, 0.5, 1.0, 1.5):
        boxes = grid(MOST_TRACKS) + np.asarray([0, 0, 190 + shift, 95 + shift], np.float32)
        paint(masks, boxes, (600, 1000), scale)
        assert weighed() - before < bounds(tmp_path)["painted"]
    few, before = Painter(), weighed()
    few(masks[:200], boxes[:200], (600, 1000), scale)
    assert weighed() - before > MIB


def test_what_is_remembered_of_all_tracks_weighs_no_more(tmp_path: Path) -> None:
    following = tracker()
    found = flood(MOST_TRACKS, 64)
    following.predict(NOTHING, (20.0, 20.0), 1)
    tracks, _ = following.update(found, looked())
    before = weighed()
    counter, gate = LineCounter(LINE, ["", "part"]), QualityGate(GATE, ["", "part"], ["scratch"])
    audit = Audit(config.Audit(), SIZE, (96, 96), 1, ["", "part"], 10**6)
    frame = Frame("c", 0, 0.0, np.zeros((1, 1, 3), np.uint8))
    tile = np.asarray([[0, 0, *SIZE]], np.int32)
    seen = Seen(frame, NOTHING, (20.0, 20.0), found, tracks, [])
    audit.judge(seen, tile)
    counter.decide(seen)
    for _ in range(config.MOST_LOOKS + 3):
        gate.decide(seen)
    limit = bounds(tmp_path)
    weight = weighed() - before
    assert 0.2 * (limit["rules"] + limit["audit"]) < weight < limit["rules"] + limit["audit"]


def test_what_is_remembered_of_what_things_look_like_weighs_no_more(tmp_path: Path) -> None:
    """As many have left as are remembered, as many are there, and some of them get their ids."""
    again = config.Reidentify(least=0.1, margin=0.9, looks=1, wait_s=0)
    rules = settings(tmp_path, tracks=config.TrackRules(reidentify=again))
    limit = allowances(rules, semantic_model(FILE), instance_model(FILE), {"c": SIZE})["identities"]
    before, ids, length = weighed(), itertools.count(1), max(Stripes.size, Rings.size)
    identities = Identities(again, "stripes", (length, MOST_TRACKS), SIZE, ["", "part"], lambda: next(ids))
    found, looks = instances_of(grid(MOST_TRACKS).tolist()), np.ones((MOST_TRACKS, length), np.float32)
    looks[:, 0] = np.arange(MOST_TRACKS)
    before += looks.nbytes  # the pass over the pixels has made them
    tracemalloc.reset_peak()
    for index in range(4):
        keys = np.arange(MOST_TRACKS) + MOST_TRACKS * (index // 2)
        tracks = tracks_of(grid(MOST_TRACKS).tolist(), keys=keys.tolist(), instances=range(MOST_TRACKS))
        frame = Frame("c", index, index / 10, NOTHING)
        due = identities.due(frame, tracks)
        named, _ = identities.named(frame, tracks, found, due, looks[: len(due)])
    assert (named.ids > 0).any()
    assert 0.2 * limit < tracemalloc.get_traced_memory()[1] - before < limit


def test_what_lasts_of_who_has_left_weighs_no_more() -> None:
    before, lasting = weighed(), Lasting[set[str]]()
    for number in range(10**6, 10**6 + 2 * MOST_REMEMBERED_GONE):
        lasting.keep(number, {"left", "right"})
    weight = weighed() - before
    assert 0.2 * MOST_REMEMBERED_GONE * LASTING < weight < MOST_REMEMBERED_GONE * LASTING


EVERYWHERE = config.Zone(
    name="z", camera="c", points=[(0, 0), (2000, 0), (2000, 1200), (0, 1200)], settle_looks=1, hysteresis_px=0
)
PART: dict[str, Any] = {"zone": "z", "classes": ["part"], "others": ["part"]}
EVERY_RULE: list[config.BehaviourRule] = [
    config.Occupancy(name="o", zone="z", most=1, seconds=0),
    config.Dwell(name="d", zone="z", seconds=0.1),
    config.Loitering(name="l", zone="z", seconds=0.1, radius_px=500),
    config.AgainstFlow(name="a", zone="z", flow=(1, 0), distance_px=1),
    config.Congestion(name="c", zone="z", least=1, speed_px_s=1e6, seconds=0),
    config.SlowStation(name="s", zone="z", planned_s=0.1, least=1),
    config.Unattended(name="u", **(PART | {"others": ["bag"]}), distance_px=1, seconds=0.1, speed_px_s=1e6),
    config.Interaction(name="i", **PART, distance_px=100, seconds=0),
    config.Trajectory(name="t", zone="z", tolerance_px=0.01),
    config.Unique(name="v", zone="z"),
]


def test_what_zones_and_their_rules_remember_and_say_weighs_no_more(tmp_path: Path) -> None:
    """All tracks there can be, everything wrong with all of them, and then all of it over at once."""
    rules = settings(tmp_path, zones=[EVERYWHERE], rules=EVERY_RULE)
    behaviour, random = Behaviour(rules, "c", ["", "part", "bag"]), np.random.default_rng(1)
    boxes, picture, told = grid(MOST_TRACKS), np.zeros((1, 1, 3), np.uint8), []
    before = weighed()
    tracemalloc.reset_peak()
    for index in range(MOST_POINTS):
        jitter = random.uniform(-6, 6, (MOST_TRACKS, 2)).astype(np.float32)
        tracks = tracks_of((boxes + np.tile(jitter, 2)).tolist())
        seen = Seen(Frame("c", index, index / 10, picture), NOTHING, (20.0, 20.0), instances_of([]), tracks, [])
        told += behaviour.decide(seen)
    assert len(behaviour.alerts()) > 4 * MOST_TRACKS
    told += behaviour.blind(Gap("c", MOST_POINTS, 20.0, 30.0, "stall"), tracks)
    paths = [event for event in told if isinstance(event, events.TrajectoryEvent)]
    assert len(paths) == MOST_TRACKS
    assert {len(event.points) for event in paths} == {MOST_POINTS}
    payloads = [msgspec.json.encode(event) for event in told]
    limit, weight = MOST_TRACKS * _behaviour(rules), tracemalloc.get_traced_memory()[1] - before
    assert len(payloads) == len(told)
    assert 0.2 * limit < weight < limit + bounds(tmp_path)["work"] + MOST_TRACKS**2 * 48
    assert not behaviour.alerts()


def test_what_compares_all_with_all_takes_no_more(tmp_path: Path) -> None:
    many = flood(MOST_INSTANCES, 64)
    near = Instances(*(getattr(many, name) for name in many.__slots__))
    near.boxes[:, 2:] += 60  # neighbours overlap
    following = tracker()
    following.predict(NOTHING, (20.0, 20.0), 1)
    following.update(many, looked())
    following.predict(NOTHING, (20.0, 20.0), 1)
    limit = bounds(tmp_path)["work"]
    for work in (lambda: distinct(near), lambda: following.update(many, looked())):
        before = weighed()
        tracemalloc.reset_peak()
        work()
        assert 5 * MIB < tracemalloc.get_traced_memory()[1] - before < limit


def test_the_sizes_of_all_tracks_weigh_no_more(tmp_path: Path) -> None:
    following, found = tracker(), flood(FEW, 64)
    following.predict(NOTHING, (20.0, 20.0), 1)
    tracks, _ = following.update(found, looked())
    frame = Frame("c", 0, 0.0, np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    before = weighed()
    camera = config.Camera(source="x", mm_per_px=0.5, measure=config.Measuring(scale_u=0.001))
    sizes = Sizes(camera, "camera c", ["scratch"])
    seen = Seen(frame, NOTHING, (20.0, 20.0), found, tracks, [])
    for _ in range(config.MOST_LOOKS + 3):
        sizes.decide(seen)
    weight = (weighed() - before) * MOST_TRACKS / FEW
    measuring = settings(tmp_path, lines=[msgspec.structs.replace(LINE, measure=True)])
    more = allowances(measuring, semantic_model(FILE), instance_model(FILE), {"c": SIZE})["rules"]
    limit = more - bounds(tmp_path)["rules"]
    assert 0.2 * limit < weight < limit


def test_what_growth_remembers_weighs_no_more(tmp_path: Path) -> None:
    rule = config.Growth(name="rust", camera="c", window=256, least_share=0.0)
    random, nobody = np.random.default_rng(1), tracker().predict(NOTHING, (20.0, 20.0), 1)
    maps = [(random.random((200, 400)) < 0.02).astype(np.uint8) for _ in range(20)]

    def filled() -> GrowthWatch:
        watch = GrowthWatch(rule)
        for i, noise in enumerate(maps):
            watch.decide(Seen(Frame("c", i, float(i), NOTHING), noise, (1.0, 1.0), flood(0, 64), nobody, []))
        return watch

    filled()  # NumPy imports what it needs
    before, watch = weighed(), filled()
    weight = weighed() - before
    del watch
    growing = settings(tmp_path, growth=[rule])
    more = allowances(growing, semantic_model(FILE), instance_model(FILE), {"c": SIZE})["rules"]
    limit = more - bounds(tmp_path)["rules"]
    assert 0.2 * limit < weight < limit


@pytest.mark.parametrize("boxes", [300, 20_000])
def test_decoding_boxes_takes_no_more_and_many_are_no_reason_to_ask_for_more(boxes: int) -> None:
    random, side, planes = np.random.default_rng(1), 320, 32
    corners = random.uniform(0, 280, (boxes, 2))
    outputs: dict[str, Array] = {
        "boxes": np.hstack([corners, corners + random.uniform(2, 40, (boxes, 2))]).astype(np.float32),
        "scores": random.uniform(0.5, 1, boxes).astype(np.float32),
        "classes": np.ones(boxes, np.uint8),
        "coefficients": random.normal(0, 1, (boxes, planes)).astype(np.float32),
        "prototypes": random.normal(0, 1, (planes, side // 4, side // 4)).astype(np.float32),
    }
    specs = [TensorSpec(name, array.shape, str(array.dtype)) for name, array in outputs.items()]
    place = np.asarray([[0, 0, side, side]], np.int32)
    model = msgspec.structs.replace(
        instance_model(FILE),
        head=Head("prototypes"),
        input=TensorSpec("image", (side, side, 3), "uint8"),
        outputs=specs,
    )
    before = weighed()
    tracemalloc.reset_peak()
    decode_prototypes(outputs, place, model.head, 0.3)
    limit = _decoding(model) + 2 * _outputs(model)
    assert 0.05 * limit < tracemalloc.get_traced_memory()[1] - before < limit
    assert _decoding(model) < 40 * MIB


def test_spots_weigh_no_more_however_many_there_are(tmp_path: Path) -> None:
    chooser = Chooser(config.Attention(), SIZE, (96, 96))
    limit, before = bounds(tmp_path), weighed()
    tracemalloc.reset_peak()
    none = tracker().predict(NOTHING, (20.0, 20.0), 1)
    boxes = np.asarray([[0, 0, *SIZE]] * 256, np.int32)  # each is cut into tiles
    for frame in range(6):
        chooser.candidates(frame, Regions(boxes + frame % 2, np.ones(256, np.float32)), none, np.full(2, 100.0))
        chooser.settle(frame, looks_of([], []))
    assert weighed() - before < limit["attention"]
    assert tracemalloc.get_traced_memory()[1] - before < limit["attention"] + limit["work"]


def test_comparing_all_spots_takes_no_more(tmp_path: Path) -> None:
    spots = SpotMemory()
    everything = np.ones(MOST_REMEMBERED, np.bool_)
    spots.see(grid(MOST_REMEMBERED), np.zeros(2, np.float32))
    spots.note(0, everything, everything)
    before = weighed()
    tracemalloc.reset_peak()
    spots.see(grid(2 * MOST_SPOTS), np.zeros(2, np.float32))
    assert MIB < tracemalloc.get_traced_memory()[1] - before < bounds(tmp_path)["work"]


def test_the_window_of_times_weighs_no_more(tmp_path: Path) -> None:
    stages = ("semantic", "regions", "attention", "instances", "tracks", "rules", "audit", "ledger")
    health, tracks = Health(), tracker().predict(NOTHING, (20.0, 20.0), 1)
    frame = Frame("c", 0, 0.0, np.zeros((1, 1, 3), np.uint8))
    before = weighed()
    for _ in range(WINDOW + 10):
        watch = Stopwatch()
        for stage in stages:
            watch.lap(stage)
        regions = Regions(np.zeros((0, 4), np.int32), np.zeros(0, np.float32))
        labels = Labels(NOTHING, None, (1.0, 1.0))
        seen = Moment(frame, labels, regions, looks_of([], []), instances_of([]), tracks, [], watch.stages_ms)
        health.beat([seen], lambda _: CameraReport(tracks=0, tiles=1, waiting=0, waiting_frames=0, audit={}, bars={}))
    assert 0.2 * bounds(tmp_path)["times"] < weighed() - before < bounds(tmp_path)["times"]


def test_the_daemon_says_its_ceiling_and_stays_below_it(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 20, 2)
    rules = settings(tmp_path, lines=[], gates=[], models=config.Models(threads=1))
    before = memory.resident()
    told = serve(rules, Options())
    assert memory.resident() / MIB < told["memory_mib"]
    assert told["memory_mib"] > (before + HEAP_BYTES) / MIB
    assert told["frames"] == 20


def test_a_daemon_that_does_not_fit_says_so_before_it_writes_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 20, 2)
    rules = settings(tmp_path, lines=[], gates=[], models=config.Models(threads=1))
    assert FRAME[0] * FRAME[1] * 3 < MIB
    monkeypatch.setattr(memory, "available", lambda _: memory.Room(MIB, "a limit of this test"))
    with pytest.raises(ConfigError, match="by a limit of this test; take fewer cameras"):
        serve(rules, Options())
    monkeypatch.undo()
    assert serve(rules, Options())["ledger"]["counted"] == 0


def test_what_gates_count_and_presence_remembers_weighs_no_more(tmp_path: Path) -> None:
    places = {f"p{i}": [(float(20 * i), 0.0), (20.0 * i + 10, 10.0)] for i in range(64)}
    check = config.Presence(name="p", camera="c", places=places, classes=["part"], window=256)
    full = msgspec.structs.replace(GATE, contains={"part": {"screw": (1, 2)}})
    counting = settings(tmp_path, gates=[full], presence=[check])
    more = allowances(counting, semantic_model(FILE), instance_model(FILE), {"c": SIZE})["rules"]
    limit = more - bounds(tmp_path)["rules"]
    following, found = tracker(), flood(FEW, 64)
    following.predict(NOTHING, (20.0, 20.0), 1)
    tracks, _ = following.update(found, looked())
    seen = Seen(Frame("c", 0, 0.0, NOTHING), NOTHING, (20.0, 20.0), found, tracks, [], NOTHING)

    def filled() -> tuple[Tallies, PresenceWatch]:
        tallies, watch = Tallies(full, ["", "part", "screw"], []), PresenceWatch(check, ["", "part"], ["", "part"])
        for _ in range(config.MOST_LOOKS + 3):
            tallies.decide(seen)
        for _ in range(check.window + 3):
            watch.decide(seen)
        return tallies, watch

    filled()  # NumPy imports what it needs
    before, kept = weighed(), filled()
    weight = weighed() - before
    assert len(kept) == 2
    assert 0.2 * limit < weight * MOST_TRACKS / FEW
    assert weight < limit


def test_looking_for_places_that_moved_takes_no_more(tmp_path: Path) -> None:
    places = {
        f"p{i}": [(30.0 * (i % 8), 30.0 * (i // 8)), (30.0 * (i % 8) + 9, 30.0 * (i // 8) + 9)] for i in range(64)
    }
    check = config.Presence(name="p", camera="c", places=places, classes=["part"], move_px=400, turn_deg=5)
    watch = PresenceWatch(check, ["", "part"], ["", "part"])
    labels = np.zeros((60, 100), np.uint8)
    labels[1:50:6, 1:50:6] = 1
    labels[2:50:6, 1:50:6] = 1
    nobody = tracker().predict(NOTHING, (20.0, 20.0), 1)
    seen = Seen(Frame("c", 0, 0.0, NOTHING), labels, (5.0, 5.0), flood(0, 64), nobody, [], labels)
    limit = allowances(settings(tmp_path, presence=[check]), semantic_model(FILE), instance_model(FILE), {"c": SIZE})
    before = weighed()
    tracemalloc.reset_peak()
    assert len(watch.inspect(seen).shares) == 64
    assert MIB < tracemalloc.get_traced_memory()[1] - before < limit["work"]


def test_the_looks_that_may_become_pictures_weigh_no_more(tmp_path: Path) -> None:
    """Largest first: fewer than the rows of arrays, but each a picture."""
    rules = settings(tmp_path, gates=[msgspec.structs.replace(GATE, defects={"scratch": config.DefectLimit()})])
    limit = allowances(rules, semantic_model(FILE), instance_model(FILE), {"c": SIZE})["evidence"]
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for side in (1100, 200):
        pictures = Pictures(tmp_path / f"{side}", config.Evidence(outline=True))
        album = Album(msgspec.structs.replace(rules, evidence=config.Evidence(outline=True)), ["scratch"], pictures)
        before = weighed()
        tracemalloc.reset_peak()
        boxes = [(0, 0, side, side)] * FEW * 3
        found = instances_of(boxes, defects=1, defects_px=[(9,)] * len(boxes))
        seen = Moment(
            Frame("c", 0, 0.0, image), Labels(NOTHING, None, (1.0, 1.0)),
            Regions(np.zeros((0, 4), np.int32), np.zeros(0, np.float32)),
            looks_of([], []), found, tracks_of(boxes, instances=range(len(boxes))), [], {},
        )  # fmt: skip
        rejected = [msgspec.structs.replace(verdict("REJECT"), track=number) for number in (len(boxes), 1)]
        told = album.illustrate(rejected, [seen])
        album.settle()
        assert isinstance(told[0], events.Verdict)
        assert told[0].picture
        assert 0.3 * limit < tracemalloc.get_traced_memory()[1] - before < limit
