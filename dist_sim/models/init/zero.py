from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.models.init.initializer import Initializer, shape_of


@final
@dataclass(frozen=True, eq=False)
class ZeroInit(Initializer):
    """Zeros.

    Args:
        unit: of them.
    """

    unit: Any = u.UNITLESS

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        return u.maybe_decimal(u.Quantity(jnp.zeros(shape_of(size)), unit=self.unit))
