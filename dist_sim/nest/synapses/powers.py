"""Steps of a weight within its bounds, as several models of spike-timing dependent plasticity have them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def grown(weight: Any, trace: Any, p: Any) -> Any:
    """x + lambda (1 - x)^mu_plus K for x = w / Wmax, at most 1."""
    x = weight / p.Wmax
    x = x + p.lambda_ * power(1.0 - x, p.mu_plus) * trace
    # A NaN is not over the bound, and goes through: it is looked for after each chunk.
    return jnp.where(x >= 1.0, p.Wmax, x * p.Wmax)


def shrunk(weight: Any, trace: Any, p: Any) -> Any:
    """x - alpha lambda x^mu_minus K for x = w / Wmax, at least 0."""
    x = weight / p.Wmax
    x = x - p.alpha * p.lambda_ * power(x, p.mu_minus) * trace
    return jnp.where(x <= 0.0, 0.0, x * p.Wmax)


def power(x: Any, mu: Any) -> Any:
    """x^mu; most often mu is 1 or 0, and then nothing is computed: the second branch of a cond always is."""
    plain = (mu == 1.0) | (mu == 0.0)
    return jax.lax.cond(~plain, jnp.power, lambda x, mu: jnp.where(mu == 1.0, x, 1.0), x, mu)


def within(size: Any, Wmax: Any) -> Any:
    """A weight of this size, at least 0 and at most that of Wmax, with its sign."""
    limit = jnp.abs(Wmax)
    bounded = jnp.where(size < limit, jnp.where(size > 0.0, size, 0.0), limit)
    bounded = jnp.where(jnp.isfinite(size), bounded, size)
    return jnp.where(Wmax < 0.0, -bounded, bounded)
