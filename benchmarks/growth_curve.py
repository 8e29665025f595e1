"""The area of a defect over time, as seen and as labelled, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from edge.events import GrowthEvent
from edge.types import Array

mpl.use("Agg")
from matplotlib import pyplot as plt

PERCENT = 100.0


def draw(
    path: Path,
    indices: Sequence[int],
    seen: Array,
    true: Array,
    events: Sequence[GrowthEvent],
    elsewhere: Mapping[str, Array],
) -> None:
    """Write to `path` what share of each picture (n,) is seen and labelled as defect, and when events were told."""
    figure, panel = plt.subplots(figsize=(8, 4.5))
    panel.plot(indices, PERCENT * true, "o-", color="#b5651d", mfc="white", label="labelled, growing pit")
    panel.plot(indices, PERCENT * seen, "-", color="#1f6f8b", label="seen, growing pit")
    for (name, curve), style in zip(elsewhere.items(), (":", "--"), strict=False):
        panel.plot(indices, PERCENT * curve, style, color="#999999", label=f"seen, {name}")
    for event in events:
        panel.axvline(indices[event.frame], color="#aa2222", linewidth=0.8)
        panel.annotate(event.stage, (indices[event.frame], panel.get_ylim()[1]), fontsize=8, rotation=90, va="top")
    panel.set(xlabel="picture", ylabel="share of the picture, %")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
