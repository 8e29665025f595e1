"""What a bundle may lose against the float models, and whether it does: ``[bounds]`` and ``[parity]`` of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundle import Role
from edge.config.values import Count, Fraction, Name, NotNegative, Table, Text, Whole


class Bounds(Table, frozen=True, kw_only=True):
    """``[bounds]``: how much worse than the float models, and how much faster, what the bundle runs has to be."""

    miou_lost: Fraction = 0.002  # mean IoU with the truth, where the held-out frames have any
    ap_lost: Fraction = 0.002  # mask AP with the truth, likewise
    labels_differ: Fraction = 0.2  # without truth: by how much the mean IoU with the float model's labels is below 1
    objects_differ: Fraction = 0.2  # without truth: the same of the panoptic quality of the float model's objects
    counts_differ: Count = 0  # objects, of any one counter; needs [parity]
    verdicts_flipped: Fraction = 0.01  # share of the parts of [parity] whose verdict is another
    speedup: NotNegative = 1.0  # times as fast as the next precision up, at the least; 0: however slow it is


class Parity(Table, frozen=True, kw_only=True):
    """``[parity]``: recordings in which a site's rules decide the same with the float models and with the bundle."""

    config: Path  # of the site: lines, gates, zones; its bundle, ledger and broker are left alone
    recordings: dict[Name, Text] = {}  # noqa: RUF012  msgspec copies it; camera -> video or folder; one that is not named keeps its own source
    frames: Whole = 900  # of all cameras together, from the beginning


@dataclass(frozen=True)
class Loss:
    """One figure that has a bound."""

    bound: str  # its name in the recipe
    what: str
    float_value: float  # of the float models
    value: float  # of what was exported
    most: float  # by which it may be less

    @property
    def lost(self) -> float:
        """Return how much less it is."""
        return self.float_value - self.value

    @property
    def holds(self) -> bool:
        """Return whether the bound holds."""
        return self.lost <= self.most + ROUNDING

    def __str__(self) -> str:
        """Return what was measured, and against which bound."""
        return (
            f"{self.what} is {self.value:.4f} instead of {self.float_value:.4f}: {self.lost:.4f} lost, "
            f"bounds.{self.bound} is {self.most:g}"
        )


ROUNDING: Final = 1e-9  # of sums of floats: 0 lost is 0
MIOU, AP = "mean IoU with the truth", "mask AP"
LABELS, OBJECTS = "mean IoU with the float model's labels", "panoptic quality of the float model's objects"


def losses_of(figures: Mapping[str, float], bounds: Bounds) -> list[tuple[Role, Loss]]:
    """Return what the whole cascade loses by the figures of a comparison, each with the model that it is laid to."""
    found: list[tuple[Role, Loss]] = []
    if "semantic_miou_bundle" in figures:
        pair = figures["semantic_miou_float"], figures["semantic_miou_bundle"]
        found.append(("semantic", Loss("miou_lost", MIOU, *pair, bounds.miou_lost)))
    elif "semantic_miou_agreement" in figures:
        loss = Loss("labels_differ", LABELS, 1.0, figures["semantic_miou_agreement"], bounds.labels_differ)
        found.append(("semantic", loss))
    if "instance_ap_bundle" in figures:
        pair = figures["instance_ap_float"], figures["instance_ap_bundle"]
        found.append(("instance", Loss("ap_lost", AP, *pair, bounds.ap_lost)))
    elif "instance_pq_agreement" in figures:
        loss = Loss("objects_differ", OBJECTS, 1.0, figures["instance_pq_agreement"], bounds.objects_differ)
        found.append(("instance", loss))
    return found + [("instance", loss) for loss in _decisions(figures, bounds)]


def _decisions(figures: Mapping[str, float], bounds: Bounds) -> Iterable[Loss]:
    """Yield what the recordings of ``[parity]`` show."""
    if "parity_counts_differ" in figures:
        differ = -figures["parity_counts_differ"]
        yield Loss("counts_differ", "the counter that differs most", 0.0, differ, bounds.counts_differ)
    if figures.get("parity_parts"):
        same = 1 - figures["parity_verdicts_flipped"] / figures["parity_parts"]
        yield Loss("verdicts_flipped", "share of parts with the same verdict", 1.0, same, bounds.verdicts_flipped)
