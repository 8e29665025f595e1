"""`foveate export`: the command line."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from edge.bundle import Bundle
from edge.errors import FoveateError
from export.build import export_bundle
from export.operate import GATE_FILE
from export.recipe import load_recipe

INTERRUPTED = 130  # as shells report Ctrl-C

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def export(
    recipe: Annotated[Path, typer.Argument(help="A TOML file: models, calibration recordings, held-out frames.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder of the bundle; an older bundle there is replaced.  [default: NAME.bundle here]"),
    ] = None,
) -> None:
    """Make a bundle from trained models: canonical graphs, INT8, and a report against the float models."""
    started = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:26}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=not console.is_terminal) as bars:
            target = out or Path(f"{load_recipe(recipe).name}.bundle")
            bundle = export_bundle(recipe, target, _Bars(bars))
    except KeyboardInterrupt:
        print("foveate export: interrupted, nothing was written", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    _summary(bundle, time.monotonic() - started)


class _Bars:
    """One bar per step of the export."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, share: float) -> None:
        if step not in self._tasks:
            if not self._progress.console.is_terminal:  # bars that nobody sees: a line for each step
                print(f"foveate export: {step}", file=sys.stderr)
            self._tasks[step] = self._progress.add_task(step, total=1.0)
        self._progress.update(self._tasks[step], completed=share)


def _summary(bundle: Bundle, seconds: float) -> None:
    quality = bundle.manifest.quality
    print(f"{bundle.path}  {bundle.manifest.name} {bundle.manifest.version}, exported in {seconds:.0f} s")
    for role, model in bundle.manifest.models.items():
        files = ", ".join(f"{e.file} {e.size / 1e6:.2f} MB" for e in model.engines)
        times = ", ".join(
            f"{key.removeprefix(role + '_').removesuffix('_ms')} {value:.2f} ms"
            for key, value in quality.items()
            if key.startswith(role) and key.endswith("_ms")
        )
        print(f"  {role}: {files}; {times}")
    for key in ("semantic_miou_agreement", "instance_pq_agreement"):
        for end in ("", "_coarse"):
            if key + end in quality:
                what = (key + end).replace("_", " ")
                note = " (used only where the governor asks for it)" if end else ""
                print(f"  {what} with the float models: {quality[key + end]:.4f}{note}")
    for key, value in bundle.manifest.calibration.items():
        if key.endswith("_refused"):
            print(f"  {key.replace('_', ' ')}: {value}")
    if "parity_parts" in quality:
        flipped, parts, differ = (quality[f"parity_{key}"] for key in ("verdicts_flipped", "parts", "counts_differ"))
        print(f"  decisions: {flipped:g} of {parts:g} verdicts flipped, counters differ by {differ:g}")
    gate = bundle.path.with_name(bundle.path.name + ".report") / GATE_FILE
    if gate.exists():
        print(
            f"  thresholds of defects, {gate}:",
            textwrap.indent(gate.read_text(encoding="utf-8"), "    "),
            sep="\n",
            end="",
        )
    print(f"  report: {bundle.path.with_name(bundle.path.name + '.report') / 'report.html'}")


def main(argv: list[str]) -> int:
    """Run the command with the arguments `argv`; return the exit code."""
    try:
        app(args=argv, prog_name="foveate export")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except FoveateError as error:
        print(f"foveate export: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
