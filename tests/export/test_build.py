"""The whole export of two small models, and what happens when it cannot be done."""

from __future__ import annotations

import errno
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.recordings import read_frames
from edge.bundle import MANIFEST_LIMIT_BYTES, open_bundle, read_engine
from edge.engines import open_engine
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError, FoveateError
from export import accept, build, cascade, precision
from export.build import export_bundle
from export.cli import main
from export.errors import ModelError
from export.recipe import load_recipe
from tests.export.nets import SIZE, rewritten, squares


def test_bundle_opens_on_the_device(recipe: Path, tmp_path: Path) -> None:
    steps: dict[str, float] = {}
    bundle = export_bundle(recipe, tmp_path / "out", steps.__setitem__)
    assert bundle.manifest.models.keys() == {"semantic", "instance"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "instance.float32.onnx",
        "instance.int8.onnx",
        "manifest.json",
        "semantic.float32.onnx",
        "semantic.int8.onnx",
    ]
    for model in bundle.manifest.models.values():
        assert [engine.precision for engine in model.engines] == ["int8", "float32"]
        for engine in model.engines:
            open_engine(read_engine(bundle, engine), model, engine, 1).close()
    assert bundle.manifest.calibration["instance_method"] == "minmax"
    assert set(steps.values()) == {1.0}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_report_has_figures_and_pictures(recipe: Path, tmp_path: Path) -> None:
    bundle = export_bundle(recipe, tmp_path / "out")
    report = json.loads((tmp_path / "out.report" / "report.json").read_text())
    figures = report["figures"]
    assert figures["heldout_frames"] == 3
    assert figures["semantic_miou_agreement"] > 0.95
    assert figures["instance_objects_float"] == figures["instance_objects_matched"] == 3
    assert figures["instance_pq_agreement"] > 0.9
    assert figures["semantic_float32_ms"] > 0
    assert figures == pytest.approx(bundle.manifest.quality)
    assert "no truth" in report["notes"][0]
    page = (tmp_path / "out.report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64") == 3
    assert "http" not in page


def test_report_judges_against_truth(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed (pip install -e '.[bench]')")
    folder = tmp_path / "truth"
    squares(folder / "images", 4)
    for kind in ("semantic", "instances"):
        (folder / kind).mkdir()
    for path in (folder / "images").iterdir():
        square = (np.asarray(cv2.imread(str(path)))[..., 0] > 128).astype(np.uint8)
        cv2.imwrite(str(folder / "semantic" / path.name), square)
        cv2.imwrite(str(folder / "instances" / path.name), square.astype(np.uint16) * 7)
    rewritten(recipe, ('recordings = [{ source = "others" }]', 'folder = "truth"'))
    quality = export_bundle(recipe, tmp_path / "out").manifest.quality
    assert quality["heldout_frames"] == 3
    for side in ("float", "bundle"):
        assert quality[f"semantic_miou_{side}"] > 0.8
        assert quality[f"instance_ap50_{side}"] == 1


def test_thresholds_come_from_pictures_with_truth(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "truth"
    squares(folder / "images", 4)
    for kind in ("instances", "defects"):
        (folder / kind).mkdir()
    for path in (folder / "images").iterdir():
        square = (np.asarray(cv2.imread(str(path)))[..., 0] > 128).astype(np.uint8)
        cv2.imwrite(str(folder / "instances" / path.name), square)
        cv2.imwrite(str(folder / "defects" / path.name), square * 0)
    rewritten(
        recipe,
        ('recordings = [{ source = "others" }]', 'folder = "truth"'),
        ("[regions]", "[operating_point]\nescapes = 0.05\n[regions]"),
    )
    assert main([str(recipe), "--out", str(tmp_path / "out")]) == 0
    said = "# scratch: nothing can be claimed of 0 parts, 0 of them missed; 59 more are needed"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "out.report" / "gate.toml").read_text()
    assert said in (tmp_path / "out.report" / "report.html").read_text()
    export_bundle(recipe, tmp_path / "out")  # the report's place may be taken again
    rewritten(recipe, ('defects = ["scratch"]\n', ""))
    with pytest.raises(ConfigError, match=r"operating_point needs instance\.defects"):
        export_bundle(recipe, tmp_path / "out")


def test_a_recipe_alone_is_enough(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = recipe.read_text().split("[instance]")[0].replace('head = "logits"', 'precision = ["float32"]')
    recipe.write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main([str(recipe)]) == 0
    assert open_bundle(tmp_path / "small.bundle").manifest.models["semantic"].classes == ["background", "a", "b"]


def test_float_only_needs_no_calibration(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().split("[regions]")[0].replace("[semantic]", '[semantic]\nprecision = ["float32"]')
    recipe.write_text(text.split("[instance]")[0])
    bundle = export_bundle(recipe, tmp_path / "out")
    (engine,) = bundle.manifest.models["semantic"].engines
    assert engine.file == "semantic.float32.onnx"
    assert bundle.manifest.calibration == {}


def test_all_methods_and_both_flavours(recipe: Path, tmp_path: Path) -> None:
    rewritten(recipe, ('method = "minmax"', 'method = "auto"'), ('head = "logits"', 'head = "logits"\ntensorrt = true'))
    bundle = export_bundle(recipe, tmp_path / "out")
    engines = bundle.manifest.models["semantic"].engines
    assert [(engine.runtime, engine.precision, engine.file) for engine in engines] == [
        ("tensorrt", "int8", "semantic.trt.int8.onnx"),
        ("tensorrt", "float16", "semantic.trt.float16.onnx"),
        ("onnxruntime", "int8", "semantic.int8.onnx"),
        ("onnxruntime", "float32", "semantic.float32.onnx"),
    ]
    said = bundle.manifest.calibration
    assert "tensorrt_builder" in said
    assert float(said["semantic_trt_float16_agreement"]) > 0.99
    assert float(said["semantic_trt_int8_agreement"]) > 0.9
    assert bundle.manifest.calibration["semantic_method"] in {"mse", "minmax", "percentile", "entropy"}


def test_older_bundle_is_replaced_and_anything_else_is_kept(recipe: Path, tmp_path: Path) -> None:
    export_bundle(recipe, tmp_path / "out")
    rewritten(recipe, ('version = "1"', 'version = "2"'))
    assert export_bundle(recipe, tmp_path / "out").manifest.version == "2"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FoveateError, match="exists and is no bundle"):
        export_bundle(recipe, mine)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_interrupted_export_leaves_the_old_bundle(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = export_bundle(recipe, tmp_path / "out").manifest
    before = sorted(tmp_path.iterdir())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_report", interrupt)
    assert main([str(recipe), "--out", str(tmp_path / "out")]) == 130
    assert sorted(tmp_path.iterdir()) == before
    assert open_bundle(tmp_path / "out").manifest == old
    assert "interrupted" in capsys.readouterr().err


def test_a_disk_that_refuses_is_one_line(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = export_bundle(recipe, tmp_path / "out").manifest
    before = sorted(tmp_path.rglob("*"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "write_report", full)
    assert main([str(recipe), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"foveate export: --out {tmp_path}/out: cannot be written: No space left on device; ")
    assert sorted(tmp_path.rglob("*")) == before
    assert open_bundle(tmp_path / "out").manifest == old


def test_an_older_bundle_comes_back_where_its_place_cannot_be_taken(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = export_bundle(recipe, tmp_path / "out").manifest
    rename = Path.rename

    def race(self: Path, target: Path) -> Path:
        if self.name == "bundle":
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", race)
    with pytest.raises(FoveateError, match=r"cannot be written: Directory not empty; .*let no other export write"):
        export_bundle(recipe, tmp_path / "out")
    assert open_bundle(tmp_path / "out").manifest == old


def test_a_manifest_that_would_be_too_long_is_refused_before_the_work(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(f'{recipe.read_text()}\n[provenance]\nnotes = "{"x" * MANIFEST_LIMIT_BYTES}"')
    steps: list[str] = []
    with pytest.raises(FoveateError, match=f"a bundle takes {MANIFEST_LIMIT_BYTES} with them; shorten"):
        export_bundle(recipe, tmp_path / "out", lambda step, _share: steps.append(step))
    assert steps == []


@pytest.mark.parametrize("out", ["/", "b" * 249])
def test_a_place_that_cannot_be_is_named_before_the_work(recipe: Path, tmp_path: Path, out: str) -> None:
    steps: list[str] = []
    with pytest.raises(ConfigError, match=r"--out .*; name a"):
        export_bundle(recipe, tmp_path / out, lambda step, _share: steps.append(step))
    assert steps == []


def test_the_longest_name_is_taken(recipe: Path, tmp_path: Path) -> None:
    assert (export_bundle(recipe, tmp_path / ("b" * 248)).path / "manifest.json").is_file()


def test_activations_that_are_no_numbers_are_named(recipe: Path, tmp_path: Path) -> None:
    rewritten(recipe, ('color = "bgr"\n[instance]', 'color = "bgr"\nstd = 1e-9\n[instance]'))
    model = onnx.load(str(tmp_path / "semantic.onnx"))
    (first,) = [tensor for tensor in model.graph.initializer if tensor.name == "mean"]
    first.CopyFrom(numpy_helper.from_array(np.full(first.dims, 1e38, np.float32), "mean"))
    onnx.save(model, str(tmp_path / "semantic.onnx"))
    with pytest.raises(
        ModelError, match=r"semantic\.onnx: tensor '.*' becomes NaN or infinite on calibration pictures"
    ):
        export_bundle(recipe, tmp_path / "out")


def test_a_bundle_that_could_not_be_loaded_replaces_none(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = export_bundle(recipe, tmp_path / "out").manifest
    monkeypatch.setattr(build, "_FOUND_BYTES", -MANIFEST_LIMIT_BYTES * 2)
    recipe.write_text(f'{recipe.read_text()}\n[provenance]\nnotes = "{"x" * MANIFEST_LIMIT_BYTES}"')
    with pytest.raises(FoveateError, match=f"manifest.json has .* bytes, at most {MANIFEST_LIMIT_BYTES} are allowed"):
        export_bundle(recipe, tmp_path / "out")
    assert open_bundle(tmp_path / "out").manifest == old


@pytest.mark.parametrize(("module", "name"), [(precision, "read_frames"), (precision, "agreement"), (accept, "judge")])
def test_engines_are_closed_when_an_export_fails(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    engines: list[OrtEngine] = []

    class Kept(OrtEngine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            engines.append(self)

    def fail(*_: object) -> None:
        raise FoveateError("it failed")

    monkeypatch.setattr(cascade, "OrtEngine", Kept)
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(FoveateError, match="it failed"):
        export_bundle(recipe, tmp_path / "out")
    assert len(engines) >= 2
    assert not [engine for engine in engines if hasattr(engine, "_session")]


def test_command_reports_what_it_did(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recipe), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "semantic.int8.onnx" in out
    assert "report.html" in out


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("semantic.onnx", "nothing.onnx"), 65, "nothing.onnx: cannot be read: No such file or directory"),
        (("semantic.onnx", "recipe.toml"), 65, "is not an ONNX file"),
        (('"a", "b"]', '"a"]'), 65, "the recipe names 2 classes"),
        (('"a", "b"]', '"a", "a"]'), 78, "'a' is named twice"),
        (('source = "pictures"', 'source = "nowhere"'), 69, "nowhere"),
        (('head = "logits"', 'heat = "logits"'), 78, "unknown field `heat`"),
        (('head = "logits"', 'head = "softmax"'), 78, "Invalid enum value 'softmax'"),
        (("[semantic]", "[semantic"), 78, "is not valid TOML"),
        (("frames = 8", "frames = 0"), 78, "calibration.frames"),
        (('color = "bgr"', 'color = "bgr"\nexclude = ["sof"]'), 65, "did you mean 'soft'"),
        (('color = "bgr"', 'color = "bgr"\nstd = [1.0, 0.0, 1.0]'), 78, "std: is 0"),
        (('source = "others"', 'source = "pictures"'), 78, "held-out means others"),
    ],
)
def test_bad_input_ends_in_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], code: int, said: str
) -> None:
    rewritten(recipe, change)
    assert main([str(recipe), "--out", str(tmp_path / "out")]) == code
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("foveate export: ")
    assert said in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_frames_are_enough_to_calibrate_on(recipe: Path, tmp_path: Path, count: int) -> None:
    rewritten(recipe, ("frames = 8", f"frames = {count}"))
    calibration = export_bundle(recipe, tmp_path / "out").manifest.calibration
    assert calibration["selection_frames"] == 1
    assert calibration["semantic_pictures"] == count


@pytest.mark.parametrize("left", [0, 2])
def test_a_recording_that_is_shorter_the_second_time(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(precision, "read_frames", lambda *given: itertools.islice(read_frames(*given), left))
    if left:
        assert export_bundle(recipe, tmp_path / "out").manifest.calibration["semantic_pictures"] == left
    else:
        with pytest.raises(FoveateError, match="gave no frame when read again"):
            export_bundle(recipe, tmp_path / "out")


def test_nothing_to_look_at_is_said(recipe: Path, tmp_path: Path) -> None:
    rewritten(recipe, ("min_area_px = 50", "min_area_px = 1e6"))
    with pytest.raises(FoveateError, match="finds nothing to look at in 8 frames"):
        export_bundle(recipe, tmp_path / "out")


def test_recipe_paths_are_relative_to_it(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert loaded.semantic is not None
    assert loaded.calibration is not None
    assert loaded.semantic.model == recipe.parent / "semantic.onnx"
    assert loaded.calibration.recordings[0].source == str(recipe.parent / "pictures")
    assert SIZE == 32
