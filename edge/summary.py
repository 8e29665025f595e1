"""What a run says of itself at its end, and the files that hold it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import FoveateError
from edge.health import Health
from edge.tell.ledger import Ledger


def summarise(health: Health, ledger: Ledger) -> dict[str, Any]:
    """Return what a run did; the keys of `--json`."""
    state = health.state()
    identity = ledger.identity()
    return {
        "frames": state["frames"],
        "interrupted": health.stopping,
        "skipped": state["skipped"],
        "governor": state["governor"],
        "dropped": state["dropped"],
        "gaps": state["gaps"],
        "fps": round(health.fps(), 1),
        "fps_wall": state["fps_wall"],
        "counted": state["counted"],
        "verdicts": state["verdicts"],
        "totals": dict(ledger.totals()),
        "gates": {name: msgspec.to_builtins(tally) for name, tally in ledger.gates.tallies.items()},
        "ledger": {
            "counted": identity.counted,
            "delivered": identity.delivered,
            "queued": identity.queued,
            "lost": identity.lost,
        },
        "looks": state["looks"],
        "canvases": state["canvases"],
        "canvas_ms": state["canvas_ms"],
        "saved_ms": state["saved_ms"],
        "spent": state["spent"],
        "looked_share": state["looked_share"],
        "rss_mb": state["rss_mb"],
        "memory_mib": state["memory_mib"],
        "startup_s": state["startup_s"],
        "ms": state["ms"],
        "ms_p99": state["ms_p99"],
    }


def check_target(flag: str, path: Path | None) -> None:
    """Raise `FoveateError` where a file that a run is to write at its end has no folder that can be written."""
    if path is not None and not _writable(path):
        raise FoveateError(f"{flag} {path}: cannot be written; name a file in a folder that exists and you may write")


def _writable(path: Path) -> bool:
    """Return whether a file `path` can be written, or made; OpenCV ends the process at a name that is not UTF-8."""
    try:
        str(path).encode()
        return not path.is_dir() and os.access(path if path.exists() else path.resolve().parent, os.W_OK)
    except (OSError, RuntimeError, UnicodeEncodeError):  # a folder that may not be looked into, a loop of links
        return False


def write_json(path: Path, summary: dict[str, Any]) -> None:
    """Write `summary` to `path`; raises `FoveateError` where that cannot be."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    except OSError as error:
        raise FoveateError(
            f"--json {path}: cannot be written: {error.strerror}; name a file in a folder with room that you may write"
        ) from error
