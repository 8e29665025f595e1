"""A signal that asks for a job check while the models are being opened: it is heard, and ends nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edge import daemon
from edge.bundle import Bundle, open_bundle
from edge.events import JobCheckEvent
from tests.test_job_check import events, golden, of, site


def test_a_check_may_be_asked_for_before_the_models_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly_opened(path: Path) -> Bundle:
        os.kill(os.getpid(), signal.SIGUSR1)
        return open_bundle(path)

    monkeypatch.setattr(daemon, "open_bundle", slowly_opened)
    rules = site(tmp_path)
    golden(tmp_path / "golden")
    unheard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: unheard.append(number))  # else it would end all tests
    try:
        daemon.serve(rules, daemon.Options())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not unheard
    assert [check.trigger for check in of(JobCheckEvent, events(rules.state))] == ["start", "signal"]
