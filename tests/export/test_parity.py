"""Decisions of two sides: which tracks are of the same object, what differs, and a site that is really run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError
from edge.events import Verdict
from export.build import export_bundle
from export.parity import Played, compare, same_tracks, site_of
from export.recipe import load_recipe
from tests.export.nets import rewritten

SITE = """
site = "test"
line = "line"
device = "box"
bundle = "nowhere"
state = "state"
[cameras.eye]
source = "moving"
fps = 10
[regions]
min_area_px = 50
[tracks]
confirm_looks = 2
min_area_px = 20
[[lines]]
name = "middle"
camera = "eye"
start = [48, 0]
end = [48, 64]
direction = "both"
hysteresis_px = 0
settle_looks = 1
"""
PARITY = ("[bounds]", '[parity]\nconfig = "site.toml"\nframes = 40\n[bounds]')


def verdict(track: int, said: str, gate: str = "gate", frame: int = 7) -> Verdict:
    return Verdict(
        time=0.0, camera="eye", frame=frame, gate=gate, track=track, label="nut", position=(1.0, 2.0), verdict=said,
        reasons=["chip"] if said == "REJECT" else [], defects_px={}, looks=2, deadline=None,
    )  # fmt: skip


def played(paths: dict[int, tuple[float, float]], verdicts: list[Verdict], counts: dict[str, int]) -> Played:
    """Return a side whose tracks are 10 pixel squares that begin at `paths` and move right by 4 pixels a frame."""
    frames = 5
    side = Played()
    side.counts.update(counts)
    side.verdicts = {(found.gate, found.track): found for found in verdicts}
    for frame in range(frames):
        corners = np.asarray([(x + 4 * frame, y) for x, y in paths.values()], np.float32).reshape(-1, 2)
        side.places["eye", frame] = np.asarray(list(paths), np.int64), np.hstack([corners, corners + 10])
    return side


def test_tracks_are_brought_together_by_where_they_are() -> None:
    first = played({1: (0, 0), 2: (0, 50), 3: (0, 100)}, [], {})
    second = played({7: (0, 51), 9: (1, 1), 12: (300, 300)}, [], {})
    assert same_tracks(first, second) == {1: 9, 2: 7}


def test_a_track_is_of_one_object_only() -> None:
    """Two tracks of one side over one of the other: the one with more frames has it."""
    first = played({1: (0, 0), 2: (1, 1)}, [], {})
    second = played({5: (0, 0)}, [], {})
    first.places["eye", 99], second.places["eye", 99] = first.places["eye", 0], second.places["eye", 0]
    ids, boxes = first.places["eye", 99]
    first.places["eye", 99] = ids[:1], boxes[:1]
    assert same_tracks(first, second) == {1: 5}


def test_flips_and_counts() -> None:
    here = [verdict(1, "PASS"), verdict(2, "REJECT"), verdict(3, "PASS")]
    there = [verdict(4, "PASS"), verdict(5, "PASS"), verdict(6, "REVIEW")]
    first = played({1: (0, 0), 2: (0, 50), 3: (0, 100)}, here, {"a": 3, "b": 1})
    second = played({4: (0, 0), 5: (0, 50), 6: (200, 300)}, there, {"a": 3, "c": 2})
    found = compare(first, second)
    assert found.figures["parity_parts"] == 4
    assert found.figures["parity_verdicts_flipped"] == 3  # one flipped, one lost, one more
    assert found.figures["parity_counts_differ"] == 2
    assert found.figures["parity_frames"] == 5
    assert found.flips == [
        "camera eye, frame 7, nut at (1, 2): float REJECT (chip), bundle PASS",
        "camera eye, frame 7, nut at (1, 2): float PASS, bundle none",
        "camera eye, frame 7, nut at (1, 2): float none, bundle REVIEW",
    ]
    assert compare(first, first).flips == []


@pytest.fixture
def site(recipe: Path) -> Path:
    """Write a site with one line, and a recording in which two squares cross it."""
    folder = recipe.parent / "moving"
    folder.mkdir()
    for i in range(30):
        picture = np.full((64, 96, 3), 20, np.uint8)
        for x, y in ((2 + 3 * i, 6), (2 + 3 * (i - 8), 40)):
            picture[y : y + 16, max(x, 0) : max(x + 16, 0)] = 230
        cv2.imwrite(str(folder / f"{i:03}.png"), picture)
    path = recipe.parent / "site.toml"
    path.write_text(SITE)
    return path


def test_a_site_is_run_with_both_sides(recipe: Path, site: Path, tmp_path: Path) -> None:
    rewritten(recipe, PARITY)
    bundle = export_bundle(recipe, tmp_path / "out")
    quality = bundle.manifest.quality
    assert quality["parity_frames"] == 30
    assert quality["parity_counts_float"] == quality["parity_counts_bundle"] == 2
    assert quality["parity_counts_differ"] == quality["parity_parts"] == 0
    assert not (site.parent / "state").exists()
    report = json.loads((tmp_path / "out.report" / "report.json").read_text())
    assert "the counter that differs most is" in " ".join(report["bounds"])
    assert report["decisions"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('source = "moving"', 'source = "rtsp://eye"'), "camera eye of .* is live; name a recording"),
        (("[cameras.eye]", "[cameras.eye"), "site.toml: cannot be understood"),
    ],
)
def test_a_site_that_cannot_be_run_is_named_before_the_work(
    recipe: Path, site: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    rewritten(recipe, PARITY)
    rewritten(site, change)
    steps: list[str] = []
    with pytest.raises(ConfigError, match=said):
        export_bundle(recipe, tmp_path / "out", lambda step, _share: steps.append(step))
    assert steps == []


def test_recordings_take_the_place_of_cameras(recipe: Path, site: Path) -> None:
    rewritten(site, ('source = "moving"', 'source = "rtsp://eye"'))
    rewritten(recipe, (PARITY[0], f'{PARITY[1].removesuffix("[bounds]")}recordings = {{ eye = "moving" }}\n[bounds]'))
    parity = load_recipe(recipe).parity
    assert parity is not None
    assert site_of(parity).cameras["eye"].source == str(recipe.parent / "moving")
    rewritten(recipe, ("{ eye =", "{ nose ="))
    parity = load_recipe(recipe).parity
    assert parity is not None
    with pytest.raises(ConfigError, match=r"has no camera 'nose'; it has eye"):
        site_of(parity)
