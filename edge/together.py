"""Frames of several cameras that are there at the same time: each is glanced at, then all share the canvases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edge.config import Attention
from edge.health import Stopwatch
from edge.models import Models, Semantic
from edge.see.sharing import share
from edge.types import Effort, Frame, Labels, Moment
from edge.workers import results

if TYPE_CHECKING:  # it calls us
    from edge.station import Glance, Station


def glances_of(
    stations: Sequence[Station],
    frames: Sequence[Frame],
    models: Models,
    watch: Stopwatch,
    spare: Sequence[bool],
    effort: Effort,
) -> Iterator[Glance]:
    """Yield what the semantic pass tells of one frame of each station's camera, as soon as it is known.

    `watch` takes what each stage costs all of them together; `spare` says for each whether there was time left before
    its frame, `effort` what is spent on all of them.
    """
    for station, frame, see, time_left in zip(stations, frames, _semantic(models, frames, effort), spare, strict=True):
        yield station.glance(frame, see, watch, effort, spare=time_left)


def look_closer(
    stations: Sequence[Station],
    glances: Sequence[Glance],
    models: Models,
    rules: Attention,
    watch: Stopwatch,
    effort: Effort,
) -> list[Moment]:
    """Return all that is known of the frames of `glances`; they share the canvases that `rules` give each.

    The audit's come beside them. One that has to be brief adds a single canvas.
    """
    frames = [glance.frame for glance in glances]
    canvases = effort.canvases(sum(1 if glance.brief else rules.canvases for glance in glances))
    looks = share([glance.candidates for glance in glances], models.instances.size, canvases, rules.max_scale)
    watch.lap("attention")
    instances = models.instances([frame.image for frame in frames], looks)
    watch.lap("instances")
    return [
        station.decide(glance, looks.of(i), instances[i], watch)
        for i, (station, glance) in enumerate(zip(stations, glances, strict=True))
    ]


def _semantic(models: Models, frames: Sequence[Frame], effort: Effort) -> list[Callable[[], Labels]]:
    """Return what gives the labels of each of `frames`; while those of one are used, others may be made."""
    mine, workers = models.semantic, models.semantics
    if effort.coarse and models.coarse is not None:
        mine, workers = models.coarse, models.coarses

    def job(frame: Frame) -> Callable[[Semantic], Labels]:
        return lambda semantic: semantic(frame)

    return results([job(frame) for frame in frames], mine, workers)
