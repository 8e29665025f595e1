"""What runs on the device loads nothing that belongs to the workstation, and its rooms stay apart."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EDGE = ROOT / "edge"
BANNED = (
    *("onnx", "torch", "scipy", "rich", "typer", "matplotlib"),
    *("export", "calibration", "deploy", "examples", "benchmarks"),
)
ROOMS = ("see", "decide", "tell")
OURS = ("edge", "export", "calibration", "deploy", "examples")  # what the wheel holds
HOOK = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BANNED:
            raise ImportError(f"{name} is not for the device")

sys.meta_path.insert(0, Refuse())
"""


def modules() -> list[str]:
    """Return every module of edge but those of back ends that this machine may not have."""
    files = (path for path in EDGE.rglob("*.py") if path.name != "trt.py")
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return sorted(name.removesuffix(".__init__") for name in names)


def python(code: str, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `code` in `folder`, where importing anything of BANNED fails."""
    return subprocess.run(
        [sys.executable, "-c", f"BANNED = {BANNED}\n{HOOK}\n{code}", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )


def test_edge_loads_nothing_of_the_workstation() -> None:
    done = python("import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *modules())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", BANNED)
def test_the_hook_refuses(name: str) -> None:
    """The test above is worth something only if this one passes."""
    assert "is not for the device" in python(f"import {name}").stderr


def test_importing_the_pipeline_loads_no_back_end() -> None:
    done = python("import edge.pipeline, edge.engines\nprint(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert {"onnxruntime", "tensorrt", "pycuda"}.isdisjoint(done.stdout.split())


def imported(path: Path) -> set[str]:
    """Return the dotted names that the file at `path` imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_import_each_other(room: str) -> None:
    others = tuple(f"edge.{other}" for other in ROOMS if other != room)
    for path in (EDGE / room).rglob("*.py"):
        wrong = {name for name in imported(path) if name.startswith(others)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


FORBIDDEN = {  # folder: what it may not import; between folders, imports point one way
    "edge": ("calibration", "export", "deploy", "examples", "benchmarks", "foveate"),
    "calibration": ("export", "deploy", "examples", "benchmarks", "foveate"),
    "export": ("deploy", "examples", "benchmarks", "foveate"),
    "deploy": ("calibration", "export", "examples", "benchmarks", "foveate"),
}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        wrong = {name for name in imported(path) if name.split(".")[0] in FORBIDDEN[folder]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("statement", [f"import {name}" for name in BANNED if name != "benchmarks"])
def test_ruff_knows(statement: str) -> None:
    """The linter says so before a test does; edge/ruff.toml is what it reads."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select=TID251", "--stdin-filename=edge/see/probe.py", "-"],
        input=f"{statement}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert "TID251" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the wheel holds, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("foveate.py", "pyproject.toml", "README.md", "LICENSE", *OURS):
        if (ROOT / name).exists():
            (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, timeout=300, cwd=folder)
    found = next(folder.glob("*.whl"))
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(found)], check=True, timeout=300
    )
    return folder / "site"


RUN = """
import runpy
sys.path.insert(0, sys.argv[1])
sys.argv[:] = ["edge", "--help"]
runpy.run_module("edge", run_name="__main__")
"""


def test_bare_wheel_runs(installed: Path) -> None:
    done = python(RUN, str(installed), folder=installed)
    assert done.returncode == 0, done.stderr
    assert "usage: foveate run" in done.stdout


def test_bare_wheel_imports(installed: Path) -> None:
    code = (
        "sys.path.insert(0, sys.argv[1])\nimport importlib\n"
        "for name in sys.argv[2:]: print(importlib.import_module(name).__file__)"
    )
    done = python(code, str(installed), *modules(), folder=installed)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())


def test_wheel_has_the_files_that_are_not_python(installed: Path) -> None:
    for name in (
        "edge/py.typed",
        "examples/belt/config.toml",
        "deploy/systemd/foveate@.service",
        "deploy/mosquitto/edge.conf",
        "deploy/mosquitto/acl",
    ):
        assert (installed / name).is_file(), name
