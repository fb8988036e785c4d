"""Philox4x32-10, the counter-based generator behind every random number of dist_sim.

A draw is a function of a 64-bit key and a 128-bit counter, never of the order of calls or of the device that draws. One
implementation serves numpy and JAX arrays; `cpp/philox.h` is the same function compiled.

Source: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, doi:10.1145/2063384.2063405.
Checked against the known answers of Random123.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def philox4x32(key0: Any, key1: Any, c0: Any, c1: Any, c2: Any, c3: Any) -> tuple[Any, Any, Any, Any]:
    """Four random words per counter.

    Args:
        key0, key1: the key, uint32 scalars or arrays.
        c0, c1, c2, c3: the counter, uint32 arrays that broadcast. JAX arrays give JAX arrays, others numpy arrays.

    Returns:
        Four uint32 arrays of the broadcast shape.
    """
    xp = jnp if any(hasattr(c, "aval") for c in (key0, key1, c0, c1, c2, c3)) else np
    k0, k1, c0, c1, c2, c3 = (_uint32(xp, x) for x in (key0, key1, c0, c1, c2, c3))
    with np.errstate(over="ignore"):
        for r in range(10):
            high0, low0 = _multiply(xp, c0, _M0)
            high1, low1 = _multiply(xp, c2, _M1)
            bump0, bump1 = xp.uint32((_W0 * r) & 0xFFFFFFFF), xp.uint32((_W1 * r) & 0xFFFFFFFF)
            c0, c1, c2, c3 = high1 ^ c1 ^ (k0 + bump0), low1, high0 ^ c3 ^ (k1 + bump1), low0
    return c0, c1, c2, c3


def split_key(seed: int) -> tuple[int, int]:
    """The two key words of a seed in [0, 2**64)."""
    return seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF


def key_words(seed: int) -> np.ndarray:
    """(2,) uint32, the same as an array: what compiled steps take, so that another seed is no other program."""
    return np.array(split_key(seed), np.uint32)


def uniform_index(xp: Any, high: Any, low: Any, n: Any) -> Any:
    """Index in [0, n) from 64 random bits (high, low): floor(bits * n / 2**64), bias below n / 2**64.

    Args:
        n: uint32, at most 2**32 - 1.
    """
    top_high, top_low = _multiply(xp, high, n)
    carried, _ = _multiply(xp, low, n)
    with np.errstate(over="ignore"):
        return top_high + (top_low + carried < top_low).astype(xp.uint32)


def _uint32(xp: Any, x: Any) -> Any:
    return x.astype(xp.uint32) if hasattr(x, "astype") else xp.asarray(x, dtype=xp.uint32)


def _multiply(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """High and low word of a 32 x 32 bit product, in 16-bit halves because JAX has no uint64 by default."""
    b = _uint32(xp, b)
    half, mask = xp.uint32(16), xp.uint32(0xFFFF)
    with np.errstate(over="ignore"):
        a0, a1, b0, b1 = a & mask, a >> half, b & mask, b >> half
        low = a0 * b0
        middle = a1 * b0 + (low >> half)
        cross = a0 * b1 + (middle & mask)
        return a1 * b1 + (middle >> half) + (cross >> half), a * b
