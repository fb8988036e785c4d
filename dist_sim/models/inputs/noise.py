"""Random numbers for each element of a population and each step, drawn by whichever device holds the element."""

from __future__ import annotations

import math
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import LongTermState, Module, environ, random
from dist_sim.core.state import State
from dist_sim.kernels.philox import philox4x32


class ElementState(State):
    """One value per element of a population, which says what the element is."""

    axes = ("batch", ..., "neuron")


@final
class Noise(Module):
    """A source of random numbers, each a function of (key, element, step): the same bits on any number of devices.

    The key is drawn from `ds.random` when States are allocated: once more, other numbers; in each lane of a vmap, others.

    States: ids uint32 (batch, *shape) or shape; key (2,) uint32; step, int32: how often was drawn.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.init_state()

    def init_state(self, batch_size: int | None = None) -> None:
        shape = self.shape if batch_size is None else (batch_size, *self.shape)
        self.ids = ElementState(jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape))
        self.key = LongTermState(jax.random.key_data(random.split_key()).astype(jnp.uint32))
        self.step = LongTermState(jnp.zeros((), jnp.int32))

    def uniform(self) -> jax.Array:
        """In (0, 1), one per element, in the default float; another at each call."""
        w0, w1 = self._words()
        # Halves of the last digit: neither 0 nor 1, whose normal quantiles are infinite.
        if environ.get_precision() == 64:
            return ((w0 >> 5).astype(jnp.float64) * 2.0**26 + (w1 >> 6).astype(jnp.float64) + 0.5) * 2.0**-53
        return ((w0 >> 9).astype(jnp.float32) + 0.5) * np.float32(2.0**-23)

    def happens(self, probability: Any) -> jax.Array:
        """Whether what has this probability happens, one per element; another at each call. Rare things are as rare as said."""
        w0, w1 = self._words()
        # Near 0 the number has all its digits, where one made of the upper bits would have steps as large as a probability.
        dtype = np.dtype(environ.dftype()).type
        part = w0.astype(dtype) * dtype(2.0**-32) + w1.astype(dtype) * dtype(2.0**-64)
        return (part < probability) | (jnp.asarray(probability) >= 1)

    def _words(self) -> tuple[jax.Array, jax.Array]:
        key, step = self.key.value, self.step.value
        self.step.value = step + 1
        zero = jnp.uint32(0)
        return philox4x32(key[0], key[1], self.ids.value, step.astype(jnp.uint32), zero, zero)[:2]

    def normal(self) -> jax.Array:
        """Standard normal, one per element; another at each call."""
        return math.sqrt(2.0) * jax.lax.erf_inv(2.0 * self.uniform() - 1.0)
