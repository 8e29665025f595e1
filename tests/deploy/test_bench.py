"""`foveate bench`: what a configuration costs; the user's own ledger stays as it is."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import foveate
from deploy.bench import Rounds, measure, table
from edge.config import load_config
from edge.daemon import open_models
from edge.station import Models
from tests.see.coded import write_belt, write_bundle
from tests.see.made import looks_of, tracks_of

FRAMES = 40
CONFIG = """
bundle = "bundle"
state = "state"
[cameras.belt]
source = "pictures"
fps = 10
[regions]
min_area_px = 50
[models]
threads = 1
[tracks]
motion = "belt"
[[lines]]
name = "door"
camera = "belt"
start = [80, 0]
end = [80, 120]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", FRAMES, 3)
    (tmp_path / "site.toml").write_text(CONFIG)
    return tmp_path / "site.toml"


def test_it_says_what_every_stage_costs_and_leaves_no_trace(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, drawn = tmp_path / "out.json", tmp_path / "cost.png"
    assert foveate.main(["bench", str(site), "--warmup", "5", "--json", str(told), "--plot", str(drawn)]) == 0
    said, found = capsys.readouterr().out, json.loads(told.read_text())
    assert found["frames"] == FRAMES
    assert found["measured_frames"] == len(found["rounds"]) == FRAMES - 5
    assert sum(stage["share"] for stage in found["stages"].values()) == pytest.approx(1, abs=0.01)
    assert sum(found["spent"].values()) == pytest.approx(1, abs=0.01)
    assert found["canvases_per_frame"] == pytest.approx(
        sum(row["canvases"] for row in found["rounds"]) / (FRAMES - 5), abs=1e-3
    )
    for stage in ("semantic", "instances", "ledger"):
        assert f"\n{stage} " in said
    assert f"{FRAMES - 5} frames of 1 camera\n" in said
    assert len(np.unique(np.asarray(cv2.imread(str(drawn))))) > 50, "an empty picture"
    assert not (tmp_path / "state").exists()


def test_frames_of_one_round_are_one_row() -> None:
    rounds, stages, other = Rounds(), {"semantic": 1.0}, {"semantic": 2.0}
    for camera_stages in (stages, stages, other):
        rounds.add(camera_stages, looks_of([(0, 0, 9, 9)], [(0, 0, 9, 9)]), tracks_of([(0, 0, 9, 9)], ids=[7]))
    assert [(row["frames"], row["canvases"], row["tracks"]) for row in rounds.rows] == [(2, 1, 2), (1, 1, 1)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.toml"], 78, "cannot be read"),
        (["{site}", "--source", "none.mp4"], 69, "none.mp4"),
        (["{site}", "--json", "{site}/x.json"], 1, "--json"),
        (["{site}", "--plot", "{folder}/no/x.png"], 1, "--plot"),
        (["{site}", "--plot", "{folder}/x.xyz"], 1, "x.xyz: is no kind of picture; end it with one of .jpeg"),
        (["{site}", "--plot", "{folder}/x"], 1, "is no kind of picture"),
        (["{site}", "--json", "{site}"], 1, "would replace the configuration"),
        (["{site}", "--json", "{folder}/bundle/manifest.json"], 1, "would replace a part of the bundle"),
        (["{site}", "--plot", "{folder}/pictures/3.png"], 1, "would replace a picture of camera belt"),
        (["{site}", "--plot", "{folder}/x.svg", "--json", "{folder}/x.svg"], 1, "are the same file"),
    ],
)
def test_what_is_wrong_is_named(
    site: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    given = [word.format(site=site, folder=site.parent) for word in arguments]
    before = {path: path.read_bytes() for path in site.parent.rglob("*.*") if path.is_file()}
    assert foveate.main(["bench", *given]) == code
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in site.parent.rglob("*.*") if path.is_file()} == before
    assert not (site.parent / "x.png").exists()


@pytest.mark.parametrize("name", ["full.png", "full.json"])
def test_a_full_disk_is_named(site: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (site.parent / name).symlink_to("/dev/full")
    flag = "--plot" if name.endswith("png") else "--json"
    assert foveate.main(["bench", str(site), flag, str(site.parent / name)]) == 1
    assert f"{name}: cannot be written: No space left on device; name a file in a" in capsys.readouterr().err


def test_a_camera_that_fails_late_costs_no_figure(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = 12 * 100 * 100 * 3
    camera = f'command = ["sh", "-c", "head -c {frames} /dev/zero; exit 3"]\nsize = [100, 100]'
    site.write_text(CONFIG.replace('source = "pictures"', camera).replace("120]", "99]"))
    assert foveate.main(["bench", str(site), "--json", str(site.parent / "x.json")]) == 69
    said = capsys.readouterr()
    assert "2 frames of 1 camera\n" in said.out
    assert "ended with exit code 3" in said.err
    assert json.loads((site.parent / "x.json").read_bytes())["frames"] == 12


def test_fewer_rounds_than_do_not_count_are_no_figures(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foveate.main(["bench", str(site), "--frames", "5"]) == 1
    assert "5 rounds came, of which the first 10 do not count; let it run for longer" in capsys.readouterr().err


def test_a_step_of_the_governor_is_told(site: Path) -> None:
    result, failure = measure(load_config(site), site, None, 5)
    assert failure is None
    assert result["governor"] == {}, "there is none over a recording"
    assert table(result)[-1].startswith("start ")
    result |= {"governor": {"step": 3, "name": "unaudited", "costs": {"half": 2.5}}, "skipped": 7}
    assert table(result)[-1] == "governor     ended at step 3 (unaudited), half gave 2.5 ms; 7 frames skipped"


def test_a_stop_before_the_first_frame_is_no_fault_of_the_camera(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any) -> Models:
        os.kill(os.getpid(), signal.SIGTERM)
        return open_models(*given)

    monkeypatch.setattr("edge.daemon.open_models", stopped)
    assert foveate.main(["bench", str(site)]) == 1
    assert "stopped before the first frame" in capsys.readouterr().err
