"""The gate of the export: the whole cascade in the precisions that the bundle would run, against the recipe's bounds.

What breaks a bound is refused, the bundle holds the next precision up in its place, and the rest is judged again.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.bundle import Judged, Manifest, Model, Role
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError
from edge.threads import available_cores
from export.bounds import Loss, losses_of
from export.candidate import Candidate
from export.cascade import Cascade, opened, with_coarse
from export.errors import BoundError
from export.heldout import HeldFrame
from export.judge import Verdict, judge, timings
from export.operate import operating_points
from export.parity import compare, play, site_of
from export.precision import INT8, Candidates, Progress, refuse_together
from export.recipe import Recipe
from export.report import machine

MOST_HASHES = 256  # frames whose hashes stand in the manifest; all of them are in the report
Fill = Callable[[Path, Manifest, dict[str, bytes]], None]  # writes a bundle into a folder


def accepted(
    recipe: Recipe, draft: Manifest, candidates: Candidates, frames: Sequence[HeldFrame], fill: Fill, progress: Progress
) -> tuple[dict[Role, Model], Verdict]:
    """Return the models as the bundle may hold them, and the comparison of what it runs with the float models.

    Raises `BoundError` where a model is left without a precision that the recipe allows.
    """
    while True:
        for found in candidates.values():
            _check_usable(found)
        models = {role: found.described() for role, found in candidates.items()}
        verdict = _judged(recipe, candidates, models, frames, progress)
        if recipe.parity is not None and any(_is_made(found) for found in candidates.values()):
            _compare_decisions(recipe, draft, candidates, models, verdict, fill, progress)
        losses = losses_of(verdict.figures, recipe.bounds)
        verdict.losses = [str(loss) for _, loss in losses]
        broken = [(role, loss) for role, loss in losses if not loss.holds]
        if not broken or not _refused(candidates, *broken[0]):
            break
    _tell(verdict, candidates)
    return models, verdict


def judged_on(verdict: Verdict) -> Judged | None:
    """Return what the manifest says of the frames and the device behind the figures; None without frames."""
    if not verdict.hashes:
        return None
    digest = hashlib.sha256("".join(verdict.hashes).encode()).hexdigest()
    return Judged(verdict.hashes[:MOST_HASHES], digest, machine())


def _is_made(found: Candidate) -> bool:
    """Return whether the bundle prefers a file of another precision than the model came in."""
    return found.preferred != found.native


def _check_usable(found: Candidate) -> None:
    """Raise `BoundError` where nothing is left that the bundle may hold."""
    if found.kept():
        return
    reasons = "; ".join(f"{key}: {reason}" for key, reason in found.refusals().items())
    raise BoundError(
        f"{found.role}.precision: nothing that the recipe allows can be in the bundle: {reasons}; allow "
        'precision = ["int8", "float32"], widen that bound, or calibrate on recordings that show what is held out'
    )


def _refused(candidates: Candidates, role: Role, loss: Loss) -> bool:
    """Refuse what broke a bound; return False where the cascade runs nothing but models as they came."""
    blamed = sorted((found for found in candidates.values() if _is_made(found)), key=lambda found: found.role != role)
    if not blamed:
        return False
    blamed[0].refused |= dict.fromkeys(INT8, f"in the whole cascade {loss}")
    refuse_together(candidates)
    return True


def _judged(
    recipe: Recipe, candidates: Candidates, models: dict[Role, Model], frames: Sequence[HeldFrame], progress: Progress
) -> Verdict:
    """Compare the float cascade with what the bundle prefers to run."""
    verdict = Verdict(notes=["There are no held-out frames in the recipe: nothing was compared."])
    with contextlib.ExitStack() as stack:
        engines = _engines(candidates, stack)
        if frames:
            cascades = {side: Cascade(found, models, recipe.regions) for side, found in engines.items()}
            if "coarse" in models:
                changed = with_coarse(engines["bundle"])
                cascades["coarse"] = Cascade(changed, with_coarse(models), recipe.regions)
            step = "judge on held-out frames"
            verdict = judge(frames, cascades, models, lambda share: progress(step, share))
        _choose_points(recipe, models, verdict)
        _drop_trivial(verdict, candidates)
        for role, found in candidates.items():
            keys = {found.native: "float", found.preferred: "bundle"}
            variants = {key: engines[side][role] for key, side in keys.items()}
            verdict.figures |= timings(role, variants, models[role].input)
    return verdict


def _compare_decisions(
    recipe: Recipe,
    draft: Manifest,
    candidates: Candidates,
    models: dict[Role, Model],
    verdict: Verdict,
    fill: Fill,
    progress: Progress,
) -> None:
    """Run the site of ``[parity]`` with the float models and with the bundle, and add what it comes to."""
    if recipe.parity is None:
        return
    step, site = "compare decisions", site_of(recipe.parity)
    played = []
    with tempfile.TemporaryDirectory(prefix="foveate-parity-") as folder:
        for number, side in enumerate(("float", "bundle")):
            progress(step, number / 2)
            place = Path(folder) / side
            place.mkdir()
            native = {role: found.described([found.native]) for role, found in candidates.items()}
            held = native if side == "float" else models
            files = {e.file: candidates[role].data(e) for role, model in held.items() for e in model.engines}
            fill(place, msgspec.structs.replace(draft, models=held), files)
            played.append(play(site, place, recipe.parity.frames))
    progress(step, 1.0)
    compared = compare(*played)
    verdict.figures |= compared.figures
    verdict.decisions = compared.flips


def _choose_points(recipe: Recipe, models: dict[Role, Model], verdict: Verdict) -> None:
    """Choose where the gate's thresholds are to be, if the recipe wants that; raises `ConfigError` without truth."""
    wanted = recipe.operating_point
    if wanted is None:
        return
    if not verdict.frames:
        raise ConfigError("recipe: operating_point: heldout.folder has no instances; add them, or leave the table out")
    defects = models["instance"].defects
    verdict.points = operating_points(verdict.frames, defects, wanted.escapes, wanted.least_px, wanted.confidence)


def _engines(candidates: Candidates, stack: contextlib.ExitStack) -> dict[str, dict[Role, OrtEngine]]:
    """Open every model twice, as "float" and as "bundle" runs it; all are closed with `stack`."""
    threads = available_cores()
    return {
        "float": {role: opened(stack, role, found.files[found.native], threads) for role, found in candidates.items()},
        "bundle": {
            role: opened(stack, role, found.files[found.preferred], threads) for role, found in candidates.items()
        },
    }


def _drop_trivial(verdict: Verdict, candidates: Candidates) -> None:
    """Leave out figures that compare a model with itself."""
    same = [role for role, found in candidates.items() if not _is_made(found)]
    if same:
        verdict.notes.append(f"The bundle prefers the {' and '.join(same)} model as it was given.")
    gone = ["semantic_miou_agreement", "semantic_miou_bundle"] if "semantic" in same else []
    if len(same) == len(candidates):
        others = [key for key in verdict.figures if key.startswith("instance_") and "float" not in key]
        gone += [key for key in others if not key.endswith("_coarse")]
    for key in gone:
        verdict.figures.pop(key, None)


def _tell(verdict: Verdict, candidates: Candidates) -> None:
    """Say in the report what is not in the bundle and why, and how the rest was found."""
    for role, found in candidates.items():
        said = found.refusals().items()
        verdict.notes += [f"The {role} model is not in the bundle as {key}: {reason}." for key, reason in said]
        if found.search is not None:
            verdict.searches[role] = found.search
