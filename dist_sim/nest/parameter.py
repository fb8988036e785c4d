"""What a model declares of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model.

    Attributes:
        unit: of the system of `units`.
        default: in that unit; the name of another parameter takes that one's value.
        positive: must be above 0; `at_least` gives another lower bound.
    """

    unit: str
    default: float | str
    positive: bool = False
    at_least: float | None = None
