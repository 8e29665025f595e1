"""Models that the child process took in, as candidates for a bundle."""

from __future__ import annotations

import contextlib

import msgspec
import onnx

from export.apart import TakenIn, take_in
from export.candidate import Candidate
from export.errors import ModelError
from export.recipe import Recipe, Semantic, sources


def taken(recipe: Recipe) -> list[Candidate]:
    """Return the models of a recipe in canonical form."""
    return [as_candidate(one) for role, source in sources(recipe).items() for one in take_in(role, source)]


def as_candidate(one: TakenIn) -> Candidate:
    """Return a candidate of a model that was taken in."""
    found = Candidate(one.role, one.source, onnx.load_from_string(one.graph), one.model, one.sensitive)
    found.files[found.native] = one.graph
    return found


def turned(found: Candidate) -> Candidate | None:
    """Return a semantic model with width and height of its `input_size` exchanged, if it has one and can do so."""
    source = found.source
    if not isinstance(source, Semantic) or source.input_size is None or len(set(source.input_size)) == 1:
        return None
    source = msgspec.structs.replace(source, input_size=source.input_size[::-1], coarse_size=None)
    with contextlib.suppress(ModelError):
        return as_candidate(take_in("semantic", source)[0])
    return None
