"""Transforms to numbers with a structure: ordered, adding up to 1, of the length 1; and powers."""

from __future__ import annotations

from typing import Any, final

import jax
import jax.numpy as jnp

from dist_sim.models.params.transform import Transform, VectorTransform


@final
class OrderedT(VectorTransform):
    """Each number above the one before, along the last axis."""

    def forward(self, x: Any) -> jax.Array:
        first = x[..., :1]
        return jnp.concatenate([first, first + jnp.cumsum(jax.nn.softplus(x[..., 1:]), -1)], -1)

    def inverse(self, y: Any) -> jax.Array:
        step = jnp.diff(y)
        return jnp.concatenate([y[..., :1], step + jnp.log(-jnp.expm1(-step))], -1)


@final
class SimplexT(VectorTransform):
    """Numbers above 0 that add up to 1, along the last axis, which is one longer than that of the free numbers.

    Each takes a share of what those before it have left.
    """

    def forward(self, x: Any) -> jax.Array:
        share = jax.nn.sigmoid(x)
        left = jnp.cumprod(1.0 - share, -1)
        before = jnp.concatenate([jnp.ones_like(left[..., :1]), left[..., :-1]], -1)
        return jnp.concatenate([share * before, left[..., -1:]], -1)

    def inverse(self, y: Any) -> jax.Array:
        before = 1.0 - jnp.cumsum(y, -1) + y
        small = jnp.finfo(jnp.result_type(y)).eps
        return jax.scipy.special.logit(jnp.clip(y[..., :-1] / (before[..., :-1] + small), small, 1.0 - small))


@final
class UnitVectorT(VectorTransform):
    """Vectors of the length 1 along the last axis. Of a free vector only the direction counts."""

    def forward(self, x: Any) -> jax.Array:
        return x / jnp.sqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + 1e-8)

    def inverse(self, y: Any) -> Any:
        return y


@final
class PowerT(Transform):
    """(x**lmbda - 1) / lmbda, of x above 0; log(x) for lmbda = 0. Source: Box & Cox (1964)."""

    def __init__(self, lmbda: float = 0.5) -> None:
        self.lmbda = lmbda

    def forward(self, x: Any) -> jax.Array:
        return jnp.log(x) if abs(self.lmbda) < 1e-10 else (jnp.power(x, self.lmbda) - 1.0) / self.lmbda

    def inverse(self, y: Any) -> jax.Array:
        return jnp.exp(y) if abs(self.lmbda) < 1e-10 else jnp.power(y * self.lmbda + 1.0, 1.0 / self.lmbda)
