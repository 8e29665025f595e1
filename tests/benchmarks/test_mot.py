"""What `benchmarks mot` says of trackers is what others say of the same files."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import mot_peers, mot_worker
from benchmarks.common import data_folder
from benchmarks.mot import followed
from benchmarks.mot_data import Curve, Sequence, fitted, noisy
from benchmarks.mot_scenes import frame_ms
from benchmarks.tracked import Tracked, numbered, read_tracked, scores
from edge.config import TrackRules
from edge.errors import FoveateError

SURE = Curve(0.0, 20.0)


def data() -> Path:
    try:
        return data_folder() / "mot"
    except FoveateError as error:
        pytest.skip(str(error))


def walkers(frames: int = 30) -> Sequence:
    """Return two who walk past each other, found without fail."""
    boxes = [
        np.asarray([(10 + 5 * t, 50, 40 + 5 * t, 120), (300 - 5 * t, 150, 330 - 5 * t, 220)], np.float32)
        for t in range(frames)
    ]
    marks = [np.full(2, 50.0) for _ in range(frames)]
    return Sequence((400, 300), boxes, marks, Tracked([np.asarray([3, 9])] * frames, boxes))


def test_the_known_numbers_of_tud_campus_come_out() -> None:
    """Computed by `motmetrics` 1.4.0 from the same two files (`README.md` beside them)."""
    pytest.importorskip("trackeval")
    folder = data() / "TUD-Campus"
    found = scores(read_tracked(folder / "gt.txt", 71), read_tracked(folder / "tracker_output.txt", 71))
    assert found["mota"] == pytest.approx(52.65, abs=0.01)
    assert found["idf1"] == pytest.approx(55.77, abs=0.01)
    assert found["switches"] == 7


def test_perfect_tracks_have_full_marks_and_switched_ones_do_not() -> None:
    pytest.importorskip("trackeval")
    truth = walkers().truth
    best = scores(truth, Tracked([ids + 70 for ids in truth.ids], truth.boxes))
    assert [best[name] for name in ("hota", "deta", "assa", "idf1", "mota")] == pytest.approx([100] * 5)
    switched = scores(truth, Tracked([*truth.ids[:15], *(ids[::-1] for ids in truth.ids[15:])], truth.boxes))
    assert switched["deta"] == pytest.approx(100)
    assert switched["hota"] < 80
    assert switched["switches"] == 2


def test_numbers_count_from_zero_whatever_the_ids() -> None:
    assert [one.tolist() for one in numbered([np.asarray([70, 5]), np.zeros(0, np.int64), np.asarray([9])])] == [
        [2, 0],
        [],
        [1],
    ]


def test_our_tracker_follows_those_who_are_found_from_their_second_look_on() -> None:
    told = followed(walkers(), SURE, TrackRules())
    assert [ids.tolist() for ids in told.ids] == [[]] + [[1, 2]] * 29
    np.testing.assert_array_equal(told.boxes[7], walkers().boxes[7])


def test_the_curve_gives_the_share_that_is_right() -> None:
    random = np.random.default_rng(1)
    marks = [random.uniform(0, 100, 1) for _ in range(4000)]
    right = [random.random() < 1 / (1 + np.exp(-(mark[0] / 10 - 4))) for mark in marks]
    here, there = np.asarray([(0, 0, 9, 9)], np.float32), np.asarray([(50, 50, 59, 59)], np.float32)
    truth = Tracked([np.ones(1, np.int64)] * 4000, [here] * 4000)
    curve = fitted(Sequence((99, 99), [here if ok else there for ok in right], marks, truth))
    assert curve(np.asarray([20.0, 40.0, 60.0])).tolist() == pytest.approx([0.12, 0.5, 0.88], abs=0.04)


def test_noise_is_the_same_for_the_same_seed_and_of_the_size_it_says() -> None:
    path = data() / "KITTI-train-0006" / "gt.txt"
    one, same, other = (noisy(path, 269, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.boxes, same.boxes, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.boxes, other.boxes, strict=True))
    there = sum(len(boxes) for boxes in one.truth.boxes)
    assert 0.7 * there < sum(len(boxes) for boxes in one.boxes) - 135 < 0.95 * there


def test_peers_get_every_box_with_its_confidence_and_their_tracks_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peer:
        """Tells of the first box of a frame, as track 4, and of the second that it is not sure."""

        def __init__(self, lost: int) -> None:
            assert lost == 7

        def update(self, given: Any) -> Any:
            assert given.confidence.tolist() == pytest.approx([1, 1])
            return SimpleNamespace(tracker_id=np.asarray([4, -1]), xyxy=given.xyxy)

    supervision, trackers = ModuleType("supervision"), ModuleType("trackers")
    supervision.Detections = SimpleNamespace  # type: ignore[attr-defined]
    trackers.Peer = Peer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", supervision)
    monkeypatch.setitem(sys.modules, "trackers", trackers)
    frames = mot_peers._frames(walkers(3), SURE)
    question = json.dumps({"runs": {"p": ("Peer", {"lost": 7})}, "sequences": {"w": frames}})
    answers = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(question + "\n"))
    monkeypatch.setattr("sys.stdout", answers)
    assert mot_worker.main() == 0
    tracked, ms = mot_peers._read(json.loads(answers.getvalue())["p"])
    assert [ids.tolist() for ids in tracked["w"].ids] == [[4]] * 3
    np.testing.assert_allclose(np.concatenate(tracked["w"].boxes), [boxes[0] for boxes in walkers(3).boxes])
    assert ms["w"] >= 0


def test_peers_that_fail_are_told_of(tmp_path: Path) -> None:
    runs = {"p": ("Nobody", dict[str, Any]())}
    with pytest.raises(FoveateError, match=r"mot_worker\.py ended: "):
        mot_peers.ask(Path(sys.executable), runs, {"w": walkers(2)}, SURE)


def test_every_peer_is_tried_with_as_many_options_as_ours() -> None:
    for name in mot_peers.PEERS:
        assert len(mot_peers.variants(name, (0.3, 0.5), (1, 2, 3))) == 6


@pytest.mark.parametrize("motion", ["belt", "free"])
@pytest.mark.parametrize("every", [1, 3])
def test_scenes_give_a_time_for_each_frame(motion: Any, every: int) -> None:
    assert len(frame_ms(motion, 20, 5, every)) == 5
