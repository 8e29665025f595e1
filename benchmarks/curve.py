"""Accuracy against milliseconds per frame, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

COLOURS: Final = {"float32": "#b5651d", "int8": "#1f6f8b"}

Scene = tuple[Mapping[str, Mapping[str, Any]], str]  # way of seeing -> figures; which of them is the accuracy


def draw(path: Path, scenes: Mapping[str, Scene]) -> None:
    """Write one panel per scene to `path`: full-frame passes as lines, the cascade as filled points."""
    figure, panels = plt.subplots(1, len(scenes), figsize=(6 * len(scenes), 4.5), squeeze=False)
    for panel, (title, (ways, key)) in zip(panels[0], scenes.items(), strict=True):
        for precision, colour in COLOURS.items():
            full = _points(ways, key, precision, cascade=False)
            own = _points(ways, key, precision, cascade=True)
            line = [(ms, good) for name, ms, good in full if name.startswith("full")]
            panel.plot(*zip(*line, strict=True), "o-", color=colour, mfc="white", label=f"full frame, {precision}")
            panel.plot([p[1] for p in own], [p[2] for p in own], "D", color=colour, label=f"cascade, {precision}")
            others = [p for p in full if not p[0].startswith("full")]
            panel.plot([p[1] for p in others], [p[2] for p in others], "s", color=colour, mfc="white")
            for name, ms, good in [*full, *own]:
                panel.annotate(_short(name), (ms, good), fontsize=7, xytext=(4, -9), textcoords="offset points")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set(title=title, xlabel="ms per frame (mean), everything included")
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=8, loc="best")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _points(
    ways: Mapping[str, Mapping[str, Any]], key: str, precision: str, *, cascade: bool
) -> list[tuple[str, float, float]]:
    rows = [
        (name, float(row["ms_mean"]), float(row[key]))
        for name, row in ways.items()
        if key in row and name.endswith(precision) and name.startswith("cascade") == cascade
    ]
    return sorted(rows, key=lambda row: row[1])


def _short(name: str) -> str:
    return name.rsplit("_", 1)[0].replace("full", "").replace("cascade_", "")
