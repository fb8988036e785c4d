"""Random numbers that depend on what they are for, never on where or in which order they are drawn.

Every value is a function of (seed, stream, id, step). A neuron's noise is the same on one device and on sixty-four, each
drawing only for its own ids, and in the loop as outside of it.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import environ
from dist_sim.errors import ParameterError
from dist_sim.kernels.exact import normal_quantile
from dist_sim.kernels.philox import philox4x32, split_key

WORD = 2**32


@dataclass(frozen=True)
class Random:
    """A source of keyed random numbers. Holds no state: the same question has the same answer.

    In all methods:
        shape_or_ids: global ids, an integer array of any shape; or a shape (an int or a tuple of ints), which stands for
            the ids 0, 1, 2, ... in that shape.
        stream: what the numbers are for, a name or an integer below 2**32. Two streams are independent.
        step: integer below 2**32, may be traced.

    Raises:
        ParameterError: a seed outside [0, 2**64), or ids or a stream that are no integers.
    """

    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.seed, (int, np.integer)) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**64:
            raise ParameterError(f"Random(seed={self.seed!r}): the seed must be an integer from 0 to 2**64 - 1.")

    def bits(self, shape_or_ids: Any, *, stream: str | int, step: Any = 0) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Four independent uint32 words per id."""
        low, high = _id_words(shape_or_ids)
        key0, key1 = split_key(int(self.seed))
        name, apart = _stream_words(stream)
        # The names also enter the key: what is keyed elsewhere by this seed and bare counters must not meet these numbers.
        key = np.uint32(key0), np.uint32(key1 ^ apart)
        return _philox(*key, low, high, jnp.asarray(step).astype(jnp.uint32), np.uint32(name))

    def uniform(self, shape_or_ids: Any, *, stream: str | int, step: Any = 0) -> jax.Array:
        """Uniform on [0, 1), in the default float: multiples of 2**-24 or 2**-53. The same bits on every machine."""
        w0, w1, _, _ = self.bits(shape_or_ids, stream=stream, step=step)
        if environ.get_precision() == 64:
            return ((w0 >> 5).astype(jnp.float64) * 2.0**26 + (w1 >> 6).astype(jnp.float64)) * 2.0**-53
        return (w0 >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)

    def bernoulli(self, p: Any, shape_or_ids: Any, *, stream: str | int, step: Any = 0) -> jax.Array:
        """True with probability `p` (in [0, 1], broadcast). The same bits on every machine."""
        return self.uniform(shape_or_ids, stream=stream, step=step) < p

    def normal(self, shape_or_ids: Any, *, stream: str | int, step: Any = 0) -> jax.Array:
        """Standard normal, |z| < 6.34, in the default float. The same bits on every machine.

        Interpolated between exact quantiles in integers: compilers contract and vectorise the usual rational functions
        differently from place to place. Off by less than 1e-5, in steps of 1e-5.
        """
        w0, w1, _, _ = self.bits(shape_or_ids, stream=stream, step=step)
        z = _lower_half(w0 >> 1)
        dtype = jnp.float64 if environ.get_precision() == 64 else jnp.float32
        return jnp.where(w1 >> 31 == 0, z, -z).astype(dtype) * dtype(2.0**-FRACTION)


# Compiled as a whole: outside of a trace, its hundreds of operations would each be compiled and dispatched.
_philox = jax.jit(philox4x32)

FRACTION = 28
"""Binary digits of a fixed-point normal number: |z| < 8 fits an int32."""


@functools.cache
def _quantiles() -> np.ndarray:
    """Normal quantiles of (k + 1/2) / 2**32 for k below 128, then at 128 points in every octave up to 2**31; fixed point."""
    octaves = [np.arange(128, 256, dtype=np.uint64) << shift for shift in range(24)]
    k = np.concatenate([np.arange(128, dtype=np.uint64), *octaves, [2**31]])
    return np.round(normal_quantile(k) * 2.0**FRACTION).astype(np.int32)


@jax.jit
def _lower_half(k: jax.Array) -> jax.Array:
    """Normal quantile of (k + 1/2) / 2**32 for k < 2**31, fixed point."""
    shift = jnp.maximum(24 - jax.lax.clz(k).astype(jnp.int32), 0).astype(jnp.uint32)
    index = (shift << 7) + (k >> shift)
    # The ten bits below those that name the segment; a segment spans less than 2**21, so that the product fits 31 bits.
    part = (k - ((k >> shift) << shift)) << jnp.where(shift < 10, 10 - shift, 0) >> jnp.where(shift > 10, shift - 10, 0)
    table = jnp.asarray(_quantiles())
    low, high = table[index], table[index + 1]
    return low + (((high - low) * part.astype(jnp.int32)) >> 10)


def _id_words(shape_or_ids: Any) -> tuple[jax.Array, jax.Array]:
    if isinstance(shape_or_ids, (int, tuple, list)):
        shape = (shape_or_ids,) if isinstance(shape_or_ids, int) else tuple(shape_or_ids)
        if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape) or math.prod(shape) > WORD:
            raise ParameterError(f"Random: {shape_or_ids!r} is neither a shape nor an array of ids.")
        return jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape), jnp.uint32(0)
    if not jnp.issubdtype(jnp.result_type(shape_or_ids), jnp.integer):
        raise ParameterError(f"Random: ids must be integers; got {jnp.result_type(shape_or_ids)}.")
    if isinstance(shape_or_ids, (np.ndarray, np.generic)):
        # Split on the host: without 64-bit mode JAX would drop the high words.
        ids = shape_or_ids.astype(np.uint64)
        return jnp.asarray((ids % WORD).astype(np.uint32)), jnp.asarray((ids // WORD).astype(np.uint32))
    ids = jnp.asarray(shape_or_ids)
    high = (ids >> 32).astype(jnp.uint32) if ids.dtype.itemsize == 8 else jnp.uint32(0)
    return ids.astype(jnp.uint32), high


def _stream_words(stream: str | int) -> tuple[int, int]:
    if isinstance(stream, (int, np.integer)) and 0 <= stream < WORD:
        digest = hashlib.blake2b(b"dist_sim.random", digest_size=4).digest()
        return int(stream), int.from_bytes(digest, "little")
    if not isinstance(stream, str):
        raise ParameterError(f"Random: a stream is a name or an integer from 0 to 2**32 - 1; got {stream!r}.")
    digest = hashlib.blake2b(f"dist_sim.random/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
