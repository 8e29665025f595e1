"""Which layers stay float: as few as the bounds allow, those first that lose most for the time they save."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.bundle import TensorSpec
from edge.engines.ort import OrtEngine
from export.bounds import Loss

WARM, ROUNDS = 3, 20  # timing


@dataclass
class Trial:
    """One INT8 file that was judged in full."""

    method: str  # of its ranges
    float_layers: int  # that many of the ranked layers stay float
    data: bytes
    losses: list[Loss]
    ms: float = 0.0  # median of one inference; 0: not measured
    speedup: float = 0.0  # times as fast as the float file, in turns with it

    @property
    def holds(self) -> bool:
        """Return whether all bounds hold."""
        return all(loss.holds for loss in self.losses)

    @property
    def excess(self) -> float:
        """Return by how much the bounds are broken at the worst; below 0 where they hold."""
        return max((loss.lost - loss.most for loss in self.losses), default=-1.0)


@dataclass
class Search:
    """All that was tried for one model."""

    trials: list[Trial] = field(default_factory=list)  # each of them is one full validation
    noise: dict[str, float] = field(default_factory=dict)  # of each layer at the outputs, as ranked; empty: not needed
    float_ms: float = 0.0

    @property
    def chosen(self) -> Trial | None:
        """Return the one with the fewest float layers of those whose bounds hold."""
        holding = [trial for trial in self.trials if trial.holds]
        return min(holding, key=lambda trial: trial.float_layers) if holding else None

    @property
    def nearest(self) -> Trial:
        """Return the one that breaks the bounds least."""
        return min(self.trials, key=lambda trial: trial.excess)

    def times(self, rounds: Mapping[str, Sequence[float]]) -> None:
        """Take ms of each round: of the float file under "float", of each trial under its number."""
        self.float_ms = statistics.median(rounds["float"])
        for number, trial in enumerate(self.trials):
            trial.ms = statistics.median(rounds[str(number)])
            trial.speedup = times_as_fast(rounds["float"], rounds[str(number)])

    def front(self) -> list[Trial]:
        """Return the trials that no other beats in both loss and time, fastest first."""
        ordered = sorted(self.trials, key=lambda trial: (trial.ms, trial.excess))
        best: list[Trial] = []
        for trial in ordered:
            if not best or trial.excess < best[-1].excess:
                best.append(trial)
        return best


def search(
    methods: Sequence[str],
    judged: Callable[[str, Sequence[str]], Trial],
    ranked: Callable[[str], dict[str, float]],
) -> Search:
    """Return the trials up to the one with the fewest float layers that keeps the bounds.

    `methods` are the ways to choose ranges, best first; `judged` makes an INT8 file with a method and some float
    layers, and judges it in full; `ranked` gives the layers with what each is worth to be float, highest first.
    With all layers in bytes each method is tried until one will do. Where none does, the number of float layers is
    bisected for the one that came nearest: some log2(layers) trials more.
    """
    found = Search()
    for method in methods:
        found.trials.append(judged(method, ()))
        if found.trials[-1].holds:
            return found
    method = found.nearest.method
    found.noise = ranked(method)
    layers = list(found.noise)

    def holds(count: int) -> bool:
        found.trials.append(judged(method, layers[:count]))
        return found.trials[-1].holds

    fewest(len(layers), holds)
    return found


def fewest(count: int, holds: Callable[[int], bool]) -> int:
    """Return the least number from 1 to `count` that `holds`, by bisection; `count` holds without being asked.

    What holds for a number is taken to hold for every larger one.
    """
    fails, least = 0, count
    while least - fails > 1:
        middle = (fails + least) // 2
        fails, least = (fails, middle) if holds(middle) else (middle, least)
    return least


def by_worth(noise: Mapping[str, float], shares: Mapping[str, float]) -> dict[str, float]:
    """Return the layers by the noise that one of them takes away for the time that it costs in float, most first.

    What it costs is taken to be its share of all multiplications (`shares`), and as much again as the average layer
    has for the conversions around it: a count, and not a clock, so that two exports rank alike.
    """
    even = 1 / max(len(noise), 1)
    return dict(sorted(noise.items(), key=lambda entry: (-entry[1] / (shares[entry[0]] + even), entry[0])))


def in_turns(engines: Mapping[str, OrtEngine], picture: TensorSpec, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return ms of one inference of each engine in each round; they take turns, so that load hits all alike."""
    feeds = {picture.name: np.random.default_rng(0).integers(0, 256, picture.shape).astype(np.uint8)}
    times: dict[str, list[float]] = {key: [] for key in engines}
    for number in range(WARM + rounds):
        for key, engine in engines.items():
            start = time.perf_counter()
            engine.infer(feeds)
            if number >= WARM:
                times[key].append((time.perf_counter() - start) * 1e3)
    return times


def times_as_fast(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return the median over rounds of how many times as fast the second of two is."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def told(found: Search) -> dict[str, object]:
    """Return all that was tried, for a report: nothing but names, texts and numbers."""
    front = {id(trial) for trial in found.front()}
    chosen = found.chosen
    return {
        "float_ms": round(found.float_ms, 4),
        "layers": {name: float(f"{noise:.4g}") for name, noise in found.noise.items()},
        "plans": [
            {
                "method": trial.method,
                "float_layers": trial.float_layers,
                "ms": round(trial.ms, 4),
                "speedup": round(trial.speedup, 4),
                "lost": {loss.bound: round(loss.lost, 6) for loss in trial.losses},
                "bounds": [str(loss) for loss in trial.losses],
                "holds": trial.holds,
                "chosen": trial is chosen,
                "on_front": id(trial) in front,
            }
            for trial in found.trials
        ],
    }
