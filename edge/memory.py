"""What a configuration can come to need, said at start, and refused there where this machine does not have it.

The ceiling is the memory in use once models and cameras are open and each engine has run, and an allowance for all
that may still grow (`edge/allowances.py`). A daemon that would be killed in a busy hour of next week does not start.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.allowances import MIB, Size, allowances
from edge.bundle import Model, Role
from edge.config import Config
from edge.errors import ConfigError

NAMED = 3  # of the largest allowances, in an error
ROOT = Path("/")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """How much more memory this process may take, bytes, and who says so."""

    free: float  # infinity where nobody knows
    limit: str


def claim(
    config: Config, models: Mapping[Role, Model], sizes: Mapping[str, Size], *, save: bool = False, root: Path = ROOT
) -> int:
    """Return the ceiling of this configuration, MiB; raises `ConfigError` where so much is not there.

    Call it when everything is open and has run once. `models` are those that are open, `sizes` those of the cameras'
    frames; `root` is where /proc and /sys are.
    """
    semantic, instance, coarse = models["semantic"], models["instance"], models.get("coarse")
    appearance = models.get("appearance")
    grows = allowances(config, semantic, instance, sizes, coarse=coarse, appearance=appearance, save=save)
    used, more = resident(root), sum(grows.values())
    room = available(root)
    ceiling = math.ceil((used + more) / MIB)
    if more > room.free:
        raise ConfigError(_refusal(ceiling, used, grows, room))
    told = " ".join(f"{name}_mib={some / MIB:.1f}" for name, some in grows.items())
    free = "unknown" if math.isinf(room.free) else f"{room.free / MIB:.0f}"
    log.info("memory ceiling_mib=%d resident_mib=%.0f free_mib=%s %s", ceiling, used / MIB, free, told)
    return ceiling


def _refusal(ceiling: int, used: int, grows: Mapping[str, int], room: Room) -> str:
    largest = sorted(grows.items(), key=lambda item: -item[1])[:NAMED]
    for_what = ", ".join(f"{name} {some / MIB:.0f}" for name, some in largest)
    return (
        f"memory: this configuration can come to need {ceiling} MiB ({used / MIB:.0f} now; of the rest {for_what}), "
        f"and there are {(used + room.free) / MIB:.0f} by {room.limit}; take fewer cameras or [attention] canvases, "
        "smaller frames or models, or raise that limit"
    )


def resident(root: Path = ROOT) -> int:
    """Return the bytes of memory that this process has now; 0 where /proc is not there."""
    return _fields(root / "proc/self/status").get("VmRSS", 0)


def available(root: Path = ROOT) -> Room:
    """Return how much more this process may take: what the machine has, or its control groups leave, if less."""
    free = _fields(root / "proc/meminfo").get("MemAvailable", math.inf)
    rooms = [Room(free, "MemAvailable of this machine"), *_second_version(root), *_first_version(root)]
    return min(rooms, key=lambda room: room.free)


def _second_version(root: Path) -> Iterator[Room]:
    """Yield what the control group of this process and those above it leave; none that has no limit."""
    for folder in _folders(root / "sys/fs/cgroup", _group(root, "")):
        limits = [_number(folder / name) for name in ("memory.max", "memory.high")]
        yield from _left(folder, min(limits), "memory.current", "inactive_file")


def _first_version(root: Path) -> Iterator[Room]:
    for folder in _folders(root / "sys/fs/cgroup/memory", _group(root, "memory")):
        limit = _number(folder / "memory.limit_in_bytes")
        yield from _left(folder, limit, "memory.usage_in_bytes", "total_inactive_file")


def _left(folder: Path, limit: float, use: str, cache: str) -> Iterator[Room]:
    """Yield the rest of `limit`. Files that nobody has used for long are cached in it; the kernel drops these first."""
    if math.isinf(limit):
        return
    used = _number(folder / use)
    dropped = _fields(folder / "memory.stat").get(cache, 0)
    yield Room(limit if math.isinf(used) else max(0.0, limit - used + dropped), f"the memory limit of {folder}")


def _group(root: Path, controller: str) -> str:
    """Return the path of this process's control group; an empty `controller` names version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    fields = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return next((path.strip("/") for _, names, path in fields if controller in names.split(",")), "")


def _folders(top: Path, group: str) -> Iterator[Path]:
    """Yield the folders of a control group and of those above it; in a container, `top` may be its own."""
    folder = top / group
    yield from (place for place in (folder, *folder.parents) if place.is_relative_to(top))


def _number(path: Path) -> float:
    """Return the number that a file holds, infinity where there is none: "max", or no such file."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf


def _fields(path: Path) -> dict[str, int]:
    """Return the bytes by name in a file of lines such as "VmRSS:  123 kB" or "inactive_file 123"."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    numbers = [row for row in words if len(row) in {2, 3} and row[1].isdecimal()]
    return {row[0]: int(row[1]) * (1024 if row[2:] == ["kB"] else 1) for row in numbers}
