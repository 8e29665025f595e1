"""`foveate replay`: the same bytes on every run, and nothing of the configuration's own is touched."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

import foveate
from edge import daemon, replay
from edge.config import Camera, Config, load_config
from edge.errors import ConfigError
from edge.rehearsal import with_sources
from edge.tell.reader import read_ledger
from tests.see.coded import write_belt, write_bundle
from tests.test_daemon import FRAMES, PARTS, RULES

ROOT = Path(__file__).parents[1]
CAMERA = '[cameras.{name}]\nsource = "rtsp://camera.example/{name}"\nfps = 10\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle, a recording and the configuration of a live camera."""
    folder = tmp_path_factory.mktemp("site")
    write_bundle(folder / "bundle")
    write_belt(folder / "belt", FRAMES, PARTS, (1,))
    head = 'bundle = "bundle"\nstate = "state"\n'
    (folder / "site.toml").write_text(head + CAMERA.format(name="belt") + RULES + "[mqtt]\nport = 1\n")
    both = CAMERA.format(name="belt") + CAMERA.format(name="other")
    (folder / "two.toml").write_text(head + both + RULES)
    return folder


def replayed(site: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "foveate", "replay", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, timeout=120, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def refused(code: int, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert foveate.main(["replay", *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_the_same_bytes_on_every_run_and_number_of_threads(site: Path, tmp_path: Path) -> None:
    lines = replayed(site, "belt", "--config", "site.toml").stdout
    events = [msgspec.json.decode(line) for line in lines.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, 3 * PARTS + 1))
    assert {event["stream"] for event in events} == {replay.STREAM}
    assert [event["track"] for event in events if event["kind"] == "count"] == [1, 2, 3, 4]
    assert all(event["utc"] == f"1970-01-01T00:00:{event['time']:06.3f}Z" for event in events)
    digest = hashlib.sha256(lines).hexdigest()
    for arguments in (["--threads", "1"], ["--threads", "2"], ["--ledger", str(tmp_path / "kept")]):
        hashed = ["--hash"] if "--ledger" not in arguments else []
        found = replayed(site, "belt", "--config", "site.toml", *hashed, *arguments).stdout
        assert found.decode() == f"{digest}\n"
    exported = tmp_path / "events.jsonl"
    assert foveate.main(["ledger", "verify", str(tmp_path / "kept")]) == 0
    assert foveate.main(["ledger", "export", str(tmp_path / "kept"), "--jsonl", str(exported)]) == 0
    assert exported.read_bytes() == lines
    assert not (site / "state").exists()


def test_a_replay_decides_what_a_run_decides(site: Path, tmp_path: Path) -> None:
    lines = replayed(site, "belt", "--config", "site.toml", "--start", "2026-11-23T08:00").stdout
    rules = with_sources(load_config(site / "site.toml"), [str(site / "belt")])
    seen: list[Any] = []
    daemon.serve(
        msgspec.structs.replace(rules, state=tmp_path, mqtt=None),
        daemon.Options(),
        watchers=[lambda moment: seen.extend(moment.events)],
    )
    told = [msgspec.json.decode(line) for line in lines.splitlines()]
    decided = [msgspec.json.decode(msgspec.json.encode(event)) for event in seen]
    own = ("stream", "seq", "utc", "total", "picture")
    assert [{**event, **dict.fromkeys(own)} for event in told] == [{**event, **dict.fromkeys(own)} for event in decided]
    assert {event["utc"][:14] for event in told} == {"2026-11-23T08:"}


def test_c1_no_step_of_the_clock_changes_what_is_decided(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = with_sources(load_config(site / "site.toml"), [str(site / "belt")])
    steady = datetime(2026, 11, 23, tzinfo=timezone.utc)
    times = [steady.timestamp() + step for step in (0, 3600, -3600, 0.9, 12 * 365 * 86400)] + [0.0]
    daemons, events = itertools.cycle(times), itertools.cycle(times)
    told: list[list[dict[str, Any]]] = []
    for number, jumps in enumerate((False, True)):
        if jumps:  # 1 h on and back, a leap second, 2038, 1970: between any two readings
            monkeypatch.setattr(time, "time", lambda: next(daemons))
        clock = (lambda _: datetime.fromtimestamp(next(events), timezone.utc)) if jumps else (lambda _: steady)
        alone = msgspec.structs.replace(rules, state=tmp_path / str(number), mqtt=None)
        summary = daemon.serve(alone, daemon.Options(clock=clock, stream=replay.STREAM))
        assert summary["totals"] == {
            "door/part": PARTS, "exit/seen": PARTS, "exit/PASS": PARTS - 1, "exit/REJECT": 1,
        }  # fmt: skip
        with read_ledger(tmp_path / str(number) / "ledger.db") as ledger:
            told.append([msgspec.json.decode(row.payload) for row in ledger.rows()])
    assert len({event["utc"][:4] for event in told[1]}) == 3, "1970, 2026 and 2038 are in them"
    assert [{**event, "utc": ""} for event in told[0]] == [{**event, "utc": ""} for event in told[1]]


def test_several_cameras_each_have_their_recording(site: Path) -> None:
    one = replayed(site, "belt=belt", "other=belt", "--config", "two.toml", "--hash").stdout
    again = replayed(site, "other=belt", "belt=belt", "--config", "two.toml", "--hash", "--threads", "1").stdout
    assert one == again
    assert re.fullmatch(rb"[0-9a-f]{64}\n", one)


def test_save_json_and_frames_are_those_of_a_run(site: Path, tmp_path: Path) -> None:
    wanted = ["--json", str(tmp_path / "out.json"), "--save", str(tmp_path / "seen.mp4"), "--frames", "12"]
    told = replayed(site, "belt", "--config", "site.toml", *wanted).stdout
    assert [msgspec.json.decode(line)["kind"] for line in told.splitlines()] == ["arrival"]
    assert msgspec.json.decode((tmp_path / "out.json").read_bytes())["frames"] == 12
    assert (tmp_path / "seen.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("recordings", "config", "code", "said"),
    [
        (["usb:0"], "site.toml", 78, "replay usb:0: is live; record it, and name the file"),
        (["belt=rtsp://x/y"], "site.toml", 78, "replay belt=rtsp://x/y: is live"),
        (["belt"], "two.toml", 78, "there are 2 cameras (belt, other); say which one it is for, as in belt=belt"),
        (["belt=belt"], "two.toml", 78, "replay: no recording of camera other; name one, as in other=FILE"),
        (["belt=a", "belt=b"], "two.toml", 78, "camera belt has been given one already"),
        (["none.mp4"], "site.toml", 69, "there is no file or folder"),
        (["belt"], "none.toml", 78, "none.toml: cannot be read"),
    ],
)
def test_what_cannot_be_replayed(
    site: Path,
    recordings: list[str],
    config: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(site)
    assert said in refused(code, *recordings, "--config", config, capsys=capsys)


def test_the_ledger_goes_into_a_folder_of_its_own(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(site)
    (tmp_path / "ledger.db").touch()
    arguments = ["belt", "--config", "site.toml", "--ledger"]
    assert "holds a ledger already; name a new folder" in refused(1, *arguments, str(tmp_path), capsys=capsys)
    assert "is the state folder of the configuration" in refused(1, *arguments, "state", capsys=capsys)


def test_pictures_change_no_event_and_go_into_a_new_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(site)
    arguments = ["belt", "--config", "site.toml"]
    plain = replayed(site, *arguments).stdout
    assert replayed(site, *arguments, "--evidence", str(tmp_path / "seen")).stdout == plain
    events = [msgspec.json.decode(line) for line in plain.splitlines()]
    named = [event["picture"] for event in events if event.get("verdict") == "REJECT"]
    assert [str(path.relative_to(tmp_path / "seen")) for path in (tmp_path / "seen").rglob("*.jpg")] == named != []
    assert not list(site.rglob("*.jpg"))
    again = refused(1, *arguments, "--evidence", str(tmp_path / "seen"), capsys=capsys)
    assert "holds something already; name a new folder" in again


def test_shifts_are_by_the_time_of_the_recording(site: Path) -> None:
    rules = (site / "site.toml").read_text()
    (site / "shifts.toml").write_text(
        rules + '[[shifts]]\nname = "a"\nstart = "08:00"\nend = "14:00"\n' + "[summary]\nevery_s = 1\n"
    )
    arguments = ["belt", "--config", "shifts.toml"]
    lines = replayed(site, *arguments, "--start", "2026-11-23T13:59:58").stdout
    assert replayed(site, *arguments, "--start", "2026-11-23T13:59:58", "--threads", "2").stdout == lines
    events = [msgspec.json.decode(line) for line in lines.splitlines()]
    (shift,) = [event for event in events if event.get("shift") == "a"]
    assert (shift["since"], shift["until"]) == ("2026-11-23T13:59:58.000Z", "2026-11-23T14:00:00.000Z")
    assert [event["until"][17:19] for event in events if event.get("shift") == "every"] == [
        "59", *(f"{second:02d}" for second in range(6))
    ]  # fmt: skip
    assert replayed(site, *arguments).stdout == replayed(site, "belt", "--config", "site.toml").stdout, "no time of day"


def test_events_that_had_no_room_and_a_replay_that_was_stopped_give_no_hash(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(site)
    summary: dict[str, Any] = {"frames": 3, "counted": {}, "interrupted": False, "ledger": {"lost": 2}}
    monkeypatch.setattr(daemon, "serve", lambda *_: summary)
    said = refused(1, "belt", "--config", "site.toml", "--hash", capsys=capsys)
    assert "replay: 2 events had no room in the ledger; raise [ledger] max_mib of site.toml" in said
    summary |= {"interrupted": True, "ledger": {"lost": 0}}
    assert foveate.main(["replay", "belt", "--config", "site.toml", "--hash"]) == 130
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "9999-12-31T23:59-12:00"])
def test_a_start_that_is_no_time_is_2(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        foveate.main(["replay", "x", "--config", "y", "--start", text])
    assert caught.value.code == 2
    assert f"{text} is not a time; write 2026-11-23T12:00" in capsys.readouterr().err


def test_a_source_for_one_camera_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    cameras = {"a": Camera(command=["x"], size=(8, 8), live=True), "a=b": Camera(source="usb:0")}
    rules = Config(bundle=tmp_path, state=tmp_path, cameras=cameras)
    found = with_sources(rules, ["a=rtsp://x/y"]).cameras
    assert (found["a"].source, found["a"].command, found["a"].live) == ("rtsp://x/y", [], False)
    assert found["a=b"] is cameras["a=b"]
    assert with_sources(rules, []) == rules
    with pytest.raises(ConfigError, match="there are 2 cameras"):
        with_sources(rules, ["c=x"])


def test_a_recording_with_the_ticks_of_its_frames_says_at_which_a_part_is_at_the_ejector(site: Path) -> None:
    """The belt goes 4 pixels a frame: 20 ticks of a fifth of a pixel. Parts are judged 90 pixels before the ejector."""
    text = (site / "site.toml").read_text().replace("direction", "ejector_px = 90\ndirection")
    text = text.replace("ejector_px = 90\n", "", 1)  # the line has none
    encoder = "[cameras.belt.encoder]\npx_per_tick = [0.2, 0]\nsource = '/dev/encoder'\n"
    (site / "ticks.toml").write_text(text.replace("[mqtt]", f"{encoder}[mqtt]"))
    without = replayed(site, "belt", "--config", "ticks.toml").stdout
    (site / "belt.ticks").write_text("".join(f"{1000 + 20 * i}\n" for i in range(FRAMES)))
    lines = replayed(site, "belt", "--config", "ticks.toml").stdout
    assert replayed(site, "belt", "--config", "ticks.toml").stdout == lines
    for told, known in ((without, False), (lines, True)):
        verdicts = [event for event in map(msgspec.json.decode, told.splitlines()) if event["kind"] == "verdict"]
        assert len(verdicts) == PARTS
        for verdict in verdicts:
            left_px = 110 + 90 - verdict["position"][0]
            expected = 1000 + 20 * verdict["frame"] + left_px / 0.2 if known else None
            assert verdict["ejector_ticks"] == pytest.approx(expected)
    (site / "belt.ticks").unlink()
