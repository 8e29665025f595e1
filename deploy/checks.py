"""What `foveate doctor` looks at on the machine itself: one function per thing, each giving findings."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge.engines import installed
from edge.threads import available_cores

OK, FIX, NONE = "OK", "FIX", "--"  # NONE: not there, and not needed
_NEEDED = {  # module: distribution; a module may also come from the system's own packages
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "msgspec": "msgspec",
    "paho": "paho-mqtt",
    "lap": "lapx",
    "onnxruntime": "onnxruntime",
}
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex has anywhere


class Finding(NamedTuple):
    """One line of the doctor's."""

    status: str
    what: str
    how: str = ""  # to mend it


def machine() -> Iterator[Finding]:
    """Check Python, the packages, the cores and the inference back ends."""
    version = platform.python_version()
    good = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield Finding(OK if good else FIX, f"Python {version}", "use Python 3.10 to 3.13")
    for module, distribution in _NEEDED.items():
        yield _package(module, distribution)
    yield Finding(OK, f"{available_cores()} cores for this process, {os.cpu_count()} in the machine")
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime  # noqa: PLC0415  it is loaded only where it is

        yield Finding(OK, f"onnxruntime providers: {', '.join(onnxruntime.get_available_providers())}")


def gpu() -> Iterator[Finding]:
    """Look for a GPU and what drives it; a machine without is fine."""
    devices = [device for device in ("/dev/nvidiactl", "/dev/nvhost-gpu") if Path(device).exists()]
    yield Finding(OK, f"GPU: {devices[0]}") if devices else Finding(NONE, "no NVIDIA GPU: models run on the CPU")
    for module in ("tensorrt", "tensorrt_rtx", "pycuda", "cuda.core"):
        version = _version(module.replace(".", "-"))
        yield Finding(OK, f"{module} {version}") if installed(module) else Finding(NONE, f"{module} is not installed")


def host() -> Iterator[Finding]:
    """Check the clock, the service manager and the broker's program."""
    yield clock()
    running = Path("/run/systemd/system").exists()
    yield (
        Finding(OK, "systemd runs") if running else Finding(NONE, "systemd does not run here: no service, no watchdog")
    )
    broker = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    yield Finding(OK, f"mosquitto: {broker}") if broker else Finding(NONE, "mosquitto is not installed on this machine")


def clock() -> Finding:
    """Ask the kernel whether something keeps the clock right; only `utc` in messages depends on it."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return Finding(NONE, "this system does not say whether its clock is synchronised")
    if state in {-1, _TIME_ERROR}:
        return Finding(
            NONE, "the clock is not synchronised: run chrony or systemd-timesyncd, or utc in events is wrong"
        )
    return Finding(OK, "the clock is synchronised")


def state_folder(folder: Path, ledger_mib: int, pictures_mib: int = 0) -> Iterator[Finding]:
    """Check that ledger and pictures can grow to so much in `folder`, which may not be there yet."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:  # a link to nowhere is in the way
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Finding(FIX, f"state folder {folder} cannot be written", f"give this user the right to write in {place}")
        return
    yield Finding(OK, f"state folder {folder} can be written")
    free_mib, needed_mib = shutil.disk_usage(place).free >> 20, 2 * ledger_mib + pictures_mib
    how = f"free {needed_mib} MiB (twice ledger.max_mib, and evidence.budget_mib) or lower these"
    what = f"{free_mib} MiB free for a ledger of up to {ledger_mib} MiB and {pictures_mib} MiB of pictures"
    yield Finding(OK if free_mib >= needed_mib else FIX, what, how)


def _package(module: str, distribution: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(FIX, f"{distribution} is not installed", f"pip install {distribution}")
    return Finding(OK, f"{distribution} {_version(distribution)}")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed by pip)"
