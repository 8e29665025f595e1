"""Ticks that come with frames: from a file, a pipe, a program, and beside a recording."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge.config import Camera as CameraConfig
from edge.config import Config, Encoder, load_config
from edge.errors import CameraError, ConfigError
from edge.rehearsal import with_sources
from edge.see.cameras import open_camera
from edge.see.cameras.encoder import LiveTicks, TicksOfFrames
from edge.see.cameras.live import LiveCamera
from edge.types import Frame
from tests.cameras.test_live import Driver, frame_of
from tests.cameras.test_recordings import write_video

WAY = (0.25, 0.0)


def wait_for(ticks: LiveTicks, number: float | None) -> None:
    until = time.monotonic() + 10
    while ticks.newest != number:
        assert time.monotonic() < until, f"it says {ticks.newest}"
        time.sleep(0.005)


def ticks_of(folder: Path, lines: str, frames: int = 3) -> list[float | None]:
    (folder / "t.txt").write_text(lines)
    source = str(write_video(folder / "belt.avi", frames))
    told = []
    with open_camera(
        "belt", CameraConfig(source=source, encoder=Encoder(px_per_tick=WAY, source=str(folder / "t.txt")))
    ) as camera:
        while isinstance(frame := camera.read(0.0), Frame):
            told.append(frame.ticks)
        assert camera.ended
    return told


def test_each_frame_of_a_recording_has_the_number_of_its_line(tmp_path: Path) -> None:
    assert ticks_of(tmp_path, "5\n-7.5\n1e3\n9\n") == [5.0, -7.5, 1000.0]
    assert ticks_of(tmp_path, "5\n6") == [5.0, 6.0, None]


@pytest.mark.parametrize("line", ["abc", "", "nan", "1,5", "inf"])
def test_a_line_that_is_no_number_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(CameraError, match=r"encoder .*t\.txt: line 2 is '.*'; write the ticks"):
        ticks_of(tmp_path, f"5\n{line}\n6\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = str(write_video(tmp_path / "belt.avi", 2))
    encoder = Encoder(px_per_tick=WAY, source=str(tmp_path / "none"))
    with (
        open_camera("belt", CameraConfig(source=source, encoder=encoder)) as camera,
        pytest.raises(CameraError, match=r"encoder .*none cannot be read"),
    ):
        camera.read(0.0)


def test_a_program_of_frames_writes_the_ticks_before_each(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "with open(sys.argv[1], 'w', buffering=1) as ticks:\n"
        "    for i in range(4):\n"
        "        ticks.write(f'{i * 48}\\n')\n"
        "        sys.stdout.buffer.write(bytes(4 * 2 * 3)); sys.stdout.buffer.flush()\n"
    )
    path = str(tmp_path / "ticks")
    camera = CameraConfig(
        command=["{python}", "-c", code, path], size=(4, 2), encoder=Encoder(px_per_tick=WAY, source=path)
    )
    told: list[float | None] = []
    with open_camera("belt", camera) as opened:
        while not opened.ended:
            if isinstance(frame := opened.read(5.0), Frame):
                told.append(frame.ticks)
    assert told == [0.0, 48.0, 96.0, 144.0]


def test_a_live_frame_has_what_the_pipe_said_last_when_it_came(tmp_path: Path) -> None:
    pipe, driver = tmp_path / "pipe", Driver()
    os.mkfifo(pipe)
    config = CameraConfig(source="usb:0", encoder=Encoder(px_per_tick=WAY, source=str(pipe)))
    with LiveCamera("belt", config, driver.open) as camera:
        assert frame_of(camera).ticks is None
        for number in (10, 30):  # a writer that opens and closes it for each value
            with pipe.open("w") as writer:
                writer.write(f"{number - 5}\nrubbish\n{number}\n7")  # the last one is not whole
            assert camera._encoder is not None
            wait_for(camera._encoder, number)
            driver.give(camera)
            assert frame_of(camera).ticks == number
        driver.broken = True


def test_a_program_that_ends_is_started_again_and_ends_with_the_camera(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; n = len(os.listdir(sys.argv[1])); open(f'{sys.argv[1]}/{os.getpid()}', 'w')\n"
        "print(n, flush=True); time.sleep(60 if n else 0)"
    )
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, command=["{python}", "-c", code, str(tmp_path)]))
    wait_for(ticks, 1)
    ticks.close()
    assert not ticks._thread.is_alive()
    (first, last) = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in (first, last):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_nothing_there_yet_is_waited_for_and_a_file_is_refused(tmp_path: Path) -> None:
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, source=str(tmp_path / "later")))
    assert ticks.newest is None
    ticks.close()
    (tmp_path / "file").write_text("1\n")
    with pytest.raises(CameraError, match="is a file; for a live camera name a pipe"):
        LiveTicks("belt", Encoder(px_per_tick=WAY, source=str(tmp_path / "file")))


def test_what_does_not_come_back_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.see.cameras.encoder.RETRY_S", 0.01)
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, command=["{python}", "-c", "raise SystemExit"]))
    time.sleep(0.7)
    ticks.close()
    ticks = LiveTicks("press", Encoder(px_per_tick=WAY, source=str(tmp_path / "gone")))
    time.sleep(0.7)
    ticks.close()
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert told == ["camera=belt", "camera=press"]


def test_an_encoder_that_is_lost_has_no_ticks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those before it was lost would say that the belt stands."""
    code = "import os, sys, time; n = len(os.listdir(sys.argv[1])); open(f'{sys.argv[1]}/{os.getpid()}', 'w')\n"
    code += "print(n, flush=True) if n != 1 else time.sleep(1)\ntime.sleep(60 if n > 1 else 0.3)"
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, command=["{python}", "-c", code, str(tmp_path)]))
    for number in (0, None, 2):
        wait_for(ticks, number)
    ticks.close()
    assert len([record for record in caplog.records if "state=lost" in record.getMessage()]) == 1


def test_what_can_be_opened_and_not_read_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.see.cameras.encoder.RETRY_S", 0.01)
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, source=str(tmp_path / "later")))
    before = len([*Path("/proc/self/fd").iterdir()])
    (tmp_path / "later").mkdir()
    time.sleep(0.5)
    assert len([*Path("/proc/self/fd").iterdir()]) <= before + 2  # those that it has right now
    ticks.close()
    with pytest.raises(CameraError, match="is a folder; for a live camera name a pipe"):
        LiveTicks("belt", Encoder(px_per_tick=WAY, source=str(tmp_path)))


SITE = """
bundle = "b"
state = "s"
[tracks]
motion = "{motion}"
[cameras.belt]
source = "{camera}"
[cameras.belt.encoder]
{encoder}
"""


def load(folder: Path, encoder: str, motion: str = "belt", camera: str = "belt.avi") -> Config:
    (folder / "c.toml").write_text(SITE.format(motion=motion, camera=camera, encoder=encoder))
    return load_config(folder / "c.toml")


def encoder_of(config: Config) -> Encoder:
    found = config.cameras["belt"].encoder
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": "px_per_tick = [0.2, 0]"}, "needs exactly one of source and command"),
        ({"encoder": 'px_per_tick = [0.2, 0]\nsource = "a"\ncommand = ["b"]'}, "needs exactly one of source and comm"),
        ({"encoder": 'px_per_tick = [0, 0]\nsource = "a"'}, r"px_per_tick \(0.0, 0.0\): nothing would ever move"),
        ({"encoder": 'px_per_tick = [nan, 0]\nsource = "a"'}, "nothing would ever move"),
        ({"encoder": 'px_per_tick = [0.2, 0]\nsource = "a"', "motion": "free"}, 'tracks.motion is "free"'),
        ({"encoder": 'px_per_tick = [0.2, 0]\ncommand = ["a"]'}, "command is for a live camera"),
    ],
)
def test_what_an_encoder_cannot_be(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"cameras.belt.encoder: {said}|{said}"):
        load(tmp_path, **changes)


def test_its_file_is_beside_the_configuration_and_beside_another_recording(tmp_path: Path) -> None:
    config = load(tmp_path, 'px_per_tick = [0.2, 0]\nsource = "t.txt"')
    assert encoder_of(config).source == str(tmp_path / "t.txt")
    live = load(tmp_path, 'px_per_tick = [0.2, 0]\ncommand = ["ticks"]', camera="usb:0")
    (tmp_path / "r.avi.ticks").write_text("1\n")
    replayed = encoder_of(with_sources(live, [str(tmp_path / "r.avi")]))
    assert (replayed.source, replayed.command) == (str(tmp_path / "r.avi.ticks"), [])
    assert with_sources(live, [str(tmp_path / "other.avi")]).cameras["belt"].encoder is None
    assert encoder_of(with_sources(live, ["rtsp://h/s"])).command == ["ticks"]


def test_the_belt_tells_its_ticks(tmp_path: Path) -> None:
    path = str(tmp_path / "ticks")
    camera = CameraConfig(
        command=[sys.executable, "-m", "examples.belt.stream", "--seed", "3", "--frames", "4", "--ticks", path],
        size=(1920, 1080),
        encoder=Encoder(px_per_tick=WAY, source=path),
    )
    told: list[float] = []
    with open_camera("belt", camera) as opened:
        while not opened.ended:
            if isinstance(frame := opened.read(20.0), Frame):
                assert frame.ticks is not None
                told.append(frame.ticks)
    assert len(told) == 4
    assert all(30 <= later - before <= 60 for before, later in itertools.pairwise(told))


def test_a_pipe_for_a_recording_is_not_waited_for_and_a_line_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("5" * 10_000_000)
    ticks = TicksOfFrames("belt", str(tmp_path / "t.txt"))
    with pytest.raises(CameraError, match=r"line 1 is '5{40}'; write the ticks"):
        ticks.next()
    assert ticks._file is not None
    assert ticks._file.tell() < 1_000_000
    ticks.close()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CameraError, match=r"pipe cannot be read: .*it is no file"):
        TicksOfFrames("belt", str(tmp_path / "pipe")).next()


def test_a_device_that_is_gone_says_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ticks = LiveTicks("belt", Encoder(px_per_tick=WAY, source=str(pipe)))
    with pipe.open("w") as writer:
        writer.write("7\n")
        writer.flush()
        wait_for(ticks, 7)
        pipe.unlink()
    until = time.monotonic() + 10
    while ticks.newest is not None:
        assert time.monotonic() < until, "what it said last still counts"
        time.sleep(0.005)
    ticks.close()
