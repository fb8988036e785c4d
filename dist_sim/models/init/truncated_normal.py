from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.models.init.initializer import Initializer, in_unit, refuse_unless, shape_of, source


@final
class TruncatedNormal(Initializer):
    """Normally distributed given that it lies in [low, high], drawn from `ds.random`.

    Args:
        mean, std: numbers, or quantities of one unit; std above 0.
        low, high: likewise; None for no bound.
        unit: of all, where they are numbers.

    Raises:
        UnitError: of different units, or quantities and a unit besides.
        ParameterError: std not above 0, low not below high.
    """

    def __init__(self, mean: Any, std: Any, low: Any = None, high: Any = None, unit: Any = None) -> None:
        given = {"mean": mean, "std": std} | {k: x for k, x in (("low", low), ("high", high)) if x is not None}
        found = dict(zip(given, in_unit("TruncatedNormal", unit, **given), strict=True))
        self.mean, self.std = found["mean"], found["std"]
        self.low = found.get("low", -np.inf * u.Quantity(1.0, unit=self.unit))
        self.high = found.get("high", np.inf * u.Quantity(1.0, unit=self.unit))
        where = f"TruncatedNormal({mean}, {std}, {low}, {high})"
        refuse_unless(np.asarray(u.get_mantissa(self.std)) > 0, where, "std must be above 0")
        refuse_unless(np.asarray(self.low < self.high), where, "low must be below high")

    @property
    def unit(self) -> Any:
        return u.get_unit(self.mean)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return source(rng).truncated_normal(self.low, self.high, shape_of(size), self.mean, self.std)

    def __repr__(self) -> str:
        return f"TruncatedNormal({self.mean}, {self.std}, {self.low}, {self.high})"
