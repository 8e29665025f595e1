"""What is put after a network: raw outputs -> the outputs of `docs/bundle.md`. Here: label maps, and what all share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Head, Outputs, integers, real
from export.load import Net
from export.recipe import Instance, Semantic

MOST_CLASSES = 255  # class numbers are bytes
NO_NUMBERS = {"STRING", "COMPLEX64", "COMPLEX128"}


@dataclass(frozen=True)
class Meaning:
    """How the raw outputs of one network are read."""

    head: bundle.Head
    classes: list[str]  # as in the manifest: classes[0] is the background
    attach: Head
    sensitive: tuple[str, ...] = ()  # raw outputs whose last layers must stay float


def semantic_meaning(net: Net, source: Semantic) -> Meaning:
    """Return how a semantic network is read; raises `ModelError` where its outputs do not fit the recipe."""
    name = source.output or next(iter(net.outputs))
    if name not in net.outputs:
        raise ModelError(f"model {net.path}: has no output {name!r}, it has {', '.join(net.outputs)}; correct output")
    classes, shift = classes_of(source, default=True)
    if source.head == "argmax":
        size = _map_shape(net, name)
        if net.kinds[name] in NO_NUMBERS:
            raise ModelError(f"model {net.path}: output {name!r} is {net.kinds[name]}; export class numbers, as INT64")
        return Meaning(bundle.Head("labels"), classes, lambda graph: _labels(graph, name, size, shift))
    needs_floats(net, [name])
    if source.head == "binary":
        return _binary_meaning(net, name, classes, enlarge=source.enlarge)
    axis = _class_axis(net, name, len(source.classes))
    if source.enlarge and axis != 1:
        raise ModelError(f"model {net.path}: enlarge needs logits [1, C, h, w], {name!r} is {list(net.outputs[name])}")

    def attach(graph: Builder) -> Outputs:
        logits = _enlarged(graph, net, name) if source.enlarge else f"net/{name}"
        confidence = _confidence(graph, logits, axis, shares=producer(net, name) == "Softmax")
        return {"labels": best_class(graph, logits, axis, shift), "confidence": confidence}

    return Meaning(bundle.Head("labels"), classes, attach, sensitive=(name,))


def _binary_meaning(net: Net, name: str, classes: list[str], *, enlarge: bool) -> Meaning:
    """Read one plane: class 1 where its logit is above 0, or its probability above 0.5 if a Sigmoid gives it."""
    if len(classes) != 2:
        raise ModelError(
            f'model {net.path}: head "binary" tells one class from the background, the recipe has {len(classes)} with '
            "it; name both, or the one with background = false"
        )
    _map_shape(net, name)
    if enlarge and len(net.outputs[name]) != 4:
        raise ModelError(f"model {net.path}: enlarge needs an output [1, 1, h, w], not {list(net.outputs[name])}")
    shares = producer(net, name) == "Sigmoid"

    def attach(graph: Builder) -> Outputs:
        plane = _enlarged(graph, net, name) if enlarge else f"net/{name}"
        size = net.size if enlarge else _map_shape(net, name)
        signed = graph.reshape(plane, *size)
        signed = graph.op("Sub", signed, real(0.5)) if shares else signed
        away = graph.op("Abs", signed)
        sure = graph.op("Add", away, real(0.5)) if shares else graph.op("Sigmoid", away)
        confidence = graph.op("Round", graph.op("Mul", sure, real(255.0)))
        labels = graph.op("Greater", signed, real(0.0))
        return {"labels": graph.cast(labels, np.uint8), "confidence": graph.cast(confidence, np.uint8)}

    return Meaning(bundle.Head("labels"), classes, attach, sensitive=(name,))


def producer(net: Net, name: str) -> str:
    """Return the operator that gives the output `name`."""
    return next((node.op_type for node in net.model.graph.node if name in node.output), "")


def _enlarged(graph: Builder, net: Net, name: str) -> str:
    """Return logits (1, C, h, w) of the input's size, bilinear between the centres of pixels.

    So do Hugging Face's `post_process_semantic_segmentation` and torchvision's networks (`align_corners` false).
    """
    return graph.resized(f"net/{name}", *net.outputs[name][:2], *net.size)


def needs_floats(net: Net, names: Iterable[str]) -> None:
    """Raise `ModelError` where a raw output that is calculated with is not float32."""
    for name in names:
        if net.kinds[name] != "FLOAT":
            raise ModelError(
                f"model {net.path}: output {name!r} is {net.kinds[name]}, this head needs FLOAT; "
                'export the model with float32 outputs (or, for a map of class numbers, set head = "argmax")'
            )


def classes_of(source: Semantic | Instance, default: bool) -> tuple[list[str], int]:
    """Return the manifest's classes and what has to be added to the model's class numbers."""
    has_background = default if source.background is None else source.background
    names = source.classes if has_background else ["background", *source.classes]
    if len(names) > MOST_CLASSES:
        raise ModelError(f"model {source.model}: has {len(names)} classes, at most {MOST_CLASSES} fit into a byte")
    return list(names), 0 if has_background else 1


def _map_shape(net: Net, name: str) -> tuple[int, int]:
    """Return (h, w) of a label map with or without axes of size 1."""
    shape = net.outputs[name]
    sizes = [size for size in shape if size != 1]
    if len(sizes) != 2:
        raise ModelError(f'model {net.path}: output {name!r} is {list(shape)}, no label map; set head = "logits"')
    return sizes[0], sizes[1]


def _class_axis(net: Net, name: str, classes: int) -> int:
    """Return 1 for [1, C, h, w] and 3 for [1, h, w, C]."""
    shape = net.outputs[name]
    found = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == classes]
    if not found:
        raise ModelError(
            f"model {net.path}: output {name!r} is {list(shape)}, the recipe names {classes} classes; "
            "name every class of the model, its background included (or background = false if it has none)"
        )
    return found[0] if net.channels_first or len(found) == 1 else found[-1]


def _labels(graph: Builder, name: str, size: tuple[int, int], shift: int) -> Outputs:
    return {"labels": class_numbers(graph, graph.reshape(f"net/{name}", *size), shift)}


def best_class(graph: Builder, logits: str, axis: int, shift: int = 0) -> str:
    """Return (h, w) uint8, the class with the highest logit.

    ArgMax is the fastest of five ways tried on the CPU (0.3 ms for 5 classes at 240x136, 0.8 ms for 21 at 257x257;
    comparing planes pairwise takes 1.2 and 3.7 times as long).
    """
    best = graph.op("ArgMax", logits, axis=axis, keepdims=0)
    plane = graph.op("Squeeze", best, integers(0))
    return class_numbers(graph, plane, shift)


def class_numbers(graph: Builder, numbers: str, shift: int) -> str:
    """Return whole numbers of any type as uint8, `shift` higher; the sum is int32, for TensorRT adds no bytes."""
    if shift:
        numbers = graph.op("Add", graph.cast(numbers, np.int32), np.asarray(shift, np.int32))
    return graph.cast(numbers, np.uint8)


def _confidence(graph: Builder, logits: str, axis: int, *, shares: bool = False) -> str:
    """Return (h, w) uint8, 255 x the softmax of the best class; where the network gives `shares` already, of these.

    That is 255 / sum(exp(logit - highest)): one tenth of the time that Softmax across channels takes on the CPU.
    """
    if shares:
        best = graph.op("Squeeze", graph.highest(logits, axis, keepdims=False), integers(0))
        return graph.cast(graph.op("Round", graph.op("Mul", best, real(255.0))), np.uint8)
    below = graph.op("Sub", logits, graph.highest(logits, axis, keepdims=True))
    total = graph.op("ReduceSum", graph.op("Exp", below), integers(axis), keepdims=0)
    share = graph.op("Div", real(255.0), graph.op("Squeeze", total, integers(0)))
    return graph.cast(graph.op("Round", share), np.uint8)
