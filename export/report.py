"""The report beside a bundle: ``report.json`` for machines and a self-contained ``report.html`` for people."""

from __future__ import annotations

import contextlib
import platform
from html import escape
from pathlib import Path

import msgspec

from edge.bundle import EngineFile, Manifest
from edge.threads import available_cores
from export.cache_key import PACKAGES, version_of
from export.charts import bars, scatter
from export.judge import Verdict
from export.operate import GATE_FILE, as_config
from export.page import hashes, many, page, picture, section, table, told
from export.plans import layers_of, plans_of
from export.search import told as searched
from export.shown import Layer, Plan, Shown

EXPLAINED = {
    "semantic_miou_agreement": "mean IoU of the bundle's label maps with the float model's",
    "semantic_miou_float": "mean IoU with the truth, float model",
    "semantic_miou_bundle": "mean IoU with the truth, bundle",
    "semantic_miou_agreement_coarse": "mean IoU of the coarse semantic model's label maps with the float model's",
    "semantic_miou_coarse": "mean IoU with the truth, coarse semantic model",
    "instance_pq_agreement": "panoptic quality of the bundle's objects against the float models'",
    "instance_objects_float": "objects found by the float models",
    "instance_objects_bundle": "objects found by the bundle",
    "instance_pq_agreement_coarse": "panoptic quality with the coarse semantic model, against the float models",
    "instance_objects_coarse": "objects found with the coarse semantic model",
    "instance_objects_matched": "objects that both found (mask IoU above 0.5, same class)",
    "instance_defects_agreement": "share of those on which both see the same defect classes",
    "instance_ap_float": "mask AP (COCO, IoU 0.5 to 0.95), float models",
    "instance_ap_bundle": "mask AP (COCO, IoU 0.5 to 0.95), bundle",
    "instance_ap_coarse": "mask AP (COCO, IoU 0.5 to 0.95), bundle with the coarse semantic model",
    "instance_ap50_float": "mask AP at IoU 0.5, float models",
    "instance_ap50_bundle": "mask AP at IoU 0.5, bundle",
    "instance_ap50_coarse": "mask AP at IoU 0.5, bundle with the coarse semantic model",
    "heldout_frames": "held-out frames",
    "parity_frames": "frames of the recordings in which decisions are compared",
    "parity_counts_float": "objects counted with the float models",
    "parity_counts_bundle": "objects counted with the bundle",
    "parity_counts_differ": "by how much the counter differs that differs most",
    "parity_parts": "parts with a verdict",
    "parity_verdicts_flipped": "parts whose verdict is another",
}
LEGEND = (
    "Those that agree least come first. Each: the frame, and again the part of it that the white frame marks, where "
    "the two sides differ most (or where something is, if they do not): the difference, the truth if there is any, "
    "what the float models say, what the bundle says. Red: pixels of another class; blue: objects that only the float "
    "models have; orange: objects that only the bundle has."
)
MOST_LAYERS = 24  # that are shown, the worst


def write_report(folder: Path, manifest: Manifest, verdict: Verdict, shown: Shown) -> None:
    """Write the files into `folder`, which exists; ``gate.toml`` only where thresholds were chosen."""
    document = msgspec.json.encode(_document(manifest, verdict, shown))
    folder.joinpath("report.json").write_bytes(msgspec.json.format(document))
    folder.joinpath("report.html").write_text(_page(manifest, verdict, shown), encoding="utf-8")
    if verdict.points is not None:
        folder.joinpath(GATE_FILE).write_text(as_config(verdict.points), encoding="utf-8")


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": str(available_cores()),
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
    }


def _processor() -> str:
    """Return the name that Linux has for the processor, or what little Python knows of it."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))), "")
    return platform.processor()


def _document(manifest: Manifest, verdict: Verdict, shown: Shown) -> dict[str, object]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "measured_on": machine(),
        "figures": {key: round(value, 6) for key, value in sorted(verdict.figures.items())},
        "calibration": manifest.calibration,
        "files": [_file(role, e) for role, model in manifest.models.items() for e in model.engines],
        "inputs": shown.inputs,
        "bounds": verdict.losses,
        "decisions": verdict.decisions,
        "frames": verdict.hashes,
        "search": {role: searched(found) for role, found in verdict.searches.items()},
        "readings": shown.tried,
        "flips": verdict.flips.count,
        "operating_point": verdict.points,
        "notes": [*verdict.notes, *shown.notes],
        "examples": {example.name: round(example.agreement, 6) for example in verdict.examples},
    }


def _file(role: str, engine: EngineFile) -> dict[str, object]:
    return {"role": role, **msgspec.to_builtins(engine)}


def _page(manifest: Manifest, verdict: Verdict, shown: Shown) -> str:
    title = f"{manifest.name} {manifest.version}"
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    figures = [(EXPLAINED[key], f"{value:.4g}") for key, value in verdict.figures.items() if key in EXPLAINED]
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            told(f"Exported {manifest.created}; measured on {where}.", kind="soft"),
            *(told(note, kind="note") for note in (*verdict.notes, *shown.notes)),
            section("Decisions", table(figures), *_points(verdict)),
            section("Bounds", *(told(loss) for loss in verdict.losses)),
            section("Accuracy against time", *_charts(plans_of(manifest, verdict)), table(_times(verdict.figures))),
            section("What quantizing each layer costs", *_layers(layers_of(verdict))),
            section("Flipped decisions", *(told(flip) for flip in verdict.decisions), *_flips(verdict)),
            section("Held-out frames", told(LEGEND if verdict.examples else ""), *_examples(verdict)),
            section("How the input is read", *_readings(shown)),
            section("Calibration", table([(key, str(value)) for key, value in manifest.calibration.items()])),
            *_frames(shown),
            section("Files", hashes([(_about(e), e.sha256) for e in _engines(manifest)])),
            section("What went in", hashes(list(shown.inputs.items()))),
        ],
    )


def _points(verdict: Verdict) -> list[str]:
    if verdict.points is None:
        return []
    return ["<h3>Thresholds of defects</h3>", f"<pre>{escape(as_config(verdict.points))}</pre>"]


def _charts(found: list[Plan]) -> list[str]:
    parts = []
    for role in dict.fromkeys(plan.role for plan in found):
        own = [plan for plan in found if plan.role == role]
        notes = table([(f"{plan.name}: {plan.note}", "") for plan in own if plan.note])
        parts.append(f"<div><h3>{escape(role)}</h3>{scatter(own)}{notes}</div>")
    text = told("Up and left is better; filled is what the bundle prefers.", kind="soft")
    return [f"<div class=charts>{''.join(parts)}</div>", text] if parts else []


def _layers(found: list[Layer]) -> list[str]:
    parts = []
    for role in dict.fromkeys(layer.role for layer in found):
        own = sorted((layer for layer in found if layer.role == role), key=lambda layer: -layer.harm)
        rows = [(one.name, one.harm, f"{one.harm:.3g}", one.precision != "int8") for one in own[:MOST_LAYERS]]
        more = f" The worst {MOST_LAYERS} of {len(own)}." if len(own) > MOST_LAYERS else ""
        parts += [
            f"<h3>{escape(role)}</h3>",
            bars(rows),
            told(f"{own[0].measure}; orange ones stay in higher precision.{more}", kind="soft"),
        ]
    return parts


def _flips(verdict: Verdict) -> list[str]:
    if not verdict.flips.count:
        return []
    count, drawn = verdict.flips.count, verdict.flips.shown
    text = f"{count} decisions of the bundle differ from those of the float models"
    return [
        told(f"{text}{f'; the first {len(drawn)} are' if len(drawn) < count else ':'} left float, right the bundle."),
        many([picture(flip.picture, f"{flip.frame}. {flip.text}") for flip in drawn]),
    ]


def _examples(verdict: Verdict) -> list[str]:
    ordered = sorted(verdict.examples, key=lambda example: example.agreement)
    return [picture(one.picture, f"{one.name}: agreement {one.agreement:.4f}") for one in ordered]


def _readings(shown: Shown) -> list[str]:
    parts = []
    for role in dict.fromkeys(tried.role for tried in shown.tried):
        own = [one for one in shown.tried if one.role == role]
        rows = [(one.reading, max(one.skill, 0.0), f"{one.skill:.3f}", i == 0) for i, one in enumerate(own)]
        parts += [f"<h3>{escape(role)}</h3>", bars(rows)]
    if parts:
        parts.append(
            told(
                "What the float model is worth on some held-out frames with truth: 0 is one class everywhere, 1 the "
                "truth. The first is the recipe; had another been clearly better, there would be no bundle.",
                kind="soft",
            )
        )
    return parts


def _frames(shown: Shown) -> list[str]:
    """Return the frames that calibration looked at."""
    figures = [picture(one.picture, one.caption, one.sha256[:16]) for one in shown.frames]
    named = [(str(number), name) for number, name in shown.recordings.items()]
    listed = f"calibration.json beside this page lists them with whole hashes; its own is {shown.frames_sha256}."
    return [told(listed, kind="soft"), hashes(named), many(figures, small=True)] if figures else []


def _engines(manifest: Manifest) -> list[EngineFile]:
    return [engine for model in manifest.models.values() for engine in model.engines]


def _about(engine: EngineFile) -> str:
    return f"{engine.file} ({engine.runtime}, {engine.precision}, {engine.size / 1e6:.2f} MB)"


def _times(figures: dict[str, float]) -> list[tuple[str, str]]:
    names = [key.removesuffix("_ms") for key in figures if key.endswith("_ms")]
    return [
        (
            name.replace("_", " "),
            f"{figures[name + '_ms']:.2f} ms ({figures[name + '_ms_p10']:.2f} to {figures[name + '_ms_p90']:.2f})",
        )
        for name in names
    ]
