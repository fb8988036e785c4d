from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.core import random
from dist_sim.models.init.initializer import Initializer, in_unit


@final
class Uniform(Initializer):
    """Uniformly distributed in [min_val, max_val), drawn from `ds.random`.

    Args:
        min_val, max_val: numbers, or quantities of one unit.
        unit: of both, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
    """

    def __init__(self, min_val: Any, max_val: Any, unit: Any = None) -> None:
        self.min_val, self.max_val = in_unit("Uniform", unit, min_val=min_val, max_val=max_val)

    @property
    def unit(self) -> Any:
        return u.get_unit(self.min_val)

    def __call__(self, size: int | tuple[int, ...]) -> Any:
        return random.uniform(self.min_val, self.max_val, (size,) if isinstance(size, int) else size)

    def __repr__(self) -> str:
        return f"Uniform({self.min_val}, {self.max_val})"
