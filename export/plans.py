"""What the report plots: the plans that were tried for each model, and what quantizing its layers costs."""

from __future__ import annotations

from edge.bundle import Manifest, Role
from export.judge import Verdict
from export.search import Search
from export.shown import Layer, Plan

NOISE = "noise at the network's outputs where this layer alone has bytes"
TRUTHS = {"semantic": ("semantic_miou", "mean IoU with the truth"), "instance": ("instance_ap", "mask AP")}
LIKES = {
    "semantic": ("semantic_miou_agreement", "mean IoU with the float model"),
    "instance": ("instance_pq_agreement", "panoptic quality against the float models"),
}


def plans_of(manifest: Manifest, verdict: Verdict) -> list[Plan]:
    """Return all plans of each model; where none was judged alone, the float model and what the bundle prefers."""
    found = []
    for role in manifest.models:
        own = _searched(role, verdict.searches[role]) if role in verdict.searches else []
        found += own or _measured(role, verdict.figures)
    return found


def layers_of(verdict: Verdict) -> list[Layer]:
    """Return the layers of each model that had to be ranked, the noisiest first."""
    return [layer for role, found in verdict.searches.items() for layer in _ranked(role, found)]


def _ranked(role: Role, found: Search) -> list[Layer]:
    kept_float = found.chosen.float_layers if found.chosen is not None else 0
    return [
        Layer(role, name, noise, NOISE, "float32" if number < kept_float else "int8")
        for number, (name, noise) in enumerate(found.noise.items())
    ]


def _searched(role: Role, found: Search) -> list[Plan]:
    """Return the trials that were judged and timed, and the float file that they were timed with."""
    trials = [trial for trial in found.trials if trial.losses and trial.ms]
    if not trials or not found.float_ms:
        return []
    first = trials[0].losses[0]
    plans = [Plan(role, "float", found.float_ms, first.float_value, first.what)]
    for trial in trials:
        layers = f", {trial.float_layers} layers float" if trial.float_layers else ""
        note = "; ".join(str(loss) for loss in trial.losses)
        name, kept = f"int8 {trial.method}{layers}", trial is found.chosen
        plans.append(Plan(role, name, trial.ms, trial.losses[0].value, first.what, kept, note))
    return plans


def _measured(role: Role, figures: dict[str, float]) -> list[Plan]:
    """Return the float model and the bundle's as two plans, if both were measured and compared."""
    ends = {key.removeprefix(f"{role}_"): ms for key, ms in figures.items() if key.startswith(f"{role}_")}
    times = {key.removesuffix("_ms"): ms for key, ms in ends.items() if key.endswith("_ms")}
    if len(times) != 2 or role not in LIKES:
        return []
    (native, slow), (kept, fast) = times.items()
    key, measure = TRUTHS[role]
    if f"{key}_float" in figures and f"{key}_bundle" in figures:
        accuracies = figures[f"{key}_float"], figures[f"{key}_bundle"]
    elif LIKES[role][0] in figures:
        accuracies, measure = (1.0, figures[LIKES[role][0]]), LIKES[role][1]
    else:
        return []
    return [
        Plan(role, native, slow, accuracies[0], measure),
        Plan(role, kept, fast, accuracies[1], measure, kept=True),
    ]
