from __future__ import annotations

import math
from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.models.init.initializer import Initializer, shape_of, source


@final
class Orthogonal(Initializer):
    """Orthogonal rows or columns, whichever are fewer, of the length `scale`; uniform among all such, drawn from `ds.random`.

    With more than two axes, those in front of the last count as one.

    Args:
        scale: their length.
        unit: of it.

    Raises: when called:
        ParameterError: fewer than two axes.
    Source: Saxe, McClelland & Ganguli (2014), arXiv:1312.6120; Mezzadri (2007), arXiv:math-ph/0609050.
    """

    def __init__(self, scale: float = 1.0, unit: Any = None) -> None:
        self.scale = scale
        self._unit = u.UNITLESS if unit is None else unit

    @property
    def unit(self) -> Any:
        return self._unit

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        shape = shape_of(size)
        if len(shape) < 2:
            raise ParameterError(f"Orthogonal: called with the shape {shape}; rows and columns are needed.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = jnp.linalg.qr(source(rng).normal(0.0, 1.0, (max(rows, columns), min(rows, columns))))
        # Uniform only with the signs of r's diagonal made positive; 0 has none.
        q = q * jnp.where(jnp.diag(r) < 0, -1.0, 1.0)
        drawn = self.scale * (q if rows >= columns else q.T).reshape(shape)
        return u.maybe_decimal(u.Quantity(drawn, unit=self.unit))

    def __repr__(self) -> str:
        return f"Orthogonal({self.scale}, {self.unit})"
