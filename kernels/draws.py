"""Numbers of a compiled step that every machine gives alike: sine, exponential, logarithm, normal, Poisson and binomial numbers.

All from IEEE +, -, *, / and sqrt in a stated order, in the precision of the simulation. XLA on CPU contracts a * b + c to one
operation where it sees both, so a product that is added to is kept `apart`.
"""

from __future__ import annotations

from math import factorial, pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import exact
from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.kernels.scalar.rounded import quotient, root

MOST = 80.0  # events per step of a draw from 0 upwards: exp(-80) is still a normal number in 32 bits

_SINE = tuple((-1) ** k * (pi / 2) ** (2 * k + 1) / factorial(2 * k + 1) for k in range(11, -1, -1))


def unit_interval(word: jax.Array, dtype: Any) -> jax.Array:
    """A number in (0, 1) of 32 random bits; in 32 bits of precision of the upper 24."""
    if dtype == np.float64:
        return (word.astype(dtype) + 0.5) * 2.0**-32
    return ((word >> 8).astype(dtype) + dtype.type(0.5)) * dtype.type(2.0**-24)


def sine(turns: tuple[jax.Array, jax.Array], dtype: Any) -> jax.Array:
    """sin(2 pi x) of x = (high, low) in units of 2**-64 turns, uint32 each: exact however long a simulation is."""
    high, low = turns
    quadrant, part = high >> 30, high & jnp.uint32(0x3FFFFFFF)
    y = part.astype(dtype) * dtype.type(2.0**-30)
    if dtype == np.float64:
        y = y + low.astype(dtype) * 2.0**-62  # both are multiples of 2**-62: no rounding to contract
    y = jnp.where(quadrant & 1 == 1, 1 - y, y)
    z = uncontracted(y * y)
    total = jnp.full_like(y, _SINE[0])
    for c in _SINE[1:]:
        total = uncontracted(total * z) + dtype.type(c)
    total = total * y
    return jnp.where(quadrant >= 2, -total, total)


def turned(step: jax.Array, per_step: tuple[jax.Array, jax.Array], first: tuple[jax.Array, jax.Array]) -> tuple:
    """first + step * per_step, modulo one turn; pairs as `sine` takes them."""
    from_low, low = _product(jnp.asarray(step).astype(jnp.uint32), per_step[1])
    high = from_low + jnp.asarray(step).astype(jnp.uint32) * per_step[0]
    total = low + first[1]
    return high + first[0] + (total < low).astype(jnp.uint32), total


def exp(x: jax.Array) -> jax.Array:
    """Exponential; 0 where it would be below the smallest normal number."""
    dtype = x.dtype
    wide = dtype == np.float64
    high, low = (exact.LN2_HIGH, exact.LN2_LOW) if wide else (0.693359375, -2.12194440e-4)
    k = jnp.floor(uncontracted(x * dtype.type(exact.LOG2_E)) + dtype.type(0.5))
    r = (x - uncontracted(k * dtype.type(high))) - uncontracted(k * dtype.type(low))
    series = jnp.ones_like(r)
    for n in range(13 if wide else 8, 0, -1):
        series = uncontracted(quotient(uncontracted(series * r), dtype.type(n))) + dtype.type(1.0)
    least = -708.0 if wide else -87.0
    return jnp.where(x < least, dtype.type(0.0), series * _power_of_two(k))


def log(x: jax.Array) -> jax.Array:
    """Natural logarithm of positive normal numbers."""
    dtype = x.dtype
    m, e = _parts(x)
    small = m < dtype.type(0.7071067811865476)
    m, e = jnp.where(small, m * 2, m), e - small.astype(dtype)
    s = quotient(m - 1, m + 1)
    z = uncontracted(s * s)
    series = jnp.full_like(z, 1.0 / 21.0)
    for k in range(19, 0, -2):
        series = uncontracted(series * z) + dtype.type(1.0 / k)
    return uncontracted(2 * s * series) + uncontracted(e * dtype.type(exact.LN2))


def normal(word: jax.Array, dtype: Any) -> jax.Array:
    """Standard normal number of 32 random bits. Source: Wichura (1988), AS 241."""
    p = unit_interval(word, dtype)
    q = p - dtype.type(0.5)
    r = dtype.type(0.180625) - uncontracted(q * q)
    centre = q * quotient(_horner(exact.CENTRE_P, r), _horner(exact.CENTRE_Q, r))
    t = root(-log(jnp.where(q < 0, p, 1 - p))) - dtype.type(1.6)
    tail = quotient(_horner(exact.TAIL_P, t), _horner(exact.TAIL_Q, t))
    return jnp.where(jnp.abs(q) <= dtype.type(0.425), centre, jnp.where(q < 0, -tail, tail))


def poisson_tails(mean: jax.Array, most: jax.Array, width: int) -> jax.Array:
    """(devices, width) probabilities of more than 0, 1, ... events, for means (devices,) of at most `MOST`, where more than
    `most` (devices,) of them do not occur."""
    probability, of = exp(-mean), []
    for k in range(1, width + 1):
        probability = quotient(uncontracted(probability * mean), mean.dtype.type(k))
        of.append(probability)
    tails, total = [], jnp.zeros_like(mean)
    for k in range(width, 0, -1):  # the smallest first
        total = total + jnp.where(k <= most, of[k - 1], 0)
        tails.append(total)
    return jnp.stack(tails[::-1], axis=1)


def count_of(tails: jax.Array, word: jax.Array) -> jax.Array:
    """(n,) int32 counts of random words (n,), by the tails (n, width) or (1, width)."""
    # Small words keep all their digits, so that rare counts come as often as they should.
    u = word.astype(tails.dtype) * tails.dtype.type(2.0**-32)
    return (u[:, None] < tails).sum(axis=1, dtype=jnp.int32)


def binomial(n: jax.Array, log_q: jax.Array, odds: jax.Array, word: jax.Array) -> jax.Array:
    """(...,) int32 counts of n trials each, int32, that fail with probability exp(log_q); by inversion from 0 upwards.

    Args:
        odds: p / (1 - p). n * p is at most `MOST`.
        word: random bits, uint32.
    """
    dtype = odds.dtype
    trials = n.astype(dtype)
    u = word.astype(dtype) * dtype.type(2.0**-32)
    first = exp(trials * log_q)
    shape = jnp.broadcast_shapes(trials.shape, odds.shape, word.shape)
    probability, count = jnp.broadcast_to(first, shape), jnp.zeros(shape, jnp.int32)

    def more(carry: tuple) -> jax.Array:
        tail, _, count = carry
        return ((u < tail) & (count < n)).any()

    def next_count(carry: tuple) -> tuple:
        tail, probability, count = carry
        k = count.astype(dtype)
        going = (u < tail) & (count < n)
        probability = jnp.where(going, uncontracted(quotient(trials - k, k + 1) * odds * probability), probability)
        return jnp.where(going, tail - probability, tail), probability, count + going

    return jax.lax.while_loop(more, next_count, (1 - probability, probability, count))[2]


def _product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """High and low word of a 32 x 32 bit product."""
    mask, half = jnp.uint32(0xFFFF), jnp.uint32(16)
    a0, a1, b0, b1 = a & mask, a >> half, b & mask, b >> half
    low = a0 * b0
    middle = a1 * b0 + (low >> half)
    cross = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> half) + (cross >> half), a * b


def _power_of_two(k: jax.Array) -> jax.Array:
    if k.dtype == np.float64:
        return jax.lax.bitcast_convert_type((k.astype(jnp.int64) + 1023) << 52, jnp.float64)
    return jax.lax.bitcast_convert_type((k.astype(jnp.int32) + 127) << 23, jnp.float32)


def _parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mantissa in [0.5, 1) and exponent of a normal number."""
    if x.dtype == np.float64:
        bits = jax.lax.bitcast_convert_type(x, jnp.int64)
        half = jax.lax.bitcast_convert_type((bits & ((1 << 52) - 1)) | (1022 << 52), jnp.float64)
        return half, ((bits >> 52) - 1022).astype(x.dtype)
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    half = jax.lax.bitcast_convert_type((bits & 0x7FFFFF) | (126 << 23), jnp.float32)
    return half, ((bits >> 23) - 126).astype(x.dtype)


def _horner(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    total = jnp.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = uncontracted(total * x) + x.dtype.type(c)
    return total
