"""What a model's file says of itself: its classes, and how pixels come in.

Two makers are understood. Ultralytics writes ``names`` and ``task`` (8.4, `engine/exporter.py`); our own
`export.from_torch` writes one entry ``foveate``, JSON with the keys of `Told`. All of it comes from a foreign file: it
is checked like a recipe, and what the recipe states goes before it.
"""

from __future__ import annotations

import ast
from typing import TypeVar

import msgspec
import onnx

from edge.bundle import Fit
from export.errors import ModelError
from export.load import Net
from export.recipe import Appearance, Channels, Color, Instance, Semantic, check_source

KEY = "foveate"
HUGGING_FACE_INPUT = "pixel_values"
BACKGROUNDS = {"background", "__background__", "_background_"}  # as the first of the classes

_S = TypeVar("_S", Semantic, Instance, Appearance)


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What can be told in a file, with the names and meanings of a recipe's keys; None says nothing."""

    head: str | None = None
    classes: list[str] | None = None
    background: bool | None = None
    color: Color | None = None
    scale: float | None = None
    mean: Channels | None = None
    std: Channels | None = None
    enlarge: bool | None = None
    fit: Fit | None = None


def told(net: Net) -> Told:
    """Return what the file of `net` says; raises `ModelError` where its own entry cannot be read."""
    entries = {entry.key: entry.value for entry in net.model.metadata_props}
    if KEY in entries:
        try:
            return msgspec.json.decode(entries[KEY], type=Told)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise ModelError(
                f"model {net.path}: its metadata entry {KEY!r} is not valid: {error}; export it again"
            ) from error
    classes = _names(entries.get("names", ""))
    if classes is not None and len(classes) == 1 and entries.get("task") == "semantic":
        classes = ["background", *classes]  # its exporter gives 0 and 1 then, not the number of the class
    if classes is None:
        # Hugging Face's post-processing enlarges logits before it takes the best class; its exports carry no entries
        return Told(enlarge=True) if net.input == HUGGING_FACE_INPUT else Told()
    fit: Fit | None = "letterbox" if entries.get("task") == "semantic" else None  # as its predictor does
    return Told(classes=classes, background=classes[0].lower() in BACKGROUNDS, fit=fit)


def tell(model: onnx.ModelProto, what: Told) -> None:
    """Write `what` into a model."""
    onnx.helper.set_model_props(model, {KEY: msgspec.json.encode(what).decode()})


def completed(source: _S, net: Net) -> _S:
    """Return `source` with what the file of `net` says where the recipe states nothing.

    Raises `ConfigError` where that cannot be meant, such as a class that is named twice.
    """
    said = {key: value for key, value in msgspec.structs.asdict(told(net)).items() if value is not None}
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(source))}
    defaults["classes"] = []
    new = {
        key: value
        for key, value in said.items()
        if key in defaults and key not in source.stated and getattr(source, key) == defaults[key]
    }
    if net.dtype == "uint8":  # the model normalises by itself
        new = {key: value for key, value in new.items() if key not in {"scale", "mean", "std"}}
    if source.classes:
        new.pop("background", None)  # speaks of the file's own classes
    if isinstance(source, Appearance):  # tells no classes apart
        new = {key: value for key, value in new.items() if key not in {"head", "classes", "background"}}
    if not new:
        return source
    try:
        full = msgspec.convert(
            {**msgspec.to_builtins(source, enc_hook=str), **new}, type(source), dec_hook=lambda kind, value: kind(value)
        )
    except msgspec.ValidationError as error:
        raise ModelError(f"model {net.path}: its metadata: {error}; set it in the recipe") from error
    check_source(f"model {net.path}: its metadata", full)
    return full


def _names(text: str) -> list[str] | None:
    """Return the classes in Ultralytics' ``{0: 'person', 1: ...}``, None where there are none."""
    try:
        names = ast.literal_eval(text)
        return [str(names[i]) for i in range(len(names))] or None
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError):
        return None
