"""The contract of an initialiser: the first values of a State or a weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Initializer(ABC):
    """Called with a shape, gives an array of it."""

    @property
    @abstractmethod
    def unit(self) -> Any:
        """Of what it gives: models check it when they are made."""

    @abstractmethod
    def __call__(self, size: int | tuple[int, ...]) -> Any:
        """Values of the shape `size`: a quantity, or a bare array where there is no unit."""
