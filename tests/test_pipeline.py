"""The loop: frames in, decisions on disk, with exact models in place of networks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from edge import config
from edge.bundle import EngineFile
from edge.config import Config
from edge.engines import Engine, open_engine
from edge.errors import ConfigError
from edge.events import (
    Alert,
    Arrival,
    ConversionEvent,
    Count,
    Event,
    GapEvent,
    GovernorEvent,
    TrajectoryEvent,
    Verdict,
    ZoneEvent,
)
from edge.governor import STEPS, open_governor
from edge.health import Health, Stopwatch
from edge.pipeline import rounds, run
from edge.see.cameras import Camera
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Glance, Models, Station, Stations
from edge.types import Frame, Gap, Image, Labels, Moment
from edge.workers import Workers
from tests.see.coded import (
    FRAME,
    NAMES,
    belt,
    instance_graph,
    instance_model,
    picture,
    read_labels,
    read_parts,
    semantic_graph,
    semantic_model,
)
from tests.see.made import FakeEngine

FILE = EngineFile("onnxruntime", "float32", "m.onnx", 0, "")
LINE = config.Line(name="door", camera="c", start=(80, 0), end=(80, 120), direction="right", settle_looks=1)
GATE = config.Gate(
    name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right",
    defects={"scratch": config.DefectLimit(min_area_px=20)},
)  # fmt: skip


def settings(**changes: Any) -> Config:
    """Return the configuration of a belt with one line and one gate."""
    fields: dict[str, Any] = {
        "bundle": Path("b"),
        "state": Path("s"),
        "cameras": {"c": config.Camera(source="x")},
        "regions": config.RegionRules(min_area_px=50, pad_px=6),
        "attention": config.Attention(canvases=2),
        "tracks": config.TrackRules(motion="belt", at_border="wait"),
        "lines": [LINE],
        "gates": [GATE],
        **changes,
    }
    return Config(**fields)


def models() -> Models:
    semantic, instance = semantic_model(FILE), instance_model(FILE)
    engines: tuple[Engine, Engine] = FakeEngine(semantic, read_labels), FakeEngine(instance, read_parts)
    return Models(SemanticPass(engines[0], semantic), InstancePass(engines[1], instance), NAMES, NAMES, ["scratch"])


def never(_: Frame) -> Labels:
    """Stand for a semantic pass that is not to be asked."""
    raise AssertionError


class Recording:
    """A camera that plays a list of pictures and gaps."""

    size = FRAME
    fps: float | None = 10.0
    live = False

    def __init__(self, name: str, items: Sequence[Image | Gap | None], live: bool = False) -> None:
        self.live = live
        self._name = name
        self._items = list(items)
        self._index = 0

    @property
    def ended(self) -> bool:
        return not (self.live or self._items)

    def read(self, timeout_s: float) -> Frame | Gap | None:  # noqa: ARG002  a recording waits for nobody
        if not self._items:
            return None
        item = self._items.pop(0)
        if isinstance(item, np.ndarray):
            self._index += 1
            return Frame(self._name, self._index - 1, (self._index - 1) / 10, item)
        return item

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Recording:  # noqa: PYI034  typing has no Self in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Memory:
    """A ledger that only remembers, and when it did."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.commits = 0

    def commit(self, events: Sequence[Event]) -> list[Event]:
        self.commits += 1
        told = [msgspec.structs.replace(event, seq=len(self.events) + i + 1) for i, event in enumerate(events)]
        self.events += told
        return told


def play(
    items: Sequence[Image | Gap | None], rules: Config | None = None, **options: Any
) -> tuple[Memory, Health, list[Moment]]:
    rules, ids = rules or settings(), itertools.count(1)
    memory, health, seen = Memory(), Health(), list[Moment]()
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids))
    run({"c": Recording("c", items)}, stations, memory, health, watchers=[seen.append], **options)
    return memory, health, seen


def frames(count: int, parts: int = 4, flawed: tuple[int, ...] = ()) -> list[Image]:
    return [picture(belt(i, parts), flawed) for i in range(count)]


def test_every_part_is_counted_once_and_judged_once() -> None:
    memory, health, _ = play(frames(90, flawed=(1, 2)))
    counts = [event for event in memory.events if isinstance(event, Count)]
    verdicts = [event for event in memory.events if isinstance(event, Verdict)]
    assert [event.counter for event in counts] == ["door/part"] * 4
    assert [event.verdict for event in verdicts] == ["PASS", "REJECT", "REJECT", "PASS"]
    assert [event.track for event in verdicts] == [event.track for event in counts] == [1, 2, 3, 4]
    assert [event.reasons for event in verdicts[1:3]] == [["scratch 25 px"]] * 2
    assert health.counted == {"door/part": 4}
    assert health.verdicts == {"exit/PASS": 2, "exit/REJECT": 2}


def test_crossings_are_told_in_the_frame_and_at_the_place_they_happen() -> None:
    counts = [event for event in play(frames(90))[0].events if isinstance(event, Count)]
    for i, event in enumerate(counts):
        x, y = belt(event.frame, 4)[i]
        assert 80 <= x <= 92
        assert event.position == pytest.approx((x + 0.5, y + 0.5), abs=2)
        assert event.time == event.frame / 10


def test_tracks_lie_on_their_parts_in_every_frame_between_looks_too() -> None:
    _, _, seen = play(frames(90))
    looked = 0
    for moment in seen:
        truth = [(x + 0.5, y + 0.5) for x, y in belt(moment.frame.index, 4) if 24 < x < 136]
        for at in truth:
            distances = np.abs(moment.tracks.centers - at).max(axis=1, initial=0)
            assert len(distances)
            assert distances.min() < 2.5
        looked += len(moment.looks)
    assert 0 < looked < sum(len(moment.tracks) for moment in seen), "fewer looks than tracks times frames"


def test_the_same_frames_give_the_same_events() -> None:
    first, second = (play(frames(60, flawed=(0,)))[0].events for _ in range(2))
    assert first == second
    assert len(first) > 2


def test_the_onnx_models_decide_as_their_python_doubles_do() -> None:
    plain, ids = play(frames(70, flawed=(1,)))[0].events, itertools.count(1)
    semantic, instance = semantic_model(FILE), instance_model(FILE)
    opened = [
        open_engine(graph, model, FILE, 1)
        for graph, model in ((semantic_graph(), semantic), (instance_graph(), instance))
    ]
    pair = Models(SemanticPass(opened[0], semantic), InstancePass(opened[1], instance), NAMES, NAMES, ["scratch"])
    memory = Memory()
    stations = Stations(settings(), pair, {"c": FRAME}, lambda: next(ids))
    run({"c": Recording("c", frames(70, flawed=(1,)))}, stations, memory, Health())
    for engine in opened:
        engine.close()
    assert memory.events == plain


def test_what_is_decided_is_committed_before_the_next_frame_is_read() -> None:
    order: list[str] = []

    class Noting(Recording):
        def read(self, timeout_s: float) -> Frame | Gap | None:
            order.append("read")
            return super().read(timeout_s)

    class Writing(Memory):
        def commit(self, events: Sequence[Event]) -> list[Event]:
            order.append("commit")
            return super().commit(events)

    ids = itertools.count(1)
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))
    run({"c": Noting("c", frames(5))}, stations, Writing(), Health(), watchers=[lambda _: order.append("watch")])
    assert order == ["read", "commit", "watch"] * 5 + ["read"]


def test_a_part_at_its_gate_has_its_verdict_on_disk_before_anything_in_the_frame_is_looked_at() -> None:
    order: list[str] = []

    def look(image: Image) -> Any:
        order.append("look")
        return read_parts(image)

    class Noting(Recording):
        def read(self, timeout_s: float) -> Frame | Gap | None:
            order.append("read")
            return super().read(timeout_s)

    class Writing(Memory):
        def commit(self, events: Sequence[Event]) -> list[Event]:
            order.extend("verdict" for event in events if isinstance(event, Verdict))
            return super().commit(events)

    ids, memory, seen = itertools.count(1), Writing(), list[Moment]()
    instances = InstancePass(FakeEngine(instance_model(FILE), look), instance_model(FILE))
    stations = Stations(settings(), replace(models(), instances=instances), {"c": FRAME}, lambda: next(ids))
    run({"c": Noting("c", frames(90))}, stations, memory, Health(), watchers=[seen.append])
    rounds = " ".join(order).split("read")
    judged = [one.split() for one in rounds if "verdict" in one]
    assert [one[0] for one in judged] == ["verdict"] * 4
    assert any("look" in one for one in judged), "or nothing would have held it up"
    assert [event for moment in seen for event in moment.events] == [
        msgspec.structs.replace(event, seq=0) for event in memory.events
    ]
    assert sum(moment.early for moment in seen) == 4


def glances_at(live: bool) -> list[tuple[Glance, Moment]]:
    """Return what was glanced at and seen in each frame of a belt whose audit wants a piece of every frame."""
    ids, clocks = itertools.count(1), {"c": lambda: 0.0} if live else {}
    rules = settings(audit=config.Audit(every_frames=1))
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids), clocks)
    seen = []
    for index, image in enumerate(frames(90)):
        watch = Stopwatch()
        glances = list(stations.glances([Frame("c", index, index / 10, image)], watch, [False]))
        seen.append((glances[0], stations.look(glances, watch)[0]))
    return seen


def test_before_a_part_is_at_its_gate_little_is_looked_at_where_the_next_frame_would_wait() -> None:
    live, recorded = glances_at(live=True), glances_at(live=False)
    assert not any(glance.brief for glance, _ in recorded)
    brief = {glance.frame.index for glance, _ in live if glance.brief}
    judged = [moment.frame.index for _, moment in live if moment.early]
    assert len(judged) >= 3
    assert all(index - 1 in brief for index in judged)
    assert len(brief) <= 3 * len(judged), "and at no other time"
    audited = {glance.frame.index for glance, _ in live if len(glance.candidates.audited)}
    assert len(audited - brief) > 50
    assert any(index not in audited for index in brief)
    assert all(index in audited for index in brief if index - 1 not in audited), "it is put off once"


@pytest.mark.parametrize(("brief", "canvases"), [(False, 2), (True, 1)])
def test_what_has_to_be_brief_adds_a_single_canvas(brief: bool, canvases: int) -> None:
    ids, watch = itertools.count(1), Stopwatch()
    stations = Stations(settings(audit=config.Audit(every_frames=0)), models(), {"c": FRAME}, lambda: next(ids))
    image = picture([(x, y) for x in (20, 60, 100, 140) for y in (20, 60, 100)])
    glance = next(iter(stations.glances([Frame("c", 0, 0.0, image)], watch, [False])))
    looks = stations.look([replace(glance, brief=brief)], watch)[0].looks
    assert len(np.unique(looks.canvases)) == canvases


@pytest.mark.parametrize("simulated", [False, True])
def test_events_say_whether_they_are_simulated(simulated: bool) -> None:
    gap = Gap("c", 60, 1.0, 2.0, "stall")
    memory, _, _ = play([*frames(60), gap], settings(simulated=simulated))
    assert len(memory.events) > 3
    assert {event.simulated for event in memory.events} == {simulated}


def test_a_gap_is_an_event() -> None:
    memory, health, seen = play([*frames(2), Gap("c", 7, 1.5, 4.5, "stall"), *frames(1)])
    assert memory.events == [
        GapEvent(seq=1, time=4.5, camera="c", frame=7, since=1.5, until=4.5, reason="stall"),
    ]
    assert health.state()["gaps"] == 1
    assert len(seen) == 3


def test_the_state_says_which_camera_does_not_see() -> None:
    frozen = Gap("c", 2, 0.1, 1.5, "frozen")
    assert play([*frames(2), frozen])[1].state()["blind"] == {"c": "frozen"}
    assert play([*frames(2), frozen, *frames(1)])[1].state()["blind"] == {}


class Silent(Recording):
    """A live camera that shows its pictures and then nothing more, in a time of its own."""

    def __init__(self, items: Sequence[Image]) -> None:
        super().__init__("c", items, live=True)
        self.now_s = 0.0

    def read(self, timeout_s: float) -> Frame | Gap | None:
        got = super().read(timeout_s)
        self.now_s = self.now_s + timeout_s if got is None else (self._index - 1) / 10
        return got


def test_parts_of_a_silent_camera_get_the_fail_safe_before_they_are_at_the_ejector() -> None:
    rules = settings(gates=[msgspec.structs.replace(GATE, ejector_px=40.0)], lines=[])
    camera, ids, memory, health = Silent(frames(28)), itertools.count(1), Memory(), Health()
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids), {"c": lambda: camera.now_s})
    health.on_beat(lambda: health.stop() if camera.now_s > 8 else None)
    run({"c": camera}, stations, memory, health)
    arrivals = [event for event in memory.events if isinstance(event, Arrival)]
    verdicts = [event for event in memory.events if isinstance(event, Verdict)]
    assert {event.track for event in verdicts} == {event.track for event in arrivals}
    assert len(verdicts) == len(arrivals) >= 2
    for event in verdicts:
        assert (event.verdict, event.late) == ("REJECT", False)
        assert event.deadline is not None
        assert event.deadline - 0.6 < event.time < event.deadline
    assert health.state()["late"] == 0


def test_a_pass_that_the_disk_held_up_is_counted() -> None:
    rules = settings(gates=[msgspec.structs.replace(GATE, ejector_px=40.0)], lines=[])
    camera, ids, health = Silent(frames(40)), itertools.count(1), Health()

    class Slow(Memory):
        def commit(self, events: Sequence[Event]) -> list[Event]:
            if any(isinstance(event, Verdict) for event in events):
                camera.now_s += 5.0
            return super().commit(events)

    memory = Slow()
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids), {"c": lambda: camera.now_s})
    run({"c": camera}, stations, memory, health, frames=40)
    first, *others = [event for event in memory.events if isinstance(event, Verdict)]
    assert first.verdict == "PASS"
    assert {event.verdict for event in others} <= {"REJECT"}, "the disk has held them up too"
    assert health.state()["late"] == 1


def test_the_run_ends_after_the_frames_asked_for_gaps_not_counted() -> None:
    gap = Gap("c", 0, 0.0, 1.0, "stall")
    _, health, seen = play([gap, *frames(20)], frames=7)
    assert health.frames == len(seen) == 7


def test_the_run_ends_after_the_frame_in_which_it_is_told_to() -> None:
    memory, health, seen, ids = Memory(), Health(), list[Moment](), itertools.count(1)
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))

    def watch(moment: Moment) -> None:
        seen.append(moment)
        if len(seen) == 4:
            health.stop()

    run({"c": Recording("c", frames(20))}, stations, memory, health, watchers=[watch])
    assert len(seen) == 4


def test_cameras_take_turns_and_the_last_recording_ends_the_run() -> None:
    rules = settings(cameras={"a": config.Camera(source="x"), "b": config.Camera(source="y")}, lines=[], gates=[])
    ids = itertools.count(1)
    pair = models()
    stations = Stations(rules, pair, dict.fromkeys("ab", FRAME), lambda: next(ids))
    seen: list[str] = []
    cameras: dict[str, Camera] = {"a": Recording("a", frames(2)), "b": Recording("b", frames(4))}
    run(cameras, stations, Memory(), Health(), watchers=[lambda moment: seen.append(moment.frame.camera)])
    assert seen == ["a", "b", "a", "b", "b", "b"]


def test_a_live_camera_without_a_new_frame_keeps_the_loop_alive() -> None:
    beats = []
    health = Health(lambda: beats.append(1))
    ids = itertools.count(1)
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))
    camera = Recording("c", [None, None, *frames(2)], live=True)
    run({"c": camera}, stations, Memory(), health, frames=2)
    assert len(beats) == 4
    assert health.frames == 2


class Paced(Recording):
    """A live camera that has a frame every `period_s`, or none ever."""

    def __init__(self, name: str, period_s: float | None) -> None:
        super().__init__(name, [], live=True)
        self._period_s = period_s
        self._due = time.monotonic()

    def read(self, timeout_s: float) -> Frame | Gap | None:
        left_s = float("inf") if self._period_s is None else self._due - time.monotonic()
        time.sleep(min(timeout_s, max(0.0, left_s)))
        if self._period_s is None or time.monotonic() < self._due:
            return None
        self._due += self._period_s
        self._index += 1
        return Frame(self._name, self._index - 1, time.monotonic(), np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("dead", [1, 4])
def test_silent_cameras_do_not_hold_up_the_others(dead: int) -> None:
    cameras: dict[str, Camera] = {f"dead{i}": Paced(f"dead{i}", None) for i in range(dead)}
    cameras["good"] = Paced("good", 0.02)
    begin = time.monotonic()
    assert sum(len(together) for together in rounds(cameras, Health(), 30)) == 30
    assert time.monotonic() - begin < 29 * 0.02 * 1.6


@pytest.mark.parametrize("count", [1, 3])
def test_cameras_that_are_all_silent_are_waited_for_without_a_busy_loop(count: int) -> None:
    health, beats = Health(), list[float]()

    def beat() -> None:
        beats.append(time.monotonic())
        if beats[-1] - beats[0] > 0.5:
            health.stop()

    health.on_beat(beat)
    assert not any(rounds({str(i): Paced(str(i), None) for i in range(count)}, health, None))
    assert 3 <= len(beats) < 100
    assert max(np.diff(beats)) < 0.4


def test_recordings_keep_their_order_however_late_a_frame_is() -> None:
    """A program needs time for its frames; the loop goes on beating, and the order stays that of a replay."""
    beats: list[int] = []
    health = Health()
    health.on_beat(lambda: beats.append(1))
    late = Recording("a", [None, None, *frames(1), None, *frames(1)])
    seen = rounds({"a": late, "b": Recording("b", frames(2))}, health, None)
    assert [[got.camera for got in together] for together in seen] == [["a", "b"], ["a", "b"]]
    assert len(beats) >= 3


def test_a_recording_that_gives_nothing_is_left_when_told_to_stop() -> None:
    health = Health()
    health.on_beat(health.stop)
    assert not list(rounds({"a": Recording("a", [None] * 1000)}, health, None))


def test_dropped_frames_move_the_belt_all_the_same() -> None:
    """Every second frame only: the counts stay the same, and velocities and ages are still by the frame."""
    ids, memory, seen = itertools.count(1), Memory(), list[Moment]()
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))

    class Skipping(Recording):
        def read(self, timeout_s: float) -> Frame | Gap | None:
            got = super().read(timeout_s)
            return Frame("c", got.index * 2, got.index / 5, got.image, dropped=1) if isinstance(got, Frame) else got

    run({"c": Skipping("c", frames(90)[::2])}, stations, memory, Health(), watchers=[seen.append])
    moving = [moment.tracks for moment in seen if 40 < moment.frame.index < 60 and len(moment.tracks)]
    assert moving
    for tracks in moving:
        np.testing.assert_allclose(tracks.velocities, np.asarray([[4, 0]] * len(tracks)), atol=0.3)
        assert (tracks.since_look % 2 == 0).all()
    assert [event.counter for event in memory.events if isinstance(event, Count)] == ["door/part"] * 4


def corner_zone(width: float, attention: Literal["only", "ignore"] = "ignore") -> config.Zone:
    return config.Zone(
        name="corner", camera="c", points=[(0, 0), (width, 0), (width, 20), (0, 20)], attention=attention
    )


def alone(classes: list[str], others: list[str]) -> config.Unattended:
    return config.Unattended(name="alone", zone="corner", classes=classes, others=others, distance_px=5, seconds=1)


NEVER_KEPT = config.Governor(limit_ms=1e-6)


def governed(
    items: Sequence[Image | Gap | None], rules: Config, *, live: bool = True
) -> tuple[Memory, Health, Stations]:
    """Play `items` as a camera would, under the governor of `rules`."""
    ids, memory, health = itertools.count(1), Memory(), Health()
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids))
    camera = Recording("c", items, live=live)
    count = sum(isinstance(item, np.ndarray) for item in items)
    governor = open_governor(rules, coarse=stations.coarse)
    run({"c": camera}, stations, memory, health, governor=governor, frames=count if live else None)
    return memory, health, stations


def test_what_is_decided_while_less_is_looked_at_is_marked_and_nothing_else_is() -> None:
    memory, health, stations = governed(frames(120, parts=6), settings(governor=NEVER_KEPT))
    changes = [event for event in memory.events if isinstance(event, GovernorEvent)]
    assert [event.step for event in changes][-1] == len(STEPS) - 1
    assert {event.direction for event in changes} == {"down"}
    decided = [event for event in memory.events if isinstance(event, (Count, Verdict))]
    assert len(decided) >= 4
    first = changes[0].seq
    assert [event.degraded for event in decided] == [event.seq > first for event in decided]
    assert any(event.degraded for event in decided)
    state = health.state()
    assert state["governor"]["overloaded"]
    assert state["governor"]["name"] == "skipping"
    assert state["skipped"] > 10
    assert state["skipped"] + state["frames"] == 120
    assert stations.effort == STEPS["skipping"]


def test_a_kept_limit_changes_no_event() -> None:
    free = governed(frames(90), settings())[0].events
    assert governed(frames(90), settings(governor=config.Governor(limit_ms=1e6)))[0].events == free
    assert [sum(isinstance(event, kind) for event in free) for kind in (Count, Arrival, Verdict)] == [4, 4, 4]
    assert not any(event.degraded for event in free)


def test_a_replay_has_no_governor_and_does_not_depend_on_the_clock() -> None:
    free = play(frames(90))[0].events
    memory, health, stations = governed(frames(90), settings(governor=NEVER_KEPT), live=False)
    assert memory.events == free
    assert stations.effort.full
    assert health.state()["governor"] == {}


def test_parts_that_were_under_way_while_less_was_looked_at_stay_marked() -> None:
    ids, memory = itertools.count(1), Memory()
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))

    def watch(moment: Moment) -> None:
        stations.effort = STEPS["half"] if moment.frame.index < 20 else STEPS["full"]

    run({"c": Recording("c", frames(90))}, stations, memory, Health(), watchers=[watch])
    decided = [event for event in memory.events if isinstance(event, (Count, Verdict))]
    assert {(event.track, event.degraded) for event in decided} == {(1, True), (2, True), (3, False), (4, False)}


def test_a_verdict_for_a_part_that_went_out_of_sight_is_marked_too() -> None:
    ids, memory = itertools.count(1), Memory()
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))
    stations.effort = STEPS["half"]
    run({"c": Recording("c", [*frames(20), Gap("c", 20, 2.0, 9.0, "stall")])}, stations, memory, Health())
    verdicts = [event for event in memory.events if isinstance(event, Verdict)]
    assert [event.degraded for event in verdicts] == [True] * len(verdicts) != []


def test_a_verdict_for_a_part_whose_track_ends_when_all_is_looked_at_again_is_marked_too() -> None:
    ids, memory = itertools.count(1), Memory()
    stations = Stations(settings(), models(), {"c": FRAME}, lambda: next(ids))

    def watch(moment: Moment) -> None:
        stations.effort = STEPS["half"] if moment.frame.index < 20 else STEPS["full"]

    items = [*frames(20, parts=1), *[picture([])] * 60]
    run({"c": Recording("c", items)}, stations, memory, Health(), watchers=[watch])
    (verdict,) = (event for event in memory.events if isinstance(event, Verdict))
    assert (verdict.reasons[0], verdict.frame > 20, verdict.degraded) == ("crossing not seen", True, True)


def test_skipping_takes_the_cameras_in_turns() -> None:
    rules = settings(cameras={"a": config.Camera(source="x"), "b": config.Camera(source="y")}, lines=[], gates=[])
    stations = Stations(rules, models(), dict.fromkeys("ab", FRAME), lambda: 1)
    stations.effort = STEPS["skipping"]
    black = np.zeros((FRAME[1], FRAME[0], 3), np.uint8)
    looked = []
    for i in range(4):
        together, skipped = stations.sift([Frame(name, i, i / 10, black) for name in "ab"])
        looked.append("".join(frame.camera for frame in together))
        assert len(together) + len(skipped) == 2
    assert looked in (["a", "b"] * 2, ["b", "a"] * 2)


def test_each_step_looks_at_less_and_counts_all_the_same() -> None:
    """The least effort still finds, confirms and judges every part of this belt: it is what cannot wait."""
    canvases = []
    for step in STEPS.values():
        memory, health = Memory(), Health()
        stations = Stations(settings(), models(), {"c": FRAME}, itertools.count(1).__next__)
        stations.effort = step
        run({"c": Recording("c", frames(90))}, stations, memory, health)
        canvases.append(health.canvases)
        assert health.counted == {"door/part": 4}
        assert sum(health.verdicts.values()) == 4
    assert canvases == sorted(canvases, reverse=True)
    assert canvases[-1] < canvases[0] / 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"regions": config.RegionRules(classes=["cat"])}, "regions.classes: no class 'cat' .* part"),
        ({"tracks": config.TrackRules(classes=["cat"])}, "tracks.classes: no class 'cat'"),
        ({"lines": [msgspec.structs.replace(LINE, end=(80, 121))]}, r"'door': end: point \(80, 121\) is outside"),
        ({"zones": [corner_zone(161)]}, r"'corner': points: point \(161, 0\) is outside"),
        (
            {"zones": [msgspec.structs.replace(corner_zone(60), classes=["cat"])]},
            "zone 'corner': classes: no class 'cat' is tracked; part is",
        ),
        (
            {
                "zones": [msgspec.structs.replace(corner_zone(60), hysteresis_px=11)],
                "rules": [config.Dwell(name="d", zone="corner", seconds=1)],
            },
            r"zone 'corner': hysteresis_px 11: no point in it is so far from its border; set less than 10\.",
        ),
        ({"zones": [corner_zone(60)], "rules": [alone(["cat"], ["part"])]}, "'alone': classes: no class 'cat' can"),
        ({"zones": [corner_zone(60)], "rules": [alone(["part"], ["cat"])]}, "'alone': others: no class 'cat' is"),
        ({"gates": [msgspec.structs.replace(GATE, start=(161, 0))]}, r"'exit': start: point \(161, 0\) is outside"),
        (
            {"gates": [msgspec.structs.replace(GATE, defects={"rust": config.DefectLimit()})]},
            "gate 'exit': defects: no class 'rust'",
        ),
    ],
)  # fmt: skip
def test_rules_that_do_not_fit_the_models_or_the_frame_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Station("c", FRAME, settings(**changes), models(), lambda: 1)


def test_lines_of_another_camera_are_not_this_ones() -> None:
    elsewhere = msgspec.structs.replace(LINE, camera="d", end=(80, 9999))
    memory, _, _ = play(frames(60), settings(lines=[elsewhere], gates=[]))
    assert memory.events == []


def test_the_state_tells_what_happened() -> None:
    _, health, seen = play(frames(60))
    state = health.state()
    assert state["frames"] == 60
    assert state["looks"] == sum(len(moment.looks) for moment in seen)
    assert set(state["ms"]) == {"semantic", "regions", "attention", "instances", "tracks", "rules", "audit", "ledger"}
    assert 0 < state["looked_share"] < 1
    assert state["ms_p99"] > 0
    assert state["startup_s"] > 0
    assert state["rss_mb"] > 1
    assert state["fps"] > 0


def test_a_state_before_the_first_frame_is_whole() -> None:
    state = Health().state()
    assert (state["frames"], state["fps"], state["looked_share"], state["ms"], state["ms_p99"]) == (0, 0, 0, {}, 0)
    assert msgspec.json.decode(msgspec.json.encode(state))["startup_s"] is None


def test_nothing_begins_in_a_zone_that_is_ignored_and_what_began_outside_is_followed_through_it() -> None:
    whole = config.Zone(name="all", camera="c", points=[(0, 0), (160, 0), (160, 120), (0, 120)], attention="ignore")
    right = config.Zone(name="end", camera="c", points=[(90, 0), (160, 0), (160, 120), (90, 120)], attention="ignore")
    rules = settings(audit=config.Audit(every_frames=0))  # it looks everywhere
    zoned = [msgspec.structs.replace(rules, zones=zones) for zones in ([whole], [right], [])]
    nothing, through, plain = (len(play(frames(70), each)[0].events) for each in zoned)
    assert nothing == 0
    assert through == plain > 0


STATION = config.Zone(name="station", camera="c", points=[(40, 0), (80, 0), (80, 120), (40, 120)], settle_looks=1)
OVEN = config.Zone(name="oven", camera="c", points=[(100, 0), (130, 0), (130, 120), (100, 120)], settle_looks=1)
BEHAVIOUR: list[config.BehaviourRule] = [
    config.Occupancy(name="inside", zone="station", most=1, seconds=0),
    config.Dwell(name="long", zone="station", seconds=0.5),
    config.Conversion(name="onwards", zone="station", to="oven", seconds=5),
    config.Trajectory(name="paths", zone="station"),
]


def test_what_happens_in_zones_is_told_for_every_part_and_adds_up() -> None:
    rules = settings(lines=[], gates=[], zones=[STATION, OVEN], rules=BEHAVIOUR)
    memory, health, seen = play(frames(90), rules)
    moves = [event for event in memory.events if isinstance(event, ZoneEvent)]
    assert [event.change for event in moves].count("enter") == [event.change for event in moves].count("leave") == 4
    dwells = [event.dwell_s for event in moves if event.dwell_s is not None]
    assert dwells == pytest.approx([1.0] * 4, abs=0.21), "40 pixels at 40 pixels a second"
    assert health.counted == {
        "station/part/enter": 4, "station/part/leave": 4, "onwards/part/entered": 4, "onwards/part/reached": 4,
    }  # fmt: skip
    steps = [event for event in memory.events if isinstance(event, ConversionEvent)]
    assert [event.took_s for event in steps if event.step == "reached"] == pytest.approx([1.5] * 4, abs=0.31)
    alerts = [event for event in memory.events if isinstance(event, Alert)]
    assert [event.alarm for event in alerts if event.rule == "long"].count(True) == 4
    assert sum(event.alarm for event in alerts) == sum(not event.alarm for event in alerts)
    assert {len(moment.alerts) for moment in seen} >= {0, 1}
    most = max(sum(moment.zones["station"].values()) for moment in seen)
    assert most == max(event.inside for event in moves)
    paths = [event for event in memory.events if isinstance(event, TrajectoryEvent)]
    assert [event.points[-1][0] > 130 for event in paths] == [True] * len(paths) != []
    assert play(frames(90), rules)[0].events == memory.events


def test_the_state_tells_who_is_in_which_zone_and_which_alerts_last() -> None:
    rules = settings(lines=[], gates=[], zones=[STATION, OVEN], rules=BEHAVIOUR)
    _, health, seen = play(frames(22, parts=1), rules)
    assert seen[-1].zones == {"station": {"part": 1}, "oven": {}}
    assert health.state()["zones"] == {"station": {"part": 1}, "oven": {}}
    assert health.state()["alerts"] == {"long": 1}
    assert Health().state()["zones"] == {}


def test_a_gap_ends_what_was_under_way_in_zones_and_marks_it() -> None:
    ids, memory = itertools.count(1), Memory()
    rules = settings(lines=[], gates=[], zones=[STATION, OVEN], rules=BEHAVIOUR)
    stations = Stations(rules, models(), {"c": FRAME}, lambda: next(ids))
    stations.effort = STEPS["half"]
    run({"c": Recording("c", [*frames(22, parts=1), Gap("c", 22, 2.2, 9.0, "stall")])}, stations, memory, Health())
    after = [event for event in memory.events if event.time == 9.0]
    assert [type(event) for event in after] == [GapEvent, ZoneEvent, Alert, ConversionEvent, TrajectoryEvent]
    assert all(event.degraded for event in after)
    assert [event.dwell_s < 1.0 for event in after if isinstance(event, ZoneEvent) and event.dwell_s] == [True]


def test_cameras_together_decide_as_each_alone_with_and_without_workers() -> None:
    """Labels of one frame are made while those of another are used: nothing may be mixed up."""
    rules = settings(
        cameras={name: config.Camera(source="x") for name in "ab"},
        lines=[msgspec.structs.replace(LINE, name=name, camera=name) for name in "ab"],
        gates=[],
    )
    belts = {"a": frames(80), "b": frames(84, parts=3)[4:]}  # nothing of one is where the other has something

    def its_own_labels(seen: Moment) -> None:
        assert (seen.labels.classes == models().semantic(seen.frame).classes).all()

    def decided(names: str, pair: Models) -> list[tuple[str, int, str]]:
        ids, memory = itertools.count(1), Memory()
        stations = Stations(rules, pair, dict.fromkeys(names, FRAME), lambda: next(ids))
        cameras: dict[str, Camera] = {name: Recording(name, belts[name]) for name in names}
        run(cameras, stations, memory, Health(), watchers=[its_own_labels])
        return sorted((event.camera, event.frame, event.counter) for event in memory.events if isinstance(event, Count))

    alone = sorted(decided("a", models()) + decided("b", models()))
    assert len(alone) == 7
    assert decided("ab", models()) == alone
    made: list[FakeEngine] = []

    def engine(_: ExitStack) -> Engine:
        made.append(FakeEngine(instance_model(FILE), read_parts))
        return made[-1]

    semantics, engines = Workers("semantic", lambda _: models().semantic, 2), Workers("instance", engine, 2)
    own = FakeEngine(instance_model(FILE), read_parts)
    passes = InstancePass(own, instance_model(FILE), workers=engines)
    assert decided("ab", replace(models(), semantic=never, instances=passes, semantics=semantics)) == alone
    semantics.close()
    engines.close()
    assert passes.runs == len(own.seen) + sum(len(one.seen) for one in made)
    assert len(own.seen) < passes.runs  # some rounds had several canvases
