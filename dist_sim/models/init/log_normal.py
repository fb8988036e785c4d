from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.models.init.initializer import Initializer, in_unit, refuse_unless, shape_of, source


@final
class LogNormal(Initializer):
    """Lognormally distributed, drawn from `ds.random`; `mean` and `std` are its own, not those of its logarithm.

    Args:
        mean, std: numbers, or quantities of one unit; mean above 0, std at least 0.
        unit: of both, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
        ParameterError: out of bounds.
    """

    def __init__(self, mean: Any, std: Any, unit: Any = None) -> None:
        self.mean, self.std = in_unit("LogNormal", unit, mean=mean, std=std)
        refuse_unless(np.asarray(u.get_mantissa(self.mean)) > 0, f"LogNormal(mean={mean})", "must be above 0")
        refuse_unless(np.asarray(u.get_mantissa(self.std)) >= 0, f"LogNormal(std={std})", "must be at least 0")

    @property
    def unit(self) -> Any:
        return u.get_unit(self.mean)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        variance = np.log1p(np.asarray(u.maybe_decimal(self.std / self.mean)) ** 2)
        # exp of a normal number with this variance and the mean -variance / 2 has the mean 1.
        return source(rng).lognormal(-variance / 2, np.sqrt(variance), shape_of(size)) * self.mean

    def __repr__(self) -> str:
        return f"LogNormal({self.mean}, {self.std})"
