"""The whole export: recipe -> bundle and report, written beside and renamed at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import importlib.metadata
import os
import tempfile
from pathlib import Path

import msgspec

from edge import bundle
from edge.bundle import Bundle, Manifest, Model, Role, open_bundle
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError, FoveateError
from edge.threads import available_cores
from export.candidate import candidate
from export.cascade import Cascade
from export.heldout import held_frames
from export.judge import Verdict, judge, timings
from export.precision import Candidates, Progress, quantize_all
from export.recipe import Recipe, load_recipe, sources
from export.report import write_report

PACKAGES = ("msgspec", "numpy", "onnx", "onnxruntime", "opencv-python-headless")


def export_bundle(recipe_path: Path, out: Path, progress: Progress | None = None) -> Bundle:
    """Export `recipe_path` into folder `out`, with the report in ``<out>.report``, and return the bundle.

    An older bundle in `out` is replaced when the new one is complete. Raises `ConfigError` for a recipe, `ModelError`
    for a model and `CameraError` for a recording that cannot be used.
    """
    report = progress or _silent
    recipe = load_recipe(recipe_path)
    out = out.resolve()
    _check_target(out)
    candidates = {role: candidate(role, source) for role, source in sources(recipe).items()}
    calibration = quantize_all(recipe, candidates, report)
    models = {role: found.described() for role, found in candidates.items()}
    verdict = _judge(recipe, candidates, models, report)
    manifest = Manifest(
        format=bundle.FORMAT,
        name=recipe.name,
        version=recipe.version,
        created=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        models=models,
        calibration=calibration,
        quality={key: round(value, 6) for key, value in verdict.figures.items()},
        provenance=recipe.provenance,
    )
    _write(out, manifest, candidates, verdict)
    return open_bundle(out)


def cached_bundle(recipe_path: Path, cache: Path, progress: Progress | None = None) -> Bundle:
    """Return the bundle of a recipe from folder `cache`; it is exported only if nothing that shapes it is the same."""
    path = cache / cache_key(recipe_path)
    with contextlib.suppress(FoveateError):
        found = open_bundle(path)
        for model in found.manifest.models.values():
            for engine in model.engines:
                bundle.read_engine(found, engine)
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cache {cache}: cannot be made: {error.strerror}; name another folder") from error
    return export_bundle(recipe_path, path, progress)


def cache_key(recipe_path: Path) -> str:
    """Return 16 hex digits that change with the recipe, its models, its recordings' sizes and the versions in use."""
    recipe = load_recipe(recipe_path)
    digest = hashlib.sha256(recipe_path.read_bytes())
    for source in sources(recipe).values():
        with contextlib.suppress(OSError):  # export will say what is wrong with it
            digest.update(hashlib.sha256(source.model.read_bytes()).digest())
    tables = [table for table in (recipe.calibration, recipe.heldout) if table is not None]
    for camera in (camera for table in tables for camera in table.recordings):
        with contextlib.suppress(OSError):
            status = os.stat(camera.source)  # noqa: PTH116  a source may also be a URL
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    digest.update(" ".join(f"{name} {_version(name)}" for name in ("foveate", *PACKAGES)).encode())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _silent(step: str, share: float) -> None:
    """Show no progress."""


def _check_target(out: Path) -> None:
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "manifest.json").is_file())):
        raise ConfigError(f"--out {out}: exists and is no bundle; name a new folder")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; create it first")


def _judge(recipe: Recipe, candidates: Candidates, models: dict[Role, Model], progress: Progress) -> Verdict:
    """Compare the float cascade with what the bundle prefers to run."""
    threads = available_cores()
    engines = {
        "float": {role: OrtEngine(role, found.files[found.native], threads) for role, found in candidates.items()},
        "bundle": {role: OrtEngine(role, found.files[found.preferred], threads) for role, found in candidates.items()},
    }
    verdict = Verdict(notes=["There are no held-out frames in the recipe: nothing was compared."])
    if recipe.heldout is not None:
        count, frames = held_frames(recipe.heldout, models.get("instance"))
        cascades = {side: Cascade(found, models, recipe.regions) for side, found in engines.items()}
        verdict = judge(frames(), count, cascades, models, lambda share: progress("judge on held-out frames", share))
    _drop_trivial(verdict, candidates)
    for role, found in candidates.items():
        keys = {"float": found.native, "bundle": found.preferred}
        variants = {f"{role}_{key}": engines[side][role] for side, key in keys.items()}
        verdict.figures |= timings(variants, models[role].input)
    for opened in engines.values():
        for engine in opened.values():
            engine.close()
    return verdict


def _drop_trivial(verdict: Verdict, candidates: Candidates) -> None:
    """Leave out figures that compare a model with itself."""
    same = [role for role, found in candidates.items() if found.native == found.preferred]
    if same:
        verdict.notes.append(f"The bundle prefers the {' and '.join(same)} model as it was given.")
    gone = ["semantic_miou_agreement", "semantic_miou_bundle"] if "semantic" in same else []
    if len(same) == len(candidates):
        gone += [key for key in verdict.figures if key.startswith("instance_") and "float" not in key]
    for key in gone:
        verdict.figures.pop(key, None)


def _write(out: Path, manifest: Manifest, candidates: Candidates, verdict: Verdict) -> None:
    """Write bundle and report beside their places, then rename; the bundle comes last and is the commit."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        new, report = Path(name) / "bundle", Path(name) / "report"
        new.mkdir()
        report.mkdir()
        for found in candidates.values():
            for key in found.kept():
                (new / found.file_name(key)).write_bytes(found.files[key])
        (new / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        write_report(report, manifest, verdict)
        for fresh, place in ((report, out.with_name(f"{out.name}.report")), (new, out)):
            if place.exists():
                place.rename(Path(name) / f"old-{fresh.name}")
            fresh.rename(place)
