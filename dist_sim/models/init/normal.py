from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.core.trace import has_tracer
from dist_sim.models.init.initializer import Initializer, in_unit, refuse_unless, shape_of, source


@final
class Normal(Initializer):
    """Normally distributed, drawn from `ds.random`.

    Args:
        mean, std: numbers, or quantities of one unit.
        unit: of both, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
        ParameterError: std below 0.
    """

    def __init__(self, mean: Any, std: Any, unit: Any = None) -> None:
        self.mean, self.std = in_unit("Normal", unit, mean=mean, std=std)
        if not has_tracer(self.std):
            refuse_unless(np.asarray(u.get_mantissa(self.std)) >= 0, f"Normal({mean}, {std})", "std must be at least 0")

    @property
    def unit(self) -> Any:
        return u.get_unit(self.mean)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return source(rng).normal(self.mean, self.std, shape_of(size))

    def __repr__(self) -> str:
        return f"Normal({self.mean}, {self.std})"
