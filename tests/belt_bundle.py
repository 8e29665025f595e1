"""The belt's bundle, exported once for all tests, and shared with `foveate demo` through its cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.belt.demo import HERE, cache_folder
from export.build import cached_bundle


@pytest.fixture(scope="session")
def belt_bundle() -> Path:
    """Return the folder of the belt's bundle."""
    return cached_bundle(HERE / "recipe.toml", cache_folder()).path
