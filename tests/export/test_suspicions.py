"""Mistakes in a recipe that would give a bundle all the same: each is refused by its name, and honest ones are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ConfigError
from export.build import export_bundle
from export.errors import Cause, SuspicionError
from export.heldout import HeldFrame, held_frames
from export.inspection import inspect_inputs
from export.recipe import load_recipe
from export.taken import taken
from tests.export.nets import SIZE, rewritten, save, squares

COLORS = {1: (30, 40, 220), 2: (40, 210, 50), 3: (220, 60, 40)}  # BGR: red, green, blue
RECIPE = """
name = "colours"
version = "1"
[semantic]
model = "semantic.onnx"
head = "logits"
classes = ["background", "red", "green", "blue"]
color = "rgb"
precision = ["float32"]
[heldout]
frames = 6
folder = "truth"
"""


def color_net(path: Path) -> Path:
    """Write a network that tells red, green, blue and dark apart, trained on RGB from 0 to 1."""
    weights = np.zeros((4, 3, 1, 1), np.float32)
    weights[1:, :, 0, 0] = np.eye(3) * 2 - 1
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["logits"], name="head")]
    values = {"w": weights * 20, "b": np.asarray([4, 0, 0, 0], np.float32)}
    return save(path, nodes, values, {"logits": (1, 4, SIZE, SIZE)})


def colored(folder: Path, count: int = 8) -> None:
    """Write pictures with a square of each colour, and their truth."""
    random = np.random.default_rng(5)
    for kind in ("images", "semantic"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        image = random.integers(10, 30, (64, 64, 3)).astype(np.uint8)
        truth = np.zeros((64, 64), np.uint8)
        for i, color in COLORS.items():
            x, y = 4 + 20 * (i - 1), int(random.integers(2, 44))
            image[y : y + 16, x : x + 16] = np.asarray(color) + random.integers(-9, 10, 3)
            truth[y : y + 16, x : x + 16] = i
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "semantic" / f"{number}.png"), truth)


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """Write a recipe whose held-out frames have truth."""
    color_net(tmp_path / "semantic.onnx")
    colored(tmp_path / "truth")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def inspected(recipe_path: Path) -> list[tuple[str, float]]:
    """Do what an export does before it quantizes; return the readings that were tried."""
    recipe = load_recipe(recipe_path)
    candidates = {found.role: found for found in taken(recipe)}
    frames: list[HeldFrame] = []
    if recipe.heldout is not None:
        frames += held_frames(recipe.heldout, {role: found.model for role, found in candidates.items()})[1]()
    findings = inspect_inputs(recipe, candidates, frames, lambda _step, _share: None)
    return [(tried.reading, tried.skill) for tried in findings.checked.tried]


def background_only(weights: np.ndarray) -> np.ndarray:
    """Return weights that leave nothing but the background, here more and there less sure."""
    changed = np.zeros_like(weights)
    changed[0] = 2
    return changed


def change_weights(change: Callable[[np.ndarray], np.ndarray], name: str = "w") -> Callable[[Path], None]:
    """Return what changes a tensor of the network beside a recipe."""

    def edit(recipe: Path) -> None:
        path = recipe.parent / "semantic.onnx"
        model = onnx.load(str(path))
        (tensor,) = [one for one in model.graph.initializer if one.name == name]
        changed = change(numpy_helper.to_array(tensor)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(changed, name))
        onnx.save(model, str(path))

    return edit


def say(old: str, new: str) -> Callable[[Path], None]:
    """Return what changes the text of a recipe."""

    def edit(recipe: Path) -> None:
        rewritten(recipe, (old, new))

    return edit


def test_an_honest_recipe_passes_and_what_was_tried_is_told(colors: Path) -> None:
    tried = dict(inspected(colors))
    assert tried["as the recipe says"] > 0.9
    assert tried['color = "bgr"'] < 0.7
    assert 'fit = "letterbox"' in tried
    assert len(tried) == 7


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (say('color = "rgb"', 'color = "bgr"'), "colour order"),
        (say('color = "rgb"', 'color = "rgb"\nscale = 1.0\nmean = [104.0, 117.0, 123.0]'), "normalisation"),
        (say('color = "rgb"', 'color = "rgb"\nmean = 0.5\nstd = 0.5'), "normalisation"),
        (say('color = "rgb"', 'color = "bgr"\nmean = 5.0'), "normalisation"),  # both wrong: the normalisation is told
        (change_weights(lambda weights: weights[[0, 2, 3, 1]]), "class order"),
        (change_weights(np.zeros_like), "dead output"),
        (change_weights(background_only), "weights"),
    ],
)
def test_a_mistake_is_refused_by_its_name(colors: Path, edit: Callable[[Path], None], cause: Cause) -> None:
    edit(colors)
    with pytest.raises(SuspicionError, match=f": {cause}: ") as refused:
        inspected(colors)
    assert refused.value.cause == cause


def test_swapped_sides_are_refused(colors: Path) -> None:
    model = onnx.load(str(colors.parent / "semantic.onnx"))
    for value in (model.graph.input[0], model.graph.output[0]):
        for dim, name in zip(value.type.tensor_type.shape.dim[2:], ("h", "w"), strict=True):
            dim.dim_param = name
    onnx.save(model, str(colors.parent / "semantic.onnx"))
    say('color = "rgb"', 'color = "rgb"\ninput_size = [64, 8]')(colors)
    tried = dict(inspected(colors))
    assert "input_size = [8, 64]" in tried


def test_odd_weights_are_told_from_a_model_for_something_else(colors: Path) -> None:
    say("[heldout]", "[heldout]\nfloor = 0.999")(colors)
    with pytest.raises(SuspicionError, match="it is a model for something else"):
        inspected(colors)


def test_without_truth_nothing_is_claimed(colors: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "truth" / "semantic").iterdir():
        path.unlink()
    (tmp_path / "truth" / "semantic").rmdir()
    say('color = "rgb"', 'color = "bgr"')(colors)
    export_bundle(colors, tmp_path / "out")
    notes = json.loads((tmp_path / "out.report" / "report.json").read_text())["notes"]
    assert any("was not checked" in note for note in notes)


def test_names_of_objects_show_the_semantic_classes_in_another_order(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "truth"
    squares(folder / "images", 6)
    (folder / "instances").mkdir()
    kinds = {}
    for path in (folder / "images").iterdir():
        ids = (np.asarray(cv2.imread(str(path)))[..., 0] > 128).astype(np.uint16)
        cv2.imwrite(str(folder / "instances" / path.name), ids)
        kinds[path.stem] = {"1": "square"}
    (folder / "kinds.json").write_text(json.dumps(kinds))
    text = recipe.read_text().replace('recordings = [{ source = "others" }]', 'folder = "truth"')
    recipe.write_text(text.replace('["background", "a", "b"]', '["background", "square", "b"]'))
    inspected(recipe)
    recipe.write_text(text.replace('["background", "a", "b"]', '["background", "b", "square"]'))
    with pytest.raises(SuspicionError, match=r"semantic\.classes: class order: .*'square' is found as 'b'"):
        inspected(recipe)


def flat(folder: Path) -> None:
    """Write pictures with next to nothing in them."""
    folder.mkdir()
    for level in range(6):
        cv2.imwrite(str(folder / f"{level}.png"), np.full((64, 64, 3), 2 * level, np.uint8))


def foreign(folder: Path) -> None:
    """Write pictures of another place."""
    folder.mkdir()
    coarse = np.random.default_rng(3).integers(0, 256, (6, 5, 5, 3)).astype(np.uint8)
    for i, one in enumerate(coarse):
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(("write", "cause"), [(flat, "black calibration"), (foreign, "foreign calibration")])
def test_frames_that_are_no_frames_are_refused(
    recipe: Path, tmp_path: Path, write: Callable[[Path], None], cause: Cause
) -> None:
    write(tmp_path / "wrong")
    say('source = "pictures"', 'source = "wrong"')(recipe)
    with pytest.raises(SuspicionError, match=f"calibration.recordings: {cause}: "):
        inspected(recipe)
    say('method = "minmax"', 'method = "minmax"\nlike_heldout = false')(recipe)
    if cause == "foreign calibration":
        inspected(recipe)


def test_a_range_that_is_too_small_is_refused(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "export.candidate.find_ranges",
        lambda samples, _method: {name: (min(s.low, 0.0) / 3, max(s.high, 0.0) / 3) for name, s in samples.items()},
    )
    with pytest.raises(SuspicionError, match=r"clipped ranges: .* lie above the range of its quantizer"):
        export_bundle(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("floor", [-0.1, 1.5])
def test_a_floor_that_is_no_share_is_refused(colors: Path, floor: float) -> None:
    say("[heldout]", f"[heldout]\nfloor = {floor}")(colors)
    with pytest.raises(ConfigError, match=r"heldout\.floor"):
        load_recipe(colors)


def test_a_network_of_bytes_has_no_other_normalisation(tmp_path: Path, colors: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["u"]),
        helper.make_node("Conv", ["u", "w", "b"], ["logits"], name="head"),
    ]
    weights = np.zeros((4, 3, 1, 1), np.float32)
    weights[1:, :, 0, 0] = np.eye(3) * 2 - 1
    values = {"s": np.float32(1 / 255).reshape(()), "w": weights * 20, "b": np.asarray([4, 0, 0, 0], np.float32)}
    save(tmp_path / "semantic.onnx", nodes, values, {"logits": (1, 4, SIZE, SIZE)}, dtype=TensorProto.UINT8)
    assert len(inspected(colors)) == 3
