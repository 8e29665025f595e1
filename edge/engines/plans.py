"""TensorRT plans and timing caches made on this machine, kept so that the next start takes seconds instead of minutes.

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

MOST = 16  # files; plans of older bundles, GPUs and versions go, the least recently used first


def plan_folder() -> Path:
    """Return where plans are kept: systemd's cache folder of the service, or the user's."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.split(":")[0]) / "plans"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foveate" / "plans"


def plan_key(*parts: str) -> str:
    """Return the name of a plan that is valid only where all of `parts` are the same."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def load(folder: Path, name: str) -> bytes | None:
    """Return what was kept under `name`, or None where there is nothing that can be trusted."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        data = file.read() if ours else b""
        with contextlib.suppress(OSError):
            os.utime(file.fileno())
    digest, kept = data[:32], data[32:]
    if hashlib.sha256(kept).digest() != digest:
        _log.warning("%s is damaged or not ours alone; it is made again", _short(name))
        return None
    return kept


def store(folder: Path, name: str, data: bytes) -> None:
    """Keep `data` under `name`, whole or not at all; a folder that cannot be written costs only time."""
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
        _forget(folder)
    except OSError as error:
        _log.warning(
            "kept=%s cannot be kept in %s: %s; every start makes it again", _short(name), folder, error.strerror
        )
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _forget(folder: Path) -> None:
    """Remove the least recently used files beyond `MOST`, and what a crash left half written."""
    files = [path for path in folder.iterdir() if path.suffix in {".plan", ".timing", ".tmp"}]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)[:-MOST]:
        path.unlink(missing_ok=True)


def _short(name: str) -> str:
    return f"{name[:12]}…{Path(name).suffix}"
