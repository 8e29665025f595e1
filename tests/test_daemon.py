"""`python -m edge CONFIG` as its users run it: a process, signals, kills, and what it says when something is wrong."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import pytest

from edge import config
from edge.tell.ledger import Ledger
from tests.broker import free_port, wait_for
from tests.see.coded import FRAME, belt, picture, write_belt, write_bundle

ROOT = Path(__file__).parents[1]
FRAMES, PARTS = 80, 4  # after so many frames the belt is empty again
EVENTS = 3 * PARTS  # each arrives before the gate, crosses the line and is judged
RULES = """
[regions]
min_area_px = 50
pad_px = 6
[attention]
canvases = 2
[models]
threads = 1
[tracks]
motion = "belt"
at_border = "wait"
[[lines]]
name = "door"
camera = "belt"
start = [80, 0]
end = [80, 120]
direction = "right"
[[gates]]
name = "exit"
camera = "belt"
start = [110, 0]
end = [110, 120]
direction = "right"
[gates.defects.scratch]
min_area_px = 20
"""
ENDLESS = """
import sys, time
data = open(sys.argv[1], "rb").read()
while True:
    for i in range(0, len(data), int(sys.argv[2])):
        sys.stdout.buffer.write(data[i : i + int(sys.argv[2])])
        sys.stdout.buffer.flush()
        time.sleep(0.005)
"""


@dataclass(frozen=True)
class Plant:
    """What all tests share: a bundle, a folder of pictures and a camera that never ends."""

    bundle: Path
    pictures: Path
    endless: str


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("plant")
    frames = folder / "frames.raw"
    frames.write_bytes(b"".join(picture(belt(i, PARTS), (1,)).tobytes() for i in range(FRAMES)))
    (folder / "endless.py").write_text(ENDLESS)
    size = FRAME[0] * FRAME[1] * 3
    command = ["{python}", str(folder / "endless.py"), str(frames), str(size)]
    endless = f"command = {msgspec.json.encode(command).decode()}\nsize = {list(FRAME)}\nfps = 100\n"
    return Plant(write_bundle(folder / "bundle"), write_belt(folder / "pictures", FRAMES, PARTS, (1,)), endless)


@dataclass
class Daemon:
    """A configuration of its own, and what came of running it."""

    folder: Path
    plant: Plant
    process: subprocess.Popen[str] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode((self.folder / "out.json").read_bytes())
        return found

    def configure(self, camera: str | None = None, rules: str = RULES, **top: str) -> None:
        camera = f'source = "{self.plant.pictures}"\nfps = 10\n' if camera is None else camera
        keys = {"bundle": str(self.plant.bundle), "state": "state", **top}
        head = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        (self.folder / "c.toml").write_text(f"{head}[cameras.belt]\n{camera}{rules}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edge", str(self.folder / "c.toml"), "--json", str(self.folder / "out.json")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self.process

    def end(self, code: int) -> str:
        """Wait for the end, check the exit code, and return what was said: never a traceback."""
        assert self.process is not None
        out, said = self.process.communicate(timeout=30)
        assert "Traceback" not in said, said
        assert self.process.returncode == code, said
        assert out == ""
        return said

    def run(self, code: int, *arguments: str) -> str:
        self.start(*arguments)
        return self.end(code)

    def refused(self, code: int, *arguments: str) -> str:
        """Run what cannot work and return the one error line."""
        (line,) = [line for line in self.run(code, *arguments).splitlines() if line.startswith("foveate: error: ")]
        return line.removeprefix("foveate: error: ")

    def counted(self) -> int:
        """Return the sum of the totals on disk, from another process."""
        if not (self.state / "ledger.db-wal").exists():
            return 0
        try:
            db = sqlite3.connect(f"file:{self.state / 'ledger.db'}?mode=ro", uri=True)
        except sqlite3.Error:
            return 0
        try:
            return int(db.execute("SELECT coalesce(sum(total), 0) FROM totals").fetchone()[0])
        except sqlite3.Error:  # not yet made
            return 0
        finally:
            db.close()

    def events(self) -> list[dict[str, Any]]:
        """Open the ledger as the next daemon would, check that it is sound, and return what is queued in it."""
        ledger = Ledger(self.state, config.Ledger(), [])
        try:
            assert ledger.identity().holds
            assert not list(self.state.glob("*.corrupt-*"))
            return [msgspec.json.decode(row.payload) for row in ledger.outbox.pending(0, 100_000)]
        finally:
            ledger.close()


@pytest.fixture
def daemon(tmp_path: Path, plant: Plant) -> Iterator[Daemon]:
    made = Daemon(tmp_path, plant)
    made.configure()
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


def test_a_recording_is_seen_to_its_end_and_summed_up(daemon: Daemon) -> None:
    daemon.run(0)
    got = daemon.summary
    assert got["frames"] == FRAMES
    assert got["counted"] == {"door/part": PARTS}
    assert got["verdicts"] == {"exit/PASS": PARTS - 1, "exit/REJECT": 1}
    assert got["totals"] == {"door/part": PARTS, "exit/seen": PARTS, "exit/PASS": PARTS - 1, "exit/REJECT": 1}
    assert got["ledger"] == {"counted": EVENTS, "delivered": 0, "queued": EVENTS, "lost": 0}
    events = daemon.events()
    assert [event["seq"] for event in events] == list(range(1, EVENTS + 1))
    assert [event["track"] for event in events if event["kind"] == "verdict"] == [1, 2, 3, 4]


def test_a_broker_that_is_not_there_costs_one_warning_and_the_events_wait(daemon: Daemon) -> None:
    daemon.configure(rules=RULES + f"[mqtt]\nport = {free_port()}\ndrain_s = 1\n")
    said = daemon.run(0)
    warnings = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line]
    assert len(warnings) == 1, said
    assert re.search(r"mqtt=offline broker=127.0.0.1:\d+ reason=.*fix=start the broker", warnings[0])
    assert daemon.summary["ledger"] == {"counted": EVENTS, "delivered": 0, "queued": EVENTS, "lost": 0}
    assert len(daemon.events()) == EVENTS


def test_totals_go_on_over_runs_and_ids_do_not_come_back(daemon: Daemon) -> None:
    daemon.run(0)
    daemon.run(0)
    assert daemon.summary["counted"] == {"door/part": PARTS}
    assert daemon.summary["totals"]["door/part"] == 2 * PARTS
    tracks = [event["track"] for event in daemon.events() if event["kind"] == "count"]
    assert len(set(tracks)) == len(tracks) == 2 * PARTS


def test_simulated_is_in_every_event(daemon: Daemon) -> None:
    daemon.configure()
    text = (daemon.folder / "c.toml").read_text()
    (daemon.folder / "c.toml").write_text("simulated = true\n" + text)
    daemon.run(0)
    assert {event["simulated"] for event in daemon.events()} == {True}


def test_frames_ends_the_run(daemon: Daemon) -> None:
    daemon.configure(camera=daemon.plant.endless)
    daemon.run(0, "--frames", "7")
    assert daemon.summary["frames"] == 7


def test_source_goes_before_the_configured_camera(daemon: Daemon, tmp_path: Path) -> None:
    write_belt(tmp_path / "other", 3, 0)
    daemon.configure(camera=daemon.plant.endless)
    daemon.run(0, "--source", "other")
    assert daemon.summary["frames"] == 3


def test_save_writes_a_video_of_every_frame(daemon: Daemon, tmp_path: Path) -> None:
    daemon.run(0, "--frames", "12", "--save", "seen.mp4")
    video = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 12
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == FRAME
    video.release()


def test_it_says_what_it_runs_and_at_the_end_what_came_of_it(daemon: Daemon) -> None:
    said = daemon.run(0)
    assert re.search(r"engine=semantic\S* runtime=onnxruntime precision=float32", said)
    assert f"started bundle={daemon.plant.bundle} cameras=belt:{FRAME[0]}x{FRAME[1]} tells=nobody" in said
    assert f"queued={EVENTS}" in said
    trial = daemon.run(0, "--trial")
    assert "told=nobody" in trial
    assert "queued=" not in trial


def test_a_missing_bundle_is_65(daemon: Daemon) -> None:
    daemon.configure(bundle="gone/../nowhere")
    said = daemon.refused(65)
    assert said.startswith(f"bundle {daemon.folder}/nowhere: cannot read manifest.json: ")
    assert said.endswith("make it with foveate export")


def test_a_bundle_with_an_altered_model_is_65(daemon: Daemon, tmp_path: Path) -> None:
    altered = write_bundle(tmp_path / "altered") / "instance.onnx"
    data = bytearray(altered.read_bytes())
    data[-20] ^= 1
    altered.write_bytes(data)
    daemon.configure(bundle="altered")
    assert "instance.onnx" in daemon.refused(65)


def test_a_missing_source_is_69(daemon: Daemon) -> None:
    daemon.configure(camera='source = "nowhere.mp4"\n')
    assert re.search(r"camera belt: there is no file or folder .*nowhere\.mp4; source is a video", daemon.refused(69))


def test_a_source_that_fails_in_the_middle_is_69_and_what_was_decided_is_kept(daemon: Daemon, tmp_path: Path) -> None:
    pictures = write_belt(tmp_path / "cut", FRAMES, PARTS)
    (pictures / f"{FRAMES - 5}.png").write_bytes(b"\x89PNG")
    daemon.configure(camera='source = "cut"\n')
    assert f"{FRAMES - 5}.png is no picture or is cut short" in daemon.refused(69)
    assert daemon.summary["frames"] == FRAMES - 5
    assert len(daemon.events()) == EVENTS


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (RULES.replace("end = [80, 120]", "end = [80, 300]"), "'door': end: point (80, 300) is outside"),
        (RULES.replace("end = [80, 120]", "end = [80, 0]"), "line 'door': start and end are the same point"),
        (RULES.replace("pad_px", "pad_pixel"), "unknown field `pad_pixel`"),
        (RULES.replace("scratch", "rust"), "gate 'exit': defects: no class 'rust' in the bundle; it has scratch"),
        (RULES + '[mqtt]\nhost = "10.0.0.1"\n', "is not on this machine"),
        (RULES.replace("threads = 1", 'precision = "int8"'), "precision 'int8' with runtime 'auto' is not in"),
    ],
    ids=["outside", "no length", "unknown key", "unknown defect", "broker", "precision"],
)  # fmt: skip
def test_a_wrong_configuration_is_78(daemon: Daemon, rules: str, said: str) -> None:
    daemon.configure(rules=rules)
    assert said in daemon.refused(78)


def test_a_missing_configuration_is_78(daemon: Daemon) -> None:
    (daemon.folder / "c.toml").unlink()
    assert "c.toml: cannot be read" in daemon.refused(78)


def test_a_file_in_the_place_of_the_state_folder_is_74(daemon: Daemon) -> None:
    daemon.state.touch()
    assert str(daemon.state) in daemon.refused(74)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_folder_that_may_not_be_written_is_74(daemon: Daemon) -> None:
    daemon.state.mkdir(mode=0o500)
    assert "name a state folder that this user may write" in daemon.refused(74)


def test_a_summary_that_cannot_be_written_is_1(daemon: Daemon) -> None:
    assert "--json" in daemon.refused(1, "--frames", "1", "--json", str(daemon.folder / "no" / "out.json"))


@pytest.mark.parametrize(
    ("flag", "name", "said"),
    [
        ("--save", "rec.mp4", "would replace what camera belt reads"),
        ("--save", "link.mp4", "would replace what camera belt reads"),
        ("--json", "c.toml", "would replace the configuration"),
        ("--json", "bundle/manifest.json", "would replace a part of the bundle"),
        ("--json", "bundle/new.json", "would replace a part of the bundle"),
        ("--json", "state/ledger.db", "would replace a part of the state folder"),
        ("--save", "out.json", "are the same file; name two"),
    ],
)
def test_what_a_run_reads_is_never_written_over(daemon: Daemon, flag: str, name: str, said: str) -> None:
    write_bundle(daemon.folder / "bundle")
    daemon.state.mkdir()
    daemon.configure(camera='source = "rec.mp4"\n', bundle="bundle")
    for file in ("rec.mp4", "state/ledger.db"):
        (daemon.folder / file).write_text("precious")
    (daemon.folder / "link.mp4").hardlink_to(daemon.folder / "rec.mp4")
    before = {path: path.read_bytes() for path in daemon.folder.rglob("*") if path.is_file()}
    assert said in daemon.refused(1, flag, str(daemon.folder / name))
    assert {path: path.read_bytes() for path in daemon.folder.rglob("*") if path.is_file()} == before


def test_a_picture_of_the_source_is_not_written_over_but_a_video_beside_it_is_written(daemon: Daemon) -> None:
    pictures = write_belt(daemon.folder / "few", 3, 1)
    daemon.configure(camera='source = "few"\n')
    assert "would replace a picture of camera belt" in daemon.refused(1, "--save", "few/1.png")
    daemon.run(0, "--save", str(pictures / "seen.mp4"))
    daemon.run(0, "--save", str(pictures / "seen.mp4"))


def test_two_daemons_do_not_share_a_state_folder(daemon: Daemon) -> None:
    ledger = Ledger(daemon.state, config.Ledger(), [])
    try:
        assert f"in use by process {os.getpid()}" in daemon.refused(74)
    finally:
        ledger.close()


def test_a_state_folder_that_is_removed_meanwhile_is_74(daemon: Daemon) -> None:
    daemon.configure(camera=daemon.plant.endless)
    daemon.start()
    assert wait_for(lambda: daemon.counted() >= 1, 20)
    shutil.rmtree(daemon.state)
    assert "ledger.db: was removed or replaced while it was in use" in daemon.end(74)


@pytest.mark.parametrize(
    "arguments", [("--frames", "0"), ("--frames", "x"), ("--frame-rate", "3"), ("--log-level", "loud")]
)
def test_a_wrong_command_line_is_2(daemon: Daemon, arguments: tuple[str, ...]) -> None:
    assert "usage: foveate run" in daemon.run(2, *arguments)


@pytest.fixture
def hangup() -> Iterator[None]:
    """Let what is started hear SIGHUP, also where these tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: signal.Signals(number).name
)
def test_a_signal_ends_it_in_order(daemon: Daemon, number: signal.Signals) -> None:
    daemon.configure(camera=daemon.plant.endless)
    process = daemon.start()
    assert wait_for(lambda: daemon.counted() >= 3, 20)
    process.send_signal(number)
    assert f"stopping signal={number.name}" in daemon.end(0)
    events = daemon.events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert sum(daemon.summary["totals"].values()) == len(events) >= 3


@pytest.mark.parametrize(
    ("size", "arguments"),
    [("", ("--save", "seen.mp4")), (f"size = {list(FRAME)}\n", ())],
    ids=["at the start", "later"],
)
def test_a_signal_does_not_wait_for_a_camera_that_says_nothing(
    daemon: Daemon, size: str, arguments: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        source = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/belt"
        daemon.configure(camera=f'source = "{source}"\nstall_s = 25\n{size}')
        process = daemon.start(*arguments)
        client, _ = silent.accept()
        with client:
            time.sleep(1.5)  # the models are open by now
            before = time.monotonic()
            process.send_signal(signal.SIGTERM)
            daemon.end(0)
            assert time.monotonic() - before < 8
    assert (daemon.summary["frames"], daemon.summary["interrupted"]) == (0, True)
    assert daemon.events() == []


def test_nohup_is_heard(daemon: Daemon) -> None:
    daemon.configure(camera=daemon.plant.endless)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = daemon.start("--frames", "60")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert wait_for((daemon.state / "ledger.db-wal").exists, 20)
    process.send_signal(signal.SIGHUP)
    daemon.end(0)
    assert daemon.summary["frames"] == 60


def test_a_second_ctrl_c_does_not_wait_for_the_broker(daemon: Daemon) -> None:
    daemon.configure(camera=daemon.plant.endless, rules=RULES + f"[mqtt]\nport = {free_port()}\ndrain_s = 60\n")
    process = daemon.start()
    assert wait_for(lambda: daemon.counted() >= 1, 20)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    daemon.end(130)
    assert len(daemon.events()) >= 1


def test_a_kill_loses_nothing_that_was_decided_and_the_next_run_goes_on(daemon: Daemon) -> None:
    daemon.configure(camera=daemon.plant.endless)
    total, seen = 0, 0
    for _ in range(2):
        process = daemon.start()
        assert wait_for(lambda: daemon.counted() >= total + 3, 20)  # noqa: B023
        seen = daemon.counted()
        process.send_signal(signal.SIGKILL)
        daemon.end(-signal.SIGKILL)
        total = daemon.counted()
        assert total >= seen
    daemon.configure()
    daemon.run(0)
    totals = daemon.summary["totals"]
    events = daemon.events()
    assert sum(totals.values()) == len([event for event in events if "total" in event]) >= total + EVENTS
    assert totals["exit/seen"] == sum(totals.get(f"exit/{verdict}", 0) for verdict in ("PASS", "REJECT", "EXPIRED"))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    counts = [event for event in events if event["kind"] == "count"]
    assert [event["total"] for event in counts] == list(range(1, totals["door/part"] + 1))
    assert len({event["track"] for event in counts}) == len(counts)


def test_the_time_between_a_kill_and_the_next_first_frame_is_a_gap(daemon: Daemon) -> None:
    daemon.configure(camera=f"{daemon.plant.endless}live = true\n")
    process = daemon.start()
    assert wait_for(lambda: daemon.counted() >= 2, 20)
    time.sleep(1.5)  # a beat a second
    process.send_signal(signal.SIGKILL)
    daemon.end(-signal.SIGKILL)
    before = daemon.events()
    time.sleep(1.0)
    daemon.run(0, "--frames", "20")
    told = daemon.events()[len(before) :]
    left = list(itertools.takewhile(lambda event: event.get("verdict") == "EXPIRED", told))  # parts under way then
    gap, *after = told[len(left) :]
    assert (gap["kind"], gap["reason"], gap["camera"]) == ("gap", "start", "belt")
    assert 1.0 <= gap["until"] - gap["since"] <= 12.0
    assert gap["seq"] == before[-1]["seq"] + 1 + len(left)
    tracks = {event["track"] for event in before if event["kind"] == "count"}
    assert not tracks & {event["track"] for event in after if event["kind"] == "count"}
