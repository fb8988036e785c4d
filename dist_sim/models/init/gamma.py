from __future__ import annotations

from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.models.init.initializer import Initializer, in_unit, refuse_unless, shape_of, source


@final
class Gamma(Initializer):
    """Gamma-distributed with the mean shape * scale, drawn from `ds.random`.

    Args:
        shape: a number above 0.
        scale: a number or quantity.
        unit: of the scale, where it is a number.

    Raises:
        UnitError: a scale with a unit, and a unit besides.
        ParameterError: a shape that is not above 0.
    """

    def __init__(self, shape: Any, scale: Any, unit: Any = None) -> None:
        (self.scale,) = in_unit("Gamma", unit, scale=scale)
        self.shape = shape
        refuse_unless(np.asarray(shape) > 0, f"Gamma(shape={shape})", "must be above 0")

    @property
    def unit(self) -> Any:
        return u.get_unit(self.scale)

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return source(rng).gamma(self.shape, self.scale, shape_of(size))

    def __repr__(self) -> str:
        return f"Gamma({self.shape}, {self.scale})"
