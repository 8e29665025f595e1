"""Read a bundle: the only way a model file gets in.

A bundle is a folder with ``manifest.json`` and the model files it names. Every file is read once; the size and the
SHA-256 of that buffer must equal the manifest's, and that same buffer is what the engine loads.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.config import Fraction, Positive, Whole
from edge.errors import BundleError

FORMAT = 1
MANIFEST_LIMIT_BYTES = 64 * 1024
FILE_LIMIT_BYTES = 1 << 30
PROTOTYPE_STRIDE = 4  # canvas pixels per prototype cell

# coarse: the semantic network again, with a smaller input; appearance: what a crop of an object looks like, as a vector
Role = Literal["semantic", "coarse", "instance", "appearance"]
FAMILIES: dict[Role, set[str]] = {
    "semantic": {"labels"},
    "coarse": {"labels"},
    "instance": {"centers", "prototypes"},
    "appearance": {"embedding"},
}
Fit = Literal["stretch", "letterbox"]
Precision = Literal["float32", "float16", "int8"]
Runtime = Literal["onnxruntime", "tensorrt"]
MOST_CLASSES = 256  # their numbers are uint8
Classes = Annotated[list[str], msgspec.Meta(max_length=MOST_CLASSES)]
Defects = Annotated[list[str], msgspec.Meta(max_length=255)]
Grey = Annotated[int, msgspec.Meta(ge=0, le=255)]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, shape and NumPy dtype of one input or output; every size is fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class EngineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model and what can run it."""

    runtime: Runtime
    precision: Precision
    file: str
    size: int
    sha256: str
    requires: dict[str, str] = {}


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the outputs of a model are to be read (`docs/bundle.md` gives every output of every family)."""

    family: Literal["labels", "centers", "prototypes", "embedding"]
    label_stride: Whole = 1  # "centers": canvas pixels per cell of `labels` and `offsets`
    offset_px: Positive = 1.0  # "centers": canvas pixels per unit of `offsets`
    nms: bool = True  # "prototypes": False where the model is end-to-end
    score: Fraction = 0.25  # confidence below which an object is dropped
    iou: Fraction = 0.5  # "prototypes": overlap above which the weaker box is dropped


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the models of a bundle."""

    classes: Classes  # classes[0] is the background; appearance: none
    head: Head
    input: TensorSpec  # (h, w, 3) uint8 BGR
    outputs: list[TensorSpec]
    engines: list[EngineFile]  # best first
    defects: Defects = []  # defect classes, without the background; of a `prototypes` head the last object classes
    fit: Fit = "stretch"  # semantic: how a frame comes into `input`; letterbox keeps top and left
    fill: Grey = 114  # grey value of pixels that hold no frame


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the figures of `Manifest.quality` were measured on."""

    frames: list[str]  # the beginning of the SHA-256 of each held-out frame's pixels, in order; of the first ones only
    sha256: str  # of the beginnings of all of them, one after the other
    device: dict[str, str]  # machine, processor, system and versions


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``manifest.json``."""

    format: int
    name: str
    version: str
    created: str
    models: dict[Role, Model]
    calibration: dict[str, str | int | float] = {}
    quality: dict[str, float] = {}
    judged: Judged | None = None
    provenance: dict[str, str] = {}


class Bundle(msgspec.Struct, frozen=True):
    """A folder whose manifest has been read and understood."""

    path: Path
    manifest: Manifest


def open_bundle(path: Path) -> Bundle:
    """Return the bundle in folder `path`.

    Raises `BundleError` if the folder or its manifest is missing, too large, not valid, or of another format, and for
    a model whose input and outputs are not those of its family.
    """
    raw = read_file(path, "manifest.json", MANIFEST_LIMIT_BYTES)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"bundle {path}: manifest.json is not valid: {error}; export the bundle again") from error
    if manifest.format != FORMAT:
        raise BundleError(
            f"bundle {path}: format {manifest.format}, this foveate reads format {FORMAT}; "
            "export the bundle with the version that runs here"
        )
    for role, model in manifest.models.items():
        wrong = what_is_wrong(role, model)
        if wrong:
            raise BundleError(f"bundle {path}: the {role} model {wrong}; export the bundle again")
    wrong = _wrong_coarse(manifest.models)
    if wrong:
        raise BundleError(f"bundle {path}: the coarse model {wrong}; export the bundle again")
    return Bundle(path, manifest)


def what_is_wrong(role: Role, model: Model) -> str:
    """Return what in a manifest's entry is not as `docs/bundle.md` has it, or nothing."""
    if model.head.family not in FAMILIES[role]:
        return f"has a head of family {model.head.family!r}"
    if (len(model.classes) < 2) != (role == "appearance"):
        return f"has {len(model.classes)} classes; appearance models have none, others two or more"
    if model.defects and role in {"semantic", "appearance"}:
        return "has defect classes, which only instance models may have"
    if model.head.family == "prototypes" and len(model.classes) + len(model.defects) > MOST_CLASSES:
        return f"has more than {MOST_CLASSES} classes, defects among them"
    return _wrong_input(model) or _wrong_output(model)


def _wrong_coarse(models: dict[Role, Model]) -> str:
    """Return in what but its size the coarse model is not the semantic one, or nothing: the device changes over."""
    coarse, semantic = models.get("coarse"), models.get("semantic")
    if coarse is None:
        return ""
    if semantic is None:
        return "is there, and the semantic one is not"
    wanted = _common(semantic)
    for what, found in _common(coarse).items():
        if found != wanted[what]:
            return f"has {what} {found}, the semantic one {wanted[what]}"
    if math.prod(coarse.input.shape) >= math.prod(semantic.input.shape):
        return f"has an input of {list(coarse.input.shape)}, no smaller than {list(semantic.input.shape)}"
    return ""


def _common(model: Model) -> dict[str, object]:
    """Return what a coarse and a semantic model have in common, by what it is called."""
    return {
        "classes": model.classes,
        "fit": model.fit,
        "fill": model.fill,
        "outputs": {spec.name: spec.dtype for spec in model.outputs},
        "engines": [f"{engine.precision} for {engine.runtime}" for engine in model.engines],
    }


def _wrong_input(model: Model) -> str:
    size, stride = model.input.shape, PROTOTYPE_STRIDE if model.head.family == "prototypes" else model.head.label_stride
    if model.input.dtype != "uint8" or len(size) != 3 or min(size) < 1 or size[2] != 3:
        return f"has an input of {model.input.dtype} {list(size)}, not of uint8 [h, w, 3]"
    if size[0] % stride or size[1] % stride:
        return f"has a stride of {stride}, which does not divide its input of {list(size)}"
    return ""


def _wrong_output(model: Model) -> str:
    found = {spec.name: spec for spec in model.outputs}
    if len(found) < len(model.outputs):
        return "has two outputs of one name"
    free: dict[str, int] = {}
    for name, dtype, shape in _outputs(model):
        spec = found.get(name)
        if spec is None and name == "confidence":
            continue
        if spec is None or spec.dtype != dtype or len(spec.shape) != len(shape):
            return f"has no output {name!r} of {dtype} with {len(shape)} axes"
        for actual, wanted in zip(spec.shape, shape, strict=True):
            if actual < 1 or actual != (wanted if isinstance(wanted, int) else free.setdefault(wanted, actual)):
                return f"has an output {name!r} of {list(spec.shape)}, which does not fit its input and other outputs"
    return ""


def _outputs(model: Model) -> list[tuple[str, str, tuple[int | str, ...]]]:
    """Return name, dtype and shape of what the family of `model` gives; a letter is a size that the model chooses."""
    height, width = model.input.shape[:2]
    if model.head.family == "labels":
        return [("labels", "uint8", ("h", "w")), ("confidence", "uint8", ("h", "w"))]
    if model.head.family == "embedding":
        return [("embedding", "float32", ("d",))]
    if model.head.family == "centers":
        cells = height // model.head.label_stride, width // model.head.label_stride
        defects: list[tuple[str, str, tuple[int | str, ...]]] = [("defects", "uint8", (height, width))]
        return [
            ("peaks", "int16", ("k", 3)),
            ("labels", "uint8", cells),
            ("offsets", "int8", (2, *cells)),
            *(defects if model.defects else []),
        ]
    return [
        ("boxes", "float32", ("k", 4)),
        ("scores", "float32", ("k",)),
        ("classes", "uint8", ("k",)),
        ("coefficients", "float32", ("k", "m")),
        ("prototypes", "float32", ("m", height // PROTOTYPE_STRIDE, width // PROTOTYPE_STRIDE)),
    ]


def read_engine(bundle: Bundle, engine: EngineFile) -> bytes:
    """Return the verified bytes of one model file; raises `BundleError` if one byte differs from the manifest."""
    data = read_file(bundle.path, engine.file, min(engine.size, FILE_LIMIT_BYTES))
    if len(data) != engine.size:
        raise BundleError(
            f"bundle {bundle.path}: {engine.file} has {len(data)} bytes, the manifest says {engine.size}; copy it again"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != engine.sha256:
        raise BundleError(
            f"bundle {bundle.path}: SHA-256 of {engine.file} is {digest[:12]}…, the manifest says "
            f"{engine.sha256[:12]}…; the file was altered, copy the bundle again"
        )
    return data


def read_file(folder: Path, name: str, limit: int) -> bytes:
    """Return the bytes of a plain file directly inside `folder`; links and anything else are refused."""
    if name != Path(name).name or name in {"", ".", ".."} or "\0" in name:
        raise BundleError(f"bundle {folder}: {name!r} is not a plain file name; bundles have no subfolders")
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        how = "is this a bundle folder?" if os.path.lexists(folder) else "make it with foveate export"
        raise BundleError(f"bundle {folder}: cannot read {name}: {error.strerror}; {how}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise BundleError(f"bundle {folder}: {name} is not a plain file; copy the bundle again")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise BundleError(f"bundle {folder}: {name} has {status.st_size} bytes, at most {limit} are allowed")
        return file.read(limit + 1)
