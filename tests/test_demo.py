"""The demo as a machine runs it: exported bundle, broker from PyPI, the daemon, the receiver, the truth."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from rich.console import Console

from examples.belt.live import print_summary

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 450
KEYS = {
    "frames", "fps", "counted", "true", "defects", "verdicts", "ledger", "rss_mb", "startup_s", "ms"
}  # fmt: skip


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "foveate", "demo", "--headless", *arguments]


@pytest.fixture(scope="module")
def result(belt_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the demo once on a test seed."""
    path = tmp_path_factory.mktemp("demo") / "out.json"
    command = demo("--frames", str(FRAMES), "--seed", "11", "--json", str(path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_result_has_every_key(result: dict[str, Any]) -> None:
    assert result.keys() >= KEYS
    assert result["frames"] == FRAMES


def test_counts_are_close_to_the_truth(result: dict[str, Any]) -> None:
    assert sum(result["true"].values()) > 100, "the run is long enough to mean something"
    # What this revision holds on the seeds that were tried; `benchmarks belt` has the figures.
    assert result["count_error"] <= 0.01, (result["counted"], result["true"])


def test_every_part_has_a_verdict_and_defects_are_flagged(result: dict[str, Any]) -> None:
    defects = result["defects"]
    assert result["verdicts"]["missing"] + result["verdicts"]["extra"] <= 1, result["wrong"]
    assert defects["tp"] >= 10
    assert defects["fn"] + defects["fp"] <= 2, result["wrong"]


def test_the_ledger_reconciles(result: dict[str, Any]) -> None:
    ledger = result["ledger"]
    assert ledger["counted"] == ledger["delivered"] == result["received"] > 0
    assert (ledger["queued"], ledger["lost"]) == (0, 0)


def test_the_daemon_is_small(result: dict[str, Any]) -> None:
    assert 50 < result["rss_mb"] <= 200


def test_the_summary_says_what_it_measured_and_fits_a_terminal(result: dict[str, Any]) -> None:
    with Console(width=80, file=io.StringIO()) as console, console.capture() as shown:
        print_summary(console, {**result, "wrong": ["part 1103 (bracket, missing_hole 120 px) " * 2 + "after 9 looks"]})
    summary = shown.get().split("count error")[1]
    assert "frames/s at 1080p, rendering left out\n" in summary
    said, wrong = summary[: summary.index("  part 1103")], summary[summary.index("  part 1103") :]
    assert all(line[:15].strip() for line in said.splitlines()[1:]), "no line is broken"
    assert all(line.startswith("  ") for line in wrong.splitlines())


def test_the_overlay_is_a_video_of_the_frames(belt_bundle: Path, tmp_path: Path) -> None:
    video = tmp_path / "o.mp4"
    subprocess.run(demo("--frames", "12", "--save", str(video)), cwd=ROOT, capture_output=True, check=True)
    capture = cv2.VideoCapture(str(video))
    seen = 0
    while capture.read()[0]:
        seen += 1
    assert seen == 12


def heed_ctrl_c() -> None:
    """Undo what a shell does to its background jobs, which are to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_demo_without_a_traceback_and_with_a_summary(belt_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    process = subprocess.Popen(
        demo("--frames", "100000", "--json", str(path)),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509  no other thread is there that could hold a lock
    )
    try:
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.terminate()  # as Ctrl-C: nothing that it started is left behind
        process.communicate()
    assert "Traceback" not in said
    assert process.returncode in {0, 130}
    assert process.returncode == 130 or json.loads(path.read_text())["frames"] > 0


@pytest.mark.parametrize("arguments", [["--frames", "0"], ["--seed", "x"], ["--frames", "many"]])
def test_wrong_arguments_are_named(arguments: list[str]) -> None:
    done = subprocess.run(demo(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written_is_named_before_the_run(belt_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "out.json"
    command = demo("--json", str(target))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert str(target) in done.stderr
    assert "Traceback" not in done.stderr
