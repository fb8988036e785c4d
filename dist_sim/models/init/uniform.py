from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.core.trace import has_tracer
from dist_sim.models.init.initializer import Initializer, in_unit, numbers, refuse_unless, shape_of, source


@final
class Uniform(Initializer):
    """Uniformly distributed in [low, high), drawn from `ds.random`.

    Args:
        low, high: numbers, or quantities of one unit.
        unit: of both, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
        ParameterError: low above high.
    """

    def __init__(self, low: Any, high: Any, unit: Any = None) -> None:
        self.low, self.high = in_unit("Uniform", unit, low=low, high=high)
        if not has_tracer((self.low, self.high)):
            least, most = (numbers(x, self.unit, "Uniform") for x in (self.low, self.high))
            refuse_unless(np.asarray(least <= most), f"Uniform({least}, {most}, {self.unit})", "low must not be above high")

    @property
    def unit(self) -> Any:
        return u.get_unit(self.low)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return source(rng).uniform(self.low, self.high, shape_of(size))

    def __repr__(self) -> str:
        return f"Uniform({self.low}, {self.high})"
