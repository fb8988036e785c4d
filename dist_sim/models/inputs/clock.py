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

    Raises:
        KeyError: neither is there; no dt.
    """
    i = environ.get("i", None)
    if i is not None:
        return jnp.asarray(i, jnp.int32)
    ratio = environ.get("t", desc="or a step i=...") / environ.get_dt()
    return jnp.round(jnp.asarray(u.maybe_decimal(ratio))).astype(jnp.int32)


def time_now() -> u.Quantity:
    """The time at the beginning of that step."""
    return step_now() * environ.get_dt()


def in_steps(time: Any) -> np.ndarray:
    """A known time in steps of dt, rounded to the nearest."""
    return np.round(np.asarray(u.maybe_decimal(time / environ.get_dt()), np.float64)).astype(np.int64)


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
