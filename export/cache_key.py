"""When a bundle that was exported before is the one that an export now would make."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from edge.config import Camera
from export.recipe import Recipe, load_recipe, sources

PACKAGES = ("foveate", "msgspec", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "tensorrt", "tensorrt-rtx")
ROOT = Path(__file__).resolve().parents[1]
CODE = ("export", "calibration", "edge/see", "edge/bundle.py")  # what shapes a bundle


def cache_key(recipe_path: Path) -> str:
    """Return 16 hex digits that change with whatever shapes the bundle.

    That is the recipe, its models, the site that it is to decide alike in, the sizes and times of its recordings, the
    programs it calls as ``{python} -m …``, our own code, and the versions of the packages in use.
    """
    recipe = load_recipe(recipe_path)
    digest = hashlib.sha256(recipe_path.read_bytes())
    files = [source.model for source in sources(recipe).values()]
    files += [recipe.parity.config] if recipe.parity is not None else []
    for path in files:
        with contextlib.suppress(OSError):  # export will say what is wrong with it
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for camera in _recordings(recipe):
        with contextlib.suppress(OSError):
            status = os.stat(camera.source)  # noqa: PTH116  a source may also be a URL
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    digest.update(_code(ROOT / name for name in CODE))
    digest.update(_code(_program(camera) for camera in _recordings(recipe)))
    digest.update(" ".join(f"{name} {_version(name)}" for name in PACKAGES).encode())
    return digest.hexdigest()[:16]


def _recordings(recipe: Recipe) -> list[Camera]:
    tables = [table for table in (recipe.calibration, recipe.heldout) if table is not None]
    return [camera for table in tables for camera in table.recordings]


def _code(places: Iterable[Path | None]) -> bytes:
    """Return the hash of all Python files in `places`, which are files or folders; each is read once."""
    digest = hashlib.sha256()
    for place in sorted({place for place in places if place is not None}):
        folder = place if place.is_dir() else place.parent
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            with contextlib.suppress(OSError):
                digest.update(f"{path.relative_to(folder)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def _program(camera: Camera) -> Path | None:
    """Return where the code of a recording is that is a program of the form ``{python} -m MODULE``: its package.

    Nothing is imported for that: only the first package is looked up, and the rest of the name is a path below it.
    """
    if len(camera.command) < 3 or camera.command[:2] != ["{python}", "-m"]:
        return None
    first, *rest = camera.command[2].split(".")
    try:
        found = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        found = None
    if found is None:
        return None
    if not found.submodule_search_locations:
        return Path(found.origin) if found.has_location and found.origin else None
    folder = Path(next(iter(found.submodule_search_locations))).joinpath(*rest)
    return folder if folder.is_dir() else folder.parent


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
