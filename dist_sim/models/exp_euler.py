"""The exponential Euler method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.core import environ
from dist_sim.errors import UnitError


def exp_euler_step(f: Callable[..., Any], x: Any, *args: Any) -> Any:
    r"""One step of :math:`\dot x = f(x, ...)` over the environment's dt, exact where f is linear in x.

    .. math:: x(t + \Delta t) = x + \Delta t \, \varphi(\Delta t f'(x)) \, f(x), \qquad \varphi(z) = (e^z - 1) / z

    f acts elementwise: each element is linearised by itself.

    Args:
        f: gives the derivative, of the shape of x, in the unit of x per time.
        x: an array or a quantity.
        args: handed to f, held fixed over the step.

    Raises:
        UnitError: f gives something else than x per time.
        KeyError: no dt in the environment.
    """
    dt, unit = environ.get_dt(), u.get_unit(x)
    drift, slope = jax.jvp(lambda x: f(x, *args), (x,), (u.math.ones_like(x),))
    if not u.have_same_dim(dt * drift, x):
        raise UnitError(
            f"exp_euler_step: the derivative of a quantity in {unit} must be in {unit / dt.unit}; got {u.get_unit(drift)}."
        )
    start, change, z = (_bare(part, unit) for part in (x, dt * drift, dt * slope))
    return u.maybe_decimal((start + change * exprel(z)) * unit)


def _bare(x: Any, unit: Any) -> Any:
    return x.to_decimal(unit) if isinstance(x, u.Quantity) else x


def exprel(z: Any) -> Any:
    """(e^z - 1) / z to the last bits, differentiable also at 0.

    Close to 0 it is its series, which the compiler turns into vector instructions; it makes a call per element of `expm1`.
    """
    # What grows by more than e^60 in a step has left any range: kept finite, so that a bound set on it afterwards gives a
    # gradient of 0 and not NaN.
    z = jnp.minimum(z, 60.0)
    close = jnp.abs(z) < 0.5
    # Where z is not close, both branches need a finite derivative; and where it is.
    near, far = jnp.where(close, z, 0.0), jnp.where(close, 1.0, z)
    series = jnp.zeros_like(z)
    for n in range(15 if z.dtype == jnp.float64 else 9, 0, -1):
        series = series * near + 1.0 / math.factorial(n)
    return jnp.where(close, series, (jnp.exp(far) - 1.0) / far)
