from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.errors import ParameterError
from dist_sim.models.init.initializer import Initializer, in_unit, shape_of


@final
class Constant(Initializer):
    """The same value everywhere.

    Args:
        value: a number, a quantity, or an array of either that broadcasts to the shapes asked for.
        unit: of the value, where that is a number.

    Raises:
        ParameterError: no value.
        UnitError: a quantity and a unit besides.
    """

    def __init__(self, value: Any, unit: Any = None) -> None:
        if value is None:
            raise ParameterError("Constant(None): needs a number, a quantity, or an array of either.")
        (self.value,) = in_unit("Constant", unit, value=value)

    @property
    def unit(self) -> Any:
        return u.get_unit(self.value)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return u.math.broadcast_to(u.math.asarray(self.value), shape_of(size))

    def __repr__(self) -> str:
        return f"Constant(value={self.value})"
