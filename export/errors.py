"""What can be wrong with a model that comes in."""

from __future__ import annotations

from edge.errors import FoveateError


class ModelError(FoveateError):
    """A trained model cannot be read, is of an unknown form, or does not fit its recipe."""

    exit_code = 65


class BoundError(FoveateError):
    """No precision that the recipe allows keeps the recipe's bounds."""

    exit_code = 65
