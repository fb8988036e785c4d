from __future__ import annotations

from dataclasses import dataclass
from typing import final

import jax
import jax.numpy as jnp

from dist_sim.models.surrogate.surrogate import Shaped


@final
@dataclass(frozen=True)
class ReluGrad(Shaped):
    r"""A triangle: :math:`\max(0, \alpha (w - |x|))`, exactly 0 further than w from threshold.

    Args:
        alpha: slope of its sides, above 0.
        width: half its base w, above 0.

    Raises:
        ParameterError: not above 0.
    Source: Neftci, Mostafa & Zenke (2019), doi:10.1109/MSP.2019.2931595. Checked against braintools 0.3.
    """

    alpha: float = 0.3
    width: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.maximum(self.alpha * (self.width - jnp.abs(x)), 0.0)
