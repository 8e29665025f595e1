"""`foveate bench CONFIG`: what a configuration costs on this device, with its own cameras or a recording.

It runs the daemon's own loop on a temporary ledger and tells nobody: neither counts nor a broker are touched.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from deploy.probe import with_source
from edge.__main__ import positive
from edge.config import Config, load_config
from edge.daemon import Options, serve
from edge.errors import FoveateError
from edge.spare import check_spared
from edge.summary import check_target, write_json
from edge.types import Looks, Moment, Tracks

WHY = {
    "new": "spots never looked at",
    "spot": "spots that showed nothing before",
    "cut": "objects that their crop cut",
    "young": "tracks with few looks",
    "refresh": "tracks not seen for long",
    "early": "tracks not yet due, in room that was left",
    "audit": "the audit",
    "whole": "whole frames",
    "doubt": "parts whose looks do not agree on a defect",
}
TOLD = (  # of the whole run, its first rounds too
    "frames",
    "skipped",
    "governor",
    "fps_wall",
    "canvas_ms",
    "looked_share",
    "saved_ms",
    "spent",
    "rss_mb",
    "startup_s",
)
PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".pdf"}  # what --plot writes; matplotlib is loaded after the run


def main(argv: Sequence[str] | None = None) -> int:
    """Run a configuration and say what it costs; return the exit code."""
    options = _parser().parse_args(argv)
    targets = {"--json": options.json, "--plot": options.plot}
    for flag, path in targets.items():
        check_target(flag, path)
    _check_picture(options.plot)
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    config = _config(options)
    check_spared(config, options.config, targets)
    if options.plot is not None:
        import matplotlib as mpl  # noqa: F401, PLC0415  where it is missing, that is said before the run

    result, failure = measure(config, options.config, options.frames, options.warmup)
    print("\n".join(table(result)))
    if options.json is not None:
        write_json(options.json, result)
    if options.plot is not None:
        from deploy.bench_plot import draw  # noqa: PLC0415

        draw(result, WHY, options.plot)
    if failure is not None:
        raise failure
    return 0


class Rounds:
    """Notes what every round took: the frames that are there at the same time are looked at together."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def note(self, moment: Moment) -> None:
        """Note one frame; those of a round share their times."""
        self.add(moment.stages_ms, moment.looks, moment.tracks)

    def add(self, stages_ms: dict[str, float], looks: Looks, tracks: Tracks) -> None:
        """Note a frame by its parts."""
        canvases, confirmed = 1 + int(looks.canvases.max(initial=-1)), int((tracks.ids > 0).sum())
        if not self.rows or self.rows[-1]["stages_ms"] is not stages_ms:
            self.rows.append({"frames": 0, "canvases": 0, "tracks": 0, "stages_ms": stages_ms})
        row = self.rows[-1]
        row["frames"] += 1
        row["canvases"] = max(row["canvases"], canvases)
        row["tracks"] += confirmed


def measure(config: Config, file: Path, frames: int | None, warmup: int) -> tuple[dict[str, Any], FoveateError | None]:
    """Run `config`, read from `file`; return its figures, and what ended it early.

    `rounds` in them holds every round after `warmup` of them. Raises `FoveateError` where no frame comes after these.
    """
    rounds, failure = Rounds(), None
    with tempfile.TemporaryDirectory(prefix="foveate-bench-") as folder:
        alone = msgspec.structs.replace(config, state=Path(folder) / "state", mqtt=None, simulated=True)
        told_in = Path(folder) / "summary.json"  # written also where the run fails
        try:
            serve(alone, Options(frames=frames, file=file, json=told_in), watchers=[rounds.note])
        except FoveateError as error:
            if not rounds.rows or not told_in.exists():
                raise
            failure = error
        summary = msgspec.json.decode(told_in.read_bytes())
    rows = rounds.rows[warmup:]
    if rounds.rows and not rows:
        raise FoveateError(
            f"{file}: {len(rounds.rows)} rounds came, of which the first {warmup} do not count; "
            "let it run for longer, or give a smaller --warmup"
        )
    if not rows and summary["interrupted"]:
        raise FoveateError(f"{file}: stopped before the first frame; there is nothing to tell, let it run for longer")
    if not rows:
        raise FoveateError(f"{file}: no frame came from {', '.join(config.cameras)}; try foveate doctor {file}")
    told = {name: summary[name] for name in TOLD}
    return {**told, "cameras": len(config.cameras), **_figures(rows), "rounds": rows}, failure


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    count = sum(row["frames"] for row in rows)
    rounds_ms = [sum(row["stages_ms"].values()) for row in rows]
    figures: dict[str, Any] = {
        "measured_frames": count,
        "fps": round(count / sum(rounds_ms) * 1000, 1),
        "canvases_per_frame": round(sum(row["canvases"] for row in rows) / count, 3),
        "stages": {},
    }
    for name, percent in (("median", 50), ("p90", 90), ("p99", 99)):
        figures[f"round_ms_{name}"] = round(float(np.percentile(rounds_ms, percent)), 2)
    for stage in rows[0]["stages_ms"]:
        each_ms = [row["stages_ms"][stage] / row["frames"] for row in rows]
        figures["stages"][stage] = {
            "ms_median": round(float(np.median(each_ms)), 3),
            "ms_p99": round(float(np.percentile(each_ms, 99)), 3),
            "share": round(sum(row["stages_ms"][stage] for row in rows) / sum(rounds_ms), 4),
        }
    return figures


def table(result: dict[str, Any]) -> list[str]:
    """Return what `measure` found as lines to read."""
    cameras, saved = result["cameras"], result["saved_ms"]
    lines = [
        f"{result['measured_frames']} frames of {cameras} camera{'s' * (cameras > 1)}",
        f"{result['fps']:.1f} frames/s of the loop ({result['fps_wall']:.1f} by the clock, with reading and decoding)",
        "ms a round: " + ", ".join(f"{name} {result[f'round_ms_{name}']:.1f}" for name in ("median", "p90", "p99")),
        "",
        f"{'stage':12}{'median ms':>10}{'p99 ms':>10}{'share':>8}   per frame",
    ]
    lines += [
        f"{name:12}{stage['ms_median']:10.2f}{stage['ms_p99']:10.2f}{stage['share']:8.1%}"
        for name, stage in result["stages"].items()
    ]
    canvases = f"{result['canvases_per_frame']:.2f} canvases a frame of {result['canvas_ms']:.1f} ms each"
    than = "less" if saved >= 0 else "MORE"
    return [
        *lines,
        "",
        f"looked at    {result['looked_share']:.1%} of the pixels, on {canvases}",
        f"saved        {abs(saved):.1f} ms a frame {than} than the instance model on the whole of each frame, in tiles",
        *(f"spent on     {share:6.1%}  {WHY[name]}" for name, share in _by_share(result["spent"])),
        f"memory       {result['rss_mb']:.0f} MiB at the most",
        f"start        first result after {result['startup_s']:.2f} s",
        *_governed(result["governor"], result["skipped"]),
    ]


def _governed(governor: dict[str, Any], skipped: int) -> list[str]:
    """Return a line where a governor was there: figures of less than the full effort are not those of all of it."""
    if not governor:
        return []
    costs = "".join(f", {name} gave {ms:.1f} ms" for name, ms in governor["costs"].items())
    return [f"governor     ended at step {governor['step']} ({governor['name']}){costs}; {skipped} frames skipped"]


def _by_share(spent: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(spent.items(), key=lambda one: -one[1])


def _config(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    if options.source is None:
        return config
    return with_source(config, options.source)


def _check_picture(path: Path | None) -> None:
    """Raise `FoveateError` where the suffix of `path` names no kind of picture: it is too late after the run."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise FoveateError(f"--plot {path}: is no kind of picture; end it with one of {', '.join(sorted(PICTURES))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate bench",
        description="Run a configuration and say what it costs on this device; ledger and broker are left alone.",
    )
    parser.add_argument("config", type=Path, help="configuration file (TOML; docs/config.md)")
    parser.add_argument("--source", help="a video, a folder of pictures, usb:N or a URL, instead of the configured one")
    parser.add_argument("--frames", type=positive, metavar="N", help="end after N frames")
    parser.add_argument(
        "--warmup", type=positive, metavar="N", default=10, help="rounds at the start that do not count (default 10)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, and those of every round")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw where the time goes (needs matplotlib)")
    return parser
