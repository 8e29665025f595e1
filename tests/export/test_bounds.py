"""Bounds of a recipe: what is held against them, what is refused, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.bundle import Role
from export import accept
from export.bounds import OBJECTS, Bounds, Loss, losses_of
from export.build import export_bundle
from export.cli import main
from export.errors import BoundError
from tests.export.nets import rewritten, semantic_net

NEVER = ("[bounds]\n", "[bounds]\nlabels_differ = 0.0\n")


@pytest.fixture
def unsure(recipe: Path) -> Path:
    """Return the recipe with a semantic model whose labels bytes change."""
    semantic_net(recipe.parent / "semantic.onnx")
    return rewritten(recipe, NEVER)


def test_truth_counts_where_there_is_any() -> None:
    figures = {"semantic_miou_float": 0.8, "semantic_miou_bundle": 0.79, "semantic_miou_agreement": 0.5}
    ((role, loss),) = losses_of(figures, Bounds())
    assert (role, loss.bound, loss.holds) == ("semantic", "miou_lost", False)
    assert loss.lost == pytest.approx(0.01)
    ((_, loss),) = losses_of(figures, Bounds(miou_lost=0.01))
    assert loss.holds
    ((_, loss),) = losses_of({"semantic_miou_agreement": 0.79}, Bounds())
    assert (loss.bound, loss.holds) == ("labels_differ", False)
    better = {"instance_ap_float": 0.5, "instance_ap_bundle": 0.6, "instance_pq_agreement": 0.1}
    ((role, loss),) = losses_of(better, Bounds())
    assert (role, loss.bound, loss.holds) == ("instance", "ap_lost", True)


def test_decisions_count_beside_everything_else() -> None:
    figures = {"parity_counts_differ": 1.0, "parity_parts": 50.0, "parity_verdicts_flipped": 1.0}
    counts, flips = (loss for _, loss in losses_of(figures, Bounds()))
    assert (counts.bound, counts.lost, counts.holds) == ("counts_differ", 1.0, False)
    assert flips.lost == pytest.approx(0.02)
    assert not flips.holds
    assert all(loss.holds for _, loss in losses_of(figures, Bounds(counts_differ=1, verdicts_flipped=0.02)))
    nobody = {"parity_counts_differ": 0.0, "parity_parts": 0.0, "parity_verdicts_flipped": 0.0}
    assert all(loss.holds for _, loss in losses_of(nobody, Bounds(verdicts_flipped=0.0)))


def test_what_breaks_a_bound_is_not_in_the_bundle_and_the_report_says_why(
    unsure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(unsure), "--out", str(tmp_path / "out")]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    report = json.loads((tmp_path / "out.report" / "report.json").read_text())
    reason = manifest["calibration"]["semantic_int8_refused"]
    assert "mean IoU with the float model's labels is 0." in reason
    assert "bounds.labels_differ is 0" in reason
    assert [engine["precision"] for engine in manifest["models"]["semantic"]["engines"]] == ["float32"]
    assert not (tmp_path / "out" / "semantic.int8.onnx").exists()
    assert any(reason in note for note in report["notes"])
    assert reason in capsys.readouterr().out
    plans = report["search"]["semantic"]["plans"]
    assert manifest["calibration"]["semantic_validations"] == len(plans) > 1
    assert not any(plan["holds"] for plan in plans)
    assert report["search"]["semantic"]["layers"].keys() == {"net/stem", "net/body", "net/head"}


def test_without_another_precision_the_export_ends_and_says_what_was_measured(
    unsure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(unsure, ('head = "logits"', 'head = "logits"\nprecision = ["int8"]'))
    assert main([str(unsure), "--out", str(tmp_path / "out")]) == BoundError.exit_code
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "semantic.precision: nothing that the recipe allows can be in the bundle: int8: at the best of" in said
    assert "bounds.labels_differ is 0" in said
    assert 'allow precision = ["int8", "float32"], widen that bound, or calibrate' in said
    assert not (tmp_path / "out").exists()


def test_what_is_no_faster_is_refused(recipe: Path, tmp_path: Path) -> None:
    rewritten(recipe, ("speedup = 0 ", "speedup = 1000 "))
    bundle = export_bundle(recipe, tmp_path / "out")
    for role, model in bundle.manifest.models.items():
        assert [engine.precision for engine in model.engines] == ["float32"]
        reason = str(bundle.manifest.calibration[f"{role}_int8_refused"])
        assert reason.startswith("one inference is ")
        assert reason.endswith("bounds.speedup is 1000")
    assert "semantic_miou_agreement" not in bundle.manifest.quality


def test_what_only_the_whole_cascade_shows_is_refused_too(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model alone keeps its bounds, and together they do not: the instance model goes, the semantic one stays."""

    def losses(figures: dict[str, float], bounds: Bounds) -> list[tuple[Role, Loss]]:
        in_bytes = "instance_speedup" in figures
        return [("instance", Loss("objects_differ", OBJECTS, 1.0, 0.5 if in_bytes else 1.0, bounds.objects_differ))]

    monkeypatch.setattr(accept, "losses_of", losses)
    bundle = export_bundle(recipe, tmp_path / "out")
    precisions = {role: [e.precision for e in model.engines] for role, model in bundle.manifest.models.items()}
    assert precisions == {"semantic": ["int8", "float32"], "instance": ["float32"]}
    assert str(bundle.manifest.calibration["instance_int8_refused"]).startswith("in the whole cascade panoptic quality")


def test_the_coarse_model_has_the_precisions_of_the_semantic_one(unsure: Path, tmp_path: Path) -> None:
    rewritten(unsure, ('head = "logits"', 'head = "logits"\ncoarse_size = [24, 24]'))
    bundle = export_bundle(unsure, tmp_path / "out")
    models = bundle.manifest.models
    for model in (models["semantic"], models["coarse"]):
        assert [engine.precision for engine in model.engines] == ["float32"]


def test_the_manifest_says_on_what_it_was_judged(recipe: Path, tmp_path: Path) -> None:
    first = export_bundle(recipe, tmp_path / "one").manifest.judged
    second = export_bundle(recipe, tmp_path / "two").manifest.judged
    assert first is not None
    assert first == second
    assert len(set(first.frames)) == len(first.frames) == 3
    assert {"machine", "onnxruntime"} <= first.device.keys()
    rewritten(recipe, ("[heldout]\nframes = 3", "[heldout]\nframes = 2"))
    third = export_bundle(recipe, tmp_path / "two").manifest.judged
    assert third is not None
    assert third.sha256 != first.sha256
