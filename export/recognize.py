"""Which head a network has, from the shapes and types of its outputs; `docs/export.md` has the table."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from export.errors import ModelError
from export.load import Net
from export.metadata import completed
from export.recipe import Appearance, Instance, InstanceHead, Semantic, SemanticHead

CENTERS = {"heatmap", "offsets", "logits"}
TORCHVISION = {"out", "aux"}  # its segmentation networks: the second output is for training


def understood(net: Net, source: Semantic | Instance | Appearance) -> Semantic | Instance | Appearance:
    """Return `source` with all that it leaves out: what the file says of itself, and the head that its outputs show.

    Raises `ModelError` where no head, or more than one, fits the outputs, or where there are no classes.
    """
    if isinstance(source, Appearance):
        return completed(source, net)
    if isinstance(source, Semantic):
        semantic = completed(source, net)
        if semantic.output is None:
            semantic = msgspec.structs.replace(semantic, output=_read_output(net))
        if semantic.head is None:
            semantic = msgspec.structs.replace(semantic, head=semantic_head(net, semantic))
        full: Semantic | Instance = semantic
    else:
        instance = completed(source, net)
        full = instance if instance.head else msgspec.structs.replace(instance, head=instance_head(net, instance))
    if not full.classes:
        role = "semantic" if isinstance(full, Semantic) else "instance"
        raise ModelError(
            f"model {net.path}: names no classes; set {role}.classes in the recipe, every class in the model's order"
        )
    return full


def semantic_head(net: Net, source: Semantic) -> SemanticHead:
    """Return the head that reads the output `source.output`; raises `ModelError` where several could."""
    name = source.output or _read_output(net)
    if name not in net.outputs:
        raise ModelError(f"model {net.path}: has no output {name!r}; it has {', '.join(net.outputs)}")
    shape = net.outputs[name]
    if net.kinds[name] not in {"FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"}:
        return "argmax"
    if sum(size > 1 for size in shape) == 3 and len(shape) == 4:
        return "logits"
    raise _unclear(net, "semantic", ["argmax", "binary"] if sum(size > 1 for size in shape) == 2 else [])


def instance_head(net: Net, source: Instance) -> InstanceHead:
    """Return the head that reads the outputs; raises `ModelError` where none or several could."""
    if set(net.outputs) >= CENTERS:
        return "centers"
    shapes = list(net.outputs.values())
    ranks = sorted(len(shape) for shape in shapes)
    if ranks == [3, 4]:
        return _yolo_head(net, source)
    if ranks == [3, 3, 4] and any(shape[2] == 4 for shape in shapes if len(shape) == 3):
        return "queries"
    if len(shapes) == 4 and any(kind.startswith("INT") for kind in net.kinds.values()):
        return "box-masks"
    raise _unclear(net, "instance", [])


def _yolo_head(net: Net, source: Instance) -> InstanceHead:
    """Tell dense rows [1, 4 + C + m, n] from rows of finished objects [1, n, 6 + m]."""
    rows, masks = sorted(net.outputs.values(), key=len)
    end_to_end = rows[2] == 6 + masks[1]
    if end_to_end and rows[1] == 4 + len(source.classes) + masks[1]:
        raise _unclear(net, "instance", ["yolo", "yolo-end2end"])
    return "yolo-end2end" if end_to_end else "yolo"


def _read_output(net: Net) -> str:
    if set(net.outputs) == TORCHVISION:
        return "out"
    if len(net.outputs) > 1:
        raise ModelError(
            f"model {net.path}: has several outputs, {_listed(net)}; set semantic.output to the one with the classes"
        )
    return next(iter(net.outputs))


def _unclear(net: Net, role: str, candidates: Iterable[str]) -> ModelError:
    known = ", ".join(f'"{head}"' for head in candidates)
    fix = f"could be read as {known}; set {role}.head to one of them" if known else f"fits no head; {_HOW[role]}"
    return ModelError(f"model {net.path}: its output {_listed(net)} {fix}")


def _listed(net: Net) -> str:
    return ", ".join(f"{name} {net.kinds[name]} {list(shape)}" for name, shape in net.outputs.items())


_HOW = {
    "semantic": "a semantic model gives logits [1, C, h, w] or class numbers [1, h, w]",
    "instance": "docs/export.md has the layouts that are known",
}
