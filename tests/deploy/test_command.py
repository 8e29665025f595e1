"""The command `foveate`: subcommands, errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import foveate
from edge.errors import ConfigError

ROOT = Path(__file__).parents[2]


def serve(monkeypatch: pytest.MonkeyPatch, code: str, folder: Path) -> None:
    """Make `foveate run` call a function whose body is `code`."""
    (folder / "pretend.py").write_text(f"def main(arguments):\n    {code}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "pretend", raising=False)
    monkeypatch.setitem(foveate.COMMANDS, "run", foveate._Command("pretend:main", ""))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert foveate.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in foveate.COMMANDS)
    assert foveate.main([]) == foveate.USAGE_ERROR


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert foveate.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("foveate ")


@pytest.mark.parametrize(
    ("typed", "said"), [("rnu", "did you mean run?"), ("doktor", "did you mean doctor?"), ("xyz", "there is run, demo")]
)
def test_unknown_command(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert foveate.main([typed]) == foveate.USAGE_ERROR
    assert said in capsys.readouterr().err


def test_arguments_and_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(monkeypatch, "return len(arguments)", tmp_path)
    assert foveate.main(["run", "--frames", "3"]) == 2


def test_error_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, "from edge.errors import ConfigError; raise ConfigError('no such key; remove it')", tmp_path)
    assert foveate.main(["run"]) == ConfigError.exit_code
    assert capsys.readouterr().err == "foveate: error: no such key; remove it\n"


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, "raise KeyboardInterrupt", tmp_path)
    assert foveate.main(["run"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("onnx", "run needs onnx, which is not installed; in the checkout: pip install -e '.[export]'"),
        ("onnx.helper", "pip install -e '.[export]'"),
        ("iotcore", "pip install -e '.[demo]'"),
        ("pycuda.driver", "pip install -e '.[tensorrt]'"),
        ("examples.nowhere", "run is not part of this installation"),
        ("numpy", "install foveate again"),
    ],
)
def test_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], module: str, said: str
) -> None:
    code = f"raise ModuleNotFoundError('No module named {module}', name={module!r})"
    serve(monkeypatch, code, tmp_path)
    assert foveate.main(["run"]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_reader_that_goes_away() -> None:
    pipeline = f"{sys.executable} -c 'import foveate, sys; sys.exit(foveate.main([\"--help\"]))' | true"
    code = f"set -o pipefail; for _ in 1 2 3; do {pipeline}; done"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stderr == ""


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, foveate; foveate.main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert {"numpy", "cv2", "msgspec", "paho", "onnxruntime", "argparse"}.isdisjoint(done.stderr.split())


def test_every_command_exists() -> None:
    """Those of this folder load; the others are named by modules that are there."""
    for command in foveate.COMMANDS.values():
        module = command.where.split(":")[0].replace(".", "/")
        assert (ROOT / f"{module}.py").is_file(), module
    assert foveate._load(foveate.COMMANDS["doctor"].where).__module__ == "deploy.doctor"
