"""Values that hold until the next of given times: what the step generators have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.devices.settings import FOREVER, time_steps


def stairs(
    times: Sequence[np.ndarray], values: Sequence[np.ndarray], dt: float, where: str, *, off_grid_allowed: bool
) -> dict[str, np.ndarray]:
    """What `level` needs of each device: `at` (size, k + 1) int64 steps, `value` (size, k + 1); 0 before the first time.

    Args:
        times: [ms], of each device, above 0 and strictly ascending on the grid.

    Raises:
        ParameterError: they are not, or there are not as many values.
    """
    longest = max(map(len, times))
    at, value = np.full((len(times), longest + 1), FOREVER), np.zeros((len(times), longest + 1))
    at[:, 0] = 0
    for device, (t, v) in enumerate(zip(times, values, strict=True)):
        of = f"{where} of device {device}" if len(times) > 1 else where
        if len(t) != len(v):
            raise ParameterError(f"{of}: {len(t)} times and {len(v)} values. Give one value for each time.")
        if (t <= 0).any():
            raise ParameterError(f"{of}: {t[t <= 0][0]:g} ms; times must be above 0 ms.")
        steps = time_steps(t, dt, of, off_grid_allowed=off_grid_allowed)
        if (np.diff(steps) <= 0).any():
            raise ParameterError(f"{of}: times must ascend, each at a step of its own.")
        at[device, 1 : len(t) + 1], value[device, 1 : len(t) + 1] = steps, v
    return {"at": at, "value": value}


def level(p: Mapping[str, jax.Array], step: jax.Array) -> jax.Array:
    """(size,) the value of each device: a change shows in the step whose end is its time."""
    place = (p["at"] <= step + 1).sum(axis=1) - 1
    return jnp.take_along_axis(p["value"], place[:, None], axis=1)[:, 0]
