"""Read a bundle: the only way a model file gets in.

A bundle is a folder with ``manifest.json`` and the model files it names. Every file is read once; the size and the
SHA-256 of that buffer must equal the manifest's, and that same buffer is what the engine loads.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import BundleError

FORMAT = 1
MANIFEST_LIMIT_BYTES = 64 * 1024
FILE_LIMIT_BYTES = 1 << 30

Role = Literal["semantic", "instance"]
Fit = Literal["stretch", "letterbox"]
Precision = Literal["float32", "float16", "int8"]
Runtime = Literal["onnxruntime", "tensorrt"]


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

    family: Literal["labels", "centers", "prototypes"]
    label_stride: int = 1  # "centers": canvas pixels per cell of `labels` and `offsets`
    offset_px: float = 1.0  # "centers": canvas pixels per unit of `offsets`
    nms: bool = True  # "prototypes": False where the model is end-to-end
    score: float = 0.25  # confidence below which an object is dropped
    iou: float = 0.5  # "prototypes": overlap above which the weaker box is dropped


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the models of a bundle."""

    classes: list[str]  # classes[0] is the background
    head: Head
    input: TensorSpec  # (h, w, 3) uint8 BGR
    outputs: list[TensorSpec]
    engines: list[EngineFile]  # best first
    defects: list[str] = []  # defect classes, without the background
    fit: Fit = "stretch"  # semantic: how a frame comes into `input`; letterbox keeps top and left
    fill: int = 114  # grey value of pixels that hold no frame


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``manifest.json``."""

    format: int
    name: str
    version: str
    created: str
    models: dict[Role, Model]
    calibration: dict[str, str | int | float] = {}
    quality: dict[str, float] = {}
    provenance: dict[str, str] = {}


class Bundle(msgspec.Struct, frozen=True):
    """A folder whose manifest has been read and understood."""

    path: Path
    manifest: Manifest


def open_bundle(path: Path) -> Bundle:
    """Return the bundle in folder `path`.

    Raises `BundleError` if the folder or its manifest is missing, too large, not valid, or of another format.
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
    return Bundle(path, manifest)


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
        raise BundleError(f"bundle {folder}: cannot read {name}: {error.strerror}; is this a bundle folder?") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"bundle {folder}: {name} is not a plain file")
        if status.st_size > limit:
            raise BundleError(f"bundle {folder}: {name} has {status.st_size} bytes, at most {limit} are allowed")
        return file.read(limit + 1)
