"""The belt's models as the daemon opens them, on engines that a load makes slower."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from edge.bundle import Role, TensorSpec, open_bundle, read_engine
from edge.config import Config
from edge.engines import Engine, choose_engine, open_engine
from edge.see.instances import InstancePass
from edge.see.semantic import SemanticPass
from edge.station import Models
from edge.threads import available_cores
from edge.types import Array

Rest = Callable[[float], None]


class Slowed:
    """An engine that is told after each run how many seconds it took, and lets as many pass as a load would."""

    def __init__(self, engine: Engine, rest: Rest) -> None:
        """`rest` lets the time pass."""
        self._engine, self._rest = engine, rest

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Return the engine's inputs."""
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Return the engine's outputs."""
        return self._engine.outputs

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once, and let the rest of the time pass."""
        begin = time.perf_counter()
        found = self._engine.infer(feeds)
        self._rest(time.perf_counter() - begin)
        return found

    def close(self) -> None:
        """Free everything."""
        self._engine.close()


@contextlib.contextmanager
def slowed_models(rules: Config, rest: Rest) -> Iterator[Models]:
    """Yield all models of the bundle on engines after whose runs `rest` is called with the seconds they took."""
    bundle = open_bundle(rules.bundle)
    with contextlib.ExitStack() as stack:

        def engine(role: Role) -> Engine:
            model = bundle.manifest.models[role]
            chosen = choose_engine(model, rules.models)
            opened = open_engine(read_engine(bundle, chosen), model, chosen, available_cores())
            stack.callback(opened.close)
            return Slowed(opened, rest)

        semantic, coarse, instance = (bundle.manifest.models[role] for role in ("semantic", "coarse", "instance"))
        yield Models(
            SemanticPass(engine("semantic"), semantic),
            InstancePass(engine("instance"), instance),
            semantic.classes,
            instance.classes,
            instance.defects,
            coarse=SemanticPass(engine("coarse"), coarse),
        )
