"""The recipe of an export: which models, what their tensors mean, which recordings to calibrate and judge on.

A recipe is a TOML file; paths in it are relative to its own folder. The comments below explain every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edge.bundle import Role
from edge.config import MOST, Camera, Fraction, Name, Positive, RegionRules, Whole
from edge.errors import ConfigError
from export.bounds import Bounds, Parity

SemanticHead = Literal["logits", "argmax", "binary"]
InstanceHead = Literal["centers", "yolo", "yolo-end2end", "queries", "box-masks"]
Color = Literal["bgr", "rgb"]
Method = Literal["minmax", "percentile", "entropy", "mse", "auto"]
ExportPrecision = Literal["int8", "float32"]
TensorRtPrecision = Literal["int8", "float16"]
Grey = Annotated[int, msgspec.Meta(ge=0, le=255)]
Channels = float | list[float]  # one number, or one per channel in the model's own channel order
ONE_255TH = 1.0 / 255.0


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table whose keys are checked."""


class Source(_Table, frozen=True, kw_only=True):
    """One trained model: what both kinds have in common.

    `precision` "as is" keeps a model that is quantized already.
    `classes` has one name per class that the model tells apart, in the model's order. Where `background` is true the
    first of them is the background; where it is false the model has none, and export adds it in front: the model's
    first class becomes number 1 of the bundle.
    """

    model: Path
    classes: list[str] = []  # default: those that the file carries, see `export/metadata.py`
    background: bool | None = None  # default: true, but false for "yolo", "yolo-end2end" and "queries"
    color: Color = "rgb"  # channel order the model was trained with
    scale: Positive = ONE_255TH  # pixel = (value * scale - mean) / std, per channel; ignored where the input is uint8
    mean: Channels = 0.0
    std: Channels = 1.0
    input_size: tuple[Whole, Whole] | None = None  # width, height for a model whose input size is left open
    fit: Literal["stretch", "letterbox"] = "stretch"
    fill: Grey = 114  # grey value of pixels that hold no frame
    precision: tuple[ExportPrecision, ...] | Literal["as is"] = ("int8", "float32")  # best first
    exclude: list[str] = []  # names of nodes that stay float
    tensorrt: bool | tuple[TensorRtPrecision, ...] = False  # files for TensorRT, best first; true: INT8 and FP16
    stated: list[str] = []  # keys that the recipe names: what the file says of itself does not replace them


class Semantic(Source, frozen=True, kw_only=True):
    """``[semantic]``: a class for every pixel."""

    head: SemanticHead | None = None  # default: what the outputs show
    output: str | None = None  # which output is read where the model has several
    enlarge: bool = False  # bring logits to the input's size before the best class is taken
    coarse_size: tuple[Whole, Whole] | None = None  # width, height of a second, smaller input, for the governor


class Instance(Source, frozen=True, kw_only=True):
    """``[instance]``: objects on a canvas."""

    head: InstanceHead | None = None  # default: what the outputs show
    defects: list[str] = []  # "centers": defect classes, without the background; others: those of the classes
    score: Fraction = 0.25  # confidence below which the runtime drops an object
    iou: Fraction = 0.5  # "yolo": overlap above which the weaker box is dropped
    top_k: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None  # objects per canvas; default 64, 100 or 256
    offset_px: Positive = 1.0  # "centers": canvas pixels per unit of the int8 offsets
    peak_window: Literal[3, 5, 7] = 3  # "centers": cells in which only the highest peak stays


class Appearance(Source, frozen=True, kw_only=True):
    """``[appearance]``: a vector for a crop of one object, for re-identification."""

    head: Literal["embedding"] = "embedding"
    precision: tuple[ExportPrecision, ...] | Literal["as is"] = ("float32",)


class Calibration(_Table, frozen=True, kw_only=True):
    """``[calibration]``: what activation ranges are measured on."""

    recordings: list[Camera]
    frames: Whole = 64  # chosen from all recordings, spread and unlike each other
    limit: Whole = 2000  # frames that are read from each recording at the most
    method: Method = "auto"


class HeldOut(_Table, frozen=True, kw_only=True):
    """``[heldout]``: frames for the report, none of which calibration has seen."""

    recordings: list[Camera] = []
    folder: Path | None = None  # pictures with truth; `export/heldout.py` describes the layout
    frames: Whole = 24
    limit: Whole = 2000


class OperatingPoint(_Table, frozen=True, kw_only=True):
    """``[operating_point]``: how many defective parts may escape; needs a held-out folder with truth."""

    escapes: Annotated[float, msgspec.Meta(gt=0, lt=1)]  # share of the defective parts of each class, at the most
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.95  # with which that is to be claimed
    least_px: Positive = 30.0  # frame pixels of a true defect below which the part is not defective


class Recipe(_Table, frozen=True, kw_only=True):
    """A whole recipe."""

    name: Name
    version: str
    semantic: Semantic | None = None
    instance: Instance | None = None
    appearance: Appearance | None = None
    calibration: Calibration | None = None
    heldout: HeldOut | None = None
    operating_point: OperatingPoint | None = None
    bounds: Bounds = Bounds()  # what the bundle may lose against the float models
    parity: Parity | None = None
    regions: RegionRules = RegionRules()  # what the instance model gets to see, as in the configuration of the device
    provenance: dict[str, str] = {}  # copied into the manifest: where the models come from


_T = TypeVar("_T", bound=msgspec.Struct)


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in TOML file `path`, its paths made absolute; raises `ConfigError`."""
    try:
        recipe = msgspec.toml.decode(path.read_text(encoding="utf-8-sig"), type=Recipe, dec_hook=_path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: cannot be read: {error}; name a TOML file") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"recipe {path}: {error}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # tomllib: huge integers, endless nesting
        raise ConfigError(f"recipe {path}: is not valid TOML: {error}") from error
    _check(recipe, path)
    return _absolute(_noted(recipe, path), path.resolve().parent)


def _path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


def sources(recipe: Recipe) -> dict[Role, Semantic | Instance | Appearance]:
    """Return the models of a recipe by role."""
    found: dict[Role, Semantic | Instance | Appearance | None] = {
        "semantic": recipe.semantic,
        "instance": recipe.instance,
        "appearance": recipe.appearance,
    }
    return {role: source for role, source in found.items() if source is not None}


def _noted(recipe: Recipe, path: Path) -> Recipe:
    """Write down which keys of each model the recipe names, for what the model's file says stands behind them."""
    tables = msgspec.toml.decode(path.read_text(encoding="utf-8-sig"))
    noted: dict[str, Any] = {}
    for role, source in sources(recipe).items():
        if source.stated:
            raise ConfigError(f"recipe {path}: {role}.stated: is no key of a recipe; remove it")
        noted[role] = _replaced(source, {"stated": sorted(tables[role])})
    return _replaced(recipe, noted)


def _check(recipe: Recipe, path: Path) -> None:
    models = sources(recipe)
    if not models:
        raise ConfigError(f"recipe {path}: no model; add a table [semantic], [instance] or both")
    for role, source in models.items():
        check_source(f"recipe {path}: {role}", source)
        if source.precision != "as is" and "int8" in source.precision and recipe.calibration is None:
            raise ConfigError(
                f"recipe {path}: {role}.precision has int8 and there is no [calibration]; "
                'add recordings to calibrate on, or set precision = ["float32"]'
            )
        _check_tensorrt(f"recipe {path}: {role}", source, recipe)
    if recipe.calibration is not None:
        _check_recordings(f"recipe {path}: calibration", recipe.calibration.recordings)
    if recipe.heldout is not None and bool(recipe.heldout.folder) == bool(recipe.heldout.recordings):
        raise ConfigError(f"recipe {path}: heldout: needs exactly one of recordings and folder")
    if recipe.heldout is not None and recipe.heldout.recordings:
        _check_recordings(f"recipe {path}: heldout", recipe.heldout.recordings)
        known = recipe.calibration.recordings if recipe.calibration is not None else []
        for camera in recipe.heldout.recordings:
            if camera in known:
                name = camera.source or " ".join(camera.command)
                raise ConfigError(f"recipe {path}: heldout.recordings: {name} is calibrated on; held-out means others")
    if recipe.operating_point is not None:
        _check_point(recipe, path)


def _check_tensorrt(setting: str, source: Source, recipe: Recipe) -> None:
    if source.tensorrt and (source.precision == "as is" or recipe.calibration is None):
        raise ConfigError(
            f"{setting}.tensorrt: needs a float model and [calibration], for TensorRT takes INT8 of another kind than "
            "CPUs, and FP16 only holds so much; leave it out, or give both"
        )


def _check_point(recipe: Recipe, path: Path) -> None:
    if recipe.heldout is None or recipe.heldout.folder is None:
        raise ConfigError(
            f"recipe {path}: operating_point needs heldout.folder, pictures with true instances and defects; add it"
        )
    if recipe.instance is None or not recipe.instance.defects:
        raise ConfigError(f"recipe {path}: operating_point needs instance.defects; name them, or leave it out")


def _check_appearance(setting: str, source: Appearance) -> None:
    if source.precision not in (("float32",), "as is") or source.tensorrt:
        raise ConfigError(
            f"{setting}: no crops of objects are collected to calibrate on; leave out tensorrt, and set precision = "
            '["float32"], or "as is" for a model that is quantized already'
        )
    if source.classes:
        raise ConfigError(f"{setting}.classes: it tells no classes apart; remove them")


def check_source(setting: str, source: Semantic | Instance | Appearance) -> None:
    """Raise `ConfigError`, with `setting` before the key, where what is said of a model cannot be meant."""
    if isinstance(source, Appearance):
        _check_appearance(setting, source)
    if not source.precision:
        raise ConfigError(f'{setting}.precision: is empty; use ["int8", "float32"], ["float32"] or "as is"')
    for key, value in (("mean", source.mean), ("std", source.std)):
        if isinstance(value, list) and len(value) != 3:
            raise ConfigError(f"{setting}.{key}: has {len(value)} numbers; give one, or three in the model's order")
        numbers = value if isinstance(value, list) else [value]
        if not all(abs(number) <= MOST for number in numbers):
            raise ConfigError(f"{setting}.{key}: is {value}; give numbers of at most {MOST}")
        if key == "std" and not all(abs(number) * MOST >= 1 for number in numbers):
            raise ConfigError(f"{setting}.std: is 0 or next to it; pixels are divided by it")
    defects = source.defects if isinstance(source, Instance) else []
    for key, names in (("classes", source.classes), ("defects", defects)):
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ConfigError(f"{setting}.{key}: {min(doubled)!r} is named twice; give every class its own name")


def _check_recordings(setting: str, recordings: list[Camera]) -> None:
    if not recordings:
        raise ConfigError(f"{setting}.recordings: is empty; name at least one video, folder of pictures or command")
    for camera in recordings:
        if bool(camera.source) == bool(camera.command):
            raise ConfigError(f"{setting}.recordings: each needs exactly one of source and command")
        if camera.command and camera.size is None:
            raise ConfigError(f"{setting}.recordings: command needs size = [width, height] of the frames it writes")


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Make every path absolute; a recording's `source` only where it is not a URL or a device."""
    changes: dict[str, Any] = {
        role: _replaced(source, {"model": folder / source.model}) for role, source in sources(recipe).items()
    }
    for name, table in (("calibration", recipe.calibration), ("heldout", recipe.heldout)):
        if table is not None:
            found = _replaced(table, {"recordings": [_located(camera, folder) for camera in table.recordings]})
            if isinstance(found, HeldOut) and found.folder is not None:
                found = _replaced(found, {"folder": folder / found.folder})
            changes[name] = found
    if recipe.parity is not None:
        changes["parity"] = _replaced(recipe.parity, _located_parity(recipe.parity, folder))
    return _replaced(recipe, changes)


def _located_parity(parity: Parity, folder: Path) -> dict[str, Any]:
    recordings = {name: str(folder / source) for name, source in parity.recordings.items()}
    return {"config": folder / parity.config, "recordings": recordings}


def _located(camera: Camera, folder: Path) -> Camera:
    if not camera.source or "://" in camera.source or camera.source.startswith("usb:"):
        return camera
    return _replaced(camera, {"source": str(folder / camera.source)})


def _replaced(struct: _T, changes: dict[str, Any]) -> _T:
    return msgspec.structs.replace(struct, **changes)
