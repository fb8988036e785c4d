"""What inputs know of the time: whole steps, so that no boundary is missed by a rounding error of the clock."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import environ
from dist_sim.errors import ParameterError


def step_now() -> jax.Array:
    """The step of the environment: its `i`, or else its `t` in steps of dt, rounded to the nearest.

    A `t` that is known where the step begins is counted in float64. One that is computed in a compiled loop, in float32, tells
    steps from each other for the first four million; beyond that give `i`.

    Raises:
        KeyError: neither is there; no dt.
    """
    for key in ("i", environ.STEP):
        step = environ.get(key, None)
        if step is not None:
            return jnp.asarray(step, jnp.int32)
    ratio = jnp.asarray(u.maybe_decimal(environ.get("t", desc="or a step i=...") / environ.get_dt()))
    return jnp.floor(ratio + 0.5).astype(jnp.int32)


def in_steps(time: Any) -> np.ndarray:
    """A known time in steps of dt, rounded to the nearest; halves up."""
    return units.steps_of(milliseconds(time), environ.get_dt().to_decimal(u.ms))


def real_steps(time: Any) -> np.ndarray:
    """A known time in steps of dt, float64; a whole number where only rounding makes it another one."""
    steps = milliseconds(time) / environ.get_dt().to_decimal(u.ms)
    nearest = np.floor(steps + 0.5)
    return np.where(abs(steps - nearest) <= units.rounding(steps, np.float64), nearest, steps)


def milliseconds(time: Any) -> np.ndarray:
    """A known time in ms, float64: see :func:`decimal`."""
    return decimal(time, u.ms)


def decimal(given: Any, unit: Any) -> np.ndarray:
    """A known quantity in a unit, in float64; of a number in float32 the decimal number that it stands for: 0.35, and not
    0.3499999940395355.
    """
    bare = np.asarray(u.get_mantissa(given))
    exact = bare.astype(str).astype(np.float64) if bare.dtype == np.float32 else bare.astype(np.float64)
    factor = float(u.Quantity(1.0, unit=u.get_unit(given)).to_decimal(unit))
    return exact if factor == 1.0 else exact * factor


def times(where: str, given: Any, *, at_least: float = -np.inf) -> u.Quantity:
    """Known times.

    Raises:
        UnitError, ParameterError: of another unit, not finite, or out of bounds (ms).
    """
    found = units.checked(u.math.asarray(given) if isinstance(given, list | tuple) else given, u.ms, where)
    bare = np.asarray(found.to_decimal(u.ms))
    if not np.isfinite(bare).all() or (bare < at_least).any():
        bound = f" of at least {at_least:g} ms" if np.isfinite(at_least) else ""
        raise ParameterError(f"{where}: needs finite times{bound}; got {given}.")
    return found


def inside(start: Any, stop: Any) -> jax.Array:
    """Whether the step lies in [start, stop), known times."""
    step = step_now()
    return (step >= in_steps(start)) & (step < in_steps(stop))
