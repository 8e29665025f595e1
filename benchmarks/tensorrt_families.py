"""Every family of `benchmarks parity` as files for TensorRT: what a builder says, and agreement with float.

The networks are small and random, as that benchmark makes them: this is a test of graphs, not of what INT8 costs, for
which trained weights are needed. They are calibrated on the pictures that they are judged on.
"""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import Options
from edge.bundle import Role
from edge.config import RegionRules
from edge.errors import FoveateError
from edge.threads import available_cores
from edge.types import Image
from export.candidate import Candidate, candidate
from export.cascade import Cascade, opened
from export.half import widened
from export.metrics import DEFECT_PX, Panoptic, confusion, mean_iou
from export.recipe import load_recipe, sources
from export.tensorrt import MAKERS, material_of

METHOD = "minmax"  # noise has no outliers that ranges could leave out


def families(options: Options, folder: Path) -> dict[str, Any]:
    """Return the figures of every family; it takes the interpreter that has their libraries."""
    if options.peers_python is None:
        return {"families": "not built: needs --peers-python, as benchmarks parity does"}
    (folder / "families").mkdir()
    figures: dict[str, Any] = {}
    for family, place in importlib.import_module("benchmarks.parity").exported(options, folder / "families"):
        figures |= {f"{family}_{key}": value for key, value in _family(place).items()}
    return figures


def _family(place: Path) -> dict[str, Any]:
    """Return what became of the one model whose recipe lies in `place`, beside pictures of its input's size."""
    ((role, source),) = sources(load_recipe(place / "recipe.toml")).items()
    pictures = [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted((place / "pictures").glob("*.png"))]
    found = candidate(role, source)
    material = material_of(found, pictures, METHOD)
    figures: dict[str, Any] = {}
    for precision, make in MAKERS.items():
        try:
            made = make(found, material, f"{precision}.onnx")
        except FoveateError as error:
            figures[f"{precision}_refused"] = str(error)
            continue
        figures[f"{precision}_plan_bytes"] = made.tried.plan_bytes
        figures[f"{precision}_agreement"] = _agreement(found, role, widened(made.data), pictures)
        if made.floats:
            figures[f"{precision}_not_implemented"] = ", ".join(made.floats)
    return figures


def _agreement(found: Candidate, role: Role, data: bytes, pictures: list[Image]) -> float:
    """Return the mean IoU of the labels, or the panoptic quality of the objects, of a file against the float one."""
    classes = len(found.model.classes)
    counts, panoptic = np.zeros((classes, classes), np.int64), Panoptic()
    with contextlib.ExitStack() as stack:
        floats, other = (
            Cascade({role: opened(stack, role, file, available_cores())}, {role: found.model}, RegionRules())
            for file in (found.files["float32"], data)
        )
        for picture in pictures:
            first, second = floats(picture), other(picture)
            if first.labels is not None and second.labels is not None:
                counts += confusion(first.labels.classes, second.labels.classes, classes)
            if first.instances is not None and second.instances is not None:
                panoptic.add(first.instances, second.instances, DEFECT_PX)
    return mean_iou(counts) if role == "semantic" else panoptic.quality
