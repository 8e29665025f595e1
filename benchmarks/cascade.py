"""The cascade against full-frame passes of the same network: same frames, same machine, same weights, all in turn.

The full-frame passes have the weights that were trained for canvases at native scale, so small inputs are foreign to
the belt's; the curve says so. Scenes: the belt (exact masks), with its own network and, given `--peers-python`, with
YOLOv8n-seg trained on it; and a real street (boxes). For each, the cheapest full-frame pass that is at least as good as
the INT8 cascade is named, in float and in INT8, and how many times as long it takes. What was hoped for is held against
it in words: "goal", "floor" or "no".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from benchmarks import cascade_belt, cascade_street
from benchmarks.common import Options
from benchmarks.curve import draw
from benchmarks.street_rules import REFRESH
from edge.errors import FoveateError

GOALS: Final = {  # times the frames/s of the full-frame pass: goal and floor
    "float32": {"busy": (8.0, 5.0), "duty": (20.0, 12.0)},
    "int8": {"busy": (2.5, 2.0), "duty": (6.0, 4.0)},
}
BELT_AS_GOOD: Final = ("mask_ap", "small_defect_recall")  # in which a full-frame pass must be as good
NEAR: Final = 0.02  # in accuracy, to see how much the comparison hangs on the last hundredths
STREET_AS_GOOD: Final = ("box_ap50", "recall")

Figures = Mapping[str, Mapping[str, Any]]  # way of seeing -> figures


def run(options: Options) -> dict[str, Any]:
    """Return every figure of both scenes, what was compared with what, and which goals were met."""
    belt = cascade_belt.measure(options)
    yolo = _yolo(options)
    street = cascade_street.measure(options)
    own = f"cascade_every{REFRESH}_int8"
    figures = compared("belt", belt, "cascade_int8", BELT_AS_GOOD)
    if yolo:
        figures |= compared("belt_yolo", yolo, "cascade_int8", BELT_AS_GOOD)
    figures |= compared("street", street, own, STREET_AS_GOOD)
    for scene, ways in (("belt", belt), ("belt_yolo", yolo), ("street", street)):
        for way, row in ways.items():
            figures |= {f"{scene}_{way}_{key}": value for key, value in row.items()}
    if options.plot is not None:
        scenes = {"belt: mask AP": (belt, "mask_ap"), "belt, YOLOv8n-seg: mask AP": (yolo, "mask_ap")}
        scenes |= {"street: box AP50": (street, "box_ap50")}
        draw(options.plot, {title: scene for title, scene in scenes.items() if scene[0]})
    return figures


def _yolo(options: Options) -> Figures:
    """Return the figures of the belt with YOLOv8n-seg, nothing without an interpreter that can train it."""
    if options.peers_python is None:
        return {}
    if importlib.util.find_spec("torch") is None:
        raise FoveateError("cascade: torch is missing, with YOLO to be trained; pip install -e '.[train,bench]'")
    from benchmarks import belt_yolo  # noqa: PLC0415  needs torch

    return cascade_belt.measure(options, belt_yolo.network(options.peers_python))


def compared(scene: str, ways: Figures, own: str, as_good: tuple[str, ...]) -> dict[str, Any]:
    """Return how the cascade `own` stands against the fastest full-frame pass that is as good in all of `as_good`."""
    cascade, figures = ways[own], dict[str, Any]()
    for precision, goals in GOALS.items():
        rival, reached = rival_of(ways, own, precision, as_good)
        row = ways[rival]
        name = f"{scene}_vs_{precision}"
        figures[f"{name}_rival"] = rival if reached else f"{rival} (none is as good; this one is the best)"
        for kind, key in (("busy", ""), ("duty", "duty_")):
            if f"{key}ms" not in cascade:
                continue
            mean = row["ms_mean"] / cascade[f"{key}ms_mean"]
            median = row["ms"] / cascade[f"{key}ms"]
            figures[f"{name}_{kind}_times_by_mean"], figures[f"{name}_{kind}_times_by_median"] = mean, median
            # with regions in every frame frames differ little, and a mean holds what else the machine did; the empty
            # frames of a duty cycle are the majority, and a median would count nothing else
            figures[f"{name}_{kind}"] = word(mean if kind == "duty" else min(mean, median), *goals[kind])
        near, _ = rival_of(ways, own, precision, as_good, NEAR)
        figures[f"{name}_rival_within_{NEAR}"] = near
        times = min(ways[near][key] / cascade[key] for key in ("ms", "ms_mean"))
        figures[f"{name}_within_{NEAR}_times"] = times
        figures[f"{name}_within_{NEAR}"] = word(times, *goals["busy"])
    letterboxed = ways.get("full640_int8")
    if letterboxed is None:  # --quick leaves it out
        return figures
    for key in as_good[0], as_good[0].split("_")[0] + "_ap_small":
        figures[f"{scene}_{key}_above_full640"] = cascade[key] - letterboxed[key]
    return figures


def rival_of(ways: Figures, own: str, precision: str, as_good: tuple[str, ...], less: float = 0.0) -> tuple[str, bool]:
    """Return the fastest full-frame pass at most `less` worse than `own`, and True; or else the best one, and False."""
    full = {name: row for name, row in ways.items() if not name.startswith(("cascade", "seen")) and precision in name}
    fit = {name: row for name, row in full.items() if all(row[key] >= ways[own][key] - less for key in as_good)}
    if fit:
        return min(fit, key=lambda name: float(fit[name]["ms"])), True
    return max(full, key=lambda name: float(full[name][as_good[0]])), False


def word(times: float, goal: float, floor: float) -> str:
    """Return what was met."""
    return "goal" if times >= goal else "floor" if times >= floor else "no"
