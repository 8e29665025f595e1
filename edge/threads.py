"""Thread hygiene: the models have the cores, and nobody else starts a pool of their own."""

from __future__ import annotations

import math
import os
from pathlib import Path

_POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUPS = Path("/sys/fs/cgroup")


def pin() -> None:
    """Keep NumPy's libraries to one thread; entry points call this first, for it works only before NumPy is imported.

    What the environment already says stays.
    """
    for name in _POOLS:
        os.environ.setdefault(name, "1")


def available_cores() -> int:
    """Return how many cores this process may use: its affinity, and the quota of its control group."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(1, min(len(affinity), _quota(_CGROUPS, _own_group())))


def _own_group() -> str:
    """Return the path of this process's control group (version 2), without its leading slash."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")


def _quota(root: Path, group: str) -> int:
    """Return the cores that the tightest quota from `group` up to `root` leaves, begun cores counted."""
    folder = root / group
    cores = min(_quota_of(place) for place in (folder, *folder.parents) if place.is_relative_to(root))
    return math.ceil(min(cores, 1 << 16))


def _quota_of(folder: Path) -> float:
    """Return the cores that one control group is given, infinity where it has no limit."""
    try:
        if (folder / "cpu.max").exists():  # version 2: "quota period", or "max period"
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:  # version 1, as seen from inside a container
            quota = (folder / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
