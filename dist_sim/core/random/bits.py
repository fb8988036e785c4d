"""Random bits of a key: those of JAX's threefry2x32, in a form that compilers make one loop of.

JAX's own form keeps its 20 rounds in a loop on CPUs, over arrays: at 1,600 numbers a draw takes five times as long. Here the
rounds are written out, and whatever is computed from the bits joins them. Seeds and keys give the numbers that they give in JAX.

Source: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend.random import define_prng_impl

from dist_sim.errors import ParameterError
from dist_sim.partition.blocks import Blocks, Value, bind, rule

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def threefry2x32(key: jax.Array, x0: Any, x1: Any) -> tuple[jax.Array, jax.Array]:
    """Two random words per counter.

    Args:
        key: (2,) uint32.
        x0, x1: the counter, uint32 arrays of one shape.
    """
    words = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    x0, x1 = x0 + words[0], x1 + words[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
            x1 = x1 ^ x0
        x0, x1 = x0 + words[(block + 1) % 3], x1 + (words[(block + 2) % 3] + np.uint32(block + 1))
    return x0, x1


def two_words(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two independent uint32 words for each place of an array, from a key of `jax.random`; the first is that of `jr.bits`."""
    x0, x1 = _counted(jr.key_data(key), shape)
    return x0 ^ x1, x1


def drawing(key: jax.Array) -> jax.Array:
    """The same key, whose bits are computed here wherever `jax.random` asks for them."""
    return jr.wrap_key_data(jr.key_data(key), impl=WRITTEN_OUT)


def _counted(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    if (size := math.prod(shape)) >= 2**32:
        raise ParameterError(f"random: an array of the shape {shape} has {size:,} numbers; a draw gives less than 2**32.")
    # A sum over the axes, so that a device can count along its part of any of them.
    places = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        along = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        places = places + along * np.uint32(math.prod(shape[axis + 1 :]) % 2**32)
    return threefry2x32(key, jnp.zeros(shape, jnp.uint32), places)


def _bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    x0, x1 = _counted(key, tuple(shape))
    if bit_width == 64:
        return (x0.astype(jnp.uint64) << np.uint64(32)) | x1.astype(jnp.uint64)
    word = x0 ^ x1
    return word if bit_width == 32 else word.astype(f"uint{bit_width}")


@rule("random_bits", always=True)
def random_bits(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """Each device computes those of its own block."""
    (key,) = map(blocks.whole, values)
    if key.ndim or jr.key_impl(key) != WRITTEN_OUT:
        return bind(eqn, [key])
    width, shape = eqn.params["bit_width"], eqn.params["shape"]
    program = jax.make_jaxpr(lambda key: _bits(key, width, shape))(jr.key_data(key))
    return blocks.run(program.jaxpr, program.consts, [jr.key_data(key)])


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_counted(key, tuple(shape)), axis=-1)


def _fold_in(key: jax.Array, number: Any) -> jax.Array:
    return jnp.stack(threefry2x32(key, jnp.uint32(0), jnp.asarray(number).astype(jnp.uint32)))


def _seed(seed: jax.Array) -> jax.Array:
    high = seed >> 32 if seed.dtype.itemsize == 8 else jnp.zeros_like(seed)
    return jnp.stack([high.astype(jnp.uint32), seed.astype(jnp.uint32)])


WRITTEN_OUT = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_bits, fold_in=_fold_in, name="dist_sim_threefry2x32", tag="dfry"
)
