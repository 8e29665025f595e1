"""The unit: systemd finds nothing wrong with it, and little that it exposes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge.config import load_config

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "foveate@.service"
THRESHOLD = 20  # tenths of systemd's exposure level; Debian's own mosquitto.service has 96

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd
def test_exposure() -> None:
    done = analyze("security", "--offline=true", f"--threshold={THRESHOLD}", str(UNIT))
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


@needs_systemd
def test_nothing_is_wrong(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/foveate/current/bin/python", sys.executable))
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_broker_block_of_the_page_names_the_key_that_the_unit_loads(tmp_path: Path) -> None:
    page = (UNIT.parents[1] / "README.md").read_text()
    (block,) = re.findall(r"^    site = .*?\n\n(?=\S)", page, re.MULTILINE | re.DOTALL)
    lines = textwrap.dedent(block).split("[mqtt]")
    text = f'bundle = "b"\nstate = "s"\n{lines[0]}\n[cameras.c]\nsource = "v"\n[mqtt]{lines[1]}'
    (tmp_path / "press-3.toml").write_text(text)
    mqtt = load_config(tmp_path / "press-3.toml").mqtt
    assert mqtt is not None
    assert mqtt.key_file == Path("/run/credentials/foveate@press-3.service/mqtt.key")
    assert "LoadCredential=mqtt.key:/etc/foveate/credentials/%i.key\n" in UNIT.read_text()
    assert "/etc/foveate/credentials/press-3.key " in page
    for file in (mqtt.ca_file, mqtt.cert_file):
        assert file is not None
        assert re.search(rf"^    install .*-m 644 \S+ /etc/foveate/{file.name}$", page, re.MULTILINE)


def test_what_it_runs() -> None:
    """The command line is one that `python -m edge` takes, and 78 is the exit code of a wrong configuration."""
    from edge.errors import CheckError, ConfigError  # noqa: PLC0415

    text = UNIT.read_text()
    assert re.search(r"^ExecStart=\S+/python -m edge \S+\.toml$", text, re.MULTILINE)
    assert f"RestartPreventExitStatus={ConfigError.exit_code} {CheckError.exit_code}\n" in text
    assert "Type=notify" in text
