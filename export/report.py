"""The report beside a bundle: ``report.json`` for machines and a self-contained ``report.html`` for people."""

from __future__ import annotations

import base64
import contextlib
import platform
from html import escape
from pathlib import Path

import msgspec
import onnxruntime

from edge.bundle import EngineFile, Manifest
from edge.threads import available_cores
from export.judge import Verdict
from export.operate import GATE_FILE, as_config
from export.search import Search, Trial, told

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
    "Each: the frame, and three times the part of it that the white frame marks, where the two sides differ most (or "
    "where something is, if they do not): the difference, what the float models say, what the bundle says. Red: pixels "
    "of another class; blue: objects that only the float models have; orange: objects that only the bundle has."
)
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1640px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em 1em;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}figure{margin:1em 0}"""


def write_report(folder: Path, manifest: Manifest, verdict: Verdict) -> None:
    """Write the files into `folder`, which exists; ``gate.toml`` only where thresholds were chosen."""
    folder.joinpath("report.json").write_bytes(msgspec.json.format(msgspec.json.encode(_document(manifest, verdict))))
    folder.joinpath("report.html").write_text(_page(manifest, verdict), encoding="utf-8")
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
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    """Return the name that Linux has for the processor, or what little Python knows of it."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))), "")
    return platform.processor()


def _document(manifest: Manifest, verdict: Verdict) -> dict[str, object]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "measured_on": machine(),
        "figures": {key: round(value, 6) for key, value in sorted(verdict.figures.items())},
        "calibration": manifest.calibration,
        "files": [_file(role, e) for role, model in manifest.models.items() for e in model.engines],
        "operating_point": verdict.points,
        "bounds": verdict.losses,
        "decisions": verdict.decisions,
        "frames": verdict.hashes,
        "search": {role: told(found) for role, found in verdict.searches.items()},
        "notes": verdict.notes,
        "examples": {example.name: round(example.agreement, 6) for example in verdict.examples},
    }


def _file(role: str, engine: EngineFile) -> dict[str, object]:
    return {"role": role, **msgspec.to_builtins(engine)}


def _page(manifest: Manifest, verdict: Verdict) -> str:
    title = escape(f"{manifest.name} {manifest.version}")
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>Exported {escape(manifest.created)}; measured on {escape(where)}.</p>",
        *(f"<p><strong>{escape(note)}</strong></p>" for note in verdict.notes),
        "<h2>Decisions</h2>",
        _table([(EXPLAINED[key], f"{v:.4g}") for key, v in verdict.figures.items() if key in EXPLAINED]),
        *_bounds(verdict),
        *_points(verdict),
        "<h2>Time of one inference</h2>",
        _table(_times(verdict.figures)),
        "<h2>Files</h2>",
        _table([(f"{e.file} ({e.runtime}, {e.precision})", f"{e.size / 1e6:.2f} MB") for e in _engines(manifest)]),
        "<h2>Calibration</h2>",
        _table([(key, str(value)) for key, value in manifest.calibration.items()]),
        f"<h2>Held-out frames</h2><p>{LEGEND}</p>",
        *(_figure(example.name, example.agreement, example.picture) for example in verdict.examples),
    ]
    return "\n".join(parts) + "\n</html>\n"


def _bounds(verdict: Verdict) -> list[str]:
    """Return the bounds, decisions that are made otherwise, and the plans that were tried for each model."""
    parts = ["<h2>Bounds</h2>", *(f"<p>{escape(loss)}</p>" for loss in verdict.losses)] if verdict.losses else []
    if verdict.decisions:
        parts += ["<h2>Decisions made otherwise</h2>", *(f"<p>{escape(flip)}</p>" for flip in verdict.decisions)]
    for role, found in verdict.searches.items():
        rows = [(plan, f"{trial.ms:.2f} ms, {trial.speedup:.2f} times as fast") for plan, trial in _plans(found)]
        parts += [f"<h2>INT8 plans of the {role} model</h2>", _table(rows)]
    return parts


def _plans(found: Search) -> list[tuple[str, Trial]]:
    """Return each plan that was judged in full, in words."""
    layers = [f"{trial.method}, {trial.float_layers} layers in float" for trial in found.trials]
    lost = ["; ".join(str(loss) for loss in trial.losses) or "not judged" for trial in found.trials]
    chosen = [" (chosen)" if trial is found.chosen else "" for trial in found.trials]
    return [(f"{a}{c}: {b}", trial) for a, b, c, trial in zip(layers, lost, chosen, found.trials, strict=True)]


def _points(verdict: Verdict) -> list[str]:
    if verdict.points is None:
        return []
    return ["<h2>Thresholds of defects</h2>", f"<pre>{escape(as_config(verdict.points))}</pre>"]


def _engines(manifest: Manifest) -> list[EngineFile]:
    return [engine for model in manifest.models.values() for engine in model.engines]


def _times(figures: dict[str, float]) -> list[tuple[str, str]]:
    names = [key.removesuffix("_ms") for key in figures if key.endswith("_ms")]
    return [
        (name, f"{figures[name + '_ms']:.2f} ms ({figures[name + '_ms_p10']:.2f} to {figures[name + '_ms_p90']:.2f})")
        for name in names
    ]


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}<td class=n>{escape(value)}" for name, value in rows)
    return f"<table>{cells}</table>"


def _figure(name: str, agreement: float, picture: bytes) -> str:
    data = base64.b64encode(picture).decode("ascii")
    text = f"{escape(name)}: agreement {agreement:.4f}"
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'
