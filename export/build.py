"""The whole export: recipe -> bundle and report, written beside and renamed at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import onnx

from edge import bundle
from edge.bundle import Bundle, Manifest, open_bundle
from edge.errors import ConfigError, FoveateError
from export.accept import accepted, judged_on
from export.apart import TakenIn, take_in
from export.cache_key import cache_key
from export.candidate import Candidate
from export.heldout import HeldFrame, held_frames
from export.judge import Verdict
from export.parity import site_of
from export.precision import Candidates, Progress, quantize_all
from export.recipe import Recipe, load_recipe, sources
from export.report import write_report

_BUNDLE_FILE, _REPORT_FILE = (
    re.compile(r"manifest\.json|.*\.(onnx|plan)"),
    re.compile(r"report\.(html|json)|gate\.toml"),
)
_FOUND_BYTES = 20_480  # room in the manifest for what the export finds out


def export_bundle(recipe_path: Path, out: Path, progress: Progress | None = None) -> Bundle:
    """Export `recipe_path` into folder `out`, with the report in ``<out>.report``, and return the bundle.

    An older bundle in `out` is replaced when the new one is complete. Raises `ConfigError` for a recipe, `ModelError`
    for a model, `CameraError` for a recording that cannot be used, and `FoveateError` where the disk refuses.
    """
    report = progress or _silent
    recipe = load_recipe(recipe_path)
    out = out.resolve()
    _check_target(out)
    if recipe.parity is not None:
        site_of(recipe.parity)  # what is wrong with it is said before the work
    candidates = _candidates(recipe)
    draft = _draft(recipe, candidates)
    frames = _held_out(recipe, candidates)
    calibration = quantize_all(recipe, candidates, frames, report)
    models, verdict = accepted(recipe, draft, candidates, frames, _fill, report)
    for role, found in candidates.items():
        calibration |= {f"{role}_{key}_refused": reason for key, reason in found.refusals().items()}
    quality = {key: round(value, 6) for key, value in verdict.figures.items()}
    manifest = msgspec.structs.replace(
        draft, models=models, calibration=calibration, quality=quality, judged=judged_on(verdict)
    )
    _write(out, manifest, candidates, verdict)
    return open_bundle(out)


def _held_out(recipe: Recipe, candidates: Candidates) -> list[HeldFrame]:
    """Return the frames that everything is judged on; they stay in memory, for every plan is judged on all of them."""
    if recipe.heldout is None:
        return []
    _, frames = held_frames(recipe.heldout, {role: found.model for role, found in candidates.items()})
    return list(frames())


def _candidates(recipe: Recipe) -> Candidates:
    """Return the models of a recipe in canonical form."""
    found: Candidates = {}
    for role, source in sources(recipe).items():
        for taken in take_in(role, source):
            found[taken.role] = _candidate(taken)
    return found


def _candidate(taken: TakenIn) -> Candidate:
    found = Candidate(taken.role, taken.source, onnx.load_from_string(taken.graph), taken.model, taken.sensitive)
    found.files[found.native] = taken.graph
    return found


def _draft(recipe: Recipe, candidates: Candidates) -> Manifest:
    """Return the manifest without what the export finds out; raises `ConfigError` where it is too long already."""
    draft = Manifest(
        format=bundle.FORMAT,
        name=recipe.name,
        version=recipe.version,
        created=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        models={role: found.model for role, found in candidates.items()},
        provenance=recipe.provenance,
    )
    size = len(_text(draft))
    if size > bundle.MANIFEST_LIMIT_BYTES - _FOUND_BYTES:
        raise ConfigError(
            f"recipe: the manifest has {size} bytes without its figures, a bundle takes {bundle.MANIFEST_LIMIT_BYTES} "
            "with them; shorten provenance or the names of classes"
        )
    return draft


def _text(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest))


def cached_bundle(recipe_path: Path, cache: Path, progress: Progress | None = None) -> Bundle:
    """Return the bundle of a recipe from folder `cache`; it is exported only if something that shapes it has changed.

    Where two processes want the same bundle, one exports it and the other waits for it.
    """
    key = cache_key(recipe_path)
    with contextlib.suppress(FoveateError):
        return _sound(cache / key)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f"{key}.lock").open("wb")
    except OSError as error:
        raise ConfigError(f"cache {cache}: cannot be made: {error.strerror}; name another folder") from error
    with lock:
        _wait_for(lock, progress or _silent)
        with contextlib.suppress(FoveateError):
            return _sound(cache / key)
        try:
            return export_bundle(recipe_path, cache / key, progress)
        except FoveateError:
            with contextlib.suppress(FoveateError):
                return _sound(cache / key)  # another one's, where there are no locks
            raise


def _sound(path: Path) -> Bundle:
    """Return the bundle in `path`; raises `BundleError` unless every byte of it is as it was."""
    found = open_bundle(path)
    for model in found.manifest.models.values():
        for engine in model.engines:
            bundle.read_engine(found, engine)
    return found


def _wait_for(lock: BinaryIO, progress: Progress) -> None:
    """Lock a file until it is closed or the process ends, however it ends."""
    with contextlib.suppress(OSError):  # a file system without locks: both export
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("wait for another export", 0.0)
            fcntl.flock(lock, fcntl.LOCK_EX)
            progress("wait for another export", 1.0)


def _silent(step: str, share: float) -> None:
    """Show no progress."""


def _check_target(out: Path) -> None:
    """Raise `ConfigError` before the work begins where its result could not be written, or would replace another's."""
    if not out.name:
        raise ConfigError(f"--out {out}: is no name for a folder; name a new one")
    try:
        if not out.parent.is_dir():
            raise ConfigError(f"--out {out}: there is no folder {out.parent}; create it first")
        for place, kind, ours in ((out, "bundle", _BUNDLE_FILE), (_report(out), "report", _REPORT_FILE)):
            if place.exists() and not (place.is_dir() and all(ours.fullmatch(file.name) for file in place.iterdir())):
                raise ConfigError(f"--out {out}: {place} exists and is no {kind}; name a new folder")
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; name another folder, one that you may write") from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: {out.parent} cannot be written; name a folder that you may write")


def _report(out: Path) -> Path:
    return out.with_name(f"{out.name}.report")


@contextlib.contextmanager
def _written(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        raise FoveateError(
            f"--out {out}: cannot be written: {error.strerror}; free space there, let no other export write to it, "
            "or name another"
        ) from error


def _write(out: Path, manifest: Manifest, candidates: Candidates, verdict: Verdict) -> None:
    """Write bundle and report beside their places, then rename; the bundle comes last and is the commit."""
    with _written(out), tempfile.TemporaryDirectory(prefix=".export.", dir=out.parent) as name:
        new, report = Path(name) / "bundle", Path(name) / "report"
        new.mkdir()
        report.mkdir()
        held = [(found, key) for found in candidates.values() for key in found.kept()]
        _fill(new, manifest, {found.file_name(key): found.files[key] for found, key in held})
        write_report(report, manifest, verdict)
        _sound(new)  # an older bundle stays unless the new one can be loaded
        _put(report, _report(out))
        _put(new, out)


def _fill(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a bundle into `folder`, which exists."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_bytes(_text(manifest))


def _put(fresh: Path, place: Path) -> None:
    """Rename `fresh` to `place`; what was there goes, but comes back where that fails."""
    old = fresh.with_name(f"old-{fresh.name}")
    if place.exists():
        place.rename(old)
    try:
        fresh.rename(place)
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
