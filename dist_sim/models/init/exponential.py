from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init.initializer import Initializer, in_unit, shape_of, source


@final
class Exponential(Initializer):
    """Exponentially distributed with the mean `scale`, drawn from `ds.random`.

    Args:
        scale: a number or quantity.
        unit: of the scale, where it is a number.

    Raises:
        UnitError: a scale with a unit, and a unit besides.
    """

    def __init__(self, scale: Any, unit: Any = None) -> None:
        (self.scale,) = in_unit("Exponential", unit, scale=scale)

    @property
    def unit(self) -> Any:
        return u.get_unit(self.scale)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return source(rng).exponential(self.scale, shape_of(size))

    def __repr__(self) -> str:
        return f"Exponential({self.scale})"
