"""Programs that write raw frames."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edge.config import Camera as CameraConfig
from edge.errors import CameraError
from edge.see.cameras import open_camera, program
from edge.types import Frame

SIZE = (64, 48)
BYTES = 64 * 48 * 3
WRITE = f"import sys; out = sys.stdout.buffer; frame = lambda i: out.write(bytes([i]) * {BYTES}) and out.flush()\n"


def command(code: str, **settings: object) -> CameraConfig:
    return CameraConfig(command=[sys.executable, "-c", WRITE + code], size=SIZE, **settings)  # type: ignore[arg-type]


def read_all(config: CameraConfig) -> list[Frame]:
    found = []
    with open_camera("belt", config) as camera:
        while isinstance(frame := camera.read(0.0), Frame):
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
            assert isinstance(camera.read(0.0), Frame)
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
    assert isinstance(camera.read(0.0), Frame)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    camera.close()
    camera.close()
    assert camera._process.returncode is not None
    assert len(list(Path("/proc/self/fd").iterdir())) < descriptors
    assert camera.read(0.0) is None


def test_close_kills_what_will_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "END_S", 0.2)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); frame(0); time.sleep(60)"
    camera = open_camera("belt", command(stubborn))
    assert isinstance(camera.read(0.0), Frame)
    camera.close()
    assert camera._process.returncode == -9  # type: ignore[attr-defined]
