"""What is put after a network that gives a vector for a crop of one object ("embedding")."""

from __future__ import annotations

import math

from edge import bundle
from export.errors import ModelError
from export.graph import Builder, Outputs, integers, real
from export.heads import Meaning, needs_floats
from export.load import Net

LEAST_LENGTH = 1e-6  # of a vector that is divided by its length


def embedding_meaning(net: Net) -> Meaning:
    """Return how the network is read; raises `ModelError` where it gives anything but one vector of float32."""
    (name, shape), *others = net.outputs.items()
    if others or max(shape) != math.prod(shape) or max(shape) < 2:
        found = ", ".join(f"{each} {list(sizes)}" for each, sizes in net.outputs.items())
        raise ModelError(
            f"model {net.path}: an appearance model has one output, a vector [1, d]; this one has {found}; "
            "export it without its classifier"
        )
    needs_floats(net, [name])

    def attach(graph: Builder) -> Outputs:
        vector = graph.reshape(f"net/{name}", max(shape))
        squared = graph.op("ReduceSum", graph.op("Mul", vector, vector), integers(0), keepdims=1)
        length = graph.op("Sqrt", graph.op("Max", squared, real(LEAST_LENGTH**2)))
        return {"embedding": graph.op("Div", vector, length)}

    return Meaning(bundle.Head("embedding"), [], attach)
