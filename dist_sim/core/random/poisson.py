"""Poisson counts of any mean: by inversion of 64 bits below a mean of 10, by rejection above.

Inversion is straight code of IEEE operations in a stated order: the same counts alone, in a loop, in a lane of a vmap and on any
number of devices. Nothing that is rare gets lost: a probability keeps its digits down to 2**-64.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from dist_sim.core.random.bits import two_words
from dist_sim.core.trace import has_tracer

INVERTED = 10.0
"""Counts of a smaller mean are inverted."""

_LARGEST = 40  # a count of mean 10 is larger with probability 4e-13


def poisson(key: jax.Array, mean: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Counts (*shape), integers.

    Args:
        key: one of `jax.random`.
        mean: at least 0; broadcasts to the shape. Nothing is differentiated by it.
    """
    mean = jax.lax.stop_gradient(jnp.asarray(mean))
    known = None if has_tracer(mean) else np.asarray(mean)
    real = mean.dtype if jnp.issubdtype(mean.dtype, jnp.floating) and mean.dtype.itemsize >= 4 else jnp.result_type(float)
    mean = jnp.broadcast_to(mean.astype(real), shape)
    small = mean < INVERTED
    counts = _inverted(near_zero(two_words(key, shape), real), jnp.where(small, mean, 0.0)).astype(dtype)
    if known is not None and (known < INVERTED).all():
        return counts
    return jnp.where(small, counts, _rejected(jr.fold_in(key, 1), jnp.where(small, INVERTED, mean), small).astype(dtype))


def near_zero(words: tuple[jax.Array, jax.Array], dtype: Any) -> jax.Array:
    """Uniform numbers in (0, 1] that have all their digits near 0, down to 2**-65."""
    scale = np.dtype(dtype).type
    return words[0].astype(dtype) * scale(2.0**-32) + (words[1].astype(dtype) + scale(0.5)) * scale(2.0**-64)


def _inverted(uniform: jax.Array, mean: jax.Array) -> jax.Array:
    """How many of the probabilities of at least 1, 2, ... events are above the number: all times e^mean, which is their sum."""
    # A quotient by what is not known is joined with no sum, as a product would be on some machines and not on others.
    per_event, term, terms = 1.0 / mean, jnp.ones_like(mean), []
    for k in range(1, _LARGEST + 1):
        term = term / (per_event * k)
        terms.append(term)
    tails = [jnp.zeros_like(mean)]
    for term in reversed(terms):  # the smallest first
        tails.append(tails[-1] + term)
    number = uniform * (tails[-1] + 1.0)
    return functools.reduce(operator.add, ((number < tail).astype(jnp.int32) for tail in tails[1:]))


def _rejected(key: jax.Array, mean: jax.Array, done: jax.Array) -> jax.Array:
    """Counts of means of at least 10, as floats; where `done`, whatever is there.

    Source: Hörmann (1993), The transformed rejection method for generating Poisson random variables, algorithm PTRS,
    doi:10.1016/0167-6687(93)90997-4.
    """
    b = 0.931 + 2.53 * jnp.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)

    def pair(turn: Any) -> jax.Array:
        return jr.uniform(jr.fold_in(key, turn), (2, *mean.shape), mean.dtype)

    def attempt(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        turn, numbers, count, done = carry
        u, v = numbers[0] - 0.5, numbers[1]
        from_edge = 0.5 - abs(u)
        k = jnp.floor((2.0 * a / from_edge + b) * u + mean + 0.43)
        hat = jnp.log(v * inverse_alpha / (a / (from_edge * from_edge) + b))
        at_once = (from_edge >= 0.07) & (v <= v_r)
        never = (k < 0) | ((from_edge < 0.013) & (v > from_edge))
        accepted = at_once | (~never & (hat <= _log_probability(jnp.maximum(k, 0.0), mean)))
        return turn + 1, pair(turn), jnp.where(accepted & ~done, k, count), done | accepted

    # The numbers of the next attempt are carried: a compiler would compute them again for each of their uses.
    start = jnp.int32(1), pair(0), jnp.zeros_like(mean), jnp.broadcast_to(done, mean.shape)
    return jax.lax.while_loop(lambda carry: ~carry[3].all(), attempt, start)[2]


def _log_probability(k: jax.Array, mean: jax.Array) -> jax.Array:
    r"""Of a count k. From a mean of 1,000 on the large terms of :math:`k \log \lambda - \lambda - \log k!` are taken together, of
    which float32 would leave no digit.

    Source: Loader (2000), Fast and accurate computation of binomial probabilities.
    """
    direct = k * jnp.log(mean) - mean - jax.lax.lgamma(k + 1.0)
    positive = jnp.maximum(k, 1.0)
    off = (k - mean) / (k + mean)
    square = off * off
    series = 1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square * (1.0 / 9.0)))
    deviance = (k - mean) * off + 2.0 * k * off * square * series
    together = -deviance - 0.5 * jnp.log(2.0 * np.pi * positive) - 1.0 / (12.0 * positive)
    return jnp.where(mean < 1000.0, direct, together)
