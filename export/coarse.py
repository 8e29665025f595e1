"""The semantic network a second time, at a smaller input: what the governor changes to where time is short."""

from __future__ import annotations

import msgspec

from edge.errors import ConfigError
from export.candidate import Candidate, candidate, run_once
from export.errors import ModelError
from export.recipe import Semantic

NEAR = 1  # label pixels by which the size of the labels may differ from the same share of the input


def coarse_candidate(full: Candidate, source: Semantic) -> Candidate:
    """Return the network of `full` at the `coarse_size` of its recipe.

    Raises `ConfigError` where that is no smaller input, `ModelError` where the graph does not work at it.
    """
    width, height = source.coarse_size or (0, 0)
    rows, columns, _ = full.model.input.shape
    setting = f"semantic.coarse_size: is {[width, height]}"
    if width > columns or height > rows or (width, height) == (columns, rows):
        raise ConfigError(f"{setting}, the input is {[columns, rows]}; give a smaller size, or remove coarse_size")
    try:
        found = candidate("coarse", msgspec.structs.replace(source, input_size=(width, height)))
        run_once(found)
    except ModelError as error:
        raise ModelError(
            f"{setting}, and the graph does not work at it: {error}; give multiples of the network's largest stride "
            "(often 16 or 32), export the model with sizes left open, or remove coarse_size"
        ) from error
    _check_labels(full, found, setting)
    return found


def _check_labels(full: Candidate, found: Candidate, setting: str) -> None:
    """Raise `ModelError` unless the labels have become smaller with the input: else a layer has a size of its own."""
    sizes = zip(full.model.input.shape, _labels(full), found.model.input.shape, _labels(found), strict=False)
    for input_, labels, coarse_input, coarse_labels in sizes:
        if abs(coarse_labels - labels * coarse_input / input_) > NEAR:
            raise ModelError(
                f"{setting}, and the labels are {list(_labels(found))} instead of {list(_labels(full))} (rows, "
                "columns): a layer of the graph has a size of its own; export the model with sizes left open, or "
                "remove coarse_size"
            )


def _labels(found: Candidate) -> tuple[int, ...]:
    """Return the height and width of the label map."""
    return next(spec.shape for spec in found.model.outputs if spec.name == "labels")
