"""The picture of `foveate bench`: where the time goes, round by round, and what the looks are spent on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from edge.errors import FoveateError

INK, COLOURS, REASONS = "#1c1d21", plt.colormaps["tab20"], plt.colormaps["Set3"]
BINS = 300  # columns at the most: every one the mean of its rounds


def draw(result: dict[str, Any], why: dict[str, str], path: Path) -> None:
    """Write the figure of what `measure` found; the suffix of `path` says as what, `why` what each reason means.

    Raises `FoveateError` where that cannot be.
    """
    figure, (over_time, spent) = plt.subplots(
        2, 1, figsize=(10, 7), height_ratios=[5, 1], constrained_layout=True, facecolor="white"
    )
    _stages(over_time, result)
    _spent(spent, result, why)
    figure.suptitle(
        f"{result['fps']:.1f} frames/s · {result['canvases_per_frame']:.2f} canvases a frame · "
        f"{result['looked_share']:.1%} of the pixels looked at · saves {result['saved_ms']:.0f} ms a frame",
        color=INK,
    )
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise FoveateError(
            f"--plot {path}: cannot be written: {error.strerror}; name a file in a folder with room that you may write"
        ) from error
    finally:
        plt.close(figure)


def _stages(axes: Any, result: dict[str, Any]) -> None:
    """Stack the stages of every round, frame by frame."""
    names = sorted(result["stages"], key=lambda name: -float(result["stages"][name]["share"]))
    rows = [[row["stages_ms"][name] / row["frames"] for name in names] for row in result["rounds"]]
    groups = np.array_split(np.asarray(rows), min(BINS, len(rows)))
    means = np.asarray([group.mean(axis=0) for group in groups])
    ends = np.cumsum([len(group) for group in groups])
    axes.stackplot(ends, means.T, labels=names, colors=[COLOURS(i) for i in range(len(names))], step="pre")
    axes.axhline(result["round_ms_p99"], color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        "99 % of the rounds",
        (ends[0], result["round_ms_p99"]),
        xytext=(6, 1),
        textcoords="offset points",
        va="bottom",
        fontsize=8,
        color=INK,
    )
    axes.set(xlabel="round", ylabel="ms a frame", xlim=(ends[0], ends[-1]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, reverse=True)
    axes.spines[["top", "right"]].set_visible(False)


def _spent(axes: Any, result: dict[str, Any], why: dict[str, str]) -> None:
    """Draw one bar of what the pixels that were looked at were spent on."""
    left = 0.0
    for i, (name, share) in enumerate(sorted(result["spent"].items(), key=lambda one: -one[1])):
        axes.barh(0, share, left=left, color=REASONS(i), label=f"{share:.0%}  {why[name]}")
        left += share
    axes.set(yticks=[], xlim=(0, max(left, 0.01)), xlabel="share of the pixels looked at, by reason")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.4), frameon=False, fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
