"""Fixtures that several folders of tests use."""

from __future__ import annotations

from tests.belt_bundle import belt_bundle
from tests.broker import broker

__all__ = ["belt_bundle", "broker"]
