"""exp, log and their relatives from IEEE +, -, *, / and the bits of numbers alone: the same bits on every backend.

Each is the text of a function of one number, in float32 or float64: the reference runs it on arrays, and the printer turns it
into C++ and CUDA. Errors are a few units in the last place; results below the smallest normal number are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LN2 = 0.6931471805599453
_LOG2_E = 1.4426950408889634


class _Format:
    """Of float32 or float64: bits of the fraction, bias of the exponent, the number whose last bit is worth 1, and ln 2 in two
    parts whose first has so few bits that its product with an exponent is exact."""

    def __init__(self, dtype: Any):
        double = np.dtype(dtype) == np.float64
        self.dtype, self.integer = np.dtype(dtype), np.dtype(np.int64 if double else np.int32)
        self.fraction, self.bias = (52, 1023) if double else (23, 127)
        self.one_per_unit = 1.5 * 2.0**self.fraction
        self.high, self.low = (
            (0.693147180369123816490, 1.90821492927058770002e-10) if double else (0.693359375, -2.12194440054690583e-4)
        )
        self.largest, self.least = (709.782712893384, -708.3964185322641) if double else (88.72283, -87.33654)
        self.exp_terms, self.log_terms = (13, 10) if double else (7, 4)

    def bits(self, x: Any) -> Any:
        return jax.lax.bitcast_convert_type(x, self.integer)

    def number(self, bits: Any) -> Any:
        return jax.lax.bitcast_convert_type(bits, self.dtype)

    def whole(self, value: int) -> Any:
        return self.integer.type(value)


def _polynomial(x: Any, coefficients: list[float]) -> Any:
    """From the lowest power up, in pairs (Estrin): few operations wait for each other."""
    terms: list[Any] = list(coefficients)
    power = x
    while len(terms) > 1:
        pairs = [terms[k] + power * terms[k + 1] for k in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
        power = power * power
    return terms[0]


def exp(x: Any) -> Any:
    """e^x: 2^k e^r with |r| <= ln(2) / 2."""
    f = _Format(x.dtype)
    inside = jnp.where(x > f.largest, f.largest, jnp.where(x < f.least, f.least, x))
    shifted = inside * _LOG2_E + f.one_per_unit
    k = shifted - f.one_per_unit
    r = (inside - k * f.high) - k * f.low
    series = _polynomial(r, [1 / math.factorial(n) for n in range(f.exp_terms + 1)])
    # The last bits of `shifted` are k. In two factors, for 2^1024 is not a number.
    scale = f.number((f.bits(shifted) + f.whole(f.bias - 1)) << f.whole(f.fraction))
    result = series * scale * 2.0
    # A NaN is smaller and larger than nothing, and goes through.
    return jnp.where(x > f.largest, jnp.inf, jnp.where(x < f.least, 0.0, result))


def log(x: Any) -> Any:
    """Natural logarithm: of x = 2^k m with m between sqrt(1/2) and sqrt(2), by the series of artanh((m - 1) / (m + 1))."""
    f = _Format(x.dtype)
    half_root = int(np.array(math.sqrt(0.5), f.dtype).view(f.integer))
    bits = f.bits(x)
    # Exponent of x over sqrt(1/2), from the top bits of a positive number.
    moved = jax.lax.shift_right_logical(bits - f.whole(half_root - (f.bias << f.fraction)), f.whole(f.fraction))
    k = f.number(moved + f.whole(int(np.array(f.one_per_unit, f.dtype).view(f.integer)) - f.bias)) - f.one_per_unit
    m = f.number(bits - ((moved - f.whole(f.bias)) << f.whole(f.fraction)))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = _polynomial(z, [2 / (2 * n + 1) for n in range(f.log_terms + 1)])
    result = k * f.high + (s * series + k * f.low)
    tiny = float(np.finfo(f.dtype).tiny)
    beyond = jnp.where(x < 0.0, jnp.nan, jnp.where(x < tiny, -jnp.inf, x))
    return jnp.where((x >= tiny) & (x < jnp.inf), result, beyond)


def expm1(x: Any) -> Any:
    """e^x - 1, exact near 0: there by its own series."""
    f = _Format(x.dtype)
    terms = [1 / math.factorial(n) for n in range(1, f.exp_terms + 3)]
    near = (x < 0.35) & (x > -0.35)
    small = jnp.where(near, x, 0.0)
    return jnp.where(near, small * _polynomial(small, terms), exp(x) - 1.0)


def log1p(x: Any) -> Any:
    """log(1 + x), exact near 0 (Kahan's correction of what 1 + x has lost)."""
    u = 1.0 + x
    lost = u - 1.0
    usual = (lost != 0.0) & (u < jnp.inf) & (u > 0.0)
    return jnp.where(usual, log(u) * (x / jnp.where(usual, lost, 1.0)), jnp.where(lost == 0.0, x, log(u)))


def power(x: Any, y: Any) -> Any:
    """x^y for x >= 0: exp(y log x)."""
    general = exp(y * log(x))
    of_zero = jnp.where(y > 0.0, 0.0, jnp.inf)
    return jnp.where(y == 0.0, 1.0, jnp.where(x == 0.0, of_zero, general))


def tanh(x: Any) -> Any:
    inside = jnp.where(x > 20.0, 20.0, jnp.where(x < -20.0, -20.0, x))
    e = expm1(2.0 * inside)
    return e / (e + 2.0)


def logistic(x: Any) -> Any:
    return 1.0 / (1.0 + exp(-x))


# By the names of JAX's primitives, which stand for them in the text of a model.
ELEMENTARY: Mapping[str, Callable[..., Any]] = {
    "exp": exp, "log": log, "expm1": expm1, "log1p": log1p, "pow": power, "tanh": tanh, "logistic": logistic,
}  # fmt: skip
