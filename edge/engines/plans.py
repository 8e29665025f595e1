"""TensorRT plans that were built on this machine, kept so that the next start takes seconds instead of minutes.

A plan is executable: only a file that this user alone can write is read back, and only if its hash still fits.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path

_log = logging.getLogger(__name__)


def plan_folder() -> Path:
    """Return where plans are kept: systemd's cache folder of the service, or the user's."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.split(":")[0]) / "plans"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foveate" / "plans"


def plan_key(*parts: str) -> str:
    """Return the name of a plan that is valid only where all of `parts` are the same."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def load_plan(folder: Path, key: str) -> bytes | None:
    """Return the plan kept under `key`, or None where there is none that can be trusted."""
    try:
        descriptor = os.open(folder / f"{key}.plan", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        data = file.read() if ours else b""
    digest, plan = data[:32], data[32:]
    if hashlib.sha256(plan).digest() != digest:
        _log.warning("plan=%s is damaged or not ours alone; it is built again", key[:12])
        return None
    return plan


def store_plan(folder: Path, key: str, plan: bytes) -> None:
    """Keep `plan` under `key`, whole or not at all; a folder that cannot be written costs only time."""
    temporary = folder / f"{key}.{os.getpid()}.tmp"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(plan).digest() + plan)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / f"{key}.plan")
    except OSError as error:
        _log.warning("plan=%s cannot be kept in %s: %s; every start builds it again", key[:12], folder, error.strerror)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
