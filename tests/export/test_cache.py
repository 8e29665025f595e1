"""A bundle is exported once, and again when anything that shapes it has changed."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle, open_bundle, read_engine
from edge.errors import FoveateError
from export import build
from export.build import cached_bundle, export_bundle
from export.cache_key import cache_key
from export.precision import Progress
from tests.export.nets import rewritten, semantic_net


def test_cache_exports_once(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_bundle(recipe, tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(build, "export_bundle", lambda *_: pytest.fail("exported again"))
        assert cached_bundle(recipe, tmp_path / "cache").path == first.path
    damaged = first.path / "semantic.int8.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = cached_bundle(recipe, tmp_path / "cache")
    assert len(read_engine(again, again.manifest.models["semantic"].engines[0])) > 0


def test_cache_key_follows_models_and_recordings(recipe: Path, tmp_path: Path) -> None:
    keys = [cache_key(recipe)]
    semantic_net(tmp_path / "semantic.onnx", opset=16)
    keys.append(cache_key(recipe))
    rewritten(recipe, ("frames = 8", "frames = 7"))
    keys.append(cache_key(recipe))
    assert len(set(keys)) == 3


def test_cache_key_follows_our_code(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    files = ["export/a.py", "calibration/b.py", "edge/see/c.py", "edge/see/cameras/d.py", "edge/bundle.py"]
    for name in [*files, "edge/daemon.py", "export/notes.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    monkeypatch.setattr("export.cache_key.ROOT", root)
    keys = [cache_key(recipe)]
    for name in files:
        (root / name).write_text("1")
        keys.append(cache_key(recipe))
    (root / "export" / "a.py").rename(root / "export" / "e.py")
    keys.append(cache_key(recipe))
    assert len(set(keys)) == len(keys)
    for name in ["edge/daemon.py", "export/notes.txt"]:
        (root / name).write_text("1")
    assert cache_key(recipe) == keys[-1]


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("cache_key_scene.belt.stream", ["cache_key_scene/belt/stream.py", "cache_key_scene/belt/parts/screw.py"]),
        ("cache_key_scene.belt", ["cache_key_scene/belt/stream.py"]),
        ("cache_key_alone", ["cache_key_alone.py"]),
    ],
)
def test_cache_key_follows_the_programs_of_a_recipe(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, files: list[str]
) -> None:
    other = ["cache_key_scene/__init__.py", "cache_key_scene/other.py"]
    names = [
        "cache_key_scene/belt/__init__.py",
        "cache_key_scene/belt/stream.py",
        "cache_key_scene/belt/parts/screw.py",
    ]
    for name in [*names, *other, "cache_key_alone.py"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise AssertionError('it must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    command = f'command = ["{{python}}", "-m", "{module}", "--seed", "1"], size = [64, 64]'
    rewritten(recipe, ('source = "pictures"', command))
    keys = [cache_key(recipe)]
    for name in files:
        (tmp_path / name).write_text("1")
        keys.append(cache_key(recipe))
    assert len(set(keys)) == len(keys)
    (tmp_path / other[1]).write_text("1")
    assert cache_key(recipe) == keys[-1]


@pytest.mark.parametrize("module", ["no_such_module.at.all", "", "..", "sys", "json.tool"])
def test_cache_key_of_any_program(recipe: Path, module: str) -> None:
    rewritten(recipe, ('source = "pictures"', f'command = ["{{python}}", "-m", "{module}"], size = [64, 64]'))
    assert len(cache_key(recipe)) == 16


def test_a_bundle_in_the_cache_is_found_in_a_tenth_of_a_second(recipe: Path, tmp_path: Path) -> None:
    cached_bundle(recipe, tmp_path / "cache")
    times = []
    for _ in range(9):
        start = time.perf_counter()
        cached_bundle(recipe, tmp_path / "cache")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1


def at_once(recipe: Path, cache: Path, progress: Progress) -> list[Path]:
    """Return what two callers get who want the same bundle at the same time."""
    with ThreadPoolExecutor(2) as both:
        wishes = [both.submit(cached_bundle, recipe, cache, progress) for _ in range(2)]
        return [wish.result().path for wish in wishes]


def test_two_that_want_one_bundle_share_one_export(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[Any] = []
    waiting = threading.Event()

    def counted(*arguments: Any) -> Bundle:
        exports.append(arguments)
        assert waiting.wait(30)
        return export_bundle(*arguments)

    monkeypatch.setattr(build, "export_bundle", counted)

    def heard(step: str, _: float) -> None:
        if step.startswith("wait"):
            waiting.set()

    first, second = at_once(recipe, tmp_path / "cache", heard)
    assert first == second
    assert len(exports) == 1


def test_two_that_want_one_bundle_end_well_without_locks_too(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    calls = threading.Barrier(2)

    def loser(*arguments: Any) -> Bundle:
        if calls.wait(30) == 0:
            export_bundle(*arguments)
            calls.wait(30)
            return open_bundle(arguments[1])
        calls.wait(30)
        raise FoveateError("the place is taken")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(build, "export_bundle", loser)
    first, second = at_once(recipe, tmp_path / "cache", lambda *_: None)
    assert first == second
