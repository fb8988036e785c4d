"""The exponential Euler method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import environ, random
from dist_sim.errors import ParameterError, UnitError


def exp_euler_step(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    r"""One step of :math:`\dot x = f(x, ...)` over the environment's dt, exact where f is linear in x.

    .. math:: x(t + \Delta t) = x + \Delta t \, \varphi(\Delta t f'(x)) \, f(x), \qquad \varphi(z) = (e^z - 1) / z

    With a diffusion g, as in `exp_euler_step(f, g, x, ...)`, of :math:`dx = f(x, ...) dt + g(x, ...) dW`: the step adds
    :math:`g(x, ...) \sqrt{\Delta t} \, \xi`, with normal numbers xi from `ds.random`, one for each element of x.

    f and g act elementwise: each element is linearised by itself.

    Args:
        f: gives the derivative, of the shape of x, in the unit of x per time.
        args: g, if there is noise: in the unit of x per square root of time; then x, an array or a quantity; then what f and g
            are handed besides, held fixed over the step.
        kwargs: handed to f and g.

    Raises:
        UnitError: f gives something else than x per time, g something else than x per square root of time.
        ParameterError: no x, or one that is no float.
        KeyError: no dt in the environment.
    """
    g: Callable[..., Any] | None = None
    if args and callable(args[0]):
        g, args = args[0], args[1:]
    if not args:
        raise ParameterError("exp_euler_step: no x. Call it as exp_euler_step(f, x, ...) or exp_euler_step(f, g, x, ...).")
    x, *rest = args
    x = u.math.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ParameterError(f"exp_euler_step: x holds {x.dtype}; a derivative is by floats.")
    dt, unit = environ.get_dt(), u.get_unit(x)
    drift, slope = jax.jvp(lambda x: f(x, *rest, **kwargs), (x,), (u.math.ones_like(x),))
    if not u.have_same_dim(dt * drift, x):
        raise UnitError(
            f"exp_euler_step: the derivative of a quantity in {unit} must be in {unit / dt.unit}; got {u.get_unit(drift)}."
        )
    start, change, z = (_bare(part, unit) for part in (x, dt * drift, dt * slope))
    moved = start + change * exprel(z)
    if g is not None:
        spread = g(x, *rest, **kwargs) * u.math.sqrt(dt)
        if not u.have_same_dim(spread, x):
            wanted, found = unit / dt.unit**0.5, u.get_unit(spread) / dt.unit**0.5
            raise UnitError(f"exp_euler_step: the diffusion of a quantity in {unit} must be in {wanted}; got {found}.")
        moved = moved + _bare(spread, unit) * random.normal(0.0, 1.0, x.shape, dtype=x.dtype)
    return u.maybe_decimal(moved * unit)


def _bare(x: Any, unit: Any) -> Any:
    return x.to_decimal(unit) if isinstance(x, u.Quantity) else x


def exprel(z: Any) -> Any:
    """(e^z - 1) / z to the last bits, differentiable also at 0.

    With z = n ln 2 + r it is made of 2^n and of the series at r, after Cody & Waite (1980), Software Manual for the Elementary
    Functions: half the instructions of `exp` for large z and a series for small, and no call per element as `expm1` is.
    """
    info, double = jnp.finfo(z.dtype), z.dtype == jnp.float64
    ints = jnp.dtype(f"int{info.bits}")
    # What grows by more than e^60 in a step has left any range: kept finite, so that a bound set on it afterwards gives a
    # gradient of 0 and not NaN.
    z = jnp.minimum(z, 60.0)
    bounded = jnp.maximum(z, (2 - info.maxexp) * math.log(2.0))
    # Added to this number, another is rounded to a whole one, which its last bits then are.
    rounder = np.asarray(1.5 * 2.0**info.nmant, z.dtype)
    n = jax.lax.bitcast_convert_type(bounded * (1.0 / math.log(2.0)) + rounder, ints) - rounder.view(ints)
    whole = jax.lax.stop_gradient(n.astype(z.dtype))
    high, low = (0.693147180369123816490, 1.90821492927058770002e-10) if double else (0.693359375, -2.12194440e-4)
    r = (bounded - whole * high) - whole * low
    series = _sum_of_powers([1.0 / math.factorial(k) for k in range(1, 15 if double else 8)], r)
    power = jax.lax.bitcast_convert_type((n + (info.maxexp - 1)) << info.nmant, z.dtype)
    # (2^n (1 + r series) - 1) / z, with all that does not need the series beside it.
    near = n == 0
    inverse = 1.0 / jnp.where(near, 1.0, z)
    return jnp.where(near, 1.0, power * r * inverse) * series + jnp.where(near, 0.0, (power - 1.0) * inverse)


def _sum_of_powers(terms: list[Any], x: jax.Array) -> jax.Array:
    """terms[0] + terms[1] x + ..., joined two by two: operations that wait for each other are what takes the time."""
    while len(terms) > 1:
        joined = [a + b * x for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms, x = [*joined, *terms[2 * len(joined) :]], x * x
    return terms[0]
