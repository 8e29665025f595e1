"""systemd's notifications (sd_notify): ready, alive, stopping. Without systemd, nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket
import time

_last_s = float("-inf")  # when systemd last heard that we are alive


def ready() -> None:
    """Say that the service is up."""
    _send("READY=1\nSTATUS=seeing")


def watchdog() -> None:
    """Say that the loop moves; call it as often as you like, four times in `WatchdogSec` it is said."""
    global _last_s  # noqa: PLW0603  there is one service manager
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    if limit_us.isdecimal() and time.monotonic() - _last_s >= int(limit_us) / 4e6:
        _last_s = time.monotonic()
        _send("WATCHDOG=1")


def status(text: str) -> None:
    """Say one line that `systemctl status` shows."""
    _send(f"STATUS={' '.join(text.split())}")


def stopping() -> None:
    """Say that the service is on its way down."""
    _send("STOPPING=1")


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock, contextlib.suppress(OSError):
        sock.settimeout(0)  # better unheard than stuck
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(message.encode())
