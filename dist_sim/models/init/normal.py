from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.core import random
from dist_sim.models.init.initializer import Initializer, in_unit


@final
class Normal(Initializer):
    """Normally distributed, drawn from `ds.random`.

    Args:
        mean, std: numbers, or quantities of one unit.
        unit: of both, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
    """

    def __init__(self, mean: Any, std: Any, unit: Any = None) -> None:
        self.mean, self.std = in_unit("Normal", unit, mean=mean, std=std)

    @property
    def unit(self) -> Any:
        return u.get_unit(self.mean)

    def __call__(self, size: int | tuple[int, ...]) -> Any:
        return random.normal(self.mean, self.std, (size,) if isinstance(size, int) else size)

    def __repr__(self) -> str:
        return f"Normal({self.mean}, {self.std})"
