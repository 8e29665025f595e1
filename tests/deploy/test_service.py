"""What the daemon says to systemd, and how many threads it allows itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge import notify, threads


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(0.2)
    sock.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(notify, "_last_s", float("-inf"))
    return sock


def test_what_is_said(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    with heard:
        notify.ready()
        assert heard.recv(100).startswith(b"READY=1\n")
        notify.status("two\nlines")
        assert heard.recv(100) == b"STATUS=two lines"
        notify.watchdog()
        assert heard.recv(100) == b"WATCHDOG=1"
        notify.watchdog()  # too soon to say it again
        notify.stopping()
        assert heard.recv(100) == b"STOPPING=1"


def test_no_watchdog_where_none_is_wanted(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    with heard:
        notify.watchdog()
        with pytest.raises(TimeoutError):
            heard.recv(100)


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens-here"])
def test_nobody_to_tell(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready()


def test_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"foveate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify.stopping()
        assert sock.recv(100) == b"STOPPING=1"


def test_pin_keeps_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    threads.pin()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("3", "1")


def test_pinned_numpy_starts_no_threads() -> None:
    code = (
        "from edge import threads; threads.pin(); import numpy as np; a = np.ones((500, 500)); a @ a\n"
        "import os; print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=environment, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"


def test_available_cores() -> None:
    assert 1 <= threads.available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "group", "cores"),
    [
        ({}, "", 1 << 16),
        ({"cpu.max": "max 100000"}, "", 1 << 16),
        ({"cpu.max": "150000 100000"}, "", 2),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000", "cpu.max": "400000 100000"}, "a/b", 1),
        ({"cpu.max": "400000 100000"}, "not/there", 4),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "", 1 << 16),
        ({"cpu.max": "nonsense"}, "", 1 << 16),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], group: str, cores: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert threads._quota(tmp_path, group) == cores
