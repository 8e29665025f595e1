"""What can be wrong with a model that comes in."""

from __future__ import annotations

from typing import Literal

from edge.errors import FoveateError

Cause = Literal[
    "colour order",
    "normalisation",
    "fit",
    "input size",
    "class order",
    "dead output",
    "weights",
    "black calibration",
    "foreign calibration",
    "clipped ranges",
]


class ModelError(FoveateError):
    """A trained model cannot be read, is of an unknown form, or does not fit its recipe."""

    exit_code = 65


class SuspicionError(ModelError):
    """A recipe that can be exported and yet is wrong: by what its model says of frames, or by what it is calibrated on.

    `cause` is the kind of mistake; the text begins with what it is about and has the cause in it.
    """

    def __init__(self, about: str, cause: Cause, text: str) -> None:
        super().__init__(f"{about}: {cause}: {text}")
        self.cause: Cause = cause


class BoundError(FoveateError):
    """No precision that the recipe allows keeps the recipe's bounds."""

    exit_code = 65
