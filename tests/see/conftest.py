"""Property tests here say what must hold, not how fast: other work may share the cores."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
