"""Programs that write raw frames."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edge.config import Camera as CameraConfig
from edge.config import load_config
from edge.errors import CameraError, ConfigError
from edge.see.cameras import Camera, live, open_camera, program
from edge.types import Frame, Gap

SIZE = (64, 48)
BYTES = 64 * 48 * 3
WRITE = f"import sys; out = sys.stdout.buffer; frame = lambda i: out.write(bytes([i]) * {BYTES}) and out.flush()\n"


def command(code: str, **settings: object) -> CameraConfig:
    return CameraConfig(command=[sys.executable, "-c", WRITE + code], size=SIZE, **settings)  # type: ignore[arg-type]


def read_all(config: CameraConfig) -> list[Frame]:
    found = []
    with open_camera("belt", config) as camera:
        while not camera.ended:
            if isinstance(frame := camera.read(0.2), Frame):
                assert (frame.image == frame.index).all()
                found.append(frame)
        assert camera.read(0.0) is None
    return found


def test_every_frame_until_the_end() -> None:
    found = read_all(command("for i in range(30): frame(i)", fps=10))
    assert [frame.index for frame in found] == list(range(30))
    assert [frame.time for frame in found] == pytest.approx([i / 10 for i in range(30)])
    assert len({frame.image.ctypes.data for frame in found}) == 2


def test_time_without_a_frame_rate() -> None:
    times = [frame.time for frame in read_all(command("import time\nfor i in range(3): frame(i); time.sleep(0.05)"))]
    assert times[0] == pytest.approx(0.0, abs=0.01)
    assert times == sorted(times)
    assert times[2] > 0.09


def test_demand_asks_for_each_frame(tmp_path: Path) -> None:
    log = tmp_path / "asked"
    code = f"i = 0\nwhile sys.stdin.buffer.read(1):\n    open({str(log)!r}, 'a').write('x'); frame(i); i += 1"
    with open_camera("belt", command(code, demand=True)) as camera:
        for expected in range(3):
            assert isinstance(camera.read(10.0), Frame)
            time.sleep(0.05)
            assert len(log.read_text()) == expected + 1


def test_demand_that_ends_by_itself() -> None:
    assert len(read_all(command("for i in range(3): sys.stdin.buffer.read(1); frame(i)", demand=True))) == 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("frame(0); out.write(b'short'); out.flush()", "ended within a frame, after 5 of 9216 bytes"),
        ("frame(0); sys.exit('the lens cap is on')", "exit code 1 .*it said: the lens cap is on"),
        ("frame(0); raise RuntimeError('no cable')", "exit code 1 .*it said: RuntimeError: no cable"),
        ("", "ended without a frame"),
    ],
)
def test_unclean_end(code: str, said: str) -> None:
    with pytest.raises(CameraError, match=said):
        read_all(command(code))


def test_program_that_is_not_there() -> None:
    with pytest.raises(CameraError, match="cannot start /nowhere/renderer: No such file"):
        open_camera("belt", CameraConfig(command=["/nowhere/renderer"], size=SIZE))


def test_program_that_says_more_than_a_pipe_holds() -> None:
    assert len(read_all(command("sys.stderr.write('x' * 3_000_000)\nfor i in range(3): frame(i)"))) == 3


def test_silent_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PATIENCE_S", 0.3)
    with pytest.raises(CameraError, match=r"wrote no whole frame for 0\.3 s"):
        read_all(command("import time; time.sleep(60)", stall_s=0.1))


@pytest.mark.parametrize("demand", [True, False])
def test_close_ends_the_program(demand: bool) -> None:
    code = "i = 0\nwhile not %s or sys.stdin.buffer.read(1):\n    frame(i & 255); i += 1"
    camera = open_camera("belt", command(code % demand, demand=demand))
    assert isinstance(camera, program.ProgramCamera)
    assert isinstance(camera.read(10.0), Frame)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    camera.close()
    camera.close()
    assert camera._program._process.returncode is not None
    assert len(list(Path("/proc/self/fd").iterdir())) < descriptors
    assert camera.read(0.0) is None


def test_close_kills_what_will_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "END_S", 0.2)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); frame(0); time.sleep(60)"
    camera = open_camera("belt", command(stubborn))
    assert isinstance(camera, program.ProgramCamera)
    assert isinstance(camera.read(10.0), Frame)
    camera.close()
    assert camera._program._process.returncode == -9


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Return whether a process ends within 2 s: a signal takes its time."""
    deadline = time.monotonic() + 2
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def helper_of(path: Path) -> int:
    """Return the number of the process that a program writes to `path`."""
    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the program never started its helper"
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["obedient", "deaf"])
@pytest.mark.parametrize("live", [True, False])
def test_close_ends_what_the_program_has_started(tmp_path: Path, live: bool, trap: str) -> None:
    frame = f"head -c {BYTES} /dev/zero | tr '\\0' x"
    script = f"{frame}; (exec 1>&-; {trap}sleep 778; true) & echo $! > {tmp_path}/pid; wait; true"
    camera = open_camera("belt", CameraConfig(command=["sh", "-c", script], size=SIZE, live=live))
    assert isinstance(next_of(camera), Frame)
    helper = helper_of(tmp_path / "pid")
    assert alive(helper)
    camera.close()
    assert ends(helper)


def test_a_program_that_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"sleep 778 >/dev/null 2>&1 & echo $! > {tmp_path}/pid; head -c {BYTES} /dev/zero"
    with open_camera("belt", CameraConfig(command=["sh", "-c", script], size=SIZE)) as camera:
        assert isinstance(next_of(camera), Frame)
        assert (camera.read(10.0), camera.ended) == (None, True)
        assert ends(helper_of(tmp_path / "pid"))


def test_what_it_said_is_told_without_passwords() -> None:
    with pytest.raises(CameraError, match=r"it said: no answer from rtsp://cam/1$"):
        read_all(command("frame(0); sys.exit('no answer from rtsp://admin:hunter2@cam/1')"))


def test_read_returns_in_time_and_keeps_the_part_that_has_come(tmp_path: Path) -> None:
    """A daemon that waits for a slow program still beats, and sees that it is to stop."""
    go = tmp_path / "go"
    code = f"""
import os, time
for part in (b"\\1" * 5000, b"\\1" * ({BYTES} - 5000), b"\\2" * {BYTES}):
    out.write(part); out.flush()
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
"""
    with open_camera("belt", command(code)) as camera:
        for _ in range(3):
            before = time.monotonic()
            assert (camera.read(0.1), camera.ended) == (None, False)
            assert time.monotonic() - before < 1.0
        go.touch()
        for value in (1, 2):
            frame = camera.read(10.0)
            assert isinstance(frame, Frame)
            assert (frame.index, (frame.image == value).all()) == (value - 1, True)
        assert (camera.read(10.0), camera.ended) == (None, True)


def test_a_frame_that_is_there_counts_however_late_it_is_read() -> None:
    with open_camera("belt", command("import time; frame(0); time.sleep(0.3); frame(1)")) as camera:
        assert isinstance(camera, program.ProgramCamera)
        assert isinstance(camera.read(10.0), Frame)
        camera._program.patience_s = 0.4
        assert camera.read(0.0) is None
        time.sleep(0.8)
        assert isinstance(camera.read(0.0), Frame)


def next_of(camera: Camera) -> Frame | Gap:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (got := camera.read(0.05)) is not None:
            return got
    raise AssertionError("nothing came")


def test_a_live_program_is_not_waited_for() -> None:
    with open_camera(
        "belt", command("import time\nfor i in range(250): frame(i); time.sleep(0.01)", live=True)
    ) as camera:
        assert (camera.live, camera.size, camera.ended) == (True, SIZE, False)
        first = next_of(camera)
        time.sleep(0.3)
        second = next_of(camera)
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert second.dropped == second.index - first.index - 1 > 2
        assert (second.image == second.index).all()


@pytest.mark.parametrize("fault", ["", "time.sleep(60)", "out.write(b'part'); sys.exit('no camera')"])
def test_a_live_program_that_ends_or_falls_silent_is_started_again(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "FIRST_RETRY_S", 0.05)
    with open_camera("belt", command(f"import time; frame(7); {fault}", live=True, stall_s=0.3)) as camera:
        got = [next_of(camera) for _ in range(4)]
    reasons = [moment.reason for moment in got if isinstance(moment, Gap)]
    assert isinstance(got[0], Frame)
    assert "reopened" in reasons
    assert got[-1].index > 0
    assert ("no camera" in caplog.text) == ("no camera" in fault)


def test_a_live_program_is_closed_while_it_is_waited_for() -> None:
    camera = open_camera("belt", command("import time; time.sleep(60)", live=True))
    time.sleep(0.2)
    before = time.monotonic()
    camera.close()
    assert time.monotonic() - before < 4
    assert isinstance(camera, program.LiveProgram)
    assert not camera._thread.is_alive()


def test_a_live_program_that_is_not_there() -> None:
    config = CameraConfig(command=["/nowhere/gst"], size=SIZE, live=True)
    with (
        open_camera("belt", config) as camera,
        pytest.raises(CameraError, match=r"^camera belt: cannot start /nowhere/gst"),
    ):
        next_of(camera)


@pytest.mark.parametrize("keys", ['source = "usb:0"', 'command = ["x"]\nsize = [4, 4]\ndemand = true'])
def test_live_is_for_commands_that_do_not_wait(keys: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'bundle = "b"\nstate = "s"\n[cameras.c]\n{keys}\nlive = true\n')
    with pytest.raises(ConfigError, match=r"cameras\.c: live is for a command without demand"):
        load_config(tmp_path / "c.toml")
