"""The contract of an initialiser: the first values of a State or a weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import brainunit as u
import numpy as np

from dist_sim.core import random
from dist_sim.errors import ParameterError, UnitError
from dist_sim.units import magnitude


class Initializer(ABC):
    """Called with a shape, gives an array of it."""

    @property
    @abstractmethod
    def unit(self) -> Any:
        """Of what it gives: models check it when they are made."""

    @abstractmethod
    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        """Values of the shape `size`: a quantity, or a bare array where there is no unit.

        Args:
            rng: a `random.RandomState` to draw from, instead of `ds.random`.
        """


def in_unit(where: str, unit: Any, **given: Any) -> list[Any]:
    """Numbers in a unit, or quantities as they are, all of one unit.

    Raises:
        UnitError: they are not, or there is a unit besides quantities.
    """
    found = [x if unit is None else x * unit for x in given.values()]
    quantities = [name for name, x in given.items() if unit is not None and isinstance(x, u.Quantity)]
    if quantities or any(not u.have_same_dim(u.get_unit(x), u.get_unit(found[0])) for x in found):
        told = ", ".join(f"{name}={x}" for name, x in given.items())
        raise UnitError(f"{where}({told}, unit={unit}): give quantities of one unit, or numbers and the unit.")
    return found


def numbers(x: Any, unit: Any, where: str) -> np.ndarray:
    """The bare numbers of something in this unit, by numpy: defaults are made while the package is imported."""
    return magnitude(x, unit, where) if isinstance(x, u.Quantity) else np.asarray(x, np.float64)


def source(rng: Any) -> Any:
    """What random numbers are drawn from."""
    return random if rng is None else rng


def shape_of(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int | np.integer) else tuple(size)


def refuse_unless(holds: np.ndarray, where: str, law: str) -> None:
    """Raises:
    ParameterError: it does not hold everywhere.
    """
    if not holds.all():
        raise ParameterError(f"{where}: {law}.")
